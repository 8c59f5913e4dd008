"""A folder as a source: a checkout, another shared folder, the seed pack.

Links that stay within data, models and strategies stay links; one that leads out of them is
followed, because in a container it would lead nowhere.
"""

from __future__ import annotations

import os
import posixpath
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.shared.layout import KIND_NAMES, KINDS, is_below
from ktrdr_sandbox.shared.results import LeftOut

_SPECIAL: Final = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}


class File(NamedTuple):
    """A regular file of a source, by its path in the shared folder.

    `allocated` is what it takes on disk: less than `size` where it has holes. It is read at
    `location`, or is the archive's member number `position`.
    """

    path: str
    size: int
    mtime_ns: int
    mode: int
    allocated: int
    owner: tuple[int, int] | None = None
    location: str = ""
    position: int = -1


class Folder(NamedTuple):
    """A folder of a source. `owner` is None where the source's owners mean nothing here."""

    path: str
    mode: int
    mtime_ns: int
    owner: tuple[int, int] | None = None


@dataclass(slots=True)
class Listing:
    """What a source offers. Folders come after those they lie in; `links` map path to target.

    `roots` are the folders, by kind, that can be copied as they lie; `ignored` counts what an
    archive holds beside the kinds.
    """

    kinds: list[str]
    folders: list[Folder] = field(default_factory=list)
    files: list[File] = field(default_factory=list)
    links: dict[str, str] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)
    roots: dict[str, str] = field(default_factory=dict)
    ignored: int = 0


def kinds_in(root: Path) -> list[str]:
    """Return which of the shared folders a source has. Raises `source-missing`."""
    found = [kind for kind in KINDS if (root / kind).is_dir()]
    if found:
        return found
    hint = f"Give the folder that {root.name}/ lies in: --from {root.parent}"
    raise SandboxError(
        "source-missing",
        f"{root} has none of the folders {KIND_NAMES}."
        if root.exists()
        else f"There is no {root}.",
        hints=(hint,) if root.name in KINDS else (),
        details={"source": str(root)},
    )


def list_folder(root: Path, *, forbidden: Path, fixed_time_ns: int | None = None) -> Listing:
    """List the shared kinds of folder below `root`. Raises `source-missing`.

    `forbidden` is where nothing may be taken from: the destination. `fixed_time_ns` stands for the
    times of files that were installed, whose owners mean nothing either.
    """
    reader = _Reader(Listing(kinds_in(root)), os.path.realpath(forbidden), fixed_time_ns)
    real = {kind: os.path.realpath(root / kind) for kind in reader.listing.kinds}
    inside = {path: kind for kind, path in real.items()}
    inside |= {posixpath.join(os.path.realpath(root), kind): kind for kind in real}
    if fixed_time_ns is None:
        reader.listing.roots = real
    for kind, location in real.items():
        reader.read(_Place(kind, location, inside, (location,)))
    return reader.listing


class _Place(NamedTuple):
    """A folder to read at `location`. `inside` are the places, and their paths in the shared
    folder, that its links may lead to; `trail` are the real places of all followed links above."""

    path: str
    location: str
    inside: dict[str, str]
    trail: tuple[str, ...]


@dataclass(slots=True)
class _Reader:
    listing: Listing
    forbidden: str
    fixed_time_ns: int | None

    def read(self, top: _Place) -> None:
        """Read a folder and all below it."""
        below = [top]
        while below:
            place = below.pop()
            try:
                info = Path(place.location).stat()
                with os.scandir(place.location) as entries:
                    # As they lie on disk: a spinning one reads them several times as fast.
                    found = sorted(entries, key=os.DirEntry.inode)
            except OSError as error:
                self._leave(place.path, f"cannot be read: {error.strerror}", failed=True)
                continue
            mode, owner = info.st_mode & 0o777, self._owner(info)
            self.listing.folders.append(Folder(place.path, mode, info.st_mtime_ns, owner))
            for entry in found:
                path = f"{place.path}/{entry.name}"
                try:
                    if entry.is_symlink():
                        below += self._read_link(place, entry.path, path)
                    elif entry.is_dir():
                        below.append(place._replace(path=path, location=entry.path))
                    else:
                        self._add(path, entry.path, entry.stat())
                except OSError as error:
                    self._leave(path, f"cannot be read: {error.strerror}", failed=True)

    def _add(self, path: str, location: str, info: os.stat_result) -> None:
        if not stat.S_ISREG(info.st_mode):
            self._leave(path, f"is {_SPECIAL.get(stat.S_IFMT(info.st_mode), 'a device')}")
            return
        time = info.st_mtime_ns if self.fixed_time_ns is None else self.fixed_time_ns
        mode, allocated, owner = info.st_mode & 0o777, info.st_blocks * 512, self._owner(info)
        self.listing.files.append(File(path, info.st_size, time, mode, allocated, owner, location))

    def _read_link(self, place: _Place, location: str, path: str) -> list[_Place]:
        """Keep a link, or follow it; return the folder it leads to."""
        text = os.readlink(location)  # noqa: PTH115  a Path would tidy the text
        is_absolute = posixpath.isabs(text)
        target = posixpath.normpath(posixpath.join(place.location, text))
        target = os.path.realpath(text) if is_absolute else target
        for root, root_path in place.inside.items():
            if is_below(target, root):
                meant = posixpath.join(root_path, posixpath.relpath(target, root))
                self.listing.links[path] = posixpath.relpath(meant, place.path)
                return []
        try:
            info = Path(location).stat()
        except FileNotFoundError:
            self._leave(path, f"is a link to {text}, which does not exist")
            return []
        if not stat.S_ISDIR(info.st_mode):
            self._add(path, location, info)
            return []
        real = os.path.realpath(location)
        around = (*place.trail, place.location, self.forbidden)
        if any(is_below(above, real) for above in around) or is_below(real, self.forbidden):
            self._leave(path, f"is a link that leads around in a circle, to {text}")
            return []
        return [_Place(path, real, {**place.inside, real: path}, (*place.trail, real))]

    def _owner(self, info: os.stat_result) -> tuple[int, int] | None:
        return (info.st_uid, info.st_gid) if self.fixed_time_ns is None else None

    def _leave(self, path: str, reason: str, *, failed: bool = False) -> None:
        self.listing.left_out.append(LeftOut(path, reason, failed))
