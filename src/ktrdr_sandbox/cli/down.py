"""ktrdr-sandbox down."""

from __future__ import annotations

from typing import Annotated

import typer

from ktrdr_sandbox.cli import options
from ktrdr_sandbox.cli.boundary import command
from ktrdr_sandbox.cli.fleet import refuse_with_all, run_on_all
from ktrdr_sandbox.cli.wiring import command_context, instance_of


def down(
    name: options.Name = None,
    volumes: Annotated[
        bool,
        typer.Option(
            "--volumes", help="Also remove volumes (database data, etc.), without asking."
        ),
    ] = False,
    now: Annotated[
        bool, typer.Option("--now", help="Kill at once instead of honouring grace periods.")
    ] = False,
    every: options.All = False,
    jobs: options.Jobs = None,
    json_mode: options.Json = False,
) -> None:
    """Stop the stack. Data in volumes is kept unless --volumes is given.

    Volumes without a name go with their containers: nothing could reach them again.
    """
    interrupted = "Run 'down' again to finish."
    with command("down", json_mode=json_mode, when_interrupted=interrupted) as output:
        from ktrdr_sandbox.commands import destroy
        from ktrdr_sandbox.commands.parallel_runs import everyone
        from ktrdr_sandbox.console import data, text

        context = command_context(output)
        if every:
            refuse_with_all(("NAME", name))
            chosen = [*(["--volumes"] if volumes else []), *(["--now"] if now else [])]
            run_on_all(output, everyone(context), ["down", *chosen], jobs=jobs)
            return
        done = destroy.down(context, instance_of(context, name), volumes=volumes, now=now)
        output.result(text.shutdown(done), data.shutdown(done))
