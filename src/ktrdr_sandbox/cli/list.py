"""ktrdr-sandbox list."""

from __future__ import annotations

from ktrdr_sandbox.cli import options
from ktrdr_sandbox.cli.boundary import command
from ktrdr_sandbox.cli.wiring import command_context


def list_instances(json_mode: options.Json = False) -> None:
    """List all sandbox instances."""
    with command("list", json_mode=json_mode) as output:
        from ktrdr_sandbox.commands import inspect
        from ktrdr_sandbox.console import data, text

        found = inspect.list_instances(command_context(output))
        for gone in found.dropped:
            output.tell(f"{gone.id} was dropped: its directory is gone and nothing of it is left.")
        output.result(text.listing(found), data.listing(found))
