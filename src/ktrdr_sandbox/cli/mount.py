"""`sandbox` for another command line to mount: the entry point in the group `ktrdr.commands`.

A Typer application takes it by `add_typer(sandbox, name="sandbox")`, a Click group by
`add_command(typer.main.get_command(sandbox), "sandbox")`.
"""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from ktrdr_sandbox.cli.app import application, run


class _Passing(TyperGroup):
    """Gives every argument to this program itself, so that usage, help and exit statuses are its
    own. For help and completion of the program it is mounted in, it has the same commands."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if ctx.resilient_parsing:  # completion
            return list(super().parse_args(ctx, args))
        ctx.args = list(args)
        return []

    def invoke(self, ctx: Any) -> Any:
        raise typer.Exit(run(ctx.args, program=ctx.command_path))


sandbox = typer.Typer(
    name="sandbox", cls=_Passing, help="One complete, isolated KTRDR stack per git branch."
)
sandbox.registered_commands.extend(application().registered_commands)
