"""ktrdr-sandbox doctor."""

from __future__ import annotations

from typing import Annotated

import typer

from ktrdr_sandbox.cli import exit_codes, options
from ktrdr_sandbox.cli.boundary import command
from ktrdr_sandbox.cli.wiring import workplace
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.naming import instance_id


def doctor(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME", help="Leave out what is about other instances.", show_default=False
        ),
    ] = None,
    fix: Annotated[
        bool, typer.Option("--fix", help="Apply the repairs that cannot lose anything.")
    ] = False,
    json_mode: options.Json = False,
) -> None:
    """Look for what is wrong: tools, settings, instances, and what lies about. 1 for problems."""
    with command("doctor", json_mode=json_mode) as output:
        from ktrdr_sandbox.console import health
        from ktrdr_sandbox.lifecycle.doctor.examination import examine

        place = workplace(output)
        about = instance_id(name) if name else ""
        found = examine(place, instance_id=about, fix=fix)
        text, data = health.examination(found), health.examination_data(found)
        if found.healthy:
            output.result(text, data)
            return
        if json_mode:
            error = SandboxError("problems-found", "There are problems; each names its fix.")
            output.failure(error, data=data)
        else:
            output.result(text, data)
        raise typer.Exit(exit_codes.FAILED)
