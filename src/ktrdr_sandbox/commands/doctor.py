"""doctor: all checks at once, and the repairs that cannot lose anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from ktrdr_sandbox.background import run_in_background
from ktrdr_sandbox.commands.bundle import write_bundle
from ktrdr_sandbox.commands.context import Context
from ktrdr_sandbox.commands.doctor_checks import CHECKS, Finding, look_around
from ktrdr_sandbox.commands.up import GateFailedError, wait
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.models import Instance
from ktrdr_sandbox.shared.inventory import Inventory, take_inventory

GATE_PATIENCE: Final = 5.0  # seconds: it is to tell how things are, not to wait until they are well


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """`findings` in the order of the report; `shared` is what the shared folder holds."""

    findings: tuple[Finding, ...]
    shared: Inventory

    @property
    def healthy(self) -> bool:
        return all(one.level != "problem" or one.repaired for one in self.findings)


def examine(context: Context, *, instance_id: str = "", fix: bool = False) -> Examination:
    """Look at everything, or at what concerns one instance. `fix` applies the safe repairs."""
    shared = run_in_background(partial(take_inventory, context.home.shared))
    around = look_around(context)
    answers = [run_in_background(partial(lambda c: list(c(around)), check)) for check in CHECKS]
    found = [finding for answer in answers for finding in answer.result()]
    if instance_id:
        found = [one for one in found if not one.instance or one.instance == instance_id]
    if fix:
        found = [_repaired(one) for one in found]
    return Examination(findings=tuple(found), shared=shared.result())


def _repaired(finding: Finding) -> Finding:
    if finding.repair is None:
        return finding
    try:
        finding.repair()
    except (SandboxError, OSError) as error:
        return replace(finding, text=f"{finding.text} (not repaired: {error})")
    return replace(finding, repaired=True)


def bundle_now(
    context: Context, instance: Instance, path: Path, *, more: Mapping[str, Any]
) -> None:
    """Write a bundle of an instance as it stands, with the gate's report as of now.

    Restarts nothing. Raises `file-exists`, `cannot-write`.
    """
    gate = failure = None
    try:
        gate = wait(
            context, instance, timeout=GATE_PATIENCE, only=None, observe=lambda _: None, heal=False
        ).gate
    except GateFailedError as error:
        gate = error.startup.gate
    except SandboxError as error:
        if error.code == "interrupted":
            raise
        failure = error
    write_bundle(context, instance, path, gate=gate, error=failure, more=more)
