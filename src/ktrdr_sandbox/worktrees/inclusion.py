"""Which git-ignored files of the main worktree a new worktree needs: `.worktreeinclude`.

Git does the matching. What it ignores as a whole folder (`.venv/`, `node_modules/`) is entered only
where a pattern names that folder: looking for a `.env` in there would take long and find other
people's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from typing import Final

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.models import ENV_FILE_NAME
from ktrdr_sandbox.worktrees.git import git, try_git

INCLUDE_FILE: Final = ".worktreeinclude"
_NEVER: Final = frozenset({".git", ENV_FILE_NAME, f"{ENV_FILE_NAME}.tmp"})
_AT_ONCE: Final = 500
"""Paths on one command line."""


def include_patterns(main: Path) -> tuple[str, ...]:
    """The lines of the main worktree's `.worktreeinclude`. Raises `bad-settings`."""
    path = main / INCLUDE_FILE
    if not path.is_file():
        return ()
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise SandboxError(
            "bad-settings",
            f"Cannot read {path}: {error.strerror}.",
            details={"path": str(path)},
        ) from error
    return tuple(text.splitlines())


def included(main: Path, patterns: Sequence[str]) -> tuple[str, ...]:
    """Files to copy, relative to the main worktree: untracked, ignored, and matched.

    Later patterns win over earlier ones, as in a `.gitignore`. A name that ends in / is a
    repository of its own. Raises `git-failed`.
    """
    wanted = [line for line in patterns if line.strip() and not line.startswith("#")]
    if not wanted or not (main / ".git").exists():  # a bare repository has no files
        return ()
    listed = _split(git([*_IGNORED, "--exclude-standard", "--directory", "-z"], cwd=main))
    places = [name for name in listed if not name.endswith("/") or _is_named(name, wanted)]
    import tempfile  # slow to load, and few need it

    with tempfile.TemporaryDirectory(prefix="ktrdr-sandbox-") as folder:
        rules = Path(folder) / "patterns"
        text = "".join(f"{line}\n" for line in patterns)
        rules.write_text(text, encoding="utf-8", errors="surrogateescape")
        matching = ["--literal-pathspecs", *_IGNORED, f"--exclude-from={rules}", "-z", "--"]
        found = [
            name
            for some in _portions(places)
            for name in _split(git([*matching, *some], cwd=main))
            if _NEVER.isdisjoint(name.split("/"))
        ]
    really = ignored(main, found)
    return tuple(sorted(name for name in set(found) if name in really))


_IGNORED: Final = ("ls-files", "--others", "--ignored")


def ignored(root: Path, names: Iterable[str]) -> frozenset[str]:
    """Those that git ignores in that worktree and does not track. Raises `git-failed`."""
    given = "".join(f"{name}\0" for name in names)
    if not given:
        return frozenset()
    outcome = try_git(["check-ignore", "--stdin", "-z"], cwd=root, stdin=given)
    if outcome.exit_code > 1:  # 1: none of them
        git(["check-ignore", "--stdin", "-z"], cwd=root, stdin=given)
    return frozenset(_split(outcome.stdout))


def _split(text: str) -> list[str]:
    return [name for name in text.split("\0") if name]


def _portions(names: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(names)
    while some := list(islice(rest, _AT_ONCE)):
        yield some


def _is_named(folder: str, patterns: Iterable[str]) -> bool:
    """Whether a pattern may match a folder that is ignored as a whole, or something in it by its
    path. Only tells where to look; what matches is git's word."""
    parts = folder.rstrip("/").split("/")
    return any(_names(pattern.strip(), parts) for pattern in patterns if pattern[0] != "!")


def _names(pattern: str, parts: Sequence[str]) -> bool:
    steps = pattern.rstrip("/").split("/")
    if len(steps) == 1 or steps[0] == "**":  # at any depth
        first = steps[0] if len(steps) == 1 else steps[1]
        return any(fnmatchcase(part, first) for part in parts)
    if not steps[0]:
        steps = steps[1:]
    for step, part in zip(steps, parts, strict=False):
        if step == "**":
            return True
        if not fnmatchcase(part, step):
            return False
    return True
