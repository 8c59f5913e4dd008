"""Real git repositories for tests, made with the real git."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

COMPOSE_FILE = """\
services:
  backend:
    image: ktrdr-test/none
    ports: ["8000:8000"]
"""
"""Enough to be a checkout that this program runs; no test that uses it starts it."""


keep_first_in: Path | None = None
"""Where the repository is kept that others are copied from; temporary unless a test run says."""


def git(root: Path, *arguments: str, **environment: str) -> str:
    """Standard output of a git command; fails the test with git's own words."""
    done = subprocess.run(
        ["git", *arguments],
        cwd=root,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        errors="surrogateescape",
        check=False,
    )
    assert done.returncode == 0, f"git {' '.join(arguments)}: {done.stderr}{done.stdout}"
    return done.stdout


@dataclass(frozen=True)
class GitRepository:
    """One working tree. `main` of `repository()` has one commit."""

    root: Path

    def git(self, *arguments: str) -> str:
        return git(self.root, *arguments)

    def write(self, files: Mapping[str, str]) -> None:
        for name, content in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")

    def commit(self, files: Mapping[str, str], *, message: str = "Change") -> str:
        """Commit these files and give the commit's full name."""
        self.write(files)
        self.git("add", "--all", "--force", "--", *files)
        self.git("commit", "--quiet", "--allow-empty", "-m", message)
        return self.head()

    def head(self, name: str = "HEAD") -> str:
        return self.git("rev-parse", name).strip()

    def branches(self) -> list[str]:
        return self.git("for-each-ref", "--format=%(refname:short)", "refs/heads").split()

    def worktrees(self) -> list[Path]:
        text = self.git("worktree", "list", "--porcelain")
        return [
            Path(line.removeprefix("worktree "))
            for line in text.splitlines()
            if line.startswith("worktree ")
        ]

    def add_worktree(self, path: Path, *arguments: str) -> GitRepository:
        self.git("worktree", "add", "--quiet", str(path), *arguments)
        return GitRepository(path)

    def clone(self, path: Path) -> GitRepository:
        git(self.root, "clone", "--quiet", str(self.root), str(path))
        return GitRepository(path)


def empty_repository(root: Path) -> GitRepository:
    """One without a commit."""
    root.mkdir(parents=True, exist_ok=True)
    git(root, "init", "--quiet", "--initial-branch=main")
    return GitRepository(root)


def repository(root: Path) -> GitRepository:
    """A checkout named ktrdr by its pyproject.toml, with a Compose file, on branch main."""
    shutil.copytree(_first(), root, symlinks=True, dirs_exist_ok=True)
    made = GitRepository(root)
    made.git("update-index", "--refresh")
    return made


@functools.cache
def _first() -> Path:
    """Made by git once in a process, and copied: a sixth of the work."""
    folder = Path(tempfile.mkdtemp(prefix="ktrdr-repository-", dir=keep_first_in))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    made = empty_repository(folder / "ktrdr")
    for sample in (made.root / ".git" / "hooks").glob("*.sample"):
        sample.unlink()
    made.commit(
        {
            "pyproject.toml": '[project]\nname = "ktrdr"\n',
            "docker-compose.yml": COMPOSE_FILE,
            "README.md": "KTRDR\n",
        },
        message="First",
    )
    return made.root
