from __future__ import annotations

from pathlib import Path

import pytest

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.git.repository import current_branch, is_branch_name, locate, worktrees
from tests.support.repositories import GitRepository, empty_repository, git, repository


@pytest.fixture
def repo(tmp_path: Path) -> GitRepository:
    return repository(tmp_path / "ktrdr")


@pytest.fixture
def linked(repo: GitRepository) -> GitRepository:
    return repo.add_worktree(repo.root.parent / "ktrdr--x", "-b", "x")


# -- where ---------------------------------------------------------------------------------------


def test_the_main_worktree(repo: GitRepository) -> None:
    (repo.root / "a" / "b").mkdir(parents=True)
    for start in (repo.root, repo.root / "a" / "b"):
        found = locate(start)
        assert (found.root, found.main) == (repo.root, repo.root)
        assert found.common_dir == repo.root / ".git"
        assert not found.is_linked


def test_a_linked_worktree_knows_the_main_one(repo: GitRepository, linked: GitRepository) -> None:
    found = locate(linked.root)
    assert (found.root, found.main) == (linked.root, repo.root)
    assert found.common_dir == repo.root / ".git"
    assert found.is_linked


def test_paths_with_blanks_newlines_and_unicode(tmp_path: Path) -> None:
    repo = repository(tmp_path / "my code é" / "kt\nrdr")
    linked = repo.add_worktree(tmp_path / "a b\nc", "-b", "x")
    assert [one.path for one in worktrees(repo.root)] == [repo.root, linked.root]
    assert locate(tmp_path / "my code é" / "kt\nrdr").root == repo.root


@pytest.mark.parametrize("kind", ["nothing", "bare", "git-folder"])
def test_no_working_tree(tmp_path: Path, kind: str) -> None:
    start = tmp_path / "here"
    start.mkdir()
    if kind == "bare":
        git(start, "init", "--quiet", "--bare")
    if kind == "git-folder":
        empty_repository(start)
        start = start / ".git"
    with pytest.raises(SandboxError) as caught:
        locate(start)
    assert caught.value.code == "not-a-repository"
    assert str(start) in caught.value.message


def test_worktrees_of_each_kind(repo: GitRepository, linked: GitRepository) -> None:
    detached = repo.add_worktree(repo.root.parent / "detached", "--detach")
    gone = repo.add_worktree(repo.root.parent / "gone", "-b", "gone")
    gone.root.rename(repo.root.parent / "moved away")
    found = {one.path: one for one in worktrees(linked.root)}
    assert next(iter(found)) == repo.root
    assert found[repo.root].branch == "refs/heads/main"
    assert found[linked.root].branch == "refs/heads/x"
    assert found[linked.root].head == linked.head()
    assert found[detached.root].branch is None
    assert found[gone.root].prunable
    assert not found[linked.root].prunable


def test_the_current_branch(repo: GitRepository, linked: GitRepository) -> None:
    assert current_branch(linked.root) == "x"
    linked.git("switch", "--quiet", "--detach")
    assert current_branch(linked.root) is None


@pytest.mark.parametrize("name", ["feat-x", "feature/x", "é"])
def test_branch_names(repo: GitRepository, name: str) -> None:
    assert is_branch_name(repo.root, name)


@pytest.mark.parametrize("name", ["", "-x", "--help", "a..b", "a b", "x.lock", "@{-1}", "/x", "a^"])
def test_no_branch_names(repo: GitRepository, name: str) -> None:
    assert not is_branch_name(repo.root, name)


def test_what_git_refuses_is_told_in_its_words(
    repo: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(SandboxError) as caught:
        locate(repo.root)
    assert caught.value.code == "git-failed"
    assert "safe.directory" in caught.value.message
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "safe.directory")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "*")
    assert locate(repo.root).root == repo.root
