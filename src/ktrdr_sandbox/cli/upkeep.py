"""doctor and gc: what finds and ends what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from ktrdr_sandbox.cli import completion, params
from ktrdr_sandbox.cli.boundary import command, leave_with_failure
from ktrdr_sandbox.cli.wiring import command_context
from ktrdr_sandbox.commands import bundle as bundles
from ktrdr_sandbox.commands import doctor as examining
from ktrdr_sandbox.commands import gc as collecting
from ktrdr_sandbox.console import reports, results
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.naming import instance_id
from ktrdr_sandbox.targeting import target


def doctor(
    name: Annotated[
        str | None,
        Argument(
            metavar="NAME",
            help="Leave out what is about other instances.",
            autocompletion=completion.instances,
        ),
    ] = None,
    fix: Annotated[
        bool, Option("--fix", help="Apply the repairs that cannot lose anything.")
    ] = False,
    bundle: Annotated[
        Path | None,
        Option(
            "--bundle",
            metavar="FILE",
            help="Write a new .tar.gz with what a report about the instance needs: these findings, "
            "the gate's as of now, logs, Compose model, versions. Secrets are hidden.",
        ),
    ] = None,
) -> None:
    """Look for what is wrong: tools, settings, instances, and what lies about. 1 for problems."""
    with command("doctor") as output:
        context = command_context(output)
        if bundle is not None:
            # As it stands: what a killed command left of the instance is not recovered first.
            instance = target(context.registry.read(), name=name, cwd=context.cwd)
            bundles.refuse_target(context.cwd / bundle)
        found = examining.examine(context, instance_id=instance_id(name) if name else "", fix=fix)
        text, data = reports.examination(found), results.fill("DoctorData", found)
        if bundle is not None:
            more = {"doctor.txt": f"{text}\n", "doctor.json": data}
            examining.bundle_now(context, instance, context.cwd / bundle, more=more)
        if not found.healthy:
            error = SandboxError("problems-found", "There are problems; each names its fix.")
            leave_with_failure(output, text, data, error, told=True)
        output.result(text, data)


def gc(yes: params.Yes = False) -> None:
    """End what is orphaned, and empty the trash. Only lists it, unless --yes is given."""
    with command("gc", when_interrupted="Run it again to go on.") as output:
        found = collecting.collect(command_context(output), yes=yes)
        for remark in found.remarks:
            output.tell(remark)
        text, data = reports.collection(found, yes=yes), results.fill("GcData", found)
        if not found.complete:
            stays = ", ".join(item.name for item in found.items if item.trouble)
            error = SandboxError(
                "teardown-incomplete",
                f"Some of it could not be ended: {stays}.",
                hints=("The data says why, one by one; run it again afterwards.",),
            )
            leave_with_failure(output, text, data, error, told=True)
        output.result(text, data)
