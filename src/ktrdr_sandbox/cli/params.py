"""What commands share: arguments and options, and the flags that every command has.

`--json`, `--quiet`, `--verbose` and `--help` may stand before or after the command's name. No
command declares them: the boundary makes an `Output` of them.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer import Argument, Option
from typer.core import TyperCommand, TyperGroup

from ktrdr_sandbox.cli import completion
from ktrdr_sandbox.console.output import Output
from ktrdr_sandbox.models import FIRST_SLOT, LAST_SLOT

Name = Annotated[
    str | None,
    Argument(
        metavar="NAME",
        help="Instance, with or without 'ktrdr--'. Left out: that of the current directory.",
        autocompletion=completion.instances,
    ),
]
InstanceName = Annotated[
    str | None,
    Option(
        "--instance",
        "-i",
        metavar="NAME",
        help="Instance. Left out: that of the current directory.",
        autocompletion=completion.instances,
    ),
]
Slot = Annotated[
    int | None,
    Option(
        "--slot",
        min=FIRST_SLOT,
        max=LAST_SLOT,
        help="Force a port slot. [default: the first free one]",
        autocompletion=completion.free_slots,
    ),
]
All = Annotated[bool, Option("--all", help="Every instance, several at once.")]
Jobs = Annotated[
    int | None,
    Option("--jobs", min=1, metavar="COUNT", help="With --all: how many at once. [default: 3]"),
]
Yes = Annotated[bool, Option("--yes", "-y", help="Do not ask.")]
DryRun = Annotated[bool, Option("--dry-run", help="Only show what would be done, and do nothing.")]
Timeout = Annotated[
    float | None,
    Option(
        "--timeout",
        min=1,
        metavar="SECONDS",
        help="Longest wait for the gate. [default: the setting gate_timeout, 120]",
    ),
]
CommandLine = Annotated[
    list[str] | None, Argument(metavar="COMMAND", help="Command to run, with its own arguments.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """What was said so far on the command line. `typed` is all of it."""

    typed: tuple[str, ...] = ()
    json_mode: bool = False
    quiet: bool = False
    verbose: bool = False


_given: Final[ContextVar[Flags]] = ContextVar("_given", default=Flags())  # noqa: B039  frozen


def begin(arguments: Sequence[str]) -> None:
    """Forget the flags of an earlier command line of this process."""
    _given.set(Flags(typed=tuple(arguments)))


def output(name: str) -> Output:
    """Make the output of a command, as the flags want it."""
    flags = _given.get()
    return Output(command=name, json_mode=flags.json_mode, quiet=flags.quiet, verbose=flags.verbose)


def early_output(name: str) -> Output:
    """Make it before the command line is understood. What follows `--` is another program's."""
    typed = _given.get().typed
    ours = typed[: typed.index("--")] if "--" in typed else typed
    return Output(command=name, json_mode="--json" in ours)


def show_help(context: typer.Context) -> None:
    """Give the help of a command as the result."""
    text = context.get_help()
    early_output("--help").result(text, {"of": context.command_path, "text": text})


def _note(context: typer.Context, flag: typer.CallbackParam, wanted: bool) -> None:
    if not wanted or context.resilient_parsing:
        return
    if flag.name == "show_help":
        show_help(context)
        raise typer.Exit
    chosen: Any = {flag.name: True}
    flags = replace(_given.get(), **chosen)
    if flags.quiet and flags.verbose:
        context.fail("--quiet and --verbose exclude one another.")
    _given.set(flags)


_flag = functools.partial(typer.Option, callback=_note, expose_value=False)


def _shared(
    *,
    json_mode: Annotated[bool, _flag("--json", help="One JSON document on stdout.")] = False,
    quiet: Annotated[bool, _flag("--quiet", "-q", help="Only results and errors.")] = False,
    verbose: Annotated[
        bool, _flag("--verbose", "-v", help="Also each command of Docker and git.")
    ] = False,
    show_help: Annotated[
        bool, _flag("--help", "-h", is_eager=True, help="Show this help and exit.")
    ] = False,
) -> None:
    """Declare the shared parameters; never called."""


@functools.cache
def _shared_parameters() -> list[Any]:
    declaring = typer.Typer(add_completion=False)
    declaring.command(add_help_option=False)(_shared)
    made: Any = typer.main.get_command(declaring)
    return list(made.params)


class Command(TyperCommand):
    """A command that has the shared flags beside its own parameters."""

    def __init__(self, name: str | None, **rest: Any) -> None:
        super().__init__(name, **{**rest, "add_help_option": False})
        for parameter in self.params:
            own: Any = parameter
            own.process_value = functools.partial(_value, own, own.process_value)
        self.params = [*self.params, *_shared_parameters()]


def _value(parameter: Any, convert: Any, context: Any, value: Any) -> Any:
    """Have Typer convert what was given; for what was not, too, it would load pydantic (0.15 s)."""
    if value is None and not parameter.required and parameter.callback is None:
        return () if parameter.nargs == -1 else None
    return convert(context, value)


class Group(TyperGroup):
    """A group of commands, the program itself among them, that has the shared flags."""

    def __init__(self, **rest: Any) -> None:
        super().__init__(**{**rest, "add_help_option": False})
        self.params = [*self.params, *_shared_parameters()]


def share(program: typer.Typer, before: str = "") -> None:
    """Give the flags to a program and all its commands, those of groups within it too."""
    program.info.cls = Group
    for registered in program.registered_commands:
        registered.cls = Command
        name = registered.name or getattr(registered.callback, "__name__", "")
        registered.epilog = _epilog(f"{before}{name}")
    for group in program.registered_groups:
        group.cls = Group
        if group.typer_instance is not None:
            share(group.typer_instance, f"{before}{group.name} ")


@functools.cache
def examples() -> dict[str, list[tuple[str, str]]]:
    """Read whole command lines by command, each with its remark."""
    import tomllib  # `--version` does without

    table = tomllib.loads(Path(__file__).with_name("examples.toml").read_text(encoding="utf-8"))
    return {
        command: [
            (text if "ktrdr-sandbox" in text else f"ktrdr-sandbox {text}", remark)
            for text, remark in lines
        ]
        for command, lines in table.items()
    }


def _epilog(command: str) -> str | None:
    found = examples().get(command, [])
    width = max((len(line) for line, _ in found), default=0)
    shown = [f"  {line:<{width}}  # {remark}" if remark else f"  {line}" for line, remark in found]
    # The mark in front keeps Click from rewrapping the lines.
    return "\n".join(["\b", "Examples:", *shown]) if shown else None
