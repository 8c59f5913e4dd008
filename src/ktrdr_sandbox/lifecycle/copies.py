"""The git-ignored files that a new worktree gets: as `.worktreeinclude` and `copy_files` say."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ktrdr_sandbox.lifecycle.workplace import Workplace
from ktrdr_sandbox.worktrees.copying import Copies, copy_into, size_of
from ktrdr_sandbox.worktrees.inclusion import include_patterns, included

MANY: Final = 1000
MEGABYTE: Final = 1000 * 1000
MUCH: Final = 100 * MEGABYTE
"""From here on, files and bytes, it is told before it is done: a pattern may match too much."""


def copy_ignored_files(place: Workplace, main: Path, worktree: Path) -> Copies:
    """Both are read from the main worktree, where the files are, and not from the new branch:
    whoever wrote that shall not choose what it gets. The setting's patterns come last, so that it
    can take back (`!name`) what the file says.

    Raises `bad-settings`, `git-failed`, `cannot-write`.
    """
    patterns = (*include_patterns(main), *place.settings(main).copy_files)
    names = included(main, patterns)
    size = size_of(main, names)
    if len(names) > MANY or size > MUCH:
        place.tell(
            f"Copying {len(names)} ignored files ({size / MEGABYTE:.0f} MB) from {main}, as "
            ".worktreeinclude or copy_files says."
        )
    return copy_into(main, worktree, names)
