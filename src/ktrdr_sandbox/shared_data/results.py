"""What filling and looking into the shared folder give back. No behaviour that reaches outside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Stage = Literal["looking", "downloading", "checking", "copying"]

KeptReason = Literal["changed", "other-source", "in-the-way", "appeared"]
"""changed: edited in the shared folder since it was copied, or never copied by this program;
other-source: an earlier run took it from somewhere else; in-the-way: a folder or link of that name;
appeared: written by something else while the copy ran."""


class Progress(NamedTuple):
    """How far one stage is. Totals are None where nobody can know them yet."""

    stage: Stage
    size: int
    size_total: int | None
    files: int
    files_total: int | None


Observer = Callable[[Progress], None]


class Kept(NamedTuple):
    """A file of the shared folder that differs from the source and stays as it is."""

    path: str
    reason: KeptReason
    detail: str = ""


class LeftOut(NamedTuple):
    """Something of the source that was not copied. `failed` when it should have been."""

    path: str
    reason: str
    failed: bool


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Price data of one symbol: its timeframes, shortest first."""

    symbol: str
    timeframes: tuple[str, ...]
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """One of the shared folders. `linked_to` is set where it is a link to somewhere else."""

    files: int = 0
    size: int = 0
    linked_to: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """What the shared folder holds. `updated` is the newest change, in seconds since the epoch."""

    root: str
    holdings: dict[str, Holding] = field(default_factory=dict)
    series: tuple[Series, ...] = ()
    models: tuple[str, ...] = ()
    strategies: tuple[str, ...] = ()
    updated: float | None = None

    @property
    def files(self) -> int:
        return sum(holding.files for holding in self.holdings.values())

    @property
    def size(self) -> int:
        return sum(holding.size for holding in self.holdings.values())

    @property
    def timeframes(self) -> tuple[str, ...]:
        """Every timeframe that some symbol has, shortest first."""
        seen = {timeframe for one in self.series for timeframe in one.timeframes}
        return tuple(sorted(seen, key=duration))


_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "M": 2592000}


def duration(timeframe: str) -> int:
    """Seconds of a timeframe of KTRDR's spelling (`5m`, `1h`, `1d`), for sorting."""
    return int(timeframe[:-1]) * _SECONDS[timeframe[-1]]
