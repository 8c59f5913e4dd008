"""list, status and logs: what shows how things stand."""

from __future__ import annotations

from typing import Annotated

import typer
from typer import Argument, Option

from ktrdr_sandbox.cli import completion, error_table, params
from ktrdr_sandbox.cli.all_instances import refuse_with_all
from ktrdr_sandbox.cli.boundary import command
from ktrdr_sandbox.cli.wiring import command_context, instance_of
from ktrdr_sandbox.commands import inspect
from ktrdr_sandbox.commands import logs as reading
from ktrdr_sandbox.console import log_lines, results, text


def list_instances() -> None:
    """List all sandbox instances."""
    with command("list") as output:
        found = inspect.list_instances(command_context(output))
        for gone in found.dropped:
            output.tell(f"{gone.id} was dropped: its directory is gone and nothing of it is left.")
        output.result(text.listing(found), results.listing(found))


def status(name: params.Name = None, every: params.All = False) -> None:
    """Show detailed status of an instance."""
    with command("status") as output:
        context = command_context(output)
        if every:
            refuse_with_all(("NAME", name))
            every_one = inspect.status_of_all(context)
            data = {"instances": [results.fill("StatusData", one) for one in every_one]}
            output.result(text.statuses(every_one), data)
            return
        found = inspect.status(context, instance_of(context, name))
        output.result(text.instance_status(found), results.fill("StatusData", found))


def logs(
    services: Annotated[
        list[str] | None,
        Argument(
            metavar="[SERVICE]...", help="Only these services.", autocompletion=completion.services
        ),
    ] = None,
    instance: params.InstanceName = None,
    follow: Annotated[bool, Option("--follow", "-f", help="Go on as lines come.")] = False,
    tail: Annotated[
        int | None, Option("--tail", min=0, metavar="LINES", help="Last lines only.")
    ] = None,
    since: Annotated[
        str | None, Option("--since", metavar="TIME", help="Since a time, or 10m ago.")
    ] = None,
    timestamps: Annotated[
        bool, Option("--timestamps", "-t", help="Show when each line was printed.")
    ] = False,
) -> None:
    """View logs for instance services, also of containers that have stopped."""
    with command("logs") as output:
        context = command_context(output)
        wanted = instance_of(context, instance)
        chosen = tuple(services or ())
        request = reading.LogRequest(services=chosen, follow=follow, tail=tail, since=since)
        if output.json_mode:
            output.result("", reading.collected_logs(context, wanted, request))
            return
        try:
            log_lines.show(reading.shown_logs(context, wanted, request), timestamps=timestamps)
        except KeyboardInterrupt:
            if not follow:
                raise
            # The way to end it, so no error: but the status says that it did not end by itself.
            raise typer.Exit(error_table.INTERRUPTED) from None
