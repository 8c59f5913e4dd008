"""The one place that starts git. Plumbing and machine formats only, no stray GIT_* variables."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ktrdr_sandbox.errors import CommandError, SandboxError
from ktrdr_sandbox.process import observed

_PATIENCE: Final = 5.0
"""Seconds between interrupting git and killing it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GitOutcome:
    argv: tuple[str, ...]
    exit_code: int
    stdout: str
    stderr: str


def _environment() -> dict[str, str]:
    """GIT_DIR and its like point at another repository, as inside a hook; identity is kept."""
    kept = {"GIT_SSH", "GIT_SSH_COMMAND", "GIT_ASKPASS", "GIT_EXEC_PATH", "GIT_SSL_CAINFO"}
    environment = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith("GIT_")
        or key in kept
        or key.startswith(("GIT_AUTHOR_", "GIT_COMMITTER_", "GIT_CONFIG_GLOBAL"))
    }
    # Messages are shown, never parsed, but hints in them are matched in one language.
    return {**environment, "LC_ALL": "C", "LANGUAGE": "C", "GIT_TERMINAL_PROMPT": "0"}


def try_git(
    arguments: Sequence[str], *, cwd: Path, index: Path | None = None, stdin: str = ""
) -> GitOutcome:
    """Run git and give its outcome whatever it is. `index`: a file to use instead of the index.

    Raises `git-missing`.
    """
    environment = _environment()
    if index is not None:
        environment["GIT_INDEX_FILE"] = str(index)
    argv = ("git", *arguments)
    while True:
        outcome = _run(argv, cwd, environment, stdin)
        if not _met_half_a_worktree(outcome) or not _patience.wait():
            return outcome


def _met_half_a_worktree(outcome: GitOutcome) -> bool:
    """Whether git failed over a worktree that another git is making in this very moment.

    All of them look at all worktrees, and the file is empty before it is written. Our lock does not
    help where the other is a person's, or outlived the program that started it.
    """
    return bool(outcome.exit_code) and _HALF_MADE.search(outcome.stderr) is not None


_HALF_MADE: Final = re.compile(r"failed to read .*worktrees/.*/commondir")


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


def _run(argv: Sequence[str], cwd: Path, environment: Mapping[str, str], stdin: str) -> GitOutcome:
    source = subprocess.PIPE if stdin else subprocess.DEVNULL
    with observed(argv, cwd=cwd) as seen, _started(argv, cwd, environment, source) as child:
        try:
            stdout, stderr = child.communicate(stdin or None)
        finally:
            if child.poll() is None:  # an interrupt came
                _end(child)
        seen.exit_code = child.returncode
    return GitOutcome(argv=tuple(argv), exit_code=child.returncode, stdout=stdout, stderr=stderr)


def _started(
    argv: Sequence[str], cwd: Path, environment: Mapping[str, str], stdin: int
) -> subprocess.Popen[str]:
    try:
        return subprocess.Popen(
            argv,
            cwd=cwd,
            env=environment,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
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


def _end(child: subprocess.Popen[str]) -> None:
    """Interrupt git, so that it takes back its half-made things, and kill it only if it will not.

    Its streams are not waited for: a hook that git started may hold them open.
    """
    child.send_signal(signal.SIGINT)
    try:
        child.wait(timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        child.kill()


def git(arguments: Sequence[str], *, cwd: Path, index: Path | None = None, stdin: str = "") -> str:
    """Standard output of a git command that must succeed. Raises `git-failed`."""
    outcome = try_git(arguments, cwd=cwd, index=index, stdin=stdin)
    if outcome.exit_code:
        raise failed(outcome)
    return outcome.stdout


def failed(outcome: GitOutcome) -> CommandError:
    """The error for a git command that should have succeeded."""
    text = outcome.stderr.strip() or outcome.stdout.strip()
    cut_off = "A git was cut off while it made that worktree: remove its folder in .git/worktrees."
    return CommandError(
        "git-failed",
        f"git {outcome.argv[1]} failed: {text or f'exit status {outcome.exit_code}'}",
        hints=(cut_off,) if _met_half_a_worktree(outcome) else (),
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
