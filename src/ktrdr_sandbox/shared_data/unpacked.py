"""A compressed file as tarfile reads it: forward only, counted, and never much at a time."""

from __future__ import annotations

import os
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, cast

from ktrdr_sandbox.errors import SandboxError

Compression = Literal["gzip", "zstd", "none"]

_MAGIC: Final[dict[bytes, Compression]] = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_TAR_MAGIC_AT: Final = 257
HEAD: Final = 512
"""Bytes of the beginning that tell what a file is."""

LARGEST_READ: Final = 1024 * 1024
"""More at once is asked for only by a header that claims to be larger, which is no real one."""
_FREE_RATIO: Final = 100
_FREE_SIZE: Final = 64 * 1024 * 1024
"""Unpacked bytes may be this many times the packed ones, after this many that are free."""
_ZSTD_WINDOW_LOG: Final = 27
"""What `zstd` itself takes without being asked to take more: 128 MiB of memory."""


class DamagedError(Exception):
    """The file is cut off, or its content contradicts itself."""


class UnsafeError(Exception):
    """The archive holds what no honest one does."""


def compression_of(head: bytes) -> Compression | None:
    """What the first bytes of a file say it is; None for anything that is no archive for us."""
    for magic, name in _MAGIC.items():
        if head.startswith(magic):
            return name
    return "none" if head[_TAR_MAGIC_AT : _TAR_MAGIC_AT + 5] == b"ustar" else None


class Unpacked:
    """The unpacked bytes of an archive.

    `observe` is told now and then how far the file itself was read, in bytes.
    """

    def __init__(
        self, raw: BinaryIO, compression: Compression, observe: Callable[[int], None]
    ) -> None:
        self._raw = raw
        self._observe = observe
        self._told = 0
        self._stream, self._failures = _decompressor(raw, compression)
        self._at = 0
        self._last = b""

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Raises UnsafeError for a bomb, DamagedError where the content cannot be unpacked."""
        if not 0 <= size <= LARGEST_READ:
            raise UnsafeError(f"it has a header of {size} bytes")
        try:
            data: bytes = self._stream.read(size)
            while len(data) < size:
                more = self._stream.read(size - len(data))
                if not more:
                    break
                data += more
        except self._failures as error:
            raise DamagedError(str(error)) from error
        self._at += len(data)
        packed = self._raw.tell()
        if packed - self._told >= LARGEST_READ:
            self._told = packed
            self._observe(packed)
        if self._at > _FREE_SIZE + _FREE_RATIO * packed:
            raise UnsafeError(f"it unpacks to more than {_FREE_RATIO} times its own size")
        self._last = data
        return data

    def seek(self, place: int) -> int:
        """Go on to a place further along. Raises DamagedError where the content ends before."""
        while self._at < place:
            if not self.read(min(LARGEST_READ, place - self._at)):
                raise DamagedError("it is cut off")
        if self._at != place:
            raise DamagedError("its headers contradict one another")
        return place

    def finish(self) -> None:
        """Read to the end, where checksums are. Raises DamagedError when it is cut off."""
        if self._last.strip(b"\0") or not self._last:
            # tarfile takes a header that is none, and the end of the file, for the end of the list
            raise DamagedError("it is cut off, or damaged")
        while self.read(LARGEST_READ):
            pass


Begin = Callable[[Callable[[int], None]], Unpacked]
"""Begins to read an archive from its start; takes what observes it."""


_FAILURES: Final = (EOFError, zlib.error, OSError, ValueError)
"""What decompressors raise over damage. OSError is gzip's for a wrong checksum."""


def _decompressor(
    raw: BinaryIO, compression: Compression
) -> tuple[Any, tuple[type[Exception], ...]]:
    """What reads the unpacked bytes, and what it raises over damaged ones."""
    if compression == "gzip":
        import gzip

        return gzip.GzipFile(fileobj=raw, mode="rb"), _FAILURES
    if compression == "zstd":
        module = zstd()
        limit = {module.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG}
        return module.ZstdFile(raw, mode="rb", options=limit), (*_FAILURES, module.ZstdError)
    return raw, _FAILURES


def zstd() -> Any:
    """Python's own module from 3.14 on, and the same one as a package before."""
    if sys.version_info >= (3, 14):
        from compression import zstd as module
    else:
        from backports import zstd as module
    return module


@contextmanager
def opened_archive(path: Path, *, name: str) -> Iterator[Begin]:
    """Gives what begins to read the archive from its start, as often as one likes.

    `name` is what messages call it. The file stays the same one, whatever becomes of its
    name. Raises `source-missing`, `source-unusable`.
    """
    try:
        raw = cast("BinaryIO", path.open("rb"))
    except OSError as error:
        raise SandboxError(
            "source-missing",
            f"Cannot read {name}: {error.strerror}.",
            details={"source": name},
        ) from error
    with raw:
        compression = compression_of(raw.read(HEAD))
        if compression is None:
            raise not_an_archive(name)

        def begin(observe: Callable[[int], None]) -> Unpacked:
            raw.seek(0, os.SEEK_SET)
            return Unpacked(raw, compression, observe)

        yield begin


def not_an_archive(name: str, *, why: str = "") -> SandboxError:
    """The error for a file that is none of the kinds we take."""
    return SandboxError(
        "source-unusable",
        f"{name} is no .tar, .tar.gz or .tar.zst archive{why}.",
        hints=("Unpack it, and give the folder: --from FOLDER",) if not why else (),
        details={"source": name},
    )
