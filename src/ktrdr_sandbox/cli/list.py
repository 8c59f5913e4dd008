"""ktrdr-sandbox list."""

from __future__ import annotations

from ktrdr_sandbox.cli import options
from ktrdr_sandbox.cli.boundary import command
from ktrdr_sandbox.cli.wiring import workplace


def list_instances(json_mode: options.Json = False) -> None:
    """List all sandbox instances."""
    with command("list", json_mode=json_mode) as output:
        from ktrdr_sandbox.console import data, text
        from ktrdr_sandbox.lifecycle import inspection

        found = inspection.list_instances(workplace(output))
        for gone in found.dropped:
            output.tell(f"{gone.id} was dropped: its directory is gone and nothing of it is left.")
        output.result(text.listing(found), data.listing(found))
