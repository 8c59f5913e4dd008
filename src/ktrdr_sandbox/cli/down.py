"""ktrdr-sandbox down."""

from __future__ import annotations

from typing import Annotated

import typer

from ktrdr_sandbox.cli import options
from ktrdr_sandbox.cli.boundary import command
from ktrdr_sandbox.cli.fleet import refuse_with_all, run_on_all
from ktrdr_sandbox.cli.wiring import instance_of, workplace


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
        from ktrdr_sandbox.console import data, text
        from ktrdr_sandbox.lifecycle import teardown
        from ktrdr_sandbox.lifecycle.fleet import everyone

        place = workplace(output)
        if every:
            refuse_with_all(("NAME", name))
            chosen = [*(["--volumes"] if volumes else []), *(["--now"] if now else [])]
            run_on_all(output, everyone(place), ["down", *chosen], jobs=jobs)
            return
        done = teardown.down(place, instance_of(place, name), volumes=volumes, now=now)
        output.result(text.shutdown(done), data.shutdown(done))
