"""ktrdr-sandbox create."""

from __future__ import annotations

from typing import Annotated

import typer

from ktrdr_sandbox.cli import options
from ktrdr_sandbox.cli.boundary import command
from ktrdr_sandbox.cli.hook_outcome import conclude
from ktrdr_sandbox.cli.wiring import command_context


def create(
    name: Annotated[
        str, typer.Argument(help="Instance name (will be prefixed with ktrdr--).", metavar="NAME")
    ],
    branch: Annotated[
        str | None,
        typer.Option(
            "--branch",
            help="Git branch to check out. [default: NAME, made at the current commit if new]",
            show_default=False,
        ),
    ] = None,
    slot: options.Slot = None,
    json_mode: options.Json = False,
) -> None:
    """Create a sandbox instance: a git worktree beside the main one, with its own port slot."""
    interrupted = "An instance that 'list' shows is complete."
    with command("create", json_mode=json_mode, when_interrupted=interrupted) as output:
        from ktrdr_sandbox.commands import create
        from ktrdr_sandbox.commands.hooks import run_hook
        from ktrdr_sandbox.console import data, text

        context = command_context(output, purpose=f"create {name}")
        made = create.create(context, name=name, branch=branch, slot=slot)
        for sentence in (*text.skipped(made), *text.left_out(made)):
            output.tell(sentence)
        failure = run_hook(context, made.instance, "after_create", sink=output.progress)
        conclude(
            output,
            text.creation(made, verb="Created"),
            data.creation(made),
            failure=failure,
            result=f"{made.instance.id} was created all the same.",
        )
