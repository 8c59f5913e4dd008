"""A tar archive as a source. Nothing in it is trusted; all of it is read before any is written.

`tarfile` only reads headers and contents here, it never writes a file, so that its filters have
nothing to do: every name is checked here, and written by our own code.
"""

from __future__ import annotations

import gzip
import posixpath
import sys
import tarfile
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import IO, Any, Final, cast

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.shared.apply import SourceError
from ktrdr_sandbox.shared.layout import KIND_NAMES, KINDS, kind_of
from ktrdr_sandbox.shared.source import File, Folder, Listing

if sys.version_info >= (3, 14):
    from compression import zstd as zstd
else:
    from backports import zstd as zstd

MOST_MEMBERS: Final = 250_000
HEAD: Final = 512
"""Bytes of the beginning that tell what a file is."""
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_DEEPEST, _LONGEST_PART = 64, 255
_LATEST: Final = 2**33
"""Seconds; a later time is a mistake that some file systems do not take."""
_LARGEST_READ: Final = 1024 * 1024
"""More at once is asked for only by a header that claims to be larger, which is no real one."""
_FREE_RATIO, _FREE_SIZE = 100, 64 * 1024 * 1024
"""Unpacked bytes may be this many times the packed ones, after so many that are free."""
_ZSTD_OPTIONS: Final[dict[int, int]] = {zstd.DecompressionParameter.window_log_max: 27}
"""What `zstd` itself takes without being asked to take more: 128 MiB of memory."""


class DamagedError(Exception):
    """The file is cut off, or its content contradicts itself."""


class UnsafeError(Exception):
    """The archive holds what no honest one does."""


def is_archive(head: bytes) -> bool:
    """Tell by the first bytes of a file whether it is an archive for us."""
    return head.startswith((_GZIP, _ZSTD)) or head[257:262] == b"ustar"


def not_an_archive(name: str, why: str = "") -> SandboxError:
    """Return the error for a file that is none of the kinds we take."""
    return SandboxError(
        "source-unusable",
        f"{name} is no .tar, .tar.gz or .tar.zst archive{why}.",
        hints=() if why else ("Unpack it, and give the folder: --from FOLDER",),
        details={"source": name},
    )


@contextmanager
def opened_archive(path: Path, name: str) -> Iterator[Archive]:
    """Open an archive, by its name for messages, and tell what proves to be wrong with it.

    Raises `source-missing`, `source-unusable`, `archive-unsafe`, `archive-damaged`.
    """
    details = {"source": name}
    try:
        raw = path.open("rb")
    except OSError as error:
        message = f"Cannot read {name}: {error.strerror}."
        raise SandboxError("source-missing", message, details=details) from error
    with raw:
        if not is_archive(raw.read(HEAD)):
            raise not_an_archive(name)
        try:
            yield Archive(name, raw)
        except UnsafeError as error:
            raise SandboxError(
                "archive-unsafe",
                f"{name} is not unpacked: {error}.",
                hints=("Nothing was written. If you trust it, unpack it: --from FOLDER",),
                details=details,
            ) from error
        except (DamagedError, SourceError, tarfile.TarError, RecursionError) as error:
            why = "its headers nest" if isinstance(error, RecursionError) else error
            raise SandboxError(
                "archive-damaged",
                f"{name} is damaged: {why}.",
                hints=("Get it again. What was in the shared folder is still there.",),
                details=details,
            ) from error


@dataclass(frozen=True, slots=True)
class Archive:
    """An open archive that can be read from its beginning again and again."""

    name: str
    raw: IO[bytes]

    def list_members(self, observe: Callable[[int], None]) -> Listing:
        """Read and check all of it; `observe` is told the bytes of the file read so far."""
        members: dict[str, tuple[int, tarfile.TarInfo]] = {}
        stream = _Stream(self.raw, observe)
        for position, info in enumerate(_headers(stream.as_tar())):
            if position >= MOST_MEMBERS:
                raise UnsafeError(f"it has more than {MOST_MEMBERS:,} members")
            if path := _checked_path(info):
                members.pop(path, None)  # as tar has it: the last of a name counts
                members[path] = position, info
        stream.finish()
        return _listing(self.name, members)

    def contents(self, wanted: Collection[int]) -> Iterator[tuple[int, IO[bytes]]]:
        """Give position and content of each wanted member, to be read before the next."""
        archive = _Stream(self.raw, lambda _: None).as_tar()
        given = 0
        for position, info in enumerate(_headers(archive)):
            content = archive.extractfile(info) if position in wanted else None
            if content is not None:
                given += 1
                yield position, content
        if given < len(wanted):
            raise DamagedError("it has changed while it was read")


class _Stream:
    """The unpacked bytes as tarfile reads them: forward only, counted, and never much at a time."""

    def __init__(self, raw: IO[bytes], observe: Callable[[int], None]) -> None:
        raw.seek(0)
        head = raw.read(len(_ZSTD))
        raw.seek(0)
        self._raw, self._observe = raw, observe
        self._at = self._told = 0
        self._last = b""
        self._stream: Any = raw
        if head.startswith(_GZIP):
            self._stream = gzip.GzipFile(fileobj=raw, mode="rb")
        elif head == _ZSTD:
            self._stream = zstd.ZstdFile(raw, options=_ZSTD_OPTIONS)

    def as_tar(self) -> tarfile.TarFile:
        stream = cast("IO[bytes]", self)
        return tarfile.open(fileobj=stream, mode="r:", errors="surrogateescape")

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _LARGEST_READ:
            raise UnsafeError(f"it has a header of {size} bytes")
        data = b""
        try:
            while len(data) < size and (more := self._stream.read(size - len(data))):
                data += more
        except (EOFError, zlib.error, OSError, ValueError, zstd.ZstdError) as error:
            raise DamagedError(str(error)) from error
        self._at += len(data)
        packed = self._raw.tell()
        if packed - self._told >= _LARGEST_READ:
            self._told = packed
            self._observe(packed)
        if self._at > _FREE_SIZE + _FREE_RATIO * packed:
            raise UnsafeError(f"it unpacks to more than {_FREE_RATIO} times its own size")
        self._last = data
        return data

    def seek(self, place: int) -> int:
        while self._at < place and self.read(min(_LARGEST_READ, place - self._at)):
            pass
        if self._at != place:
            raise DamagedError("it is cut off, or its headers contradict one another")
        return place

    def finish(self) -> None:
        """Read to the end, where checksums are."""
        if self._last.strip(b"\0") or not self._last:
            # tarfile takes a header that is none, and the end of the file, for the end of the list
            raise DamagedError("it is cut off, or damaged")
        while self.read(_LARGEST_READ):
            pass


def _headers(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    while True:
        try:
            info = archive.next()
        except (ValueError, OverflowError, AttributeError, TypeError, KeyError) as error:
            # what tarfile lets through for headers that no program wrote by mistake
            raise DamagedError(f"a header makes no sense ({error})") from error
        if info is None:
            return
        yield info
        archive.members.clear()  # type: ignore[attr-defined]  # it would keep every one


def _checked_path(info: tarfile.TarInfo) -> str:
    """Return a member's path, "" for the archive's own root. Raises UnsafeError."""
    shown = _shown(info.name)
    if info.isreg() and info.size < 0:
        raise DamagedError(f"{shown} has a size below zero")
    if info.ischr() or info.isblk() or info.isfifo():
        raise UnsafeError(f"{shown} is a device or a pipe")
    if not (info.isreg() or info.isdir() or info.issym() or info.islnk()):
        raise UnsafeError(f"{shown} is of an unknown kind")
    return _safe_path(info.name)


def _safe_path(name: str) -> str:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/"):
        raise UnsafeError(f"{_shown(name)} has an absolute name")
    if ".." in parts:
        raise UnsafeError(f"{_shown(name)} leads out of it")
    if "\0" in name or len(parts) > _DEEPEST:
        raise UnsafeError(f"{_shown(name)} is no name for a file")
    if any(len(part.encode("utf-8", "surrogateescape")) > _LONGEST_PART for part in parts):
        raise UnsafeError(f"{_shown(name)} is too long a name")
    return "/".join(parts)


def _shown(name: str) -> str:
    text = ascii(name)[1:-1]
    return text if len(text) <= 80 else f"{text[:77]}..."


def _mtime_ns(info: tarfile.TarInfo) -> int:
    """Read the time from its text, which is exact where tarfile's own number is a float."""
    try:
        seconds = Decimal(info.pax_headers.get("mtime", str(info.mtime)))
        return int(min(max(seconds, Decimal(0)), Decimal(_LATEST)) * 10**9)
    except (InvalidOperation, ValueError, OverflowError):
        return 0


def _listing(name: str, members: dict[str, tuple[int, tarfile.TarInfo]]) -> Listing:
    """Choose the members below data, models and strategies, checked as they lie together."""
    prefix = _prefix(name, members)
    inside = {p.removeprefix(prefix): one for p, one in members.items() if p.startswith(prefix)}
    ours = {path: member for path, member in inside.items() if kind_of(path) in KINDS}
    folders = {
        p: Folder(p, i.mode & 0o777, _mtime_ns(i)) for p, (_, i) in ours.items() if i.isdir()
    }
    listing = Listing([])
    for path, (position, info) in ours.items():
        for parent in map(str, Path(path).parents[:-1]):
            if parent in ours and parent not in folders:
                raise UnsafeError(f"{_shown(path)} lies below {_shown(parent)}, which is no folder")
            folders.setdefault(parent, Folder(parent, 0o755, 0))
        if info.issym():
            listing.links[path] = _kept_target(path, info)
        elif not info.isdir():
            if info.islnk():  # a second name of a file: the same content once more
                target = _safe_path(info.linkname).removeprefix(prefix)
                position, info = ours.get(target, (-1, info))
            listing.files.append(_file(path, position, info))
    listing.folders = [folders[path] for path in sorted(folders)]
    listing.kinds = [path for path in KINDS if path in folders]
    count = sum(not info.isdir() for _, info in members.values())
    listing.ignored = count - len(listing.files) - len(listing.links)
    return listing


def _file(path: str, position: int, info: tarfile.TarInfo) -> File:
    if "/" not in path:
        raise UnsafeError(f"{_shown(path)} is no folder")
    if not info.isreg():
        raise UnsafeError(f"{_shown(path)} is a second name of something that is not in it")
    mode = info.mode & 0o777 | 0o400
    return File(path, info.size, _mtime_ns(info), mode, info.size, position=position)


def _kept_target(path: str, info: tarfile.TarInfo) -> str:
    """Return what a link says. `..` may stand at its beginning only, where it goes up from a real
    folder: after a name it would go up from wherever that name, as a link, leads."""
    parts = [part for part in info.linkname.split("/") if part not in ("", ".")]
    names = [part for part in parts if part != ".."]
    is_winding = parts[len(parts) - len(names) :] != names
    meant = posixpath.normpath(posixpath.join(posixpath.dirname(path), info.linkname))
    if not parts or is_winding or "\0" in meant or kind_of(meant) not in KINDS or "/" not in path:
        raise UnsafeError(f"{_shown(path)} is a link that leads out of it")
    return info.linkname


def _prefix(name: str, members: dict[str, Any]) -> str:
    """Return the one folder that everything lies in, or "" when the kinds come first."""
    parts = [path.split("/", 2) for path in members]
    if any(part[0] in KINDS for part in parts):
        return ""
    tops = sorted({part[0] for part in parts if len(part) > 1 and part[1] in KINDS})
    if len(tops) == 1:
        return f"{tops[0]}/"
    if not tops:
        message = f"{name} has none of the folders {KIND_NAMES}."
        raise SandboxError("source-unusable", message, details={"source": name})
    raise SandboxError(
        "source-unusable",
        f"{name} has data in several folders: {', '.join(tops)}.",
        hints=("Unpack it, and give one of them: --from FOLDER",),
        details={"source": name, "folders": tops},
    )
