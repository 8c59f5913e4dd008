"""A source of files, and a folder as one: a checkout, another shared folder, the seed pack."""

from __future__ import annotations

import contextlib
import os
import posixpath
import shutil
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final, NamedTuple

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.files import follow_owner
from ktrdr_sandbox.shared.layout import KIND_NAMES, KINDS, is_below, kind_of
from ktrdr_sandbox.shared.results import LeftOut

_SPECIAL = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}
_BUFFER: Final = 1024 * 1024


class SourceError(Exception):
    """The source could not be read."""


class File(NamedTuple):
    """A file of a source, by its path in the shared folder."""

    path: str
    size: int
    mtime_ns: int
    mode: int
    location: str = ""


@dataclass(slots=True)
class Listing:
    """What a source offers. `folders` map path to permissions, parents first; `links` to target.

    `ignored` counts what an archive holds beside the shared kinds of folder.
    """

    folders: dict[str, int] = field(default_factory=dict)
    files: list[File] = field(default_factory=list)
    links: dict[str, str] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)
    ignored: int = 0


Tick = Callable[[int], None]
"""Is told how many more bytes are done."""
Stage = Callable[[list[File], Path, Tick], Iterator[tuple[File, str]]]
"""Writes files into an empty folder, giving each when it is complete; then it may be moved."""


def write_file(place: Path, file: File, stream: IO[bytes], tick: Tick) -> None:
    """Write a file with its permissions and time; long runs of zeros become holes.

    Writes less where the stream ends early. Raises SourceError, and OSError of the place.
    """
    left = file.size
    with place.open("wb") as target:
        while left:
            try:
                data = stream.read(min(_BUFFER, left))
            except OSError as error:
                raise SourceError(error.strerror) from error
            if not data:
                break
            if len(data) == _BUFFER and not data.strip(b"\0"):
                target.seek(len(data), os.SEEK_CUR)
            else:
                target.write(data)
            left -= len(data)
            tick(len(data))
        target.truncate()
        os.fchmod(target.fileno(), file.mode)
        os.utime(target.fileno(), ns=(file.mtime_ns, file.mtime_ns))
    follow_owner(place)


def kinds_in(root: Path) -> list[str]:
    """Return which of the shared folders a source has. Raises `source-missing`."""
    if kinds := [kind for kind in KINDS if (root / kind).is_dir()]:
        return kinds
    hint = f"Give the folder that {root.name}/ lies in: --from {root.parent}"
    has_none = f"{root} has none of the folders {KIND_NAMES}."
    raise SandboxError(
        "source-missing",
        has_none if root.exists() else f"There is no {root}.",
        hints=(hint,) if root.name in KINDS else (),
        details={"source": str(root)},
    )


@dataclass(slots=True)
class FolderSource:
    """The shared kinds of folder below `root`.

    `copy_tree` copies a folder's content to another, as far as that goes, and calls back now and
    then. `time_ns` stands for the times of files that were installed.
    """

    root: Path
    copy_tree: Callable[[str, Path, Callable[[], None]], None]
    time_ns: int | None = None
    listing: Listing = field(default_factory=Listing)
    _roots: dict[str, str] = field(default_factory=dict)

    def list_files(self) -> Listing:
        """Look through all of it. Raises `source-missing`."""
        self._roots = {kind: os.path.realpath(self.root / kind) for kind in kinds_in(self.root)}
        below = list(self._roots.items())
        while below:
            path, location = below.pop()
            try:
                mode = Path(location).stat().st_mode & 0o777
                with os.scandir(location) as found:
                    # As they lie on disk: a spinning one reads them several times as fast.
                    entries = sorted(found, key=os.DirEntry.inode)
            except OSError as error:
                self._leave_out(path, f"cannot be read: {error.strerror}", failed=True)
                continue
            self.listing.folders[path] = mode
            for entry in entries:
                name = f"{path}/{entry.name}"
                if entry.is_symlink():
                    self._add_link(name, entry.path)
                elif entry.is_dir():
                    below.append((name, entry.path))
                else:
                    self._add_file(name, entry.path)
        return self.listing

    def _add_file(self, path: str, location: str) -> None:
        try:
            info = os.stat(location)  # noqa: PTH116  of 20,000, a Path for each takes its time
        except OSError as error:
            self._leave_out(path, f"cannot be read: {error.strerror}", failed=True)
            return
        if not stat.S_ISREG(info.st_mode):
            self._leave_out(path, f"is {_SPECIAL.get(stat.S_IFMT(info.st_mode), 'a device')}")
            return
        time, mode = self.time_ns or info.st_mtime_ns, info.st_mode & 0o777
        self.listing.files.append(File(path, info.st_size, time, mode, location))

    def _add_link(self, path: str, location: str) -> None:
        """Keep a link within the shared folders; of another take the file that it leads to.

        In a container a link that leads out of them would lead nowhere.
        """
        text = os.readlink(location)  # noqa: PTH115  a Path would tidy the text
        target = posixpath.normpath(posixpath.join(posixpath.dirname(location), text))
        target = os.path.realpath(text) if posixpath.isabs(text) else target
        for kind, real in self._roots.items():
            for root in (real, posixpath.join(os.path.realpath(self.root), kind)):
                if is_below(target, root):
                    meant = posixpath.join(kind, posixpath.relpath(target, root))
                    self.listing.links[path] = posixpath.relpath(meant, posixpath.dirname(path))
                    return
        if Path(location).is_file():
            self._add_file(path, location)
        else:
            self._leave_out(path, f"is a link that leads out of the folders, to {text}")

    def _leave_out(self, path: str, reason: str, *, failed: bool = False) -> None:
        self.listing.left_out.append(LeftOut(path, reason, failed))

    def stage(self, files: list[File], staging: Path, tick: Tick) -> Iterator[tuple[File, str]]:
        """Copy files one by one, or with the platform's copier where a whole kind is wanted."""
        free = shutil.disk_usage(staging).free

        def look() -> None:
            nonlocal free
            before, free = free, shutil.disk_usage(staging).free
            tick(max(before - free, 0))

        listed = Counter(kind_of(file.path) for file in self.listing.files)
        wanted = Counter(kind_of(file.path) for file in files)
        for kind in wanted if self.time_ns is None else ():
            if wanted[kind] == listed[kind]:
                (staging / kind).mkdir()
                self.copy_tree(self._roots[kind], staging / kind, look)
        for folder in self.listing.folders:
            with contextlib.suppress(FileNotFoundError):
                (staging / folder).chmod(0o700)  # nobody may write to some
        for file in files:
            copy = f"{staging}/{file.path}"  # text: Paths of 20,000 files take half a second
            try:
                if _is_copied(file, copy):
                    tick(file.size)
                    yield file, copy
                else:
                    place = staging / ".part"
                    yield self._copied(file, place, tick), str(place)
            except SourceError as error:
                self._leave_out(file.path, f"cannot be read: {error}", failed=True)

    def _copied(self, file: File, place: Path, tick: Tick) -> File:
        """Copy a file until it held still meanwhile; return it as it was then."""
        for _ in range(3):
            with _opened(file.location) as stream:
                info = os.fstat(stream.fileno())
                time = self.time_ns or info.st_mtime_ns
                file = file._replace(size=info.st_size, mtime_ns=time)
                write_file(place, file, stream, tick)
                after = os.fstat(stream.fileno())
            if (after.st_size, after.st_mtime_ns) == (info.st_size, info.st_mtime_ns):
                return file
        raise SourceError("it changes while it is read")


def _is_copied(file: File, copy: str) -> bool:
    """Tell whether the copier has made what was planned, from a source that has held still."""
    try:
        info, source = os.lstat(copy), os.lstat(file.location)
    except OSError:
        return False
    if stat.S_ISREG(info.st_mode) and stat.S_IMODE(info.st_mode) != file.mode:
        Path(copy).chmod(file.mode)  # set-user-id and the like
    stamps = [(one.st_size, one.st_mtime_ns) for one in (info, source)]
    return stat.S_ISREG(info.st_mode) and stamps == [(file.size, file.mtime_ns)] * 2


def _opened(location: str) -> IO[bytes]:
    try:
        return Path(location).open("rb", buffering=0)
    except OSError as error:
        raise SourceError(error.strerror) from error
