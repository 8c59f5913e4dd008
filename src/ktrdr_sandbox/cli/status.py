"""ktrdr-sandbox status."""

from __future__ import annotations

from ktrdr_sandbox.cli import options
from ktrdr_sandbox.cli.boundary import command
from ktrdr_sandbox.cli.fleet import refuse_with_all
from ktrdr_sandbox.cli.wiring import instance_of, workplace


def status(
    name: options.Name = None, every: options.All = False, json_mode: options.Json = False
) -> None:
    """Show detailed status of an instance."""
    with command("status", json_mode=json_mode) as output:
        from ktrdr_sandbox.console import data, text
        from ktrdr_sandbox.lifecycle import inspection

        place = workplace(output)
        if every:
            refuse_with_all(("NAME", name))
            all_found = inspection.status_of_all(place)
            output.result(text.statuses(all_found), data.statuses(all_found))
            return
        found = inspection.status(place, instance_of(place, name))
        output.result(text.instance_status(found), data.status(found))
