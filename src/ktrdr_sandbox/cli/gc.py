"""ktrdr-sandbox gc."""

from __future__ import annotations

import typer

from ktrdr_sandbox.cli import exit_codes, options
from ktrdr_sandbox.cli.boundary import command
from ktrdr_sandbox.cli.wiring import command_context
from ktrdr_sandbox.errors import SandboxError


def gc(yes: options.Yes = False, json_mode: options.Json = False) -> None:
    """End what is orphaned, and empty the trash. Only lists it, unless --yes is given."""
    with command("gc", json_mode=json_mode, when_interrupted="Run it again to go on.") as output:
        from ktrdr_sandbox.commands.gc import collect
        from ktrdr_sandbox.console import health

        found = collect(command_context(output), yes=yes)
        for remark in found.remarks:
            output.tell(remark)
        text, data = health.collection(found, yes=yes), health.collection_data(found)
        if found.complete:
            output.result(text, data)
            return
        if json_mode:
            stays = [item.name for item in found.items if item.trouble]
            error = SandboxError(
                "teardown-incomplete",
                f"Some of it could not be ended: {', '.join(stays)}.",
                hints=("The data says why, one by one; run it again afterwards.",),
            )
            output.failure(error, data=data)
        else:
            output.result(text, data)
        raise typer.Exit(exit_codes.FAILED)
