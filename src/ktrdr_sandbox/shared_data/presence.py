"""What lies in a shared folder already, and whether it is as it was put there.

Where much does, a copy of this process looks while this one reads the source.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Final

from ktrdr_sandbox.shared_data.forks import fitting, receive, send, started
from ktrdr_sandbox.shared_data.layout import KINDS

MANY: Final = 1000
"""Files put there by earlier runs from which on a copy looks sooner than this process."""

Present = tuple[int, int] | tuple[int, int, int]
"""Size and time of a regular file that is as its record says; of anything else its mode, too."""
Listing = dict[str, Present]

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_SET_PIPE_SIZE: Final[int | None] = getattr(fcntl, "F_SETPIPE_SZ", None)
_PIPE_SIZE: Final = 1024 * 1024
"""Bytes: the copy need not wait each time until it is heard."""


def look(folder: int, path: str, records: Mapping[str, str]) -> Listing:
    """What lies in an open folder, by name. `path` is its place below the shared folder."""
    found: Listing = {}
    prefix = f"{path}/"
    with os.scandir(folder) as entries:  # by descriptor: no path to walk for each file
        for entry in entries:
            name = entry.name
            try:
                info = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            size, time, mode = info.st_size, info.st_mtime_ns, info.st_mode
            known = stat.S_ISREG(mode) and records.get(prefix + name, "").startswith(
                f"{size}:{time}:"
            )
            found[name] = (size, time) if known else (size, time, mode)
    return found


class Presence:
    """Looks into folders when asked, or has had them looked into by then."""

    def __init__(self, records: Mapping[str, str], listings: Iterator[tuple[str, Listing]]) -> None:
        self._records = records
        self._listings = listings
        self._ahead: dict[str, Listing] = {}

    @classmethod
    @contextmanager
    def opened(cls, shared: str, records: Mapping[str, str]) -> Iterator[Presence]:
        """What lies in the shared folder, for the block."""
        listings: Iterator[tuple[str, Listing]] = iter(())
        with ExitStack() as stack:
            if len(records) >= MANY and fitting():
                copy = started(lambda pipe: _look_everywhere(shared, records, pipe))
                with contextlib.suppress(OSError):  # no more processes: this one does it
                    listings = _received(stack.enter_context(copy))
            yield cls(records, listings)

    def of(self, path: str, folder: int) -> Listing:
        """What lies in an open folder."""
        while path not in self._ahead:
            path_ahead, listing = next(self._listings, ("", {}))
            if not path_ahead:  # it did not come by there, or could not
                return look(folder, path, self._records)
            self._ahead[path_ahead] = listing
        return self._ahead.pop(path)


def _look_everywhere(shared: str, records: Mapping[str, str], pipe: int) -> None:
    if _SET_PIPE_SIZE is not None:
        with contextlib.suppress(OSError):
            fcntl.fcntl(pipe, _SET_PIPE_SIZE, _PIPE_SIZE)
    below = list(reversed(KINDS))
    while below:
        path = below.pop()
        with contextlib.suppress(OSError):
            folder = os.open(f"{shared}/{path}", _FOLDER)
            try:
                found = look(folder, path, records)
            finally:
                os.close(folder)
            send(pipe, (path, found))
            folders = [f"{path}/{name}" for name, one in found.items() if _is_folder(one)]
            below += sorted(folders, reverse=True)  # as the source is read


def _is_folder(present: Present) -> bool:
    return len(present) == 3 and stat.S_ISDIR(present[2])


def _received(pipe: int) -> Iterator[tuple[str, Listing]]:
    with contextlib.suppress(ChildProcessError):
        while True:
            yield receive(pipe)
