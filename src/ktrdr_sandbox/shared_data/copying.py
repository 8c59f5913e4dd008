"""Carries out a plan from a folder: several files at a time, each in place whole or not at all."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from ktrdr_sandbox.shared_data.crew import Crew
from ktrdr_sandbox.shared_data.entries import FileEntry
from ktrdr_sandbox.shared_data.forks import Forks, fitting
from ktrdr_sandbox.shared_data.layout import FOLDER_FLAGS, OWN_FOLDER_FLAGS
from ktrdr_sandbox.shared_data.outcomes import Outcome
from ktrdr_sandbox.shared_data.placing import NameTakenError, Staging, UnusableNameError
from ktrdr_sandbox.shared_data.plans import BATCH, LARGE, FolderPlan, Plan, Task, unpacked
from ktrdr_sandbox.shared_data.small import SmallFiles
from ktrdr_sandbox.shared_data.tallying import StoppedError, Tallying
from ktrdr_sandbox.shared_data.transfer import Descriptor, SourceError, Transfer, equals_stream

MANY: Final = 256
"""Files from which on more processes save more time than it takes to start them."""
_ATTEMPTS: Final = 3

# A pipe that took a file's name a moment ago must not be waited for.
_FILE_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK


@dataclass(frozen=True, slots=True)
class Job:
    """Files of one folder: a batch of small new ones, or others."""

    plan: FolderPlan
    batch: bytes | None = None
    tasks: tuple[Task, ...] = ()


class Copying:
    """Copies what a plan says from folders to the shared folder.

    `staging` gives the staging folder for a path; `steady` is False for a source whose times were
    made up, so that a file that changes while it is read shows by its size alone.
    """

    def __init__(
        self,
        shared: str,
        *,
        staging: Callable[[str], Staging],
        origin: str,
        steady: bool = True,
        threads: int | None = None,
    ) -> None:
        self._shared = shared
        self._staging = staging
        self._origin = origin
        self._steady = steady
        self._threads = threads
        self._transfer = Transfer()
        self._is_root = os.geteuid() == 0

    def run(
        self, plan: Plan, *, collect: Callable[[Outcome], None], observe: Callable[[int, int], None]
    ) -> None:
        """Place every file. Raises OSError of the shared folder."""
        failed: list[OSError] = []

        def take(outcome: Outcome) -> None:
            """What was placed before an error counts; of several errors the first is told."""
            collect(outcome)
            if outcome.error is not None and not failed:
                failed.append(outcome.error)
                raise outcome.error

        jobs = jobs_of(plan)
        count = 0 if self._threads or plan.files < MANY else fitting()
        forks: Forks[Job] = Forks(
            lambda job, tally: self._work(job, tally).packed(),
            collect=lambda packed: take(Outcome.unpacked(packed)),
            observe=observe,
            count=count,
        )
        if not (count and forks.run(jobs)):
            Crew(self._work, collect=take, observe=observe, threads=self._threads).run(jobs)

    def _work(self, job: Job, tally: Tallying) -> Outcome:
        outcome = Outcome()
        try:
            self._job(job, tally, outcome)
        except OSError as error:
            outcome.error = error
        except StoppedError:
            pass
        return outcome

    def _job(self, job: Job, tally: Tallying, outcome: Outcome) -> None:
        path = job.plan.folder.path
        with (
            _opened(job.plan.folder.location) as source,
            opened_folder(f"{self._shared}/{path}") as target,
        ):
            if source is None:
                self._fail_all(job, tally, outcome)
                return
            if job.batch is not None:
                self._batch(job, source, target, outcome, tally)
            for task in job.tasks:
                self._task(f"{path}/{task.entry.name}", task, source, target, outcome, tally)
                tally.finish_file()

    @staticmethod
    def _fail_all(job: Job, tally: Tallying, outcome: Outcome) -> None:
        batch = () if job.batch is None else unpacked(job.batch)
        for entry in (*batch, *(task.entry for task in job.tasks)):
            outcome.fail(f"{job.plan.folder.path}/{entry.name}", "its folder cannot be read")
            tally.finish_file()

    def _batch(self, job: Job, source: int, target: int, outcome: Outcome, tally: Tallying) -> None:
        prefix = f"{job.plan.folder.path}/"
        staging = self._staging(prefix)
        opened = SmallFiles.opened(
            source, target, staging, steady=self._steady, chown=self._is_root
        )
        with opened as small:
            for entry in unpacked(job.batch or b""):
                path = prefix + entry.name
                if small.place(entry):
                    outcome.count_new(path, entry, self._origin)
                    tally.finish_file()
                    tally.tick(entry.size)
                else:
                    self._task(path, Task(entry, "new"), source, target, outcome, tally)
                    tally.finish_file()

    def _task(
        self,
        path: str,
        task: Task,
        source: int,
        target: int,
        outcome: Outcome,
        tally: Tallying,
    ) -> None:
        try:
            file = os.open(task.entry.name, _FILE_FLAGS, dir_fd=source)
        except OSError as error:
            outcome.fail(path, f"cannot be read: {error.strerror}")
            return
        try:
            if task.action == "compare" and self._is_same(file, task, target, tally):
                outcome.same(path, task.entry, self._origin)
            elif task.action == "compare":
                outcome.keep(path, task)
            else:
                entry = self._place(path, file, task, target, tally)
                outcome.count(task, path, entry, self._origin)
        except NameTakenError:
            outcome.keep(path, task)
        except UnusableNameError as error:
            outcome.fail(path, f"has a name that the shared folder cannot hold: {error}")
        except SourceError as error:
            outcome.fail(path, f"cannot be read: {error}")
        finally:
            os.close(file)

    @staticmethod
    def _is_same(file: int, task: Task, target: int, tally: Tallying) -> bool:
        entry = task.entry
        try:
            with opened_file(entry.name, target) as other:
                return equals_stream(Descriptor(file), other, entry.size, tick=tally.tick)
        except OSError:  # of the shared file: it is not ours to touch, whatever it is
            return False

    def _place(self, path: str, file: int, task: Task, target: int, tally: Tallying) -> FileEntry:
        """Copy until the source held still meanwhile; gives it as it was then."""
        entry = task.entry
        staging = self._staging(path)
        for _ in range(_ATTEMPTS):
            draft = staging.draft(target, entry.mode, named=task.expected is not None)
            try:
                self._transfer.copy(
                    file, draft.fd, entry.size, holes=entry.has_holes, tick=tally.tick
                )
                seen = os.fstat(file)
                if self._held_still(seen, entry):
                    finish(draft.fd, entry, seen.st_atime_ns, chown=self._is_root)
                    if task.expected is None:
                        draft.place(entry.name)
                    else:
                        draft.place_over(entry.name, task.expected)
                    return entry
            finally:
                draft.close()
            if not stat.S_ISREG(seen.st_mode):
                raise SourceError("it is no regular file any more")
            entry = self._seen(entry, seen)
            os.lseek(file, 0, os.SEEK_SET)
        raise SourceError("it changes while it is read")

    def _held_still(self, seen: os.stat_result, entry: FileEntry) -> bool:
        if seen.st_size != entry.size:
            return False
        return seen.st_mtime_ns == entry.mtime_ns or not self._steady

    def _seen(self, entry: FileEntry, seen: os.stat_result) -> FileEntry:
        return entry._replace(
            size=seen.st_size,
            mtime_ns=seen.st_mtime_ns if self._steady else entry.mtime_ns,
            allocated=seen.st_blocks * 512,
        )


def finish(fd: int, entry: FileEntry, atime_ns: int, *, chown: bool) -> None:
    """Give a draft the owner and times of its source. Its permissions it has already."""
    owner, group = entry.owner, entry.group
    if chown and owner is not None and group is not None and (owner, group) != (0, 0):
        os.fchown(fd, owner, group)
    os.utime(fd, ns=(atime_ns, entry.mtime_ns))


def jobs_of(plan: Plan) -> list[Job]:
    """Large files first and each alone, so that nobody is left with one at the end."""
    large, small = [], []
    for one in plan.folders:
        few = tuple(task for task in one.tasks if task.entry.size < LARGE)
        large += [Job(one, tasks=(task,)) for task in one.tasks if task.entry.size >= LARGE]
        small += [Job(one, batch) for batch in one.batches]
        small += [Job(one, tasks=few[at : at + BATCH]) for at in range(0, len(few), BATCH)]
    large.sort(key=lambda job: job.tasks[0].entry.size, reverse=True)
    return large + small


@contextmanager
def _opened(location: str) -> Iterator[int | None]:
    """A folder of the source; None when it cannot be opened any more."""
    try:
        fd = os.open(location, FOLDER_FLAGS)
    except OSError:
        yield None
        return
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def opened_folder(path: str) -> Iterator[int]:
    """A folder of the shared folder, itself and not what a link leads to."""
    fd = os.open(path, OWN_FOLDER_FLAGS)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def opened_file(name: str, folder: int) -> Iterator[int]:
    """A file that is there already, for reading."""
    fd = os.open(name, _FILE_FLAGS | os.O_NOFOLLOW, dir_fd=folder)
    try:
        yield fd
    finally:
        os.close(fd)
