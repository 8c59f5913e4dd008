"""A result whose hook failed: what was done is shown as ever, and then the hook's failure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from ktrdr_sandbox.cli import exit_codes
from ktrdr_sandbox.console.output import Output

if TYPE_CHECKING:
    from ktrdr_sandbox.commands.hooks import HookFailure


def conclude(
    output: Output, text: str, data: dict[str, Any], *, failure: HookFailure | None, result: str
) -> None:
    """Show the result, and leave with `hook-failed` if there is a failure.

    `result` is the sentence that tells how things stand all the same.
    """
    if failure is None:
        output.result(text, data)
        return
    error = failure.error(result=result)
    if not output.json_mode:
        output.result(text, data)
    output.failure(error, data=data)
    raise typer.Exit(exit_codes.exit_code(output.command, error.code))
