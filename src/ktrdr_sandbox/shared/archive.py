"""A tar archive as a source. Nothing in it is trusted; all of it is read before any is written.

`tarfile` reads headers and contents here and never writes a file: names are checked here.
"""

from __future__ import annotations

import gzip
import posixpath
import sys
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, BinaryIO, Final, cast

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.shared.layout import KIND_NAMES, KINDS, kind_of
from ktrdr_sandbox.shared.results import Observer, Progress
from ktrdr_sandbox.shared.source import File, Listing, SourceError, Tick, write_file

if sys.version_info >= (3, 14):
    from compression import zstd as zstd
else:
    from backports import zstd as zstd

MOST_MEMBERS: Final = 250_000
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

Members = dict[str, tarfile.TarInfo]


class _DamagedError(Exception):
    """The file is cut off, or its content contradicts itself."""


class _UnsafeError(Exception):
    """The archive holds what no honest one does."""


@contextmanager
def opened_archive(path: Path, name: str) -> Iterator[Archive]:
    """Open an archive, by its name for messages, and report what proves to be wrong with it.

    Raises `source-missing`, `source-unusable`, `archive-unsafe`, `archive-damaged`.
    """
    details = {"source": name}
    try:
        raw = path.open("rb")
    except OSError as error:
        message = f"Cannot read {name}: {error.strerror}."
        raise SandboxError("source-missing", message, details=details) from error
    with raw:
        head = raw.read(512)
        if not head.startswith((_GZIP, _ZSTD)) and head[257:262] != b"ustar":
            message = f"{name} is no .tar, .tar.gz or .tar.zst archive."
            hint = "Unpack it, and give the folder: --from FOLDER"
            raise SandboxError("source-unusable", message, hints=(hint,), details=details)
        try:
            yield Archive(name, raw)
        except _UnsafeError as error:
            message = f"{name} is not unpacked: {error}."
            hint = "Nothing was written. If you trust it, unpack it: --from FOLDER"
            raise SandboxError("archive-unsafe", message, hints=(hint,), details=details) from error
        except (_DamagedError, SourceError, tarfile.TarError, RecursionError) as error:
            why = "its headers nest" if isinstance(error, RecursionError) else error
            hint = "Get it again. What was in the shared folder is still there."
            message = f"{name} is damaged: {why}."
            raise SandboxError(
                "archive-damaged", message, hints=(hint,), details=details
            ) from error


@dataclass(slots=True)
class Archive:
    """An open archive."""

    name: str
    raw: BinaryIO
    _members: Members = field(default_factory=dict)

    def list_files(self, observe: Observer) -> Listing:
        """Read and check all of it."""
        everything = _read_members(self.raw, observe)
        prefix = _prefix(self.name, everything)
        inside = {p.removeprefix(prefix): m for p, m in everything.items() if p.startswith(prefix)}
        members = {path: info for path, info in inside.items() if kind_of(path) in KINDS}
        _check_places(members, prefix)
        listing = Listing()
        for path, info in sorted(members.items()):
            for parent in reversed(Path(path).parents[:-1]):
                listing.folders.setdefault(str(parent), 0o755)
            if info.isdir():
                listing.folders[path] = info.mode & 0o777
            elif info.issym():
                listing.links[path] = info.linkname
            else:
                mode = info.mode & 0o777 | 0o400
                listing.files.append(File(path, info.size, _mtime_ns(info), mode))
        count = sum(not info.isdir() for info in everything.values())
        listing.ignored = count - len(listing.files) - len(listing.links)
        self._members = members
        return listing

    def stage(self, files: list[File], staging: Path, tick: Tick) -> Iterator[tuple[File, str]]:
        """Unpack files in the order in which they lie in it."""
        archive = _opened(_Stream(self.raw))
        for file in sorted(files, key=lambda file: self._members[file.path].offset_data):
            content = cast("IO[bytes]", archive.extractfile(self._members[file.path]))
            write_file(staging / ".part", file, content, tick)
            yield file, str(staging / ".part")


class _Stream:
    """The unpacked bytes as tarfile reads them, never much at a time."""

    def __init__(self, raw: BinaryIO) -> None:
        raw.seek(0)
        head = raw.read(len(_ZSTD))
        raw.seek(0)
        self.last = b""
        self._stream: Any = raw
        if head.startswith(_GZIP):
            self._stream = gzip.GzipFile(fileobj=raw, mode="rb")
        elif head == _ZSTD:
            self._stream = zstd.ZstdFile(raw, options=_ZSTD_OPTIONS)

    def tell(self) -> int:
        return int(self._stream.tell())

    def seek(self, place: int) -> None:
        with _damage_told():
            self._stream.seek(place)

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _LARGEST_READ:
            raise _UnsafeError(f"it has a header of {size} bytes")
        data = b""
        with _damage_told():
            while len(data) < size and (more := self._stream.read(size - len(data))):
                data += more
        self.last = data
        return data


@contextmanager
def _damage_told() -> Iterator[None]:
    try:
        yield
    except (EOFError, zlib.error, OSError, ValueError, zstd.ZstdError) as error:
        raise _DamagedError(str(error)) from error


def _opened(stream: _Stream) -> tarfile.TarFile:
    return tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r:", errors="surrogateescape")


def _read_members(raw: BinaryIO, observe: Observer) -> Members:
    """Read to the end, where checksums are; of two members of one name the last counts."""
    members: Members = {}
    packed = raw.seek(0, 2)
    stream = _Stream(raw)
    for number, (info, end) in enumerate(_headers(stream)):
        if number >= MOST_MEMBERS:
            raise _UnsafeError(f"it has more than {MOST_MEMBERS:,} members")
        if end > _FREE_SIZE + _FREE_RATIO * packed:
            raise _UnsafeError(f"it unpacks to more than {_FREE_RATIO} times its own size")
        if path := _checked_path(info):
            members.pop(path, None)
            members[path] = info
        observe(Progress("checking", raw.tell(), packed))
    if stream.last.strip(b"\0") or not stream.last:
        # tarfile takes a header that is none, and the end of the file, for the end of the list
        raise _DamagedError("it is cut off, or damaged")
    end = stream.tell() + _FREE_SIZE
    while stream.read(_LARGEST_READ):
        if stream.tell() > end:
            raise _UnsafeError("it goes on for long after its end")
    return members


def _headers(stream: _Stream) -> Iterator[tuple[tarfile.TarInfo, int]]:
    """Give each member and where it ends, before its content is read."""
    archive = _opened(stream)
    try:
        while (info := archive.next()) is not None:
            yield info, archive.offset
    except (ValueError, OverflowError, AttributeError, TypeError, KeyError) as error:
        # what tarfile lets through for headers that no program wrote by mistake
        raise _DamagedError(f"a header makes no sense ({error})") from error


def _checked_path(info: tarfile.TarInfo) -> str:
    """Return a member's path, "" for the archive's own root."""
    if info.isreg() and info.size < 0:
        raise _DamagedError(f"{_shown(info.name)} has a size below zero")
    if not (info.isreg() or info.isdir() or info.issym() or info.islnk()):
        raise _UnsafeError(f"{_shown(info.name)} is no file, folder or link")
    return _safe_path(info.name)


def _safe_path(name: str) -> str:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    lengths = [len(part.encode("utf-8", "surrogateescape")) for part in parts]
    if name.startswith("/") or ".." in parts:
        raise _UnsafeError(f"{_shown(name)} leads out of it")
    if "\0" in name or len(parts) > _DEEPEST or max(lengths, default=0) > _LONGEST_PART:
        raise _UnsafeError(f"{_shown(name)} is no name for a file")
    return "/".join(parts)


def _shown(name: str) -> str:
    text = ascii(name)[1:-1]
    return text if len(text) <= 80 else f"{text[:77]}..."


def _mtime_ns(info: tarfile.TarInfo) -> int:
    """Read the time from its text, which is exact where tarfile's own number is a float."""
    try:
        whole, _, part = info.pax_headers.get("mtime", str(int(info.mtime))).partition(".")
        return min(max(int(whole), 0), _LATEST) * 10**9 + int(part[:9].ljust(9, "0"))
    except (ValueError, OverflowError):
        return 0


def _check_places(members: Members, prefix: str) -> None:
    """Refuse what cannot lie together. A second name of a file becomes the same file once more."""
    for path, info in members.items():
        for parent in map(str, Path(path).parents[:-1]):
            if parent in members and not members[parent].isdir():
                below = f"{_shown(path)} lies below {_shown(parent)}"
                raise _UnsafeError(f"{below}, which is no folder")
        if "/" not in path and not info.isdir():
            raise _UnsafeError(f"{_shown(path)} is no folder")
        if info.issym() and _may_lead_out(path, info.linkname):
            raise _UnsafeError(f"{_shown(path)} is a link that leads out of it")
        if info.islnk():
            meant = members.get(_safe_path(info.linkname).removeprefix(prefix))
            if meant is None or not meant.isreg():
                what = "is a second name of something that is not in it"
                raise _UnsafeError(f"{_shown(path)} {what}")
            members[path] = meant


def _may_lead_out(path: str, target: str) -> bool:
    """Tell whether a link could lead out. `..` may stand at its beginning only, where it goes up
    from a real folder: after a name it would go up from wherever that name, as a link, leads."""
    parts = [part for part in target.split("/") if part not in ("", ".")]
    names = [part for part in parts if part != ".."]
    is_winding = parts[len(parts) - len(names) :] != names
    meant = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    return not parts or is_winding or "\0" in meant or kind_of(meant) not in KINDS


def _prefix(name: str, members: Members) -> str:
    """Return the one folder that everything lies in, or "" when the kinds come first."""
    parts = [path.split("/", 2) for path in members]
    if any(part[0] in KINDS for part in parts):
        return ""
    tops = sorted({part[0] for part in parts if len(part) > 1 and part[1] in KINDS})
    if len(tops) == 1:
        return f"{tops[0]}/"
    several = f"data in several folders: {', '.join(tops)}"
    message = f"{name} has {several if tops else f'none of the folders {KIND_NAMES}'}."
    raise SandboxError("source-unusable", message, details={"source": name, "folders": tops})
