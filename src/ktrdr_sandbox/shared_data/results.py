"""What filling the shared folder gives back. No behaviour that reaches outside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from ktrdr_sandbox.shared_data.remarks import Kept, LeftOut

Stage = Literal["looking", "downloading", "checking", "copying"]


class Progress(NamedTuple):
    """How far one stage is. Totals are None where nobody can know them yet."""

    stage: Stage
    size: int
    size_total: int | None
    files: int
    files_total: int | None


Observer = Callable[[Progress], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filling:
    """One run of init-shared. Sizes in bytes.

    `new` and `replaced` were copied (with `dry_run`: would be); `links` are symbolic links that
    were made; `linked` are whole folders that are used where they lie.
    """

    source: str
    destination: str
    dry_run: bool
    new: int = 0
    replaced: int = 0
    size: int = 0
    links: int = 0
    folders: int = 0
    unchanged: int = 0
    kept: tuple[Kept, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    linked: tuple[tuple[str, str], ...] = ()
    ignored: int = 0
    sha256: str | None = None
    seconds: float = 0.0

    @property
    def changed(self) -> bool:
        """Whether the shared folder has something now that it had not."""
        return not self.dry_run and bool(
            self.new or self.replaced or self.links or self.folders or self.linked
        )

    @property
    def failures(self) -> tuple[LeftOut, ...]:
        return tuple(one for one in self.left_out if one.failed)
