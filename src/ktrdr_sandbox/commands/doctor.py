"""doctor: all checks at once, and the repairs that cannot lose anything."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from ktrdr_sandbox.background import run_in_background
from ktrdr_sandbox.commands.bundle import write_bundle
from ktrdr_sandbox.commands.context import Context
from ktrdr_sandbox.commands.doctor_checks import CHECKS, Check, DoctorContext, Finding, look_around
from ktrdr_sandbox.commands.up import GateFailedError, wait
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.models import Instance
from ktrdr_sandbox.shared.inventory import Inventory, take_inventory

GATE_PATIENCE: Final = 5.0
"""Seconds for the gate, which is to tell how things are and not to wait until they are well."""


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
    holdings = run_in_background(functools.partial(take_inventory, context.home.shared))
    around = look_around(context)
    answers = [run_in_background(functools.partial(_run, check, around)) for check in CHECKS]
    found = [finding for answer in answers for finding in answer.result()]
    if instance_id:
        found = [one for one in found if not one.instance or one.instance == instance_id]
    return Examination(findings=tuple(_repaired(found) if fix else found), shared=holdings.result())


def bundle_now(
    context: Context, instance: Instance, path: Path, *, more: Mapping[str, Any]
) -> None:
    """Write a bundle of an instance as it stands, with the gate's report as of now.

    Restarts nothing. Raises `file-exists`, `cannot-write`.
    """
    gate = failure = None
    try:
        startup = wait(
            context, instance, timeout=GATE_PATIENCE, only=None, observe=lambda _: None, heal=False
        )
        gate = startup.gate
    except GateFailedError as error:
        gate = error.startup.gate
    except SandboxError as error:
        if error.code == "interrupted":
            raise
        failure = error
    write_bundle(context, instance, path, gate=gate, error=failure, more=more)


def _run(check: Check, around: DoctorContext) -> list[Finding]:
    return list(check(around))


def _repaired(findings: Iterable[Finding]) -> Iterator[Finding]:
    for finding in findings:
        if finding.repair is None:
            yield finding
            continue
        try:
            finding.repair()
        except (SandboxError, OSError) as error:
            yield replace(finding, text=f"{finding.text} (not repaired: {error})")
        else:
            yield replace(finding, repaired=True)
