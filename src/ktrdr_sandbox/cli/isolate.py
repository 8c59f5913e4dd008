"""ktrdr-sandbox isolate."""

from __future__ import annotations

from typing import Annotated

import typer

from ktrdr_sandbox.cli import options
from ktrdr_sandbox.cli.boundary import command
from ktrdr_sandbox.cli.wiring import command_context, instance_of


def isolate(
    name: options.Name = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="With the reason of each change (the default).")
    ] = True,
    override: Annotated[
        bool, typer.Option("--override", help="Print the override file itself instead.")
    ] = False,
    json_mode: options.Json = False,
) -> None:
    """Show what is laid over the checkout's Compose file, and why. Changes nothing."""
    with command("isolate", json_mode=json_mode) as output:
        from ktrdr_sandbox.commands import compose_project
        from ktrdr_sandbox.console import data, text

        context = command_context(output)
        instance = instance_of(context, name)
        found = compose_project.compose(context, instance, context.engine(instance.engine))
        shown = found.override if override or not explain else text.isolation(found)
        output.result(shown, data.isolation(found))
