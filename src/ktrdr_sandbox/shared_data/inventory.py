"""What the shared folder holds, for people: symbols, timeframes, models, strategies, sizes."""

from __future__ import annotations

import contextlib
import functools
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ktrdr_sandbox.shared_data.holdings import Holding, Inventory, Series, duration
from ktrdr_sandbox.shared_data.layout import KINDS

_SERIES: Final = re.compile(r"(?P<symbol>[A-Za-z0-9._-]+)_(?P<timeframe>[1-9][0-9]*[smhdwM])\.csv")
"""KTRDR's names of price data: `AAPL_1d.csv`, `EURUSD_1h.csv`."""
_STRATEGIES: Final = (".yaml", ".yml")


@dataclass(slots=True)
class _Count:
    files: int = 0
    size: int = 0
    updated: float = 0.0
    series: dict[str, dict[str, int]] = field(default_factory=dict)
    """Bytes by symbol and timeframe."""
    names: set[str] = field(default_factory=set)
    """First parts of the paths of files."""


def take(shared: Path) -> Inventory:
    """Look through the shared folder. What cannot be read counts as not there."""
    counts = {kind: _counted(shared / kind) for kind in KINDS}
    newest = max(count.updated for count in counts.values())
    return Inventory(
        root=str(shared),
        holdings={
            kind: Holding(files=count.files, size=count.size, linked_to=_link(shared / kind))
            for kind, count in counts.items()
        },
        series=_series(counts["data"].series),
        models=tuple(sorted(counts["models"].names)),
        strategies=tuple(sorted(n for n in counts["strategies"].names if n.endswith(_STRATEGIES))),
        updated=newest or None,
    )


def is_empty(shared: Path) -> bool:
    """Whether there is no file at all; looks no further than the first folder that has one."""
    return not any(files for kind in KINDS for _, files in _folders(str(shared / kind)))


def _link(folder: Path) -> str | None:
    return os.path.realpath(folder) if folder.is_symlink() else None


def _counted(folder: Path) -> _Count:
    count = _Count()
    root = str(folder)
    for below, entries in _folders(root):
        for entry in entries:
            try:
                info = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            count.files += 1
            count.size += info.st_size
            count.updated = max(count.updated, info.st_mtime)
            _note_series(count, entry.name, info.st_size)
        if below == root:
            count.names.update(entry.name for entry in entries)
        elif entries:
            count.names.add(below[len(root) + 1 :].partition("/")[0])
    return count


@functools.cache
def _parts(name: str) -> tuple[str, str] | None:
    """Symbol and timeframe; many a folder has a file of the same name."""
    found = _SERIES.fullmatch(name)
    return (found["symbol"], found["timeframe"]) if found else None


def _note_series(count: _Count, name: str, size: int) -> None:
    parts = _parts(name)
    if parts:
        symbol, timeframe = parts
        sizes = count.series.setdefault(symbol, {})
        sizes[timeframe] = sizes.get(timeframe, 0) + size


def _folders(root: str) -> Iterator[tuple[str, list[os.DirEntry[str]]]]:
    """A folder, which may itself be a link, and all below it, each with its regular files.

    Hidden ones are no content.
    """
    below = [root]
    while below:
        folder = below.pop()
        files = []
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    below.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    files.append(entry)
        yield folder, files


def _series(found: dict[str, dict[str, int]]) -> tuple[Series, ...]:
    return tuple(
        Series(
            symbol=symbol,
            timeframes=tuple(sorted(sizes, key=duration)),
            size=sum(sizes.values()),
        )
        for symbol, sizes in sorted(found.items())
    )
