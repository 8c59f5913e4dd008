"""A tar archive as a source. Nothing in it is trusted; all of it is read before any is written.

`tarfile` only reads headers and contents here, it never writes a file: what is unpacked is decided
by this module's own rules, the same with every version of Python.
"""

from __future__ import annotations

import posixpath
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal, InvalidOperation
from typing import IO, Final, Literal, NamedTuple, cast

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.shared_data.entries import FileEntry, Folder, LinkEntry
from ktrdr_sandbox.shared_data.layout import KINDS, kind_of
from ktrdr_sandbox.shared_data.transfer import SourceError
from ktrdr_sandbox.shared_data.unpacked import Begin, DamagedError, Unpacked, UnsafeError

MOST_MEMBERS: Final = 1_000_000
_DEEPEST: Final = 64
_LONGEST_PART: Final = 255
_LATEST: Final = 2**33 * 10**9
"""Nanoseconds; a later time is a mistake that some file systems do not take."""
_SHOW: Final = 80


class _Member(NamedTuple):
    path: str
    kind: Literal["file", "folder", "link", "same"]
    size: int
    mtime_ns: int
    mode: int
    position: int
    target: str = ""


class Survey(NamedTuple):
    """What an archive holds for the shared folder. `ignored` counts what lies beside it."""

    folders: list[Folder]
    ignored: int


class Archive:
    """An archive that can be read from its beginning again and again. `name` is for messages."""

    def __init__(self, name: str, begin: Begin) -> None:
        self.name = name
        self._begin = begin

    def survey(self, *, observe: Callable[[int], None]) -> Survey:
        """Read all of it, and check all of it. `observe` gets the bytes of the file read so far.

        Raises `archive-unsafe`, `archive-damaged`, `source-unusable`.
        """
        with self.telling():
            members: dict[str, _Member] = {}
            stream = self._begin(observe)
            for position, info in enumerate(_headers(stream)):
                if position >= MOST_MEMBERS:
                    raise UnsafeError(f"it has more than {MOST_MEMBERS:,} members")
                member = _checked(position, info)
                if member is not None:
                    members.pop(member.path, None)  # as tar has it: the last of a name counts
                    members[member.path] = member
            stream.finish()
            return _arranged(self.name, members)

    def contents(self, wanted: Callable[[int], bool]) -> Iterator[tuple[int, IO[bytes]]]:
        """Position and content of each wanted member, in order; to be read before the next.

        To be used within `telling`: reading, too, finds a file that is not what was surveyed.
        """
        archive = _opened(self._begin(lambda _: None))
        for position, info in enumerate(_all(archive)):
            if wanted(position):
                content = archive.extractfile(info)
                if content is None:
                    raise DamagedError("it has changed while it was read")
                yield position, content

    @contextmanager
    def telling(self) -> Iterator[None]:
        """What is wrong with the archive, as the errors for it.

        Raises `archive-unsafe`, `archive-damaged`.
        """
        try:
            yield
        except UnsafeError as error:
            raise SandboxError(
                "archive-unsafe",
                f"{self.name} is not unpacked: {error}.",
                hints=("Nothing was written. If you trust it, unpack it: --from FOLDER",),
                details={"source": self.name},
            ) from error
        except (DamagedError, SourceError, tarfile.TarError, RecursionError) as error:
            why = "its headers nest" if isinstance(error, RecursionError) else str(error)
            raise SandboxError(
                "archive-damaged",
                f"{self.name} is damaged: {why}.",
                hints=("Get it again. What was in the shared folder is still there.",),
                details={"source": self.name},
            ) from error


def _opened(stream: Unpacked) -> tarfile.TarFile:
    # Mode "r:" takes the bytes as they come; `Unpacked` has all of a file that it needs for that.
    return tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r:", errors="surrogateescape")


def _headers(stream: Unpacked) -> Iterator[tarfile.TarInfo]:
    return _all(_opened(stream))


def _all(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    while True:
        try:
            info = archive.next()
        except (ValueError, OverflowError, AttributeError, TypeError, KeyError) as error:
            # what tarfile lets through for headers that no program wrote by mistake
            raise DamagedError(f"a header makes no sense ({error})") from error
        if info is None:
            return
        yield info
        # tarfile keeps every header it has read: that is a kilobyte for each
        archive.members.clear()  # type: ignore[attr-defined]


# -- what a member may be ------------------------------------------------------------------------


def _checked(position: int, info: tarfile.TarInfo) -> _Member | None:
    """A member by our rules; None for the archive's own root. Raises UnsafeError."""
    path = _safe_path(info.name)
    if not path:
        return None
    mtime = _mtime(info)
    if info.isreg():
        if info.size < 0:
            raise DamagedError(f"{_shown(info.name)} has a size below zero")
        return _Member(path, "file", info.size, mtime, info.mode & 0o777, position)
    if info.isdir():
        return _Member(path, "folder", 0, mtime, info.mode & 0o777, position)
    if info.issym():
        return _Member(path, "link", 0, mtime, 0, position, _safe_target(path, info))
    if info.islnk():
        return _Member(path, "same", 0, mtime, 0, position, _safe_path(info.linkname))
    if info.ischr() or info.isblk() or info.isfifo():
        raise UnsafeError(f"{_shown(info.name)} is a device or a pipe")
    raise UnsafeError(f"{_shown(info.name)} is of an unknown kind")


def _safe_path(name: str) -> str:
    """A name without `.` parts. Raises UnsafeError for one that could lead elsewhere."""
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


def _safe_target(path: str, info: tarfile.TarInfo) -> str:
    """What a symbolic link may say: something relative that stays in the archive.

    `..` may stand at its beginning only, where it goes up from a real folder. After a name it would
    go up from wherever that name, as a link, leads.
    """
    target = info.linkname
    meant = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    outside = target.startswith("/") or meant == ".." or meant.startswith("../")
    parts = [part for part in target.split("/") if part not in ("", ".")]
    names = [part for part in parts if part != ".."]
    winding = parts != [".."] * (len(parts) - len(names)) + names
    if outside or winding or "\0" in target or not parts:
        raise UnsafeError(f"{_shown(info.name)} is a link that leads out of it")
    return target


def _mtime(info: tarfile.TarInfo) -> int:
    """Nanoseconds. The text is exact where tarfile's own number is a float."""
    text = info.pax_headers.get("mtime", str(info.mtime))
    try:
        found = int(Decimal(text) * 10**9)
    except (InvalidOperation, ValueError, OverflowError):
        return 0
    return min(max(found, 0), _LATEST)


def _shown(name: str) -> str:
    text = ascii(name)[1:-1]
    return text if len(text) <= _SHOW else text[: _SHOW - 3] + "..."


# -- what of it is for the shared folder ----------------------------------------------------------


def _arranged(name: str, members: dict[str, _Member]) -> Survey:
    """The members below data, models and strategies, by folder, parents first."""
    prefix = _prefix(name, members)
    ours = {
        path[len(prefix) :]: member
        for path, member in members.items()
        if path.startswith(prefix) and kind_of(path[len(prefix) :]) in KINDS
    }
    _refuse_names_below_files(ours)
    folders = _folders(ours)
    for path, member in ours.items():
        if member.kind == "folder":
            continue
        parent, _, last = path.rpartition("/")
        if not parent:
            raise UnsafeError(f"{_shown(path)} is no folder")
        if member.kind == "file":
            folders[parent].add(_entry(last, member))
        elif member.kind == "link":
            folders[parent].links.append(LinkEntry(last, _kept_target(path, member)))
        else:
            # a second name of a file: the same content once more
            folders[parent].add(_entry(last, _original(path, member, prefix, ours)))
    ignored = sum(member.kind != "folder" for member in members.values()) - sum(
        member.kind != "folder" for member in ours.values()
    )
    return Survey([folders[path] for path in sorted(folders)], ignored)


def _prefix(name: str, members: dict[str, _Member]) -> str:
    """The one folder that everything lies in, with its slash; "" when the kinds come first."""
    tops = {kind_of(path) for path in members}
    if tops.intersection(KINDS):
        return ""
    inside = {
        path.split("/")[0]
        for path in members
        if path.count("/") >= 1 and path.split("/")[1] in KINDS
    }
    if len(inside) == 1:
        return f"{inside.pop()}/"
    if inside:
        raise SandboxError(
            "source-unusable",
            f"{name} has data in several folders: {', '.join(sorted(inside))}.",
            hints=("Unpack it, and give one of them: --from FOLDER",),
            details={"source": name, "folders": sorted(inside)},
        )
    raise SandboxError(
        "source-unusable",
        f"{name} has none of the folders {', '.join(f'{kind}/' for kind in KINDS)}.",
        details={"source": name},
    )


def _refuse_names_below_files(ours: dict[str, _Member]) -> None:
    for path in ours:
        parent = posixpath.dirname(path)
        while parent:
            above = ours.get(parent)
            if above is not None and above.kind != "folder":
                raise UnsafeError(f"{_shown(path)} lies below {_shown(parent)}, which is no folder")
            parent = posixpath.dirname(parent)


def _folders(ours: dict[str, _Member]) -> dict[str, Folder]:
    found: dict[str, Folder] = {}
    for path, member in ours.items():
        if member.kind == "folder":
            found[path] = Folder(path, "", member.mode, member.mtime_ns)
    for path in ours:
        parent = posixpath.dirname(path)
        while parent and parent not in found:
            found[parent] = Folder(parent, "", 0o755, 0)
            parent = posixpath.dirname(parent)
    return found


def _entry(name: str, member: _Member) -> FileEntry:
    return FileEntry(
        name,
        member.size,
        member.mtime_ns,
        member.mode | 0o400,
        member.size,
        position=member.position,
    )


def _kept_target(path: str, member: _Member) -> str:
    meant = posixpath.normpath(posixpath.join(posixpath.dirname(path), member.target))
    if kind_of(meant) not in KINDS:
        raise UnsafeError(f"{_shown(path)} is a link that leads out of it")
    return member.target


def _original(path: str, member: _Member, prefix: str, ours: dict[str, _Member]) -> _Member:
    target = member.target[len(prefix) :] if member.target.startswith(prefix) else ""
    found = ours.get(target)
    if found is None or found.kind != "file":
        raise UnsafeError(f"{_shown(path)} is a second name of something that is not in it")
    return found
