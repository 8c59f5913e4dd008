"""What the shared folder holds, for people: symbols, timeframes, models, strategies, sizes."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ktrdr_sandbox.shared.layout import KINDS

_SERIES: Final = re.compile(r"([A-Za-z0-9._-]+)_([1-9][0-9]*[smhdwM])\.csv")
"""KTRDR's names of price data: `AAPL_1d.csv`, `EURUSD_1h.csv`."""
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "M": 2592000}


@dataclass(frozen=True, slots=True)
class FolderInventory:
    """One of the shared folders. `linked_to` is set where it is a link to somewhere else."""

    files: int
    bytes: int
    linked_to: str | None


@dataclass(frozen=True, slots=True)
class Inventory:
    """What the shared folder holds. `symbols` map to timeframes, shortest first.

    `updated` is the newest change, as ISO text in UTC.
    """

    path: str
    files: int
    bytes: int
    folders: dict[str, FolderInventory]
    symbols: dict[str, list[str]]
    models: list[str]
    strategies: list[str]
    updated: str | None

    @property
    def timeframes(self) -> list[str]:
        """Return every timeframe that some symbol has, shortest first."""
        return _by_duration({one for timeframes in self.symbols.values() for one in timeframes})


def take_inventory(shared: Path) -> Inventory:
    """Look through the shared folder. What cannot be read counts as not there."""
    folders, newest = {}, 0.0
    symbols: dict[str, set[str]] = {}
    names: dict[str, set[str]] = {}
    for kind in KINDS:
        root = str(shared / kind)
        files = size = 0
        names[kind] = set()
        for path, info in _files_below(root):
            files, size = files + 1, size + info.st_size
            newest = max(newest, info.st_mtime)
            names[kind].add(path[len(root) + 1 :].partition("/")[0])
            if kind == "data" and (found := _SERIES.fullmatch(path.rpartition("/")[2])):
                symbols.setdefault(found[1], set()).add(found[2])
        link = os.path.realpath(root) if (shared / kind).is_symlink() else None
        folders[kind] = FolderInventory(files, size, link)
    return Inventory(
        path=str(shared),
        files=sum(one.files for one in folders.values()),
        bytes=sum(one.bytes for one in folders.values()),
        folders=folders,
        symbols={symbol: _by_duration(symbols[symbol]) for symbol in sorted(symbols)},
        models=sorted(names["models"]),
        strategies=sorted(n for n in names["strategies"] if n.endswith((".yaml", ".yml"))),
        updated=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(newest)) if newest else None,
    )


def is_empty(shared: Path) -> bool:
    """Tell whether there is no file at all; looks no further than the first."""
    return not any(True for kind in KINDS for _ in _files_below(str(shared / kind)))


def _files_below(root: str) -> Iterator[tuple[str, os.stat_result]]:
    """Give the regular files of a folder, which may be a link. Hidden ones are no content."""
    for folder, names, files in os.walk(root):
        names[:] = [name for name in names if not name.startswith(".")]
        for name in files:
            path = f"{folder}/{name}"
            with contextlib.suppress(OSError):
                info = os.lstat(path)
                if stat.S_ISREG(info.st_mode) and not name.startswith("."):
                    yield path, info


def _by_duration(timeframes: set[str]) -> list[str]:
    return sorted(timeframes, key=lambda text: int(text[:-1]) * _SECONDS[text[-1]])
