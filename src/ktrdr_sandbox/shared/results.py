"""What init-shared gives back, field by field as its JSON, and reports meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from ktrdr_sandbox.shared.inventory import Inventory

KeptReason = Literal["changed", "other-source", "in-the-way", "appeared"]
"""changed: edited in the shared folder since it was copied, or never copied by this program;
other-source: an earlier run took it from somewhere else; in-the-way: a folder or link of that name;
appeared: written by something else while the copy ran."""


class Progress(NamedTuple):
    """How far one stage is, in bytes. `total` is None where it is not known."""

    stage: Literal["looking", "downloading", "checking", "copying"]
    size: int = 0
    total: int | None = None


Observer = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Kept:
    """A file of the shared folder that differs from the source and stays as it is."""

    path: str
    reason: KeptReason
    detail: str = ""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something of the source that was not copied. `failed` when it should have been."""

    path: str
    reason: str
    failed: bool


@dataclass(slots=True)
class Copied:
    """What was copied, or with a dry run would be."""

    files: int = 0
    new: int = 0
    replaced: int = 0
    bytes: int = 0
    links: int = 0
    folders: int = 0

    def add_file(self, size: int, *, is_new: bool) -> None:
        """Count a file of so many bytes."""
        self.files += 1
        self.new += is_new
        self.replaced += not is_new
        self.bytes += size


@dataclass(slots=True, kw_only=True)
class InitSharedResult:
    """One run of init-shared. `shared` is None when nothing has changed."""

    source: str
    destination: str
    dry_run: bool
    copied: Copied = field(default_factory=Copied)
    unchanged: int = 0
    kept: list[Kept] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    linked: dict[str, str] = field(default_factory=dict)
    ignored: int = 0
    sha256: str | None = None
    seconds: float = 0.0
    shared: Inventory | None = None

    @property
    def failures(self) -> int:
        """Return how many items should have been copied and were not."""
        return sum(item.failed for item in self.left_out)
