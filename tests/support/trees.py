"""Folders of files for tests of the shared data, and what of them can be compared."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path

TIME_NS = 1_700_000_000_123_456_789
"""A time with nanoseconds, long ago."""


def write_tree(root: Path, files: Mapping[str, str | bytes], *, time_ns: int = TIME_NS) -> Path:
    """Files by path, all with one time."""
    for path, content in files.items():
        write(root / path, content, time_ns=time_ns)
    return root


def write(path: Path, content: str | bytes, *, time_ns: int = TIME_NS) -> None:
    """One file with a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    os.utime(path, ns=(time_ns, time_ns))


def checkout(root: Path) -> Path:
    """The shape of a KTRDR checkout that has been worked in."""
    return write_tree(
        root,
        {
            "data/AAPL_1d.csv": "timestamp,open\n2024-01-02,185\n",
            "data/EURUSD_1h.csv": "timestamp,open\n2024-01-02,1.1\n" * 50,
            "models/momentum/v1/weights.bin": b"\x00\xff" * 5000,
            "strategies/momentum.yaml": "name: momentum\n",
            "ktrdr/__init__.py": "",
        },
    )


def snapshot(root: Path) -> dict[str, tuple[object, ...]]:
    """Everything below a folder, by path: kind, permissions, time and content.

    Times of folders are left out: they change with what is in them.
    """
    found: dict[str, tuple[object, ...]] = {}
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder) / name
            found[str(path.relative_to(root))] = _seen(path)
    return found


def _seen(path: Path) -> tuple[object, ...]:
    info = path.lstat()
    mode = stat.S_IMODE(info.st_mode)
    if stat.S_ISLNK(info.st_mode):
        return ("link", link_text(path))
    if stat.S_ISDIR(info.st_mode):
        return ("folder", mode)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return ("file", mode, info.st_mtime_ns, info.st_size, digest)


def link_text(path: Path) -> str:
    """What a link says, to the letter."""
    return os.readlink(path)  # noqa: PTH115  a Path would tidy the text


def files_of(root: Path) -> dict[str, bytes]:
    """Content by path, of regular files."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def kinds_of(root: Path) -> dict[str, tuple[object, ...]]:
    """A snapshot of data, models and strategies alone, without their own permissions."""
    kinds = ("data", "models", "strategies")
    return {
        path: seen
        for path, seen in snapshot(root).items()
        if path.split("/")[0] in kinds and path not in kinds
    }
