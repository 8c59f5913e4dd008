"""What a source offers: folders with their files and links, whatever kind of source it is."""

from __future__ import annotations

import functools
import marshal
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

FileFacts = tuple[str, int, int, int, int, int | None, int | None, int]
"""A FileEntry as it is read and handed on: of most files nobody wants to know more."""
Stamp = tuple[int, int]
"""Size and time: with another stamp a file has another content, as far as this program looks."""


class FileEntry(NamedTuple):
    """A regular file. `allocated` is what it takes on disk: less than `size` where it has holes.

    `owner` and `group` are None where the source's mean nothing here. `position` is its place in
    an archive.
    """

    name: str
    size: int
    mtime_ns: int
    mode: int
    allocated: int
    owner: int | None = None
    group: int | None = None
    position: int = -1

    @property
    def has_holes(self) -> bool:
        return self.allocated < self.size

    @property
    def stamp_text(self) -> str:
        """Its stamp, as a record of the manifest begins."""
        return f"{self.size}:{self.mtime_ns}"


class LinkEntry(NamedTuple):
    """A symbolic link that leads to something within the shared folder."""

    name: str
    target: str


class Folder:  # dataclasses alone take as long to import as a bare Python to start
    """One folder of a source. `path` is relative to the shared folder, `location` where it is read.

    A folder comes after the one it lies in. `stamps` are size and time of its files, by name; with
    `later` they are all that is known of them until somebody asks for `files`.
    """

    __slots__ = (
        "_files",
        "group",
        "later",
        "links",
        "location",
        "mode",
        "mtime_ns",
        "owner",
        "path",
        "stamps",
    )

    def __init__(self, path: str, location: str, mode: int, mtime_ns: int) -> None:
        self.path = path
        self.location = location
        self.mode = mode
        self.mtime_ns = mtime_ns
        self.owner: int | None = None
        self.group: int | None = None
        self.stamps: dict[str, Stamp] = {}
        self.links: list[LinkEntry] = []
        self.later: Callable[[], Iterable[FileFacts]] | None = None
        self._files: list[FileFacts] = []

    @property
    def files(self) -> list[FileFacts]:
        """All there is to know of its files."""
        if self.later is not None:
            self._files, self.later = list(self.later()), None
        return self._files

    def add(self, facts: FileFacts) -> None:
        name, size, mtime_ns, *_ = facts
        self._files.append(facts)
        self.stamps[name] = (size, mtime_ns)

    def without_files(self) -> Folder:
        """The folder itself."""
        made = Folder(self.path, self.location, self.mode, self.mtime_ns)
        made.links, made.owner, made.group = self.links, self.owner, self.group
        return made

    def packed(self) -> tuple[Any, ...]:
        """All of it, but for what comes later, in a form that goes through a pipe."""
        facts = (self.path, self.location, self.mode, self.mtime_ns)
        links = [tuple(one) for one in self.links]
        files = None if self.later else marshal.dumps(self._files)
        return facts, self.owner, self.group, self.stamps, links, files

    @classmethod
    def unpacked(
        cls, packed: tuple[Any, ...], later: Callable[[Folder], Iterable[FileFacts]]
    ) -> Folder:
        """The folder that was packed. `later` is asked for its files where they were not."""
        facts, owner, group, stamps, links, files = packed
        made = cls(*facts)
        made.owner, made.group, made.stamps = owner, group, stamps
        made.links = [LinkEntry(*one) for one in links]
        if files is None:
            made.later = functools.partial(later, made)
        else:
            made.later = functools.partial(marshal.loads, files)
        return made
