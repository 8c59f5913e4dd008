"""ktrdr-sandbox demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ktrdr_sandbox.cli import exit_codes, options
from ktrdr_sandbox.cli.boundary import command
from ktrdr_sandbox.cli.wiring import workplace


def demo(
    clean: Annotated[
        bool, typer.Option("--clean", help="Remove everything that the demo made.")
    ] = False,
    directory: Annotated[
        Path | None,
        typer.Option(
            "--directory",
            metavar="PATH",
            help="Scratch folder. [default: in the user's cache folder]",
            show_default=False,
        ),
    ] = None,
    json_mode: options.Json = False,
) -> None:
    """Bring up two complete stacks of a sample application, side by side."""
    interrupted = "Run 'ktrdr-sandbox demo' to go on, or 'demo --clean' to remove everything."
    with command("demo", json_mode=json_mode, when_interrupted=interrupted) as output:
        from ktrdr_sandbox.console import data, text
        from ktrdr_sandbox.console.progress import ComposeLines, GateLines
        from ktrdr_sandbox.lifecycle import demonstration, startup
        from ktrdr_sandbox.paths import demo_folder

        folder = (directory or demo_folder()).absolute()
        place = workplace(output)
        if clean:
            gone = demonstration.clean(place, folder, step=output.progress)
            output.result(text.cleanup(gone), data.cleanup(gone))
            return
        try:
            shown = demonstration.demonstrate(
                place,
                folder,
                step=output.progress,
                progress=ComposeLines(output),
                observer=lambda _: GateLines(output),
            )
        except startup.GateFailedError as failure:
            if json_mode:
                output.failure(failure, data=data.startup(failure.startup))
            else:
                output.result(text.startup(failure.startup), {})
            raise typer.Exit(exit_codes.exit_code("demo", failure.code)) from None
        output.result(text.demonstration(shown), data.demonstration(shown))
