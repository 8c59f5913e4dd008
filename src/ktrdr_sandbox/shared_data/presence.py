"""What lies in a shared folder already, as far as listing it tells."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Mapping
from typing import Protocol

from ktrdr_sandbox.shared_data.entries import Folder, Stamp
from ktrdr_sandbox.shared_data.layout import KINDS, OWN_FOLDER_FLAGS

Present = Stamp | tuple[int, int, int]
"""Size and time of a regular file; of anything else its mode, too."""
Listing = dict[str, Present]


def look(folder: int) -> Listing:
    """What lies in an open folder, by name."""
    found: Listing = {}
    with os.scandir(folder) as entries:  # by descriptor: no path to walk for each file
        for entry in entries:
            try:
                info = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            size, time, mode = info.st_size, info.st_mtime_ns, info.st_mode
            found[entry.name] = (size, time) if stat.S_ISREG(mode) else (size, time, mode)
    return found


Look = tuple[str, Listing | bool | None]
"""A folder's path, with None while it is being looked into, and then what lies in it: False where
that could not be read, and True where it is what the source has."""


def look_everywhere(shared: str) -> Iterator[Look]:
    """Every folder of a shared folder twice, before it is looked into and after it.

    From the other end than sources are read, so that whoever begins there meets this half-way.
    """
    below = list(KINDS)
    while below:
        path = below.pop()
        try:
            folder = os.open(f"{shared}/{path}", OWN_FOLDER_FLAGS)
        except OSError:
            continue
        yield path, None
        found: Listing | None = None
        with contextlib.suppress(OSError):
            found = look(folder)
        os.close(folder)
        yield path, False if found is None else found
        folders = [name for name, one in (found or {}).items() if _is_folder(one)]
        below += sorted(f"{path}/{name}" for name in folders)


def _is_folder(present: Present) -> bool:
    return len(present) == 3 and stat.S_ISDIR(present[2])


class Others(Protocol):
    """Somebody else who looks everywhere."""

    def arrived(self) -> bool:
        """Whether `receive` would not have to wait. Raises ChildProcessError when none comes."""

    def receive(self) -> Look:
        """The next of it. Raises ChildProcessError when there comes none any more."""


class Presence:
    """Looks into folders, but for those that somebody else has looked into or is just doing so."""

    def __init__(self, others: Others | None = None) -> None:
        self._others = others
        self._known: dict[str, Listing | bool | None] = {}

    def of(self, source: Folder, opened: int) -> Mapping[str, Present]:
        """What lies in an open folder that has the place of a source's."""
        path = source.path
        try:
            while self._others and (self._others.arrived() or self._is_coming(path)):
                name, found = self._others.receive()
                self._known[name] = found
        except ChildProcessError:
            self._others = None
        known = self._known.pop(path, None)
        if isinstance(known, dict):
            return known
        return source.stamps if known else look(opened)

    def _is_coming(self, path: str) -> bool:
        return path in self._known and self._known[path] is None
