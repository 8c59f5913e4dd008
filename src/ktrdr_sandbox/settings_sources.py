"""Read the sources of settings, judge what they say, and tell where each value came from.

Order, strongest first: `KTRDR_SANDBOX_*` variables, `.ktrdr-sandbox.toml` in the checkout,
`$KTRDR_HOME/sandbox/config.toml`, defaults. Key by key; what the checkout's file may set only with
approval is told in `trust.py`.
"""

from __future__ import annotations

import dataclasses
import difflib
import ipaddress
import os
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args, get_type_hints

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    create_model,
    field_validator,
)
from pydantic_settings import EnvSettingsSource

from ktrdr_sandbox import settings
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.paths import Home
from ktrdr_sandbox.settings import CHECKOUT_FILE, FIELDS, PREFIX, TABLES, Approved, Settings
from ktrdr_sandbox.trust import digest, is_loosening, is_personal

Kind = Literal["variable", "checkout", "home", "default"]

_TABLE: Final = re.compile(r"\s*\[\s*([\w.-]+)\s*\]")
_KEY: Final = re.compile(r"\s*[\"']?([\w.-]+)[\"']?\s*=")
_PLACE: Final = re.compile(r"\(at line (\d+), column (\d+)\)")
_NO_VALUE: Any = object()


# -- what is judged ----------------------------------------------------------------------------


def _several(value: Any) -> Any:
    """One command for a list of one. A line for a shell is refused: its words must be told."""
    if isinstance(value, (list, tuple)) and value and all(isinstance(one, str) for one in value):
        return (tuple(value),)
    if not isinstance(value, (list, tuple)):
        # A TypeError would not become a fault of the setting.
        raise ValueError(  # noqa: TRY004
            'should be a list of words, as ["uv", "sync"], or a list of such lists'
        )
    if not all(isinstance(one, (list, tuple)) and one and one[0] for one in value):
        raise ValueError('each command should be a list of words, as ["uv", "sync"]')
    return value


_COMMAND: Final[dict[str, Any]] = {
    "type": "array",
    "items": {"type": "string"},
    "minItems": 1,
}
_COMMANDS: Final = Annotated[
    settings.Commands,
    BeforeValidator(_several),
    WithJsonSchema({"anyOf": [_COMMAND, {"type": "array", "items": _COMMAND}]}),
]


def _address(value: str) -> str:
    return str(ipaddress.ip_address(value))


def _network(value: str | None) -> str | None:
    return None if value is None else str(ipaddress.ip_network(value))


def _model(
    described: type, hints: Mapping[str, Any], validators: Mapping[str, Any] | None = None
) -> Any:
    """The pydantic model of a dataclass: its types, or those of `hints`, defaults and metadata."""
    types = {**get_type_hints(described), **hints}
    fields: dict[str, Any] = {
        one.name: (types[one.name], Field(one.default, **one.metadata))
        for one in dataclasses.fields(described)
    }
    return create_model(
        described.__name__,
        __config__=ConfigDict(extra="forbid", frozen=True),
        __doc__=described.__doc__,
        __validators__=dict(validators or {}),
        **fields,
    )


_HOOKS: Final = _model(settings.Hooks, dict.fromkeys(settings.HOOKS, _COMMANDS))
MODEL: Final = _model(
    Settings,
    {"hooks": _HOOKS},
    {
        "is_address": field_validator("bind_address")(_address),
        "is_network": field_validator("network_pool")(_network),
    },
)


class _Variables(EnvSettingsSource):
    """A list is JSON, or words with commas between them. What is neither is judged as text."""

    def decode_complex_value(self, field_name: str, field: Any, value: Any) -> Any:
        text = str(value).strip()
        if not text.startswith(("[", "{")) and _holds_texts(field.annotation):
            return [word.strip() for word in text.split(",") if word.strip()]
        try:
            return super().decode_complex_value(field_name, field, text)
        except ValueError:
            return text


def _holds_texts(annotation: Any) -> bool:
    """Whether a setting is a list of texts, or may be left out and is one otherwise."""
    kinds = get_args(annotation)
    return str in kinds or any(str in get_args(kind) for kind in kinds if type(None) in kinds)


# -- where a value came from ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a value came from. `line` is None where it could not be told cheaply."""

    kind: Kind = "default"
    path: Path | None = None
    line: int | None = None
    variable: str | None = None

    def __str__(self) -> str:
        if self.path is None:
            return self.variable or "default"
        return str(self.path) if self.line is None else f"{self.path}, line {self.line}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One source: its values by flat key, as written, and the place of each."""

    kind: Kind
    values: Mapping[str, Any]
    path: Path | None = None
    lines: Mapping[str, int] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)

    def origin(self, key: str) -> Origin:
        """Where the layer has a key from; a key of an inline table has the table's line."""
        line = self.lines.get(key, self.lines.get(key.partition(".")[0]))
        return Origin(kind=self.kind, path=self.path, line=line, variable=self.variables.get(key))

    def without(self, keys: Collection[str]) -> Layer:
        """The same layer as if it did not set these."""
        return replace(self, values={k: v for k, v in self.values.items() if k not in keys})


@dataclass(frozen=True, slots=True, kw_only=True)
class Withheld:
    """What a checkout's file sets but may not by itself: flat keys with validated values."""

    path: Path
    values: Mapping[str, Any]

    @property
    def digest(self) -> str:
        return digest(self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """The settings that count, the origin of each key, and what a user should be told of them.

    `asked` is what the checkout's file sets and needs approval for, approved or not; `withheld`
    the same where it is not approved.
    """

    settings: Settings
    origins: Mapping[str, Origin]
    asked: Withheld | None = None
    withheld: Withheld | None = None
    remarks: Mapping[str, str] = field(default_factory=dict)
    """Sentences by what they are about, so that the same content in two checkouts is told once."""

    def value(self, key: str) -> Any:
        """The value of a flat key, JSON-ready."""
        return _values(self.settings)[key]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One fault. `text` tells what is allowed; without a `setting` it is about the whole file."""

    text: str
    origin: Origin
    setting: str | None = None
    value: Any = _NO_VALUE
    column: int | None = None

    def sentence(self) -> str:
        """One line for people."""
        subject = f"{self.setting}: " if self.setting is not None else ""
        found = "" if self.value is _NO_VALUE else f" (found {self.value!r})"
        return f"{subject}{self.text}{found}, in {self.origin}"

    def facts(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "setting": self.setting,
            "value": None if self.value is _NO_VALUE else _plain(self.value),
            "allowed": self.text,
            "file": None if self.origin.path is None else str(self.origin.path),
            "line": self.origin.line,
            "column": self.column,
            "variable": self.origin.variable,
        }


class BadSettingsError(SandboxError):
    """All problems that were found, in one error."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        sentences = [problem.sentence() for problem in problems]
        origins = [problem.origin for problem in problems]
        places = dict.fromkeys(origin.variable or str(origin.path) for origin in origins)
        super().__init__(
            "bad-settings",
            "The settings cannot be used: " + "; ".join(sentences) + ".",
            hints=[f"Correct {place}" for place in places],
            details={
                "problems": sentences,
                "files": list(dict.fromkeys(str(one.path) for one in origins if one.path)),
                "found": [problem.facts() for problem in problems],
            },
        )


# -- reading them --------------------------------------------------------------------------------


def resolve(
    home: Home, *, checkout: Path | None, approved: Approved = lambda *_: False
) -> Resolution:
    """Read all sources. Raises `bad-settings` with key, value, what is allowed, and the place.

    Each source is judged by itself and as a whole: what does not count today may do so tomorrow.
    """
    variables, strange = _variables()
    layers = [variables]
    asked = withheld = None
    ignored: list[str] = []
    theirs = _read_file(checkout / CHECKOUT_FILE, "checkout") if checkout is not None else None
    if checkout is not None and theirs is not None:
        validated = _values(_judged(theirs))
        personal = {key for key in theirs.values if is_personal(key)}
        ignored = [
            f"{theirs.origin(key)}: {key} is ignored; it is read from your own settings file alone."
            for key in sorted(personal)
        ]
        asked = _loosening(theirs.without(personal), validated)
        if asked is not None and not approved(checkout, asked.digest):
            withheld = asked
        theirs = theirs.without({*personal, *(withheld.values if withheld else ())})
        layers.append(theirs)
    own = _read_file(home.config, "home")
    if own is not None:
        layers.append(own)
    for layer in layers:
        _judged(layer)
    merged = {key: value for one in reversed(layers) for key, value in one.values.items()}
    return Resolution(
        settings=_settings(merged),
        origins={key: _origin(layers, key) for key in FIELDS},
        asked=asked,
        withheld=withheld,
        remarks={
            **{text: text for text in (*strange, *ignored)},
            **({withheld.digest: _unapproved(withheld)} if withheld else {}),
        },
    )


def json_schema() -> dict[str, Any]:
    """JSON Schema of a settings file."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **MODEL.model_json_schema(),
        "title": "ktrdr-sandbox settings",
        "description": f"{CHECKOUT_FILE} and config.toml of ktrdr-sandbox. Times are in seconds.",
    }


def _variables() -> tuple[Layer, list[str]]:
    """The variables that are settings, and a remark on each that looks like one and is none.

    Those do not stop a command as an unknown key of a file does: an environment is inherited, and
    may be meant for another version of this program.
    """
    given = {name.upper(): name for name in os.environ if name.upper().startswith(PREFIX)}
    values = _flat(_Variables(MODEL, env_prefix=PREFIX, env_nested_delimiter="__")())
    places = {}
    for key in values:
        whole_table = PREFIX + key.partition(".")[0].upper()
        variable = _variable(key)
        places[key] = given.get(variable) or given.get(whole_table) or variable
    known = {_variable(key): key for key in (*FIELDS, *TABLES)}
    endings = [name.removeprefix(PREFIX) for name in known]
    strange = [
        f"{given[name]}: {_no_such(name.removeprefix(PREFIX), endings, prefix=PREFIX)} (ignored)"
        for name in sorted(given.keys() - known.keys())
    ]
    return Layer(kind="variable", values=values, variables=places), strange


def _variable(key: str) -> str:
    return PREFIX + key.replace(".", "__").upper()


def _read_file(path: Path, kind: Kind) -> Layer | None:
    """A settings file, None when there is none. Raises BadSettingsError when it cannot be read.

    Only a regular file is opened: a link that a branch brings along may point at a device that
    never ends.
    """
    try:
        if not path.is_symlink() and not path.exists():
            return None
        if not path.is_file():
            raise _unreadable(path, kind, "it is not a regular file")
        text = path.read_bytes().decode("utf-8")
        values = tomllib.loads(text)
    except OSError as error:
        raise _unreadable(path, kind, error.strerror or str(error)) from error
    except UnicodeDecodeError as error:
        raise _unreadable(path, kind, f"byte {error.start} is not UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise _no_toml(path, kind, str(error)) from error
    except RecursionError as error:
        raise _unreadable(path, kind, "it is nested too deeply") from error
    return Layer(
        kind=kind, values=_flat(values), path=path, lines=dict(reversed(list(_lines(text))))
    )


def _lines(text: str) -> Iterator[tuple[str, int]]:
    """Keys and the lines that begin with them. A line within a long string may look like one."""
    table = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if head := _TABLE.match(line):
            table = f"{head[1]}."
        elif key := _KEY.match(line):
            yield table + key[1], number


def _unreadable(path: Path, kind: Kind, reason: str) -> BadSettingsError:
    origin = Origin(kind=kind, path=path)
    return BadSettingsError([Problem(text=f"cannot read it: {reason}", origin=origin)])


def _no_toml(path: Path, kind: Kind, message: str) -> BadSettingsError:
    place = _PLACE.search(message)
    reason = _PLACE.sub("", message).strip()
    line, column = (int(place[1]), int(place[2])) if place else (None, None)
    text = f"no valid TOML: {reason}" + (f" (column {column})" if column else "")
    problem = Problem(text=text, origin=Origin(kind=kind, path=path, line=line), column=column)
    return BadSettingsError([problem])


# -- judging them --------------------------------------------------------------------------------


def _judged(layer: Layer) -> Settings:
    """A layer by itself. Raises `bad-settings` with all that is wrong with it."""
    unknown = [key for key in layer.values if key not in FIELDS and key not in TABLES]
    problems = [
        Problem(setting=key, text=_no_such(key, FIELDS), origin=layer.origin(key))
        for key in unknown
    ]
    try:
        judged = _settings(layer.without(unknown).values)
    except ValidationError as error:
        raise BadSettingsError([*problems, *_faults(layer, error)]) from None
    if problems:
        raise BadSettingsError(problems)
    return judged


def _settings(values: Mapping[str, Any]) -> Settings:
    """The settings of validated flat keys. Raises ValidationError."""
    nested: dict[str, Any] = {}
    for key, value in values.items():
        table, dot, inner = key.partition(".")
        if dot:
            nested.setdefault(table, {})[inner] = value
        else:
            nested[key] = value
    found = dict(MODEL(**nested))
    if TABLES & nested.keys():
        found["hooks"] = settings.Hooks(**dict(found["hooks"]))
    return Settings(**found)


def _faults(layer: Layer, error: ValidationError) -> Iterator[Problem]:
    for fault in error.errors():
        parts = [str(part) for part in fault["loc"]]
        key = ".".join(parts[:2] if parts[0] in TABLES else parts[:1])
        text = fault["msg"].removeprefix("Value error, ").removeprefix("Input ")
        where = f"entry {int(parts[-1]) + 1} " if parts[-1].isdigit() else ""
        yield Problem(
            setting=key, value=fault["input"], text=where + text, origin=layer.origin(key)
        )


def _no_such(key: str, known: Collection[str], *, prefix: str = "") -> str:
    """That there is no such setting, and the one that was probably meant, with the prefix."""
    near = difflib.get_close_matches(key, list(known), n=1, cutoff=0.6)
    return "no such setting" + (f"; did you mean '{prefix}{near[0]}'?" if near else "")


def _values(found: Settings) -> dict[str, Any]:
    """All by flat key, JSON-ready."""
    return _flat(settings.as_data(found))


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Keys of the settings that are tables become `table.key`."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if key in TABLES and isinstance(value, dict):
            found |= {f"{key}.{inner}": one for inner, one in value.items()}
        else:
            found[key] = value
    return found


def _loosening(layer: Layer, validated: Mapping[str, Any]) -> Withheld | None:
    values = {
        key: validated[key]
        for key in layer.values
        if key in FIELDS and is_loosening(key, validated[key])
    }
    return Withheld(path=layer.path, values=values) if values and layer.path else None


def _unapproved(withheld: Withheld) -> str:
    keys = ", ".join(sorted(withheld.values))
    return (
        f"{withheld.path} sets {keys}: ignored, because a checkout may do so only with your "
        "approval. To see it and decide, run there: ktrdr-sandbox config approve"
    )


def _origin(layers: Sequence[Layer], key: str) -> Origin:
    for layer in layers:
        if key in layer.values:
            return layer.origin(key)
    return Origin()


def _plain(value: Any) -> Any:
    """TOML has dates, which JSON has not."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
