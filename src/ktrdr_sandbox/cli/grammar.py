"""What can be typed, read off the Typer commands: what completion knows without loading them.

Loading Typer and every command costs more than all the rest of an answer to TAB, so this is done
when the program is built: `scripts/generate.py` writes it to `grammar.json`, and a test says so
when the file no longer fits.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

import typer
from typer.models import ArgumentInfo, OptionInfo

from ktrdr_sandbox.cli import flags
from ktrdr_sandbox.cli.app import application, root
from ktrdr_sandbox.errors import ErrorCode
from ktrdr_sandbox.gate.result import CHECK_NAMES
from ktrdr_sandbox.models import FIRST_SLOT, LAST_SLOT

FILE: Final = Path(__file__).with_name("grammar.json")

_KINDS: Final[Mapping[str, str]] = {
    "name": "instance",
    "instance": "instance",
    "service": "service",
    "services": "service",
    "branch": "branch",
    "slot": "slot",
    "command_line": "command",
}
"""What a parameter takes, by its name in the code."""

_NEW_NAMES: Final = frozenset({("create", "name")})
"""Names of what is not there yet: nothing can be offered."""

_LISTS: Final[Mapping[tuple[str, str], tuple[str, ...]]] = {("wait", "only"): CHECK_NAMES}
"""Values that are given with commas between them."""

_WORDS: Final[Mapping[tuple[str, str], tuple[str, ...]]] = {
    ("open", "tool"): ("api", "grafana", "jaeger", "prometheus"),
    ("explain", "code"): get_args(ErrorCode),
}


def grammar() -> dict[str, Any]:
    """Commands with their options and arguments, as `grammar.json` holds them."""
    return {
        "slots": [FIRST_SLOT, LAST_SLOT],
        "options": _options([*_parameters("", root), *_parameters("", flags.shared)]),
        "commands": _commands(application()),
    }


def as_text() -> str:
    """The content of `grammar.json`."""
    return json.dumps(grammar(), indent=1) + "\n"


def _commands(program: typer.Typer) -> dict[str, Any]:
    """The commands of a program or a group, and its groups with their own, by name."""
    found: dict[str, Any] = {}
    for registered in program.registered_commands:
        function = registered.callback
        if function is not None and not registered.hidden:
            name = registered.name or function.__name__.replace("_", "-")
            found[name] = _command(name, function)
    for group in program.registered_groups:
        if group.typer_instance is not None and isinstance(group.name, str):
            found[group.name] = {
                "help": _first_sentence(group.typer_instance.info.help),
                "options": _options(_parameters("", flags.shared)),
                "arguments": [],
                "commands": _commands(group.typer_instance),
            }
    return dict(sorted(found.items()))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parameter:
    """One parameter of a command's function; `taken` is empty for a flag."""

    info: Any
    name: str
    many: bool
    taken: Mapping[str, Any]


def _command(name: str, function: Callable[..., Any]) -> dict[str, Any]:
    parameters = _parameters(name, function)
    own = {one.name for one in parameters}
    parameters += [one for one in _parameters("", flags.shared) if one.name not in own]
    return {
        "help": _first_sentence(inspect.getdoc(function)),
        "options": _options(parameters),
        "arguments": [
            {**one.taken, **({"many": True} if one.many else {})}
            for one in parameters
            if isinstance(one.info, ArgumentInfo)
        ],
    }


def _options(parameters: Sequence[_Parameter]) -> list[dict[str, Any]]:
    return [
        {
            "names": _names(one),
            "help": _first_sentence(one.info.help),
            **one.taken,
            **({"many": True} if one.many else {}),
        }
        for one in parameters
        if isinstance(one.info, OptionInfo) and not one.info.hidden
    ]


def _names(parameter: _Parameter) -> list[str]:
    first = parameter.info.default  # in an annotation, Typer takes a first name for the default
    declared = [
        name
        for declaration in (first, *(parameter.info.param_decls or ()))
        if isinstance(declaration, str)
        for name in declaration.split("/")
        if name.startswith("-")
    ]
    return declared or [f"--{parameter.name.replace('_', '-')}"]


def _parameters(command: str, function: Callable[..., Any]) -> list[_Parameter]:
    """Typer's own reading of a function's signature, which it does not show."""
    found = []
    for name, hint in get_type_hints(function, include_extras=True).items():
        for info in getattr(hint, "__metadata__", ()):
            if isinstance(info, (OptionInfo, ArgumentInfo)):
                kind = _plain(hint.__origin__)
                many = get_origin(kind) is list
                inner = _plain(get_args(kind)[0]) if many else kind
                taken = {} if inner is bool else _taken(command, name, inner)
                found.append(_Parameter(info=info, name=name, many=many, taken=taken))
    return found


def _plain(hint: Any) -> Any:
    """A type without `| None`."""
    parts = [one for one in get_args(hint) if one is not type(None)]
    return parts[0] if type(None) in get_args(hint) else hint


def _taken(command: str, name: str, kind: Any) -> dict[str, Any]:
    """What a parameter takes: its kind, and its values where they are known now."""
    if (command, name) in _LISTS:
        return {"kind": "list", "values": list(_LISTS[command, name])}
    if choices := _WORDS.get((command, name)) or _choices(kind):
        return {"kind": "word", "values": list(choices)}
    if kind is Path:
        return {"kind": "path"}
    return {"kind": "new" if (command, name) in _NEW_NAMES else _KINDS.get(name, "other")}


def _choices(kind: Any) -> tuple[str, ...]:
    if get_origin(kind) is Literal:
        return tuple(map(str, get_args(kind)))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return tuple(str(one.value) for one in kind)
    return ()


def _first_sentence(text: str | None) -> str:
    line = " ".join((text or "").split("\n\n")[0].split())
    for end in (". ", ": ", " ("):
        line = line.split(end)[0]
    return line.split(" [default:")[0].rstrip(".")
