"""Carries out a plan from an archive: one pass, each file in place whole or not at all."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Final

from ktrdr_sandbox.shared_data.archives import Archive
from ktrdr_sandbox.shared_data.copying import finish, opened_file, opened_folder
from ktrdr_sandbox.shared_data.outcomes import Outcome
from ktrdr_sandbox.shared_data.placing import NameTakenError, Staging, UnusableNameError
from ktrdr_sandbox.shared_data.plans import FolderPlan, Plan, Task
from ktrdr_sandbox.shared_data.tallying import BEAT
from ktrdr_sandbox.shared_data.transfer import Descriptor, Readable, equals_stream, write_stream

_OFTEN: Final = 256
"""Files between two notes to the manifest."""

_Wanted = list[tuple[FolderPlan, Task]]


class Unpacking:
    """Unpacks what a plan says from an archive to the shared folder.

    `staging` gives the staging folder for a path.
    """

    def __init__(
        self, shared: str, archive: Archive, *, staging: Callable[[str], Staging], origin: str
    ) -> None:
        self._shared = shared
        self._archive = archive
        self._staging = staging
        self._origin = origin
        self._observe: Callable[[int, int], None] = lambda _size, _files: None
        self._size = 0
        self._files = 0
        self._told = 0.0

    def run(
        self, plan: Plan, *, collect: Callable[[Outcome], None], observe: Callable[[int, int], None]
    ) -> None:
        """Place every file. Raises what `Archive.telling` does, OSError of the shared folder."""
        self._observe = observe
        wanted: dict[int, _Wanted] = {}
        for one in plan.folders:
            for task in one.all_tasks():
                wanted.setdefault(task.entry.position, []).append((one, task))
        outcome = Outcome()
        try:
            with self._archive.telling():
                for position, content in self._archive.contents(wanted.__contains__):
                    self._place_all(wanted[position], content, outcome)
                    if len(outcome.records) >= _OFTEN:
                        collect(outcome)
                        outcome = Outcome()
            observe(self._size, self._files)
        finally:
            collect(outcome)

    def _place_all(self, tasks: _Wanted, content: Readable, outcome: Outcome) -> None:
        if len(tasks) == 1:
            self._file(*tasks[0], content, outcome)
            return
        # Several names of one content, which can be read only once.
        one, first = tasks[0]
        staging = self._staging(one.folder.path)
        spool = staging.draft(staging.fd, 0o600, named=True)
        try:
            write_stream(content, spool.fd, first.entry.size, tick=lambda _: None)
            for one, task in tasks:
                os.lseek(spool.fd, 0, os.SEEK_SET)
                self._file(one, task, Descriptor(spool.fd), outcome)
        finally:
            spool.close()

    def _file(self, one: FolderPlan, task: Task, content: Readable, outcome: Outcome) -> None:
        path = f"{one.folder.path}/{task.entry.name}"
        with opened_folder(f"{self._shared}/{one.folder.path}") as target:
            try:
                if task.action != "compare":
                    self._place(path, task, content, target)
                    outcome.count(task, path, task.entry, self._origin)
                elif self._is_same(task, content, target):
                    outcome.same(path, task.entry, self._origin)
                else:
                    outcome.keep(path, task)
            except NameTakenError:
                outcome.keep(path, task)
            except UnusableNameError as error:
                outcome.fail(path, f"has a name that the shared folder cannot hold: {error}")
        self._files += 1
        self._tick(0)

    def _place(self, path: str, task: Task, content: Readable, target: int) -> None:
        entry = task.entry
        draft = self._staging(path).draft(target, entry.mode, named=task.expected is not None)
        try:
            write_stream(content, draft.fd, entry.size, tick=self._tick)
            finish(draft.fd, entry, entry.mtime_ns, chown=False)
            if task.expected is None:
                draft.place(entry.name)
            else:
                draft.place_over(entry.name, task.expected)
        finally:
            draft.close()

    def _is_same(self, task: Task, content: Readable, target: int) -> bool:
        try:
            with opened_file(task.entry.name, target) as other:
                return equals_stream(content, other, task.entry.size, tick=self._tick)
        except OSError:  # of the shared file: it is not ours to touch, whatever it is
            return False

    def _tick(self, size: int) -> None:
        self._size += size
        now = time.monotonic()
        if now - self._told >= BEAT:
            self._told = now
            self._observe(self._size, self._files)
