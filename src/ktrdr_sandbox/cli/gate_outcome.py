"""How a failed gate is shown: its report is the result, on stdout, and the exit status says no."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from ktrdr_sandbox.cli import exit_codes
from ktrdr_sandbox.console.output import Output


@contextmanager
def gate_outcome(output: Output) -> Iterator[None]:
    """Turn GateFailedError into the report and the command's exit status."""
    from ktrdr_sandbox.console import data, text
    from ktrdr_sandbox.lifecycle.startup import GateFailedError

    try:
        yield
    except GateFailedError as failure:
        if output.json_mode:
            output.failure(failure, data=data.startup(failure.startup))
        else:
            output.result(text.startup(failure.startup), {})
        raise typer.Exit(exit_codes.exit_code(output.command, failure.code)) from None
