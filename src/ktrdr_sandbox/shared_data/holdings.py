"""What looking into the shared folder gives back. No behaviour that reaches outside."""

from __future__ import annotations

from dataclasses import dataclass, field


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
