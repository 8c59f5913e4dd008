"""Fills the shared folder from one source: compare, and do what that shows is to be done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.files import cannot_write
from ktrdr_sandbox.shared_data.comparison import Comparison
from ktrdr_sandbox.shared_data.entries import Folder
from ktrdr_sandbox.shared_data.manifest import Manifest, Origin
from ktrdr_sandbox.shared_data.plans import Plan
from ktrdr_sandbox.shared_data.presence import Presence
from ktrdr_sandbox.shared_data.results import Observer

if TYPE_CHECKING:
    from ktrdr_sandbox.shared_data.carrying import MakeCarrier
    from ktrdr_sandbox.shared_data.outcomes import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """What was planned, and what became of it (None where nothing was to be done or tried)."""

    plan: Plan
    outcome: Outcome | None
    links: int = 0
    folders: int = 0


class Filler:
    """One run on one shared folder."""

    def __init__(
        self,
        shared: Path,
        manifest: Manifest,
        *,
        origin: Origin,
        overwrite: bool,
        observe: Observer,
    ) -> None:
        self._shared = shared
        self._manifest = manifest
        self._origin = origin
        self._number = manifest.number_of(origin)
        self._overwrite = overwrite
        self._observe = observe

    def plan(self, folders: Iterator[Folder], present: Presence) -> Plan:
        """What would be done. Changes nothing. Raises `cannot-write`."""
        comparison = Comparison(
            str(self._shared), present, self._manifest, self._number, overwrite=self._overwrite
        )
        try:
            return comparison.add_all(folders)
        except OSError as error:
            raise cannot_fill(self._shared, error) from error

    def carry_out(self, plan: Plan, kinds: list[str], make: MakeCarrier) -> Fill:
        """Do it. `kinds` are the folders that the source has.

        Raises `cannot-write`, and what the carrier raises. Whatever was placed by then stays, is
        whole, and is known to the next run.
        """
        if not plan.folders:
            if plan.found:
                self._manifest.origins[self._number] = self._origin
                self._manifest.settle(plan.found, claimed=())
            return Fill(plan=plan, outcome=None)
        from ktrdr_sandbox.shared_data.carrying import Carrying  # not where nothing is to be done

        carrying = Carrying(self._shared, self._manifest, self._origin, self._number, self._observe)
        return carrying.run(plan, kinds, make)

    def note_origin(self, origin: Origin) -> None:
        """Write down what is known of the origin now that all of it is there."""
        if self._manifest.origins.get(self._number) != origin:
            self._manifest.origins[self._number] = origin
            self._manifest.compact()


def cannot_fill(shared: Path, error: OSError) -> SandboxError:
    """The error for a run that ended half-way."""
    told = cannot_write(shared, error)
    told.hints = (*told.hints, "What is there is whole; the same command goes on from it.")
    return told
