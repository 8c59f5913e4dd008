"""ktrdr-sandbox status."""

from __future__ import annotations

from ktrdr_sandbox.cli import options
from ktrdr_sandbox.cli.boundary import command
from ktrdr_sandbox.cli.wiring import instance_of, workplace


def status(name: options.Name = None, json_mode: options.Json = False) -> None:
    """Show detailed status of an instance."""
    with command("status", json_mode=json_mode) as output:
        from ktrdr_sandbox.console import data, text
        from ktrdr_sandbox.lifecycle import inspection

        place = workplace(output)
        found = inspection.status(place, instance_of(place, name))
        output.result(text.instance_status(found), data.status(found))
