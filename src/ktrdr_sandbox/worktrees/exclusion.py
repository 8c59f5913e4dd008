"""Hiding `.env.sandbox` from git, by a file of the repository that nobody tracks."""

from __future__ import annotations

import contextlib
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ktrdr_sandbox.durable import cannot_write, replace_file, temporary_name
from ktrdr_sandbox.models import ENV_FILE_NAME
from ktrdr_sandbox.worktrees.git import try_git
from ktrdr_sandbox.worktrees.repository import worktrees

_HIDDEN: Final = (ENV_FILE_NAME, f"{ENV_FILE_NAME}.tmp")
"""The second is what a kill while it was being replaced leaves."""
_ORIGIN: Final = "# ktrdr-sandbox"
_LINES: Final = (_ORIGIN, *(f"/{name}" for name in _HIDDEN))


def is_hidden(root: Path) -> bool:
    """Whether git ignores `.env.sandbox` already, by whatever rule."""
    outcome = try_git(["check-ignore", *_HIDDEN], cwd=root)
    return len(outcome.stdout.splitlines()) == len(_HIDDEN)


def hide_env_file(common_dir: Path) -> None:
    """Have git ignore `.env.sandbox` by the repository's own `info/exclude`.

    No tracked file is touched. Needs the repository's lock. Raises `cannot-write`.
    """
    lines = _excluded(common_dir)
    if not _has_ours(lines):
        _write_excluded(common_dir, [*lines, *_LINES])


def show_env_file(main: Path, common_dir: Path) -> None:
    """Undo `hide_env_file` once no worktree of the repository has such a file.

    Needs the repository's lock. Raises `cannot-write`.
    """
    if not main.is_dir():
        return
    with contextlib.suppress(OSError):
        temporary_name(_exclude_file(common_dir).resolve()).unlink(missing_ok=True)
    lines = _excluded(common_dir)
    needed = any((worktree.path / ENV_FILE_NAME).is_file() for worktree in worktrees(main))
    if _has_ours(lines) and not needed:
        at = lines.index(_ORIGIN)
        _write_excluded(common_dir, [*lines[:at], *lines[at + len(_LINES) :]])


def _has_ours(lines: Sequence[str]) -> bool:
    at = lines.index(_ORIGIN) if _ORIGIN in lines else None
    return at is not None and tuple(lines[at : at + len(_LINES)]) == _LINES


def _exclude_file(common_dir: Path) -> Path:
    return common_dir / "info" / "exclude"


def _excluded(common_dir: Path) -> list[str]:
    path = _exclude_file(common_dir)
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise cannot_write(path, error) from error


def _write_excluded(common_dir: Path, lines: Sequence[str]) -> None:
    path = _exclude_file(common_dir)
    mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o644
    text = "".join(f"{line}\n" for line in lines)
    # A symlink to a file elsewhere stays one.
    replace_file(path.resolve(), text, mode=mode, errors="surrogateescape")
