"""What became of files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ktrdr_sandbox.shared_data.entries import FileEntry
from ktrdr_sandbox.shared_data.plans import Task, record_of
from ktrdr_sandbox.shared_data.remarks import Kept, LeftOut


@dataclass(slots=True)
class Outcome:
    """What became of files. `records` are for the manifest; `error` is what ended the work."""

    new: int = 0
    replaced: int = 0
    size: int = 0
    unchanged: int = 0
    records: list[tuple[str, str]] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    error: OSError | None = None

    def count_new(self, path: str, entry: FileEntry, origin: str) -> None:
        """Note a file that was placed where none was."""
        self.new += 1
        self.size += entry.size
        self.records.append((path, record_of(entry, origin)))

    def count(self, task: Task, path: str, entry: FileEntry, origin: str) -> None:
        """Note a file that was placed."""
        self.count_new(path, entry, origin)
        if task.action != "new":
            self.new -= 1
            self.replaced += 1

    def same(self, path: str, entry: FileEntry, origin: str) -> None:
        """Note a file that turned out to be there already."""
        self.unchanged += 1
        self.records.append((path, record_of(entry, origin)))

    def keep(self, path: str, task: Task) -> None:
        self.kept.append(task.reason or Kept(path, "appeared"))

    def fail(self, path: str, reason: str) -> None:
        self.left_out.append(LeftOut(path, reason, failed=True))

    def add(self, other: Outcome) -> None:
        self.new += other.new
        self.replaced += other.replaced
        self.size += other.size
        self.unchanged += other.unchanged
        self.records += other.records
        self.kept += other.kept
        self.left_out += other.left_out

    def packed(self) -> tuple[Any, ...]:
        """All of it in a form that goes through a pipe."""
        error = self.error
        return (
            (self.new, self.replaced, self.size, self.unchanged, self.records),
            [tuple(one) for one in self.kept],
            [tuple(one) for one in self.left_out],
            None if error is None else (error.errno, error.strerror, error.filename),
        )

    @classmethod
    def unpacked(cls, packed: tuple[Any, ...]) -> Outcome:
        """The outcome that was packed."""
        counts, kept, left_out, error = packed
        made = cls(*counts)
        made.kept = [Kept(*one) for one in kept]
        made.left_out = [LeftOut(*one) for one in left_out]
        made.error = None if error is None else OSError(*error)
        return made
