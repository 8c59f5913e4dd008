"""The one place that starts git. Plumbing and machine formats only, no stray GIT_* variables."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ktrdr_sandbox import process
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.process import CommandError, Outcome

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

_HALF_MADE: Final = re.compile(r"failed to read .*worktrees/.*/commondir")
"""Git failed over a worktree that another git is making in this very moment: all of them look at
all worktrees, and the file is empty before it is written. Our lock does not help where the other is
a person's, or outlived the program that started it."""

_patience: Final = [3.0]
"""Seconds left to this process to wait for half-made worktrees: one may be like that for good."""


def try_git(
    arguments: Sequence[str], *, cwd: Path, index: Path | None = None, stdin: str = ""
) -> Outcome:
    """Run git and give its outcome whatever it is. `index`: a file to use instead of the index.

    The environment is the user's, who may reach his repository by GIT_SSH_COMMAND or
    safe.directory variables. Raises `git-missing`.
    """
    environment = process.current_environment()
    for name in REPOSITORY_VARIABLES | _PATHSPECS:
        environment.pop(name, None)
    # Messages are shown, and told apart by their words, in one language.
    environment |= {"LC_ALL": "C", "LANGUAGE": "C", "GIT_TERMINAL_PROMPT": "0"}
    if index is not None:
        environment["GIT_INDEX_FILE"] = str(index)
    while True:
        try:
            outcome = process.run(
                ("git", *arguments),
                environment=environment,
                cwd=cwd,
                stdin=stdin,
                patience=process.PUT_AWAY,
                errors="surrogateescape",
            )
        except FileNotFoundError as error:
            raise _not_started(cwd) from error
        half_made = outcome.exit_code and _HALF_MADE.search(outcome.stderr)
        if not half_made or _patience[0] <= 0:
            return outcome
        _patience[0] -= 0.05
        time.sleep(0.05)


def _not_started(cwd: Path) -> SandboxError:
    if not cwd.is_dir():
        message = f"The directory {cwd} does not exist."
        return SandboxError("git-failed", message, details={"path": str(cwd)})
    hint = "Install git, for example: apt-get install git"
    return SandboxError("git-missing", "git was not found on PATH.", hints=(hint,))


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
    hints = [hint for pattern, hint in _HINTS if pattern.search(outcome.stderr)]
    text = outcome.text or f"exit status {outcome.exit_code}"
    message = f"git {outcome.argv[1]} failed: {text}"
    return CommandError("git-failed", message, outcome, hints=hints)


def wait_for_git_on(*subjects: str) -> None:
    """Wait for a git that outlived the program that started it, by what its arguments name.

    Raises `git-failed` when it takes more than a minute.
    """
    import psutil  # only needed after a kill

    left = [one for one in psutil.process_iter(["cmdline"]) if _works_on(one.info, subjects)]
    _, still = psutil.wait_procs(left, timeout=60.0)
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
