"""ktrdr-sandbox explain."""

from __future__ import annotations

from typing import Annotated

import typer

from ktrdr_sandbox.cli import options
from ktrdr_sandbox.cli.boundary import command
from ktrdr_sandbox.errors import SandboxError


def explain(
    code: Annotated[
        str | None,
        typer.Argument(
            metavar="CODE", help="Of an error in --json. Left out: all.", show_default=False
        ),
    ] = None,
    json_mode: options.Json = False,
) -> None:
    """Tell what an error code means, and what to do about it."""
    with command("explain", json_mode=json_mode) as output:
        from ktrdr_sandbox.cli.error_table import entries
        from ktrdr_sandbox.console import codes

        found = [entry for entry in entries() if code in (None, entry.code)]
        if not found:
            raise SandboxError(
                "usage",
                f"There is no error code '{code}'.",
                hints=("Run 'ktrdr-sandbox explain' to see all.",),
            )
        output.result(codes.text(found, whole=code is not None), codes.data(found))
