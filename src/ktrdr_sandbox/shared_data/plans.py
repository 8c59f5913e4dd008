"""What a run will do, kept small: of a hundred thousand new files a plan takes a few megabytes."""

from __future__ import annotations

import marshal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from ktrdr_sandbox.shared_data.entries import FileEntry, FileFacts, Folder, LinkEntry
from ktrdr_sandbox.shared_data.remarks import Kept

Action = Literal["new", "replace", "compare"]
"""compare: same size and another time, so that only the content tells whether it differs."""

LARGE: Final = 4 * 1024 * 1024
"""From here on a file is a job of its own."""
BATCH: Final = 64
"""Small files in one job: enough that handing it over costs nothing."""

_BLOCK: Final = 4096
"""Bytes that a file system rounds up to, with something for the name."""


class Seen(NamedTuple):
    """What of a file's state tells whether somebody has changed it."""

    st_size: int
    st_mtime_ns: int


@dataclass(frozen=True, slots=True)
class Task:
    """One file to place. `expected` is what lies there now, or None."""

    entry: FileEntry
    action: Action
    expected: Seen | None = None
    reason: Kept | None = None
    """Why the file is kept, should a comparison show that it differs."""


@dataclass(slots=True)
class FolderPlan:
    """What is to be done in one folder. `exists` is False where it has to be made.

    `batches` are small new files, packed; `tasks` are all others. `new` and `replaced` count what
    will be placed, `size` its bytes, `read` those that are read for it and for comparing.
    """

    folder: Folder
    exists: bool
    batches: list[bytes] = field(default_factory=list)
    tasks: list[Task] = field(default_factory=list)
    links: list[tuple[LinkEntry, bool]] = field(default_factory=list)
    """Links to make, and whether each replaces something."""
    new: int = 0
    replaced: int = 0
    compared: int = 0
    size: int = 0
    read: int = 0
    room_needed: int = 0
    """Bytes on disk while it runs: what is replaced lies there until its successor does."""

    def __bool__(self) -> bool:
        return bool(self.files or self.links) or not self.exists

    @property
    def files(self) -> int:
        return self.new + self.replaced + self.compared

    def add_new(self, files: Sequence[FileFacts]) -> None:
        """Files that are not there yet."""
        small = []
        for facts in files:
            _, size, _, _, allocated, *_ = facts
            self._count(size, allocated)
            if size < LARGE:
                small.append(tuple(facts))
            else:
                self.tasks.append(Task(FileEntry(*facts), "new"))
        for at in range(0, len(small), BATCH):
            self.batches.append(marshal.dumps(small[at : at + BATCH]))
        self.new += len(files)

    def add(self, task: Task) -> None:
        """A file that is there in another state."""
        self.tasks.append(task)
        if task.action == "compare":
            self.compared += 1
            self.read += task.entry.size
        else:
            self.replaced += 1
            self._count(task.entry.size, task.entry.allocated)

    def _count(self, size: int, allocated: int) -> None:
        self.size += size
        self.read += size
        self.room_needed += (allocated if allocated < size else size) + _BLOCK

    def all_tasks(self) -> Iterator[Task]:
        """Every file of the folder, made anew rather than kept."""
        for batch in self.batches:
            for entry in unpacked(batch):
                yield Task(entry, "new")
        yield from self.tasks

    def records(self, origin: str) -> Iterator[tuple[str, str]]:
        """Paths and records of the files that will be placed."""
        prefix = f"{self.folder.path}/"
        for batch in self.batches:
            for name, size, mtime_ns, *_ in unpacked(batch):
                yield prefix + name, f"{size}:{mtime_ns}:{origin}"
        for task in self.tasks:
            if task.action != "compare":
                yield prefix + task.entry.name, record_of(task.entry, origin)


@dataclass(slots=True)
class Plan:
    """What a run will do. `found` are records to add for what is there already."""

    folders: list[FolderPlan] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    found: list[tuple[str, str]] = field(default_factory=list)
    unchanged: int = 0

    @property
    def is_nothing(self) -> bool:
        """Whether neither files nor records are to be written."""
        return not (self.folders or self.found)

    @property
    def size(self) -> int:
        """Bytes to read."""
        return sum(one.read for one in self.folders)

    @property
    def files(self) -> int:
        return sum(one.files for one in self.folders)


def unpacked(batch: bytes) -> Iterator[FileEntry]:
    """The files of a batch."""
    return map(FileEntry._make, marshal.loads(batch))  # noqa: S302  packed above


def record_of(entry: FileEntry, origin: str) -> str:
    """The manifest's record of a file that was placed."""
    return f"{entry.size}:{entry.mtime_ns}:{origin}"


def link_record(link: LinkEntry, origin: str) -> str:
    return f">{link.target}:{origin}"
