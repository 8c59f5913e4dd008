"""The one place that starts git. Plumbing and machine formats only, no stray GIT_* variables."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ktrdr_sandbox import process
from ktrdr_sandbox.errors import CommandError, SandboxError
from ktrdr_sandbox.process import Outcome

REPOSITORY_VARIABLES: Final = frozenset(
    {
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_COMMON_DIR",
        "GIT_DIR",
        "GIT_GRAFT_FILE",
        "GIT_IMPLICIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_INTERNAL_SUPER_PREFIX",
        "GIT_NAMESPACE",
        "GIT_NO_REPLACE_OBJECTS",
        "GIT_OBJECT_DIRECTORY",
        "GIT_PREFIX",
        "GIT_QUARANTINE_PATH",
        "GIT_REPLACE_REF_BASE",
        "GIT_SHALLOW_FILE",
        "GIT_WORK_TREE",
    }
)
"""What git sets inside its own hooks, and what else points at another repository: those of
`git rev-parse --local-env-vars` that are no configuration."""

_PATHSPECS: Final = frozenset(
    f"GIT_{kind}_PATHSPECS" for kind in ("LITERAL", "GLOB", "NOGLOB", "ICASE")
)
"""They change what our own arguments mean."""


def _environment() -> dict[str, str]:
    """The user's, who may reach his repository by GIT_SSH_COMMAND or safe.directory variables."""
    environment = process.current_environment()
    for name in REPOSITORY_VARIABLES | _PATHSPECS:
        environment.pop(name, None)
    # Messages are shown, and told apart by their words, in one language.
    return {**environment, "LC_ALL": "C", "LANGUAGE": "C", "GIT_TERMINAL_PROMPT": "0"}


def try_git(
    arguments: Sequence[str], *, cwd: Path, index: Path | None = None, stdin: str = ""
) -> Outcome:
    """Run git and give its outcome whatever it is. `index`: a file to use instead of the index.

    Raises `git-missing`.
    """
    environment = _environment()
    if index is not None:
        environment["GIT_INDEX_FILE"] = str(index)
    argv = ("git", *arguments)
    while True:
        outcome = _run(argv, cwd, environment, stdin)
        half_made = outcome.exit_code and _HALF_MADE.search(outcome.stderr)
        if not half_made or not _patience.wait():
            return outcome


_HALF_MADE: Final = re.compile(r"failed to read .*worktrees/.*/commondir")
"""Git failed over a worktree that another git is making in this very moment: all of them look at
all worktrees, and the file is empty before it is written. Our lock does not help where the other is
a person's, or outlived the program that started it."""


class _HalfMadePatience:
    """What this process waits for half-made worktrees in all: one may be like that for good."""

    def __init__(self, seconds: float) -> None:
        self._left = seconds

    def wait(self, pause: float = 0.05) -> bool:
        """Wait for a moment; False when no seconds are left."""
        if self._left <= 0:
            return False
        self._left -= pause
        time.sleep(pause)
        return True


_patience: Final = _HalfMadePatience(3.0)


def _run(argv: Sequence[str], cwd: Path, environment: Mapping[str, str], stdin: str) -> Outcome:
    try:
        # It gets the time to take back its half-made things.
        return process.run(
            argv,
            environment=environment,
            cwd=cwd,
            stdin=stdin,
            patience=process.PUT_AWAY,
            errors="surrogateescape",
        )
    except FileNotFoundError as error:
        if not cwd.is_dir():
            raise SandboxError(
                "git-failed", f"The directory {cwd} does not exist.", details={"path": str(cwd)}
            ) from error
        raise SandboxError(
            "git-missing",
            "git was not found on PATH.",
            hints=("Install git, for example: apt-get install git",),
        ) from error


def git(arguments: Sequence[str], *, cwd: Path, index: Path | None = None, stdin: str = "") -> str:
    """Standard output of a git command that must succeed. Raises `git-failed`."""
    outcome = try_git(arguments, cwd=cwd, index=index, stdin=stdin)
    if outcome.exit_code:
        raise failed(outcome)
    return outcome.stdout


_HINTS: Final = (
    (
        _HALF_MADE,
        "A git was cut off while it made that worktree: remove its folder in .git/worktrees.",
    ),
    (
        re.compile(r"smudge filter|clean filter|external filter", re.I),
        "A filter of the repository (git-lfs, git-crypt) needs a key, a program or a login.",
    ),
    (
        re.compile(r"dubious ownership", re.I),
        "The checkout belongs to another user. If you trust it, add it to git's safe.directory.",
    ),
)


def failed(outcome: Outcome) -> CommandError:
    """The error for a git command that should have succeeded."""
    text = outcome.stderr.strip() or outcome.stdout.strip()
    return CommandError(
        "git-failed",
        f"git {outcome.argv[1]} failed: {text or f'exit status {outcome.exit_code}'}",
        hints=tuple(hint for pattern, hint in _HINTS if pattern.search(outcome.stderr)),
        argv=outcome.argv,
        exit_code=outcome.exit_code,
        stdout=outcome.stdout,
        stderr=outcome.stderr,
    )


_ORPHAN_LIMIT: Final = 60.0


def wait_for_git_on(*subjects: str) -> None:
    """Wait for a git that outlived the program that started it, by what its arguments name.

    Raises `git-failed` when it takes more than a minute.
    """
    import psutil  # only needed after a kill

    left = [one for one in psutil.process_iter(["cmdline"]) if _works_on(one.info, subjects)]
    _, still = psutil.wait_procs(left, timeout=_ORPHAN_LIMIT)
    if still:
        raise SandboxError(
            "git-failed",
            f"git (pid {still[0].pid}) is still at work on {subjects[0]}.",
            hints=("Wait for it, or end it, and run the command again.",),
            details={"pid": still[0].pid, "subject": subjects[0]},
        )


def _works_on(process: Mapping[str, Any], subjects: Sequence[str]) -> bool:
    argv: list[str] = process["cmdline"] or []
    is_git = any(Path(part).name == "git" for part in argv[:2])  # or a script in its place
    return is_git and not set(subjects).isdisjoint(argv)
