"""ktrdr-sandbox run."""

from __future__ import annotations

from typing import Annotated

import typer

from ktrdr_sandbox.cli import options
from ktrdr_sandbox.cli.boundary import command
from ktrdr_sandbox.cli.wiring import command_context, instance_of
from ktrdr_sandbox.errors import SandboxError


def run_command(
    command_line: Annotated[
        list[str] | None,
        typer.Argument(metavar="COMMAND", help="Command to run, with its own arguments."),
    ] = None,
    instance: options.InstanceName = None,
    json_mode: options.JsonOfFailures = False,
) -> None:
    """Run any command with the instance's environment, in the current directory.

    It gets what .env.sandbox says, and KTRDR_API_URL. Its exit status is that of the command; 127
    when there is no such command, 126 when it cannot be executed.
    """
    with command("run", json_mode=json_mode) as output:
        from ktrdr_sandbox.commands import environment

        if not command_line:
            where = f"-i {instance} " if instance else ""
            raise SandboxError(
                "usage",
                "There is nothing to run.",
                hints=(f"For example: ktrdr-sandbox run {where}-- make test-e2e",),
            )
        context = command_context(output)
        environment.run_with(context, instance_of(context, instance), command_line)
