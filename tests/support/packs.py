"""Archives for tests: honest ones, and every kind of dishonest one."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ktrdr_sandbox.shared.archive import zstd

PRICES = "timestamp,open\n2024-01-02,185\n"
MTIME = 1_700_000_000

Edit = Callable[[tarfile.TarInfo], None]


def file(name: str, content: str | bytes = PRICES, **facts: Any) -> tuple[tarfile.TarInfo, bytes]:
    """A regular file, or with `type` and others set what it claims to be."""
    data = content.encode() if isinstance(content, str) else content
    info = tarfile.TarInfo(name)
    info.size = len(data)
    info.mtime = MTIME
    info.mode = 0o644
    for fact, value in facts.items():
        setattr(info, fact, value)
    return info, data


def link(name: str, target: str, *, hard: bool = False) -> tuple[tarfile.TarInfo, bytes]:
    kind = tarfile.LNKTYPE if hard else tarfile.SYMTYPE
    return file(name, b"", type=kind, linkname=target)


def folder(name: str) -> tuple[tarfile.TarInfo, bytes]:
    return file(name, b"", type=tarfile.DIRTYPE, mode=0o755)


def tar(
    members: Iterable[tuple[tarfile.TarInfo, bytes]],
    *,
    format: int = tarfile.PAX_FORMAT,  # noqa: A002
) -> bytes:
    """An uncompressed archive."""
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w", format=format) as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    return held.getvalue()


def packed(content: bytes, kind: str) -> bytes:
    """Compressed as `.tar.gz` or `.tar.zst`, or as it is for `.tar`."""
    if kind == ".tar.gz":
        return gzip.compress(content, mtime=0)
    if kind == ".tar.zst":
        return bytes(zstd.compress(content))
    return content


def pack(files: Mapping[str, str | bytes] | None = None, *, kind: str = ".tar.gz") -> bytes:
    """An honest archive, by default with a little of everything."""
    chosen = files or {
        "data/AAPL_1d.csv": PRICES,
        "models/momentum/v1/weights.bin": bytes(range(256)) * 40,
        "strategies/momentum.yaml": "name: momentum\n",
    }
    return packed(tar(file(name, content) for name, content in chosen.items()), kind)


def written(folder_: Path, content: bytes, name: str = "pack.tar.gz") -> Path:
    path = folder_ / name
    path.write_bytes(content)
    return path
