"""ktrdr-sandbox env."""

from __future__ import annotations

from typing import Annotated

import typer

from ktrdr_sandbox.cli import options
from ktrdr_sandbox.cli.boundary import command
from ktrdr_sandbox.cli.wiring import command_context, instance_of


def env(
    name: options.Name = None,
    export: Annotated[
        bool,
        typer.Option("--export", help='Lines for a shell: eval "$(ktrdr-sandbox env --export)"'),
    ] = False,
    json_mode: options.Json = False,
) -> None:
    """Print the instance's .env.sandbox as it is, passwords included.

    --export and --json give its values, the shared folders and KTRDR_API_URL.
    """
    with command("env", json_mode=json_mode) as output:
        from ktrdr_sandbox.commands import environment
        from ktrdr_sandbox.console import data

        context = command_context(output)
        given = environment.environment_of(context, instance_of(context, name))
        if export and given.invalid_names:
            output.tell(f"No shell takes this as a name: {', '.join(given.invalid_names)}.")
        output.disclosure(given.exports if export else given.text, data.environment_data(given))
