"""ktrdr-sandbox move."""

from __future__ import annotations

from typing import Annotated

import typer

from ktrdr_sandbox.cli import options
from ktrdr_sandbox.cli.boundary import command
from ktrdr_sandbox.cli.wiring import command_context, instance_of
from ktrdr_sandbox.models import FIRST_SLOT, LAST_SLOT


def move(
    slot: Annotated[
        int, typer.Option("--slot", min=FIRST_SLOT, max=LAST_SLOT, help="The new port slot.")
    ],
    name: options.Name = None,
    json_mode: options.Json = False,
) -> None:
    """Give a stopped instance another port slot. Its data stays."""
    with command("move", json_mode=json_mode) as output:
        from ktrdr_sandbox.commands import moving
        from ktrdr_sandbox.console import data, text

        context = command_context(output)
        done = moving.move(context, instance_of(context, name), slot=slot)
        output.result(text.move(done), data.move(done))
