"""What a source offers: folders with their files and links, whatever kind of source it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple


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
    def stamp(self) -> str:
        """Size and time: another stamp is another content, as far as this program looks."""
        return f"{self.size}:{self.mtime_ns}"


class LinkEntry(NamedTuple):
    """A symbolic link that leads to something within the shared folder."""

    name: str
    target: str


@dataclass(slots=True)
class Folder:
    """One folder of a source. `path` is relative to the shared folder, `location` where it is read.

    A folder comes after the one it lies in.
    """

    path: str
    location: str
    mode: int
    mtime_ns: int
    files: list[FileEntry] = field(default_factory=list)
    links: list[LinkEntry] = field(default_factory=list)
    owner: int | None = None
    group: int | None = None
