"""ktrdr-sandbox status."""

from __future__ import annotations

from ktrdr_sandbox.cli import options
from ktrdr_sandbox.cli.boundary import command
from ktrdr_sandbox.cli.fleet import refuse_with_all
from ktrdr_sandbox.cli.wiring import command_context, instance_of


def status(
    name: options.Name = None, every: options.All = False, json_mode: options.Json = False
) -> None:
    """Show detailed status of an instance."""
    with command("status", json_mode=json_mode) as output:
        from ktrdr_sandbox.commands import inspect
        from ktrdr_sandbox.console import data, text

        context = command_context(output)
        if every:
            refuse_with_all(("NAME", name))
            all_found = inspect.status_of_all(context)
            output.result(text.statuses(all_found), data.statuses(all_found))
            return
        found = inspect.status(context, instance_of(context, name))
        output.result(text.instance_status(found), data.status(found))
