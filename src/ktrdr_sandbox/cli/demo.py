"""ktrdr-sandbox demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ktrdr_sandbox.cli import options
from ktrdr_sandbox.cli.boundary import command
from ktrdr_sandbox.cli.gate_outcome import gate_outcome
from ktrdr_sandbox.cli.wiring import command_context


def demo(
    clean: Annotated[
        bool, typer.Option("--clean", help="Remove everything that the demo made, without asking.")
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
        from ktrdr_sandbox.commands import demo
        from ktrdr_sandbox.console import data, text
        from ktrdr_sandbox.console.progress import ComposeLines, GateLines
        from ktrdr_sandbox.paths import demo_folder

        folder = (directory or demo_folder()).absolute()
        context = command_context(output)
        if clean:
            gone = demo.clean(context, folder, step=output.progress)
            output.result(text.cleanup(gone), data.cleanup(gone))
            return
        with gate_outcome(output):
            shown = demo.demonstrate(
                context,
                folder,
                step=output.progress,
                progress=ComposeLines(output, everything=output.verbose),
                observer=lambda _: GateLines(output),
            )
        output.result(text.demonstration(shown), data.demonstration(shown))
