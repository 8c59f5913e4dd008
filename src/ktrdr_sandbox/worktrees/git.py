"""The one place that starts git. Plumbing and machine formats only, no stray GIT_* variables."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ktrdr_sandbox.errors import CommandError, SandboxError


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


def try_git(arguments: Sequence[str], *, cwd: Path) -> GitOutcome:
    """Run git and give its outcome whatever it is. Raises `git-missing`."""
    argv = ("git", *arguments)
    try:
        done = subprocess.run(
            argv,
            cwd=cwd,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="surrogateescape",
            check=False,
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
    return GitOutcome(argv=argv, exit_code=done.returncode, stdout=done.stdout, stderr=done.stderr)


def git(arguments: Sequence[str], *, cwd: Path) -> str:
    """Standard output of a git command that must succeed. Raises `git-failed`."""
    outcome = try_git(arguments, cwd=cwd)
    if outcome.exit_code:
        raise failed(outcome)
    return outcome.stdout


def failed(outcome: GitOutcome) -> CommandError:
    """The error for a git command that should have succeeded."""
    text = outcome.stderr.strip() or outcome.stdout.strip()
    return CommandError(
        "git-failed",
        f"git {outcome.argv[1]} failed: {text or f'exit status {outcome.exit_code}'}",
        argv=outcome.argv,
        exit_code=outcome.exit_code,
        stdout=outcome.stdout,
        stderr=outcome.stderr,
    )
