"""What commands share: arguments and options, and the flags that every command has.

`--json`, `--quiet`, `--verbose` and `--help` stand before or after the command's name, and no
command declares them: what follows from them is in the `Output` that the boundary makes.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, cast

import typer
from typer.core import TyperCommand, TyperGroup

from ktrdr_sandbox.cli import completion
from ktrdr_sandbox.console.output import Output
from ktrdr_sandbox.models import FIRST_SLOT, LAST_SLOT

Name = Annotated[
    str | None,
    typer.Argument(
        metavar="NAME",
        help="Instance, with or without 'ktrdr--'. Left out: that of the current directory.",
        autocompletion=completion.instances,
    ),
]
InstanceName = Annotated[
    str | None,
    typer.Option(
        "--instance",
        "-i",
        metavar="NAME",
        help="Instance. Left out: that of the current directory.",
        autocompletion=completion.instances,
    ),
]
Slot = Annotated[
    int | None,
    typer.Option(
        "--slot",
        min=FIRST_SLOT,
        max=LAST_SLOT,
        help="Force a port slot. [default: the first free one]",
        autocompletion=completion.free_slots,
    ),
]
All = Annotated[bool, typer.Option("--all", help="Every instance, several at once.")]
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        min=1,
        metavar="COUNT",
        help="With --all: how many at once. [default: 3]",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Only show what would be done, and do nothing.")
]
Timeout = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        min=1,
        metavar="SECONDS",
        help="Longest wait for the gate. [default: the setting gate_timeout, 120]",
    ),
]
CommandLine = Annotated[
    list[str] | None,
    typer.Argument(metavar="COMMAND", help="Command to run, with its own arguments."),
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
    """The output of a command, as the flags want it."""
    flags = _given.get()
    return Output(command=name, json_mode=flags.json_mode, quiet=flags.quiet, verbose=flags.verbose)


def early_output(name: str) -> Output:
    """The same before the command line is understood, or when it never will be.

    What follows `--` belongs to another program.
    """
    typed = _given.get().typed
    ours = typed[: typed.index("--")] if "--" in typed else typed
    return Output(command=name, json_mode="--json" in ours)


class Command(TyperCommand):
    """A command that has the shared flags beside its own parameters."""

    def __init__(self, name: str | None, **rest: Any) -> None:
        super().__init__(name, **{**rest, "add_help_option": False})
        for parameter in self.params:
            convert: Any = parameter.process_value
            cast("Any", parameter).process_value = functools.partial(_value, parameter, convert)
        self.params = [*self.params, *_shared_parameters()]

    def invoke(self, ctx: Any) -> Any:
        _take_flags(ctx)
        return super().invoke(ctx)


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

    def invoke(self, ctx: Any) -> Any:
        _take_flags(ctx)
        return super().invoke(ctx)


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
    """Whole command lines by command, each with its remark."""
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
    """What a command's help ends with; the mark in front keeps its lines from being rewrapped."""
    found = examples().get(command)
    if not found:
        return None
    width = max(len(line) for line, _ in found)
    shown = [
        f"  {line.ljust(width)}  # {remark}" if remark else f"  {line}" for line, remark in found
    ]
    return "\n".join(["\b", "Examples:", *shown])


def show_help(context: typer.Context) -> None:
    """The help of a command, as the result."""
    text = context.get_help()
    early_output("--help").result(text, {"of": context.command_path, "text": text})


def _show_help(context: typer.Context, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        show_help(context)
        raise typer.Exit


def _shared(
    *,
    json_mode: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only results and errors.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Also each command of Docker and git.")
    ] = False,
    show_help: Annotated[
        bool,
        typer.Option(
            "--help", "-h", is_eager=True, callback=_show_help, help="Show this help and exit."
        ),
    ] = False,
) -> None:
    """The parameters that `_shared_parameters` takes from here; never called."""


@functools.cache
def _shared_parameters() -> list[Any]:
    declaring = typer.Typer(add_completion=False)
    declaring.command(add_help_option=False)(_shared)
    made: Any = typer.main.get_command(declaring)
    return list(made.params)


def _take_flags(context: Any) -> None:
    """Join a level's flags with those before it, and leave its command its own parameters."""
    before, given = _given.get(), context.params
    for shared in _shared_parameters():
        if shared.name not in ("json_mode", "quiet", "verbose"):
            given.pop(shared.name)
    joined = Flags(
        typed=before.typed,
        json_mode=given.pop("json_mode") or before.json_mode,
        quiet=given.pop("quiet") or before.quiet,
        verbose=given.pop("verbose") or before.verbose,
    )
    if joined.quiet and joined.verbose:
        context.fail("--quiet and --verbose exclude one another.")
    _given.set(joined)
