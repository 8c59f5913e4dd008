"""Carries a plan out: look for room, claim, place, write down what was placed.

A final name has the old content or the new, never a part of either: everything is written in a
staging folder beside the target, and renamed. A kind of which nothing is there yet is copied there
as a whole by the platform's copier. Nothing is fsynced, or 20,000 small files would take minutes:
what a power cut leaves short has the time of its source and not its size, and is copied anew.
"""

from __future__ import annotations

import contextlib
import errno
import filecmp
import os
import shutil
import stat
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final, TypeVar

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.files import cannot_write, move_to_nothing
from ktrdr_sandbox.shared.layout import STAGING, kind_of
from ktrdr_sandbox.shared.manifest import Manifest
from ktrdr_sandbox.shared.plan import Copy, Plan, file_record, is_stamp_of, link_record
from ktrdr_sandbox.shared.results import InitSharedResult, Kept, LeftOut, Observer, Progress
from ktrdr_sandbox.shared.source import File

T = TypeVar("T")

MARGIN: Final = 16 * 1024 * 1024
"""Bytes that stay free: a disk filled to the last one stops every stack on it."""
_BLOCK: Final = 4096
"""Bytes that a file system rounds up to, with something for the name."""
_BUFFER: Final = 1024 * 1024
_BEAT: Final = 0.1
"""Seconds between two looks at the progress."""
_ATTEMPTS: Final = 3
_BAD_NAME: Final = {errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ}
_CLEARING: Final = 10.0
"""Seconds in which a copier that has outlived a killed run notices that its folder is gone."""

CopyTree = Callable[[str, Path, Callable[[], None]], None]
"""Copies what is in one folder to another, as far as that goes; calls back now and then."""
Contents = Callable[[Collection[int]], Iterator[tuple[int, IO[bytes]]]]
"""Gives position and content of each wanted member of an archive."""


class SourceError(Exception):
    """The source could not be read."""


@dataclass(slots=True, kw_only=True)
class Applier:
    """Applies one plan for a source, by its number in the manifest, to the shared folder.

    `contents` is set for an archive. What was done goes into `result`.
    """

    shared: Path
    plan: Plan
    manifest: Manifest
    number: str
    result: InitSharedResult
    observe: Observer
    copy_tree: CopyTree
    contents: Contents | None = None
    _records: dict[str, str] = field(default_factory=dict, init=False)
    _stagings: dict[str, Path] = field(default_factory=dict, init=False)
    _size: int = field(default=0, init=False)
    _files: int = field(default=0, init=False)
    _told: float = field(default=0.0, init=False)
    _shown: tuple[int, int] = field(default=(0, 0), init=False)

    def apply(self, kinds: list[str]) -> None:
        """Do it. Whatever was placed by its end stays, is whole, and is known to the next run.

        Raises OSError of the shared folder, and what reading an archive raises.
        """
        plan, manifest = self.plan, self.manifest
        if not (plan.folders or plan.copies or plan.links or plan.found):
            return
        claims = {c.file.path: file_record(c.file, self.number) for c in plan.copies if not c.kept}
        # Settled at the very end: on a full disk there is room again when the staging is gone.
        with ExitStack() as settling, ExitStack() as stack:
            common = stack.enter_context(_staging(self.shared))
            for kind in kinds:  # on the device that it lies on
                folder = self.shared / kind
                is_mounted = folder.stat().st_dev != self.shared.stat().st_dev
                own = stack.enter_context(_staging(folder)) if is_mounted else common
                self._stagings[kind] = own
            self._check_room()
            earlier = dict(manifest.claims)
            manifest.records.update(plan.found)
            manifest.claims.update(claims)
            manifest.write()
            settling.callback(self._settle, earlier, claims.keys())
            self._place_all()

    def _settle(self, earlier: dict[str, str], claimed: AbstractSet[str]) -> None:
        """Write down what was placed of what was claimed."""
        done = claimed | self._records.keys()
        self.manifest.claims = {p: r for p, r in earlier.items() if p not in done}
        self.manifest.records.update(self._records)
        self.manifest.write()

    def _staged(self, path: str) -> Path:
        return self._stagings[kind_of(path)] / path

    def _check_room(self) -> None:
        for staging in set(self._stagings.values()):
            files = [c.file for c in self.plan.copies if not c.kept]
            files = [file for file in files if self._stagings[kind_of(file.path)] == staging]
            needed = sum(min(file.allocated, file.size) + _BLOCK for file in files) + MARGIN
            info = os.statvfs(staging)
            free = info.f_bavail * info.f_frsize
            if files and needed > free:
                raise no_room(self.shared, needed=needed, free=free)
            if info.f_files and len(files) > info.f_favail:
                raise SandboxError(
                    "cannot-write",
                    f"Not enough room in {self.shared} for {len(files):,} files: its file system "
                    f"takes {info.f_favail:,} more.",
                    details={"path": str(self.shared), "files": len(files)},
                )

    def _place_all(self) -> None:
        self._tell()
        for kind, root in self.plan.whole.items():
            self._staged(kind).mkdir()
            self.copy_tree(root, self._staged(kind), self._tell_staged)
            self._move_whole(kind)
        self._make_folders()
        if self.contents is not None:
            self._unpack(self.contents)
        else:
            for copy in self.plan.copies:
                if copy.file.path not in self._records:
                    self._place_file(copy)
        for path, (target, is_replaced) in self.plan.links.items():
            self._make_link(path, target, is_replaced=is_replaced)
        for folder in reversed(self.plan.folders):  # making something in one changes its time
            with contextlib.suppress(OSError):  # a running stack may have made it
                if folder.mtime_ns:
                    os.utime(self.shared / folder.path, ns=(folder.mtime_ns, folder.mtime_ns))
        self.result.copied.folders = len(self.plan.folders)
        self._tell()

    def _move_whole(self, kind: str) -> None:
        """Move the folders in which a copier has made all that was planned, and nothing else."""
        copies = _by_top((copy.file.path, copy) for copy in self.plan.copies)
        for top, folders in _by_top((one.path, one) for one in self.plan.folders).items():
            if kind_of(top) != kind:
                continue
            staged = sum(len(below) + len(names) for _, below, names in os.walk(self._staged(top)))
            if (
                staged != len(folders) - 1 + len(copies[top])
                or not all(self._is_folder_as_planned(folder.path) for folder in folders)
                or not all(self._is_as_planned(copy.file) for copy in copies[top])
            ):
                continue
            for folder in folders:
                self._staged(folder.path).chmod(folder.mode | 0o700)
            with contextlib.suppress(OSError):  # something has come into its place meanwhile
                self._staged(top).rename(self.shared / top)
                for copy in copies[top]:
                    self._count(copy)
                    self._tick(copy.file.size)

    def _is_as_planned(self, file: File) -> bool:
        """Tell whether a copier's result is what was planned, and its source has held still."""
        stamp = file.size, file.mtime_ns
        try:
            info = os.lstat(self._staged(file.path))
            if not (stat.S_ISREG(info.st_mode) and is_stamp_of(info, stamp)):
                return False
            if stat.S_IMODE(info.st_mode) != file.mode:  # set-user-id and the like
                self._staged(file.path).chmod(file.mode)
            return _is_stamp(os.lstat(file.location), stamp)
        except OSError:
            return False

    def _is_folder_as_planned(self, path: str) -> bool:
        """Tell a folder from a link to one, which is followed and so not copied as it lies."""
        return self._staged(path).is_dir() and not self._staged(path).is_symlink()

    def _make_folders(self) -> None:
        for folder in self.plan.folders:
            with contextlib.suppress(FileExistsError):  # a running stack was quicker
                path = self.shared / folder.path
                path.mkdir()
                path.chmod(folder.mode | 0o700)  # a later run has to write there
                _give(path, folder.owner)

    def _place_file(self, copy: Copy) -> None:
        """Place what was copied as a whole, or copy it until it held still meanwhile."""
        file = copy.file
        if self._is_as_planned(file):
            self._move(copy, self._staged(file.path))
            self._tick(file.size)
            return
        try:
            with _opened(file.location) as stream:
                for _ in range(_ATTEMPTS):
                    now = os.fstat(stream.fileno())
                    if file.owner is not None:  # else it was installed, and its time is made up
                        file = file._replace(mtime_ns=now.st_mtime_ns)
                    file = file._replace(size=now.st_size)
                    stream.seek(0)
                    if self._copy(copy._replace(file=file), stream, seen=now):
                        return
            raise SourceError("it changes while it is read")
        except SourceError as error:
            self._leave(file.path, f"cannot be read: {error}")

    def _unpack(self, contents: Contents) -> None:
        wanted: dict[int, list[Copy]] = {}
        for copy in self.plan.copies:
            wanted.setdefault(copy.file.position, []).append(copy)
        for position, content in contents(wanted):
            if len(wanted[position]) == 1:
                self._copy(wanted[position][0], content)
                continue
            with tempfile.TemporaryFile(dir=self.shared / STAGING) as spool:
                shutil.copyfileobj(content, spool)  # it has several names, and is read only once
                for copy in wanted[position]:
                    spool.seek(0)
                    self._copy(copy, spool)

    def _copy(self, copy: Copy, stream: IO[bytes], seen: os.stat_result | None = None) -> bool:
        """Write a file and place it; False where its source is not as it was `seen` any more."""
        file = copy.file
        handle, name = tempfile.mkstemp(".part", dir=self._stagings[kind_of(file.path)])
        draft = Path(name)
        try:
            with os.fdopen(handle, "wb") as target:
                is_whole = self._write(stream, target, file.size)
            if seen is None:
                if not is_whole:
                    raise SourceError("it ends too early")
            elif not _is_stamp(os.fstat(stream.fileno()), (seen.st_size, seen.st_mtime_ns)):
                return False
            _give(draft, file.owner)
            draft.chmod(file.mode)
            os.utime(draft, ns=(file.mtime_ns, file.mtime_ns))
            self._move(copy, draft)
        finally:
            draft.unlink(missing_ok=True)
        self._tick(0)
        return True

    def _write(self, stream: IO[bytes], target: IO[bytes], size: int) -> bool:
        """Write so many bytes of a stream, if it has them; whole buffers of zeros become holes."""
        while size:
            try:
                data = stream.read(min(_BUFFER, size))
            except OSError as error:
                raise SourceError(error.strerror) from error
            if not data:
                break
            if len(data) == _BUFFER and not data.strip(b"\0"):
                target.seek(len(data), os.SEEK_CUR)
            else:
                target.write(data)
            size -= len(data)
            self._tick(len(data), files=0)
        target.truncate()
        return not size

    def _move(self, copy: Copy, draft: Path) -> None:
        """Give a finished draft its final name, or keep what has it."""
        file, place = copy.file, self.shared / copy.file.path
        try:
            if copy.kept is not None:
                if not _are_same(draft, place):
                    self.result.kept.append(copy.kept)
                    return
                self.result.unchanged += 1
            else:
                if copy.expected is None:
                    move_to_nothing(draft, place)
                else:
                    _replace(draft, place, copy.expected)
                self._count(copy)
            self._records[file.path] = file_record(file, self.number)
        except FileExistsError:
            self.result.kept.append(Kept(file.path, "appeared"))
        except OSError as error:
            if error.errno not in _BAD_NAME:
                raise
            why = f"has a name that the shared folder cannot hold: {error.strerror}"
            self._leave(file.path, why)

    def _count(self, copy: Copy) -> None:
        self.result.copied.add_file(copy.file.size, is_new=copy.expected is None)
        self._records[copy.file.path] = file_record(copy.file, self.number)

    def _make_link(self, path: str, target: str, *, is_replaced: bool) -> None:
        draft = self._stagings[kind_of(path)] / "link" if is_replaced else self.shared / path
        try:
            draft.symlink_to(target)
        except FileExistsError:  # a running stack was quicker
            return
        if is_replaced:
            draft.replace(self.shared / path)
        self.result.copied.links += 1
        self._records[path] = link_record(target, self.number)

    def _leave(self, path: str, reason: str) -> None:
        self.result.left_out.append(LeftOut(path, reason, failed=True))

    # -- progress --------------------------------------------------------------------------------

    def _tick(self, size: int, files: int = 1) -> None:
        self._size += size
        self._files += files
        now = time.monotonic()
        if now - self._told >= _BEAT:
            self._told = now
            self._tell()

    def _tell_staged(self) -> None:
        """Tell how much a copier has made so far."""
        size = files = 0
        for staging in set(self._stagings.values()):
            for folder, _, names in os.walk(staging):
                files += len(names)
                with contextlib.suppress(FileNotFoundError):
                    size += sum(Path(folder, name).lstat().st_size for name in names)
        self._tell(size, files)

    def _tell(self, size: int = 0, files: int = 0) -> None:
        sizes = [copy.file.size for copy in self.plan.copies]
        self._shown = max(self._shown, (self._size + size, self._files + files))
        self.observe(Progress("copying", self._shown[0], sum(sizes), self._shown[1], len(sizes)))


def _opened(location: str) -> IO[bytes]:
    try:
        # A pipe that took a file's name a moment ago must not be waited for.
        source = os.open(location, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise SourceError(error.strerror) from error
    if not stat.S_ISREG(os.fstat(source).st_mode):
        os.close(source)
        raise SourceError("it is no regular file any more")
    return os.fdopen(source, "rb", buffering=0)


def _give(path: Path, owner: tuple[int, int] | None) -> None:
    if owner is not None and os.geteuid() == 0:
        os.chown(path, *owner)


def _is_stamp(info: os.stat_result, expected: tuple[int, int]) -> bool:
    return (info.st_size, info.st_mtime_ns) == expected


def _by_top(paths: Iterable[tuple[str, T]]) -> defaultdict[str, list[T]]:
    """Group what has paths by the folder in a kind that it lies in, or is."""
    found: defaultdict[str, list[T]] = defaultdict(list)
    for path, one in paths:
        found["/".join(path.split("/", 2)[:2])].append(one)
    return found


def _are_same(draft: Path, place: Path) -> bool:
    try:
        return filecmp.cmp(draft, place, shallow=False)
    except OSError:  # a shared file that cannot be read is not ours to touch
        return False


def _replace(draft: Path, place: Path, expected: tuple[int, int]) -> None:
    """Take the place of what was there when the run began. Raises FileExistsError."""
    with contextlib.suppress(FileNotFoundError):
        if not _is_stamp(place.lstat(), expected):
            raise FileExistsError
    draft.replace(place)


@contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    """Give an empty staging folder for the block. Raises OSError."""
    path = folder / STAGING
    _remove(path)
    try:
        path.mkdir(mode=0o700)
        # Of its own name: the copier of a killed run may still write to where it was told.
        yield Path(tempfile.mkdtemp(dir=path))
    finally:
        _remove(path)


def _remove(path: Path) -> None:
    """Remove what is staged, and what a killed run left."""
    if path.is_symlink():
        path.unlink()
    until = time.monotonic() + _CLEARING
    while path.exists():
        try:
            for folder, names, _ in os.walk(path):
                for inner in (Path(folder, name) for name in names):
                    if not inner.is_symlink():
                        inner.chmod(0o700)  # a source's folder that nobody may write to
            shutil.rmtree(path)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.ENOENT) or time.monotonic() > until:
                raise


def no_room(folder: Path, *, needed: int, free: int) -> SandboxError:
    """Return the error for a copy that does not fit, in bytes."""
    return SandboxError(
        "cannot-write",
        f"Not enough room in {folder}: {needed / 1e6:,.1f} MB are needed and {free / 1e6:,.1f} MB "
        "are free.",
        hints=("Free some, or point KTRDR_HOME at another disk.",),
        details={"path": str(folder), "needed": needed, "free": free},
    )


def cannot_fill(shared: Path, error: OSError) -> SandboxError:
    """Return the error for a run that ended half-way."""
    told = cannot_write(shared, error)
    told.hints = (*told.hints, "What is there is whole; the same command goes on from it.")
    return told
