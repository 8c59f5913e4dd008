"""`--json`, `--quiet`, `--verbose` and `--help`, which every command has and none declares.

They stand before or after the command's name. A command that reads `json_mode` gets it as a
parameter (`options.Json`); everything else follows from the `Output` that the boundary makes.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from ktrdr_sandbox.cli import examples, options
from ktrdr_sandbox.cli.values import keep_plain
from ktrdr_sandbox.console.output import Output


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """What was said so far on the command line. `typed` is all of it."""

    typed: tuple[str, ...] = ()
    json_mode: bool = False
    quiet: bool = False
    verbose: bool = False


_said: Final[ContextVar[Flags]] = ContextVar("_said", default=Flags())  # noqa: B039  frozen


def begin(arguments: Sequence[str]) -> None:
    """Forget the flags of an earlier command line of this process."""
    _said.set(Flags(typed=tuple(arguments)))


def output(name: str, *, json_mode: bool = False) -> Output:
    """The output of a command, as the flags want it."""
    said = _said.get()
    return Output(
        command=name,
        json_mode=json_mode or said.json_mode,
        quiet=said.quiet,
        verbose=said.verbose,
    )


def early_output(name: str) -> Output:
    """The same before the command line is understood, or when it never will be.

    What follows `--` belongs to another program.
    """
    typed = _said.get().typed
    ours = typed[: typed.index("--")] if "--" in typed else typed
    return Output(command=name, json_mode="--json" in ours)


class Command(TyperCommand):
    """A command that has the shared flags beside its own parameters."""

    def __init__(self, name: str | None, **rest: Any) -> None:
        super().__init__(name, **{**rest, "add_help_option": False})
        keep_plain(self.params, self.callback)
        self._own = _add_shared(self)

    def invoke(self, ctx: Any) -> Any:
        _hear(ctx, self._own)
        return super().invoke(ctx)


class Group(TyperGroup):
    """A group of commands, the program itself among them, that has the shared flags."""

    def __init__(self, **rest: Any) -> None:
        super().__init__(**{**rest, "add_help_option": False})
        keep_plain(self.params, self.callback)
        self._own = _add_shared(self)

    def invoke(self, ctx: Any) -> Any:
        _hear(ctx, self._own)
        return super().invoke(ctx)


def share(program: typer.Typer, before: str = "") -> None:
    """Give the flags to a program and all its commands, those of groups within it too."""
    program.info.cls = Group
    for one in program.registered_commands:
        one.cls = Command
        name = one.name or getattr(one.callback, "__name__", "")
        one.epilog = examples.epilog(f"{before}{name}")
    for group in program.registered_groups:
        group.cls = Group
        if group.typer_instance is not None:
            share(group.typer_instance, f"{before}{group.name} ")


def show_help(context: typer.Context) -> None:
    """The help of a command, as the result."""
    text = context.get_help()
    early_output("--help").result(text, {"of": context.command_path, "text": text})


def _show_help(context: typer.Context, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        show_help(context)
        raise typer.Exit


def shared(
    *,
    json_mode: options.Json = False,
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
    """The parameters that `_add_shared` and completion take from here; never called."""


@functools.cache
def _shared_parameters() -> list[Any]:
    declaring = typer.Typer(add_completion=False)
    declaring.command(add_help_option=False)(shared)
    made: Any = typer.main.get_command(declaring)
    return list(made.params)


def _add_shared(command: Any) -> frozenset[str]:
    """Names of the parameters that the command had of its own."""
    own = frozenset(one.name for one in command.params)
    command.params = [*command.params, *(o for o in _shared_parameters() if o.name not in own)]
    return own


def _hear(context: Any, own: frozenset[str]) -> None:
    """Join a level's flags with those before it, and leave its command its own parameters."""
    said, given = _said.get(), context.params
    joined = Flags(
        typed=said.typed,
        json_mode=said.json_mode or given["json_mode"],
        quiet=said.quiet or given["quiet"],
        verbose=said.verbose or given["verbose"],
    )
    if joined.quiet and joined.verbose:
        context.fail("--quiet and --verbose exclude one another.")
    given["json_mode"] = joined.json_mode
    for one in _shared_parameters():
        if one.name not in own:
            given.pop(one.name)
    _said.set(joined)
