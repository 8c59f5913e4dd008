"""A folder as a source: a checkout, another shared folder, the seed pack.

Links that stay within data, models and strategies stay links; one that leads out of them is
followed, because in a container it would lead nowhere.
"""

from __future__ import annotations

import functools
import os
import posixpath
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.shared_data.entries import FileFacts, Folder, LinkEntry
from ktrdr_sandbox.shared_data.layout import FOLDER_FLAGS, KINDS, is_below
from ktrdr_sandbox.shared_data.remarks import LeftOut

_SPECIAL: Final = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class _Place(NamedTuple):
    """A folder still to be read. `anchor` is the tree in which its links may stay links.

    `trail` are the real places of all followed links above it, to notice circles.
    """

    path: str
    location: str
    anchor: _Anchor
    trail: tuple[str, ...]


def _path_of(place: _Place) -> str:
    return place.path


class _Anchor(NamedTuple):
    """A tree that is copied as it lies: its real place, and its path in the shared folder."""

    location: str
    path: str

    def holds(self, place: str) -> bool:
        """Whether a place in the source is copied along with this tree."""
        if not is_below(place, self.location):
            return False
        inside = posixpath.relpath(place, self.location)
        return bool(self.path) or any(is_below(inside, kind) for kind in KINDS)

    def path_of(self, place: str) -> str:
        """Where a place in this tree is in the shared folder."""
        inside = posixpath.relpath(place, self.location)
        return posixpath.normpath(posixpath.join(self.path, inside))


class FolderSource:
    """The shared kinds of folder below `root`.

    `forbidden` is where nothing may be taken from: the destination. `fixed_time` stands for the
    times of the files, in nanoseconds, where those tell only when a package was installed;
    `is_brief` says of which folders, by their path, stamps are likely to be enough (not with a
    `fixed_time`); `left_out` fills while `folders` is read.
    """

    def __init__(
        self,
        root: Path,
        *,
        forbidden: Path,
        fixed_time: int | None = None,
        keep_owner: bool,
        is_brief: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self.root = root
        self.left_out: list[LeftOut] = []
        self._forbidden = os.path.realpath(forbidden)
        self._fixed_time = fixed_time
        self._keep_owner = keep_owner
        self._is_brief = is_brief
        self._below: list[_Place] = []

    def kinds(self) -> list[str]:
        """Which of the shared folders the source has. Raises `source-missing`."""
        if not self.root.exists():
            raise SandboxError(
                "source-missing",
                f"There is no {self.root}.",
                details={"source": str(self.root)},
            )
        found = [kind for kind in KINDS if (self.root / kind).is_dir()]
        if not found:
            raise _nothing_in(self.root)
        return found

    def folders(self) -> Iterator[Folder]:
        """Everything to copy. Raises `source-missing`."""
        for kind in self.kinds():
            self._below = [self._top(kind)]
            while self._below:
                place = self._below.pop()
                folder = self._read(place)
                if folder is not None:
                    yield folder

    def _top(self, kind: str) -> _Place:
        location = str(self.root / kind)
        real = os.path.realpath(location)
        root = os.path.realpath(self.root)
        # A kind that is itself a link lies elsewhere: its tree is then anchored by itself.
        anchor = _Anchor(root, "") if real == posixpath.join(root, kind) else _Anchor(real, kind)
        return _Place(kind, real, anchor, (real,))

    def _read(self, place: _Place) -> Folder | None:
        try:
            opened = os.open(place.location, FOLDER_FLAGS)
        except OSError as error:
            self._leave(place.path, _unreadable(error), failed=True)
            return None
        try:
            return self._look(place, opened)
        finally:
            os.close(opened)

    def _folder(self, place: _Place, opened: int) -> Folder:
        info = os.fstat(opened)
        folder = Folder(place.path, place.location, info.st_mode & 0o777, info.st_mtime_ns)
        if self._keep_owner:
            folder.owner, folder.group = info.st_uid, info.st_gid
        if self._is_brief(place.path):
            folder.later = functools.partial(self.files_of, folder)
        return folder

    def _look(self, place: _Place, opened: int) -> Folder:
        folder = self._folder(place, opened)
        below: list[_Place] = []
        stamps = folder.stamps if folder.later else None
        fixed_time, keep_owner, add = self._fixed_time, self._keep_owner, folder.add
        for entry in self._entries(place, opened):
            try:
                info = entry.stat(follow_symlinks=False)
            except OSError as error:
                self._leave(f"{place.path}/{entry.name}", _unreadable(error), failed=True)
                continue
            mode = info.st_mode
            if stat.S_ISREG(mode):
                if stamps is None:
                    add(_facts(entry.name, info, fixed_time, keep_owner=keep_owner))
                else:
                    stamps[entry.name] = (info.st_size, info.st_mtime_ns)
            elif stat.S_ISLNK(mode):
                below += self._link(place, folder, entry.name)
            elif stat.S_ISDIR(mode):
                below.append(self._inner(place, entry.name))
            else:
                self._leave_special(f"{place.path}/{entry.name}", mode)
        # By name: in the same order as what is there already is looked through.
        self._below += sorted(below, key=_path_of, reverse=True)
        return folder

    def files_of(self, folder: Folder) -> list[FileFacts]:
        """All there is to know of the files whose stamps a folder has, at this later time."""
        found = []
        try:
            opened = os.open(folder.location, FOLDER_FLAGS)
        except OSError as error:
            self._leave(folder.path, _unreadable(error), failed=True)
            return []
        try:
            for name in folder.stamps:
                try:
                    info = os.stat(name, dir_fd=opened)
                except OSError as error:
                    self._leave(f"{folder.path}/{name}", _unreadable(error), failed=True)
                    continue
                found.append(_facts(name, info, self._fixed_time, keep_owner=self._keep_owner))
        finally:
            os.close(opened)
        return found

    def _entries(self, place: _Place, opened: int) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(opened) as entries:  # by descriptor: no path to walk for each file
                # in the order they lie on disk: a spinning one reads them several times as fast
                return sorted(entries, key=os.DirEntry.inode)
        except OSError as error:
            self._leave(place.path, _unreadable(error), failed=True)
            return []

    @staticmethod
    def _inner(place: _Place, name: str) -> _Place:
        return place._replace(path=f"{place.path}/{name}", location=f"{place.location}/{name}")

    def _leave_special(self, path: str, mode: int) -> None:
        what = _SPECIAL.get(stat.S_IFMT(mode), "no file")
        self._leave(path, f"is {what}", failed=False)

    # -- links -----------------------------------------------------------------------------------

    def _link(self, place: _Place, folder: Folder, name: str) -> list[_Place]:
        path, location = f"{place.path}/{name}", f"{place.location}/{name}"
        try:
            text = os.readlink(location)  # noqa: PTH115  a Path would tidy the text
            kept = self._kept_text(place, text)
            if kept is not None:
                folder.links.append(LinkEntry(name, kept))
                return []
            return self._follow(place, folder, name, text)
        except OSError as error:
            dangling = f"is a link to {text}, which does not exist"
            reason = dangling if isinstance(error, FileNotFoundError) else _unreadable(error)
            self._leave(path, reason, failed=not isinstance(error, FileNotFoundError))
            return []

    @staticmethod
    def _kept_text(place: _Place, text: str) -> str | None:
        """What a link may say in the shared folder, or None where it has to be followed."""
        if not posixpath.isabs(text):
            meant = posixpath.normpath(posixpath.join(place.location, text))
            return text if place.anchor.holds(meant) else None
        real = os.path.realpath(text)
        if not place.anchor.holds(real):
            return None
        return posixpath.relpath(place.anchor.path_of(real), place.path)

    def _follow(self, place: _Place, folder: Folder, name: str, text: str) -> list[_Place]:
        inner = self._inner(place, name)
        info = Path(inner.location).stat()
        if stat.S_ISREG(info.st_mode):
            facts = _facts(name, info, self._fixed_time, keep_owner=self._keep_owner)
            folder.add(facts)
            return []
        if not stat.S_ISDIR(info.st_mode):
            self._leave_special(inner.path, info.st_mode)
            return []
        real = os.path.realpath(inner.location)
        around = (*place.trail, place.location)
        if any(is_below(above, real) for above in around) or self._is_forbidden(real):
            self._leave(inner.path, f"is a link that leads around in a circle, to {text}")
            return []
        return [_Place(inner.path, real, _Anchor(real, inner.path), (*place.trail, real))]

    def _is_forbidden(self, real: str) -> bool:
        return is_below(real, self._forbidden) or is_below(self._forbidden, real)

    def _leave(self, path: str, reason: str, *, failed: bool = False) -> None:
        self.left_out.append(LeftOut(path, reason, failed))


def _facts(
    name: str, info: os.stat_result, fixed_time: int | None, *, keep_owner: bool
) -> FileFacts:
    return (
        name,
        info.st_size,
        info.st_mtime_ns if fixed_time is None else fixed_time,
        info.st_mode & 0o777,
        info.st_blocks * 512,
        info.st_uid if keep_owner else None,
        info.st_gid if keep_owner else None,
        -1,
    )


def _unreadable(error: OSError) -> str:
    return f"cannot be read: {error.strerror or error}"


def _nothing_in(root: Path) -> SandboxError:
    hints = []
    if root.name in KINDS:
        hints.append(f"Give the folder that {root.name}/ lies in: --from {root.parent}")
    return SandboxError(
        "source-missing",
        f"{root} has none of the folders {', '.join(f'{kind}/' for kind in KINDS)}.",
        hints=hints,
        details={"source": str(root)},
    )
