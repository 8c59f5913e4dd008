"""Read the sources of settings, judge what they say, and tell where each value came from.

Order, strongest first: `KTRDR_SANDBOX_*` variables, `.ktrdr-sandbox.toml` in the checkout,
`$KTRDR_HOME/sandbox/config.toml`, defaults. Key by key.

The checkout's file comes from a branch, perhaps a stranger's, and counts as soon as the branch is
checked out. So what would run a program on this machine, publish ports to others or lift a refusal
of isolation counts only once a person has approved exactly that content for that repository. A
setting that nobody has judged harmless is among those: forgetting one here must not open a door.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import os
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple, get_args, get_type_hints

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    create_model,
)
from pydantic_settings import EnvSettingsSource

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.paths import Home
from ktrdr_sandbox.settings import (
    CHECKOUT_FILE,
    FIELDS,
    HOOKS,
    PREFIX,
    TABLES,
    Approved,
    Commands,
    Hooks,
    Settings,
    as_data,
)

Kind = Literal["variable", "checkout", "home", "default"]

# How the branch's own stack is found and proven. `copy_files` is read from the main worktree's
# file and only names files that git ignores there.
HARMLESS: Final = frozenset(
    {"compose_file", "copy_files", "env_files", "gate_timeout", "heal_workers", "health_paths"}
    | {"hook_timeout", "migrate", "profiles"}
)

_TABLE: Final = re.compile(r"\s*\[\s*([\w.-]+)\s*\]")
_KEY: Final = re.compile(r"\s*[\"']?([\w.-]+)[\"']?\s*=")
_PLACE: Final = re.compile(r"\(at line (\d+), column (\d+)\)")


def is_personal(key: str) -> bool:
    """Settings about the machine and not about a checkout: its file cannot set them at all."""
    return key in ("destroy_grace", "lock_patience", "trash_days") or key.startswith("demo_")


def _needs_approval(key: str, value: Any) -> bool:
    if key in HARMLESS or not value:
        return False
    return not (key == "bind_address" and ip_address(value).is_loopback)


def _several(value: Any) -> Any:
    """One command for a list of one. A line for a shell is refused: its words must be told."""
    words = 'a list of words, as ["uv", "sync"]'
    if not isinstance(value, (list, tuple)):  # a TypeError would not become a fault of the setting
        raise ValueError(f"should be {words}, or a list of such lists")  # noqa: TRY004
    if value and all(isinstance(one, str) for one in value):
        return (tuple(value),)
    if not all(isinstance(one, (list, tuple)) and one and one[0] for one in value):
        raise ValueError(f"each command should be {words}")
    return value


def _model(described: type, hints: Mapping[str, Any]) -> Any:
    """The pydantic model of a dataclass: its types, or those of `hints`, defaults and metadata."""
    types = {**get_type_hints(described), **hints}
    fields: dict[str, Any] = {
        one.name: (types[one.name], Field(one.default, **one.metadata))
        for one in dataclasses.fields(described)
    }
    config = ConfigDict(extra="forbid", frozen=True)
    name, text = described.__name__, described.__doc__
    return create_model(name, __config__=config, __doc__=text, **fields)


_COMMAND: Final[dict[str, Any]] = {"type": "array", "items": {"type": "string"}, "minItems": 1}
_COMMANDS: Final = Annotated[
    Commands,
    BeforeValidator(_several),
    WithJsonSchema({"anyOf": [_COMMAND, {"type": "array", "items": _COMMAND}]}),
]
MODEL: Final = _model(
    Settings,
    {
        "bind_address": Annotated[str, AfterValidator(lambda x: str(ip_address(x)))],
        "network_pool": Annotated[str, AfterValidator(lambda x: str(ip_network(x)))] | None,
        "hooks": _model(Hooks, dict.fromkeys(HOOKS, _COMMANDS)),
    },
)


class _Variables(EnvSettingsSource):
    """A list is JSON, or words with commas between them. What is neither is judged as text."""

    def decode_complex_value(self, field_name: str, field: Any, value: Any) -> Any:
        text = str(value).strip()
        kinds = get_args(field.annotation)
        optional = [get_args(kind) for kind in kinds if type(None) in kinds]
        if not text.startswith(("[", "{")) and any(str in one for one in (kinds, *optional)):
            return [word.strip() for word in text.split(",") if word.strip()]
        try:
            return super().decode_complex_value(field_name, field, text)
        except ValueError:
            return text


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


Layer = dict[str, tuple[Any, Origin]]
"""One source: its values by flat key, as written, and the place of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a checkout's file sets but may not by itself: flat keys with validated values."""

    path: Path
    values: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """SHA-256, whatever their order in the file and whatever stands around them."""
        text = json.dumps(self.values, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class Setting(NamedTuple):
    """One setting by its flat key; `value` is JSON-ready."""

    name: str
    value: Any
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """The settings that count, the origin of each key, and what a user should be told of them.

    `asked` is what the checkout's file sets and needs approval for. `remarks` are sentences by what
    they are about, so that the same content in two checkouts is told once.
    """

    checkout: Path | None
    settings: Settings
    origins: Mapping[str, Origin]
    asked: Asked | None
    approved: bool
    remarks: Mapping[str, str]

    def each(self) -> dict[str, Setting]:
        """All settings by flat key."""
        values = _flat(as_data(self.settings))
        return {key: Setting(key, values[key], origin) for key, origin in self.origins.items()}


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault. `text` tells what is allowed; without a `setting` it is about the whole file."""

    text: str
    origin: Origin
    setting: str | None = None
    found: tuple[Any, ...] = ()
    column: int | None = None

    def __str__(self) -> str:
        subject = f"{self.setting}: " if self.setting is not None else ""
        found = "".join(f" (found {value!r})" for value in self.found)
        return f"{subject}{self.text}{found}, in {self.origin}"

    def facts(self) -> dict[str, Any]:
        """JSON-ready."""
        value = self.found[0] if self.found else None
        return {
            "setting": self.setting,
            "value": json.loads(json.dumps(value, default=str)),  # TOML has dates
            "allowed": self.text,
            "file": None if self.origin.path is None else str(self.origin.path),
            "line": self.origin.line,
            "column": self.column,
            "variable": self.origin.variable,
        }


class BadSettingsError(SandboxError):
    """All problems that were found, in one error."""

    def __init__(self, *problems: Problem) -> None:
        sentences = [str(problem) for problem in problems]
        facts = [problem.facts() for problem in problems]
        places = dict.fromkeys(one["variable"] or str(one["file"]) for one in facts)
        super().__init__(
            "bad-settings",
            "The settings cannot be used: " + "; ".join(sentences) + ".",
            hints=[f"Correct {place}" for place in places],
            details={
                "problems": sentences,
                "files": list(dict.fromkeys(one["file"] for one in facts if one["file"])),
                "found": facts,
            },
        )


def resolve(home: Home, *, checkout: Path | None, approved: Approved) -> Resolution:
    """Read all sources. Raises `bad-settings` with key, value, what is allowed, and the place.

    Each source is judged by itself and as a whole: what does not count today may do so tomorrow.
    """
    variables, remarks = _variables()
    asked, is_approved = None, True
    theirs = _read_file(checkout / CHECKOUT_FILE, "checkout") if checkout is not None else {}
    if checkout is not None and theirs:
        validated = _flat(as_data(_judged(theirs)))
        for key in sorted(filter(is_personal, theirs)):
            text = f"{key} is ignored; it is read from your own settings file alone."
            remarks[key] = f"{theirs.pop(key)[1]}: {text}"
        held = {k: validated[k] for k in theirs if _needs_approval(k, validated.get(k))}
        if held:
            asked = Asked(path=checkout / CHECKOUT_FILE, values=held)
            is_approved = approved(checkout, asked.digest)
        if asked is not None and not is_approved:
            remarks[asked.digest] = (
                f"{asked.path} sets {', '.join(sorted(held))}: ignored, because a checkout "
                "may do so only with your approval. To see it and decide, run there: "
                "ktrdr-sandbox config approve"
            )
            theirs = {key: entry for key, entry in theirs.items() if key not in held}
    own = _read_file(home.config, "home")
    for layer in (own, variables):
        _judged(layer)
    found = {**own, **theirs, **variables}
    origins = {key: found[key][1] if key in found else Origin() for key in FIELDS}
    return Resolution(
        checkout=checkout,
        settings=_settings(found),
        origins=origins,
        asked=asked,
        approved=is_approved,
        remarks=remarks,
    )


def json_schema() -> dict[str, Any]:
    """JSON Schema of a settings file."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **MODEL.model_json_schema(),
        "title": "ktrdr-sandbox settings",
        "description": f"{CHECKOUT_FILE} and config.toml of ktrdr-sandbox. Times are in seconds.",
    }


def _variables() -> tuple[Layer, dict[str, str]]:
    """The variables that are settings, and a remark by each that looks like one and is none.

    Those do not stop a command as an unknown key of a file does: an environment is inherited, and
    may be meant for another version of this program.
    """
    given = {name.upper(): name for name in os.environ if name.upper().startswith(PREFIX)}
    known = {PREFIX + key.replace(".", "__").upper(): key for key in (*FIELDS, *TABLES)}
    values = _flat(_Variables(MODEL, env_prefix=PREFIX, env_nested_delimiter="__")())
    origins = {
        key: Origin(kind="variable", variable=given[variable])
        for variable, key in known.items()
        if variable in given
    }
    whole = Origin(kind="variable")
    endings = [name.removeprefix(PREFIX) for name in known]
    strange = {
        name: f"{given[name]}: {_no_such(name.removeprefix(PREFIX), endings, PREFIX)} (ignored)"
        for name in sorted(given.keys() - known.keys())
    }
    return _layer(values, origins, whole), strange


def _layer(values: Mapping[str, Any], origins: Mapping[str, Origin], whole: Origin) -> Layer:
    """A key of an inline table is where the table is; one not found, somewhere in the source."""
    return {
        key: (value, origins.get(key) or origins.get(key.partition(".")[0], whole))
        for key, value in values.items()
    }


def _read_file(path: Path, kind: Kind) -> Layer:
    """A settings file, empty when there is none. Raises BadSettingsError when it cannot be read.

    Only a regular file is opened: a link that a branch brings along may point at a device that
    never ends.
    """
    whole = Origin(kind=kind, path=path)
    column = None
    try:
        if not path.is_symlink() and not path.exists():
            return {}
        if not path.is_file():
            raise OSError(0, "it is not a regular file")
        text = path.read_bytes().decode("utf-8")
        values = tomllib.loads(text)
    except (OSError, RecursionError, ValueError) as error:
        if isinstance(error, tomllib.TOMLDecodeError):
            fault = f"no valid TOML: {_PLACE.sub('', str(error)).strip()}"
            if place := _PLACE.search(str(error)):
                whole, column = replace(whole, line=int(place[1])), int(place[2])
                fault += f" (column {column})"
        elif isinstance(error, UnicodeDecodeError):
            fault = f"cannot read it: byte {error.start} is not UTF-8"
        else:
            fault = f"cannot read it: {getattr(error, 'strerror', 'it is nested too deeply')}"
        raise BadSettingsError(Problem(fault, whole, column=column)) from error
    origins = {key: replace(whole, line=number) for key, number in reversed(list(_lines(text)))}
    return _layer(_flat(values), origins, whole)


def _lines(text: str) -> Iterator[tuple[str, int]]:
    """Keys and the lines that begin with them. A line within a long string may look like one."""
    table = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if head := _TABLE.match(line):
            table = f"{head[1]}."
        elif key := _KEY.match(line):
            yield table + key[1], number


def _judged(layer: Layer) -> Settings:
    """A layer by itself. Raises `bad-settings` with all that is wrong with it."""
    known = {key: entry for key, entry in layer.items() if key in FIELDS or key in TABLES}
    unknown = [key for key in layer if key not in known]
    problems = [Problem(_no_such(key, FIELDS), layer[key][1], key) for key in unknown]
    judged = Settings()
    try:
        judged = _settings(known)
    except ValidationError as error:
        for fault in error.errors():
            parts = [str(part) for part in fault["loc"]]
            key = ".".join(parts[:2] if parts[0] in TABLES else parts[:1])
            text = fault["msg"].removeprefix("Value error, ").removeprefix("Input ")
            where = f"entry {int(parts[-1]) + 1} " if parts[-1].isdigit() else ""
            problems.append(Problem(where + text, layer[key][1], key, (fault["input"],)))
    if problems:
        raise BadSettingsError(*problems)
    return judged


def _settings(layer: Layer) -> Settings:
    """The settings of flat keys, the rest being defaults. Raises ValidationError."""
    nested: dict[str, Any] = {}
    for key, (value, _) in layer.items():
        table, dot, inner = key.partition(".")
        if dot:
            nested.setdefault(table, {})[inner] = value
        else:
            nested[key] = value
    found = dict(MODEL(**nested))
    if TABLES & nested.keys():
        found["hooks"] = Hooks(**dict(found["hooks"]))
    return Settings(**found)


def _no_such(key: str, known: Collection[str], prefix: str = "") -> str:
    """That there is no such setting, and the one that was probably meant."""
    near = difflib.get_close_matches(key, list(known), n=1, cutoff=0.6)
    return "no such setting" + (f"; did you mean '{prefix}{near[0]}'?" if near else "")


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Keys of the settings that are tables become `table.key`."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if key in TABLES and isinstance(value, dict):
            found |= {f"{key}.{inner}": one for inner, one in value.items()}
        else:
            found[key] = value
    return found
