"""ktrdr-sandbox exec."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ktrdr_sandbox.cli import options
from ktrdr_sandbox.cli.boundary import command
from ktrdr_sandbox.cli.wiring import command_context, instance_of
from ktrdr_sandbox.console.output import on_terminal
from ktrdr_sandbox.errors import SandboxError


def execute(
    service: Annotated[
        str, typer.Argument(metavar="SERVICE", help="Service of the stack, for example backend.")
    ],
    command_line: Annotated[
        list[str] | None,
        typer.Argument(metavar="COMMAND", help="Command to run there, with its own arguments."),
    ] = None,
    instance: options.InstanceName = None,
    json_mode: options.JsonOfFailures = False,
) -> None:
    """Run a command inside the running container of a service.

    It has the terminal, or what is piped in. Its exit status is that of the command.
    """
    with command("exec", json_mode=json_mode) as output:
        from ktrdr_sandbox.commands import environment

        if not command_line:
            where = f"-i {instance} " if instance else ""
            raise SandboxError(
                "usage",
                "There is nothing to run.",
                hints=(f"For example: ktrdr-sandbox exec {where}{service} sh",),
            )
        context = command_context(output)
        status = environment.run_inside(
            context,
            instance_of(context, instance),
            service,
            command_line,
            terminal=on_terminal(sys.stdin) and on_terminal(sys.stdout),
        )
    raise typer.Exit(status)
