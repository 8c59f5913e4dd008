from __future__ import annotations

from pathlib import Path

import pytest

from ktrdr_sandbox.git.worktree import forget_worktree
from tests.support.repositories import GitRepository, repository


@pytest.fixture
def repo(tmp_path: Path) -> GitRepository:
    return repository(tmp_path / "ktrdr")


def test_a_worktree_whose_directory_is_gone_is_forgotten(
    repo: GitRepository, tmp_path: Path
) -> None:
    linked = repo.add_worktree(tmp_path / "made", "-b", "x")
    linked.root.rename(tmp_path / "moved")
    for _ in range(2):
        forget_worktree(repo.root, repo.root / ".git", linked.root)
    assert repo.worktrees() == [repo.root]
    assert "x" in repo.branches()


def test_other_worktrees_that_are_not_there_now_are_kept(
    repo: GitRepository, tmp_path: Path
) -> None:
    """They may be on a drive that comes back."""
    linked = repo.add_worktree(tmp_path / "made", "-b", "x")
    away = repo.add_worktree(tmp_path / "away", "-b", "y")
    for one in (linked, away):
        one.root.rename(tmp_path / f"unplugged-{one.root.name}")
    forget_worktree(repo.root, repo.root / ".git", linked.root)
    assert repo.worktrees() == [repo.root, away.root]
