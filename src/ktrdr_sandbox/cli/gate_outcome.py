"""How a gate is told of: notes, and for a failed one its report as the result, on stdout, with the
exit status that says no."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from ktrdr_sandbox.cli import exit_codes
from ktrdr_sandbox.console.output import Output

if TYPE_CHECKING:
    from ktrdr_sandbox.commands.up import Startup


def tell_notices(output: Output, done: Startup) -> None:
    """What is worth knowing of a start or its proof and is no failure."""
    for notice in done.notices:
        output.tell(f"note: {notice.service or 'stack'}: {notice.text}")


@contextmanager
def gate_outcome(output: Output) -> Iterator[None]:
    """Turn GateFailedError into the report and the command's exit status."""
    from ktrdr_sandbox.commands.up import GateFailedError
    from ktrdr_sandbox.console import data, text

    try:
        yield
    except GateFailedError as failure:
        if output.json_mode:
            output.failure(failure, data=data.startup(failure.startup))
        else:
            output.result(text.startup(failure.startup), {})
        raise typer.Exit(exit_codes.exit_code(output.command, failure.code)) from None
