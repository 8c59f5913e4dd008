"""Carries a plan out: look for room, claim, place, write down what was placed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, Protocol

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.shared_data.copying import opened_folder
from ktrdr_sandbox.shared_data.filling import Fill, cannot_fill
from ktrdr_sandbox.shared_data.layout import kind_of
from ktrdr_sandbox.shared_data.manifest import Manifest, Origin
from ktrdr_sandbox.shared_data.outcomes import Outcome
from ktrdr_sandbox.shared_data.placing import Staging, no_room
from ktrdr_sandbox.shared_data.plans import Plan, link_record
from ktrdr_sandbox.shared_data.results import Observer, Progress
from ktrdr_sandbox.shared_data.transfer import Transfer

MARGIN: Final = 16 * 1024 * 1024
"""Bytes that stay free: a disk filled to the last one stops every stack on it."""


class Carrier(Protocol):
    """Places the files of a plan: from folders, or from an archive."""

    def run(
        self, plan: Plan, *, collect: Callable[[Outcome], None], observe: Callable[[int, int], None]
    ) -> None: ...


MakeCarrier = Callable[[Callable[[str], Staging], str], Carrier]
"""Given the staging folder for a path, and the number of the origin."""


class Carrying:
    """One plan for one shared folder. `number` is that of the origin in the manifest."""

    def __init__(
        self, shared: Path, manifest: Manifest, origin: Origin, number: str, observe: Observer
    ) -> None:
        self._shared = shared
        self._manifest = manifest
        self._origin = origin
        self._number = number
        self._observe = observe
        self._outcome = Outcome()

    def run(self, plan: Plan, kinds: list[str], make: MakeCarrier) -> Fill:
        """Do it. `kinds` are the folders that the source has.

        Raises `cannot-write`, and what the carrier raises.
        """
        with ExitStack() as stack:
            stagings = self._stagings(stack, kinds)
            self._check_room(plan, stagings)
            carrier = make(lambda path: stagings[kind_of(path)], self._number)
            with self._telling(), self._written_down(plan):
                folders = self._make_folders(plan)
                carrier.run(plan, collect=self._collect, observe=self._progress_of(plan))
                links = self._make_links(plan, stagings)
                self._set_folder_times(plan)
        return Fill(plan=plan, outcome=self._outcome, links=links, folders=folders)

    @contextmanager
    def _written_down(self, plan: Plan) -> Iterator[None]:
        """What the block places is claimed before it and settled after it, however it ends."""
        self._manifest.claim(
            self._claims(plan), found=plan.found, number=self._number, origin=self._origin
        )
        try:
            yield
        finally:
            claimed = (path for path, _ in self._claims(plan))
            self._manifest.settle(self._outcome.records, claimed=claimed)

    def _claims(self, plan: Plan) -> Iterator[tuple[str, str]]:
        """Paths and records of what is about to be placed; made anew rather than kept."""
        for one in plan.folders:
            yield from one.records(self._number)

    def _collect(self, outcome: Outcome) -> None:
        self._manifest.note(outcome.records)
        outcome.records.clear()  # of 100,000 files they take as much memory as all else
        self._outcome.add(outcome)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise cannot_fill(self._shared, error) from error

    # -- before ----------------------------------------------------------------------------------

    def _stagings(self, stack: ExitStack, kinds: list[str]) -> dict[str, Staging]:
        """The staging folder for each kind, on the device that the kind lies on."""
        device = self._shared.stat().st_dev
        shared = stack.enter_context(Staging.opened(self._shared))
        found = {}
        for kind in kinds:
            folder = self._shared / kind
            own = folder.stat().st_dev != device
            found[kind] = stack.enter_context(Staging.opened(folder)) if own else shared
        return found

    def _check_room(self, plan: Plan, stagings: dict[str, Staging]) -> None:
        needed: dict[int, int] = {}
        for one in plan.folders:
            fd = stagings[kind_of(one.folder.path)].fd
            needed[fd] = needed.get(fd, 0) + one.room_needed
        for fd, size in needed.items():
            info = os.fstatvfs(fd)
            free = info.f_bavail * info.f_frsize
            if size and size + MARGIN > free and not self._takes_no_room(plan, stagings):
                raise no_room(self._shared, needed=size + MARGIN, free=free)
            if info.f_files and plan.files > info.f_favail:
                raise _too_many_files(self._shared, plan.files, info.f_favail)

    @staticmethod
    def _takes_no_room(plan: Plan, stagings: dict[str, Staging]) -> bool:
        """Whether the file system shares blocks between the source and the copy: tries it."""
        largest = max(
            ((one, task) for one in plan.folders for task in one.all_tasks()),
            key=lambda pair: pair[1].entry.size,
        )
        one, task = largest
        staging = stagings[kind_of(one.folder.path)]
        if not one.folder.location:
            return False
        with contextlib.suppress(OSError):
            source = os.open(f"{one.folder.location}/{task.entry.name}", os.O_RDONLY)
            try:
                draft = staging.draft(staging.fd, 0o600, named=True)
                try:
                    return Transfer().clone(source, draft.fd)
                finally:
                    draft.close()
            finally:
                os.close(source)
        return False

    def _make_folders(self, plan: Plan) -> int:
        """Parents come first in a plan. The owner can always write: a later run has to."""
        missing = [one.folder for one in plan.folders if not one.exists]
        for folder in missing:
            path = self._shared / folder.path
            mode = folder.mode | 0o700
            with contextlib.suppress(FileExistsError):  # a running stack was quicker
                path.mkdir(mode)
                path.chmod(mode)
                if folder.owner is not None and folder.group is not None and os.geteuid() == 0:
                    os.chown(path, folder.owner, folder.group)
        return len(missing)

    # -- meanwhile -------------------------------------------------------------------------------

    def _progress_of(self, plan: Plan) -> Callable[[int, int], None]:
        size, files = plan.size, plan.files

        def tell(done: int, finished: int) -> None:
            self._observe(Progress("copying", done, size, finished, files))

        return tell

    # -- after -----------------------------------------------------------------------------------

    def _make_links(self, plan: Plan, stagings: dict[str, Staging]) -> int:
        made = 0
        for one in plan.folders:
            for link, over in one.links:
                path = f"{one.folder.path}/{link.name}"
                with (
                    opened_folder(f"{self._shared}/{one.folder.path}") as folder,
                    contextlib.suppress(FileExistsError),  # a running stack was quicker
                ):
                    if over:
                        stagings[kind_of(path)].link_over(link.target, link.name, folder)
                    else:
                        os.symlink(link.target, link.name, dir_fd=folder)
                    self._outcome.records.append((path, link_record(link, self._number)))
                    made += 1
        return made

    def _set_folder_times(self, plan: Plan) -> None:
        """Of the folders that were made, innermost first; making something in one changes it."""
        for one in reversed(plan.folders):
            if not one.exists and one.folder.mtime_ns:
                times = (one.folder.mtime_ns, one.folder.mtime_ns)
                with contextlib.suppress(OSError):
                    os.utime(f"{self._shared}/{one.folder.path}", ns=times)


def _too_many_files(shared: Path, needed: int, free: int) -> SandboxError:
    return SandboxError(
        "cannot-write",
        f"Not enough room in {shared} for {needed:,} files: its file system takes {free:,} more.",
        details={"path": str(shared), "files": needed, "free_files": free},
    )
