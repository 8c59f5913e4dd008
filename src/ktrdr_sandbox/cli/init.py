"""ktrdr-sandbox init."""

from __future__ import annotations

from ktrdr_sandbox.cli import options
from ktrdr_sandbox.cli.boundary import command
from ktrdr_sandbox.cli.wiring import command_context


def init(slot: options.Slot = None, json_mode: options.Json = False) -> None:
    """Make the current checkout an instance (for existing clones and worktrees)."""
    with command("init", json_mode=json_mode) as output:
        from ktrdr_sandbox.commands import create
        from ktrdr_sandbox.console import data, text

        made = create.init(command_context(output), slot=slot)
        for sentence in text.skipped(made):
            output.tell(sentence)
        output.result(text.creation(made, verb="Initialised"), data.creation(made))
