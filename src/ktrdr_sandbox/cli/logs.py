"""ktrdr-sandbox logs."""

from __future__ import annotations

from typing import Annotated

import typer

from ktrdr_sandbox.cli import exit_codes, options
from ktrdr_sandbox.cli.boundary import command
from ktrdr_sandbox.cli.wiring import command_context, instance_of


def logs(
    services: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SERVICE]...", help="Only these services.", show_default=False),
    ] = None,
    instance: options.InstanceName = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as lines come.")] = False,
    tail: Annotated[
        int | None,
        typer.Option("--tail", min=0, metavar="LINES", help="Last lines only.", show_default=False),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since", metavar="TIME", help="Since a time, or 10m ago.", show_default=False
        ),
    ] = None,
    timestamps: Annotated[
        bool, typer.Option("--timestamps", "-t", help="Show when each line was printed.")
    ] = False,
    json_mode: options.Json = False,
) -> None:
    """View logs for instance services, also of containers that have stopped."""
    with command("logs", json_mode=json_mode) as output:
        from ktrdr_sandbox.commands import logs
        from ktrdr_sandbox.console.log_lines import LogLines, colour_wanted, show

        context = command_context(output)
        wanted = instance_of(context, instance)
        request = logs.LogRequest(
            services=tuple(services or ()), follow=follow, tail=tail, since=since
        )
        if json_mode:
            output.result("", logs.collected_logs(context, wanted, request))
            return
        view = LogLines(colour=colour_wanted(), timestamps=timestamps)
        try:
            show(logs.shown_logs(context, wanted, request), view)
        except KeyboardInterrupt:
            if not follow:
                raise
            # The way to end it, so no error: but the status says that it did not end by itself.
            raise typer.Exit(exit_codes.INTERRUPTED) from None
