"""ktrdr-sandbox doctor."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ktrdr_sandbox.cli import exit_codes, options
from ktrdr_sandbox.cli.boundary import command
from ktrdr_sandbox.cli.wiring import command_context
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.naming import instance_id
from ktrdr_sandbox.targeting import target

if TYPE_CHECKING:
    from ktrdr_sandbox.commands.context import Context
    from ktrdr_sandbox.models import Instance


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
    bundle: Annotated[
        Path | None,
        typer.Option(
            "--bundle",
            metavar="FILE",
            help="Write a new .tar.gz with what a report about the instance needs: these findings, "
            "the gate's as of now, logs, Compose model, versions. Secrets are hidden.",
            show_default=False,
        ),
    ] = None,
    json_mode: options.Json = False,
) -> None:
    """Look for what is wrong: tools, settings, instances, and what lies about. 1 for problems."""
    with command("doctor", json_mode=json_mode) as output:
        from ktrdr_sandbox.commands.doctor import bundle_now, examine
        from ktrdr_sandbox.console import health

        context = command_context(output)
        bundled = None if bundle is None else _bundled(context, name, context.cwd / bundle)
        about = instance_id(name) if name else ""
        found = examine(context, instance_id=about, fix=fix)
        text, data = health.examination(found), health.examination_data(found)
        if bundled is not None:
            more = {"doctor.txt": f"{text}\n", "doctor.json": data}
            bundle_now(context, *bundled, more=more)
        if found.healthy:
            output.result(text, data)
            return
        if json_mode:
            error = SandboxError("problems-found", "There are problems; each names its fix.")
            output.failure(error, data=data)
        else:
            output.result(text, data)
        raise typer.Exit(exit_codes.FAILED)


def _bundled(context: Context, name: str | None, path: Path) -> tuple[Instance, Path]:
    """What goes into the bundle, as it stands: what a killed command left of it is not ended.

    Raises `no-such-instance`, `not-in-instance`, `file-exists`, `cannot-write`.
    """
    from ktrdr_sandbox.commands.bundle import refuse_target

    instance = target(context.registry.read(), name=name, cwd=context.cwd)
    refuse_target(path)
    return instance, path
