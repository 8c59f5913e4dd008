"""`--json`, `--quiet`, `--verbose` and `--help`, which every command has and none declares.

They stand before or after the command's name. A command that reads `json_mode` gets it as a
parameter (`options.Json`); everything else follows from the `Output` that the boundary makes.
What was said is kept in `said.py`, which knows nothing of Typer.
"""

from __future__ import annotations

import functools
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from ktrdr_sandbox.cli import examples, options, said


class Command(TyperCommand):
    """A command that has the shared flags beside its own parameters."""

    def __init__(self, name: str | None, **rest: Any) -> None:
        super().__init__(name, **{**rest, "add_help_option": False})
        self._own = _add_shared(self)

    def invoke(self, ctx: Any) -> Any:
        _hear(ctx, self._own)
        return super().invoke(ctx)


class Group(TyperGroup):
    """A group of commands, the program itself among them, that has the shared flags."""

    def __init__(self, **rest: Any) -> None:
        super().__init__(**{**rest, "add_help_option": False})
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
    said.early_output("--help").result(text, {"of": context.command_path, "text": text})


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
    before, given = said.now(), context.params
    joined = said.Flags(
        typed=before.typed,
        json_mode=before.json_mode or given["json_mode"],
        quiet=before.quiet or given["quiet"],
        verbose=before.verbose or given["verbose"],
    )
    if joined.quiet and joined.verbose:
        context.fail("--quiet and --verbose exclude one another.")
    given["json_mode"] = joined.json_mode
    for one in _shared_parameters():
        if one.name not in own:
            given.pop(one.name)
    said.say(joined)
