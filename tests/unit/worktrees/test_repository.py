from __future__ import annotations

from pathlib import Path

import pytest

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.worktrees.repository import (
    UnsavedWork,
    current_branch,
    is_branch_name,
    locate,
    unsaved_work,
    worktrees,
)
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


# -- what would be lost --------------------------------------------------------------------------


def test_a_clean_worktree_loses_nothing(linked: GitRepository) -> None:
    assert not unsaved_work(linked.root)
    assert unsaved_work(linked.root).lines() == []


def test_commits_on_a_branch_are_safe(linked: GitRepository) -> None:
    linked.commit({"new": "x"})
    assert not unsaved_work(linked.root)


def test_files_of_each_kind(linked: GitRepository) -> None:
    linked.commit({"moved": "some longer text\n" * 5, "deleted": "x", "staged": "x"})
    linked.write({"README.md": "changed", "new": "x", "folder/deep": "x", "staged": "y"})
    linked.git("add", "staged")
    linked.git("mv", "moved", "moved here")
    (linked.root / "deleted").unlink()
    work = unsaved_work(linked.root)
    assert sorted(work.files) == sorted(
        ["M README.md", "?? new", "?? folder/deep", "M staged", "R moved here", "D deleted"]
    )
    assert work.operation is None
    assert work.commits == ()


def test_ignored_files_do_not_count(linked: GitRepository) -> None:
    linked.commit({".gitignore": "*.log\n/data/\n"})
    linked.write({"a.log": "x", "data/b": "x"})
    assert not unsaved_work(linked.root)


def test_file_names_of_every_sort(linked: GitRepository) -> None:
    names = ["with space", "new\nline", "naïve é", 'quo"te', "back\\slash", "-dash", " lead"]
    linked.write(dict.fromkeys(names, "x"))
    assert sorted(unsaved_work(linked.root).files) == sorted(f"?? {name}" for name in names)


def test_the_users_settings_hide_nothing(linked: GitRepository) -> None:
    linked.git("config", "status.showUntrackedFiles", "no")
    linked.git("config", "status.relativePaths", "true")
    linked.git("config", "status.renames", "copies")
    linked.write({"folder/new": "x"})
    assert unsaved_work(linked.root).files == ("?? folder/new",)


def test_files_flagged_to_look_unchanged(linked: GitRepository) -> None:
    """`assume-unchanged` and `skip-worktree` hide edits from `git status`; they are work too."""
    linked.commit({"a": "x", "b": "x"})
    linked.git("update-index", "--assume-unchanged", "a")
    linked.git("update-index", "--skip-worktree", "b")
    assert not unsaved_work(linked.root)
    linked.write({"a": "edited", "b": "edited"})
    assert unsaved_work(linked.root).files == ("M a", "M b")


def conflict(linked: GitRepository) -> str:
    """A commit on a branch `other` that conflicts with HEAD."""
    start = linked.head()
    linked.commit({"README.md": "mine"})
    linked.git("switch", "--quiet", "-c", "other", start)
    theirs = linked.commit({"README.md": "theirs"})
    linked.git("switch", "--quiet", "x")
    return theirs


@pytest.mark.parametrize(
    ("command", "operation"),
    [("merge", "merge"), ("cherry-pick", "cherry-pick"), ("rebase", "rebase")],
)
def test_an_operation_in_progress(linked: GitRepository, command: str, operation: str) -> None:
    conflict(linked)
    with pytest.raises(AssertionError, match="onflict"):
        linked.git(command, "other")
    work = unsaved_work(linked.root)
    assert work.operation == operation
    assert f"a {operation} is in progress" in work.lines()


def test_a_merge_that_only_waits_for_its_commit(linked: GitRepository) -> None:
    linked.git("switch", "--quiet", "-c", "other")
    linked.commit({"other": "x"})
    linked.git("switch", "--quiet", "x")
    linked.commit({"mine": "x"})
    linked.git("merge", "--no-commit", "--no-ff", "other")
    assert unsaved_work(linked.root).operation == "merge"


def test_a_bisect_in_progress(linked: GitRepository) -> None:
    linked.commit({"a": "1"})
    linked.git("bisect", "start")
    assert unsaved_work(linked.root).operation == "bisect"


def test_an_operation_in_another_worktree_is_not_ours(
    repo: GitRepository, linked: GitRepository
) -> None:
    conflict(linked)
    with pytest.raises(AssertionError):
        linked.git("merge", "other")
    assert unsaved_work(repo.root) == UnsavedWork()


def test_commits_that_nothing_reaches(linked: GitRepository) -> None:
    linked.git("switch", "--quiet", "--detach")
    linked.commit({"a": "1"}, message="First lost")
    linked.commit({"a": "2"}, message="Second lost")
    work = unsaved_work(linked.root)
    assert [commit.partition(" ")[2] for commit in work.commits] == ["Second lost", "First lost"]
    assert work.lines()[0].startswith("commit on no branch: ")


@pytest.mark.parametrize("safe", ["branch", "tag"])
def test_a_branch_or_tag_makes_them_safe(linked: GitRepository, safe: str) -> None:
    linked.git("switch", "--quiet", "--detach")
    linked.commit({"a": "1"})
    linked.git(safe, "kept")
    assert not unsaved_work(linked.root)


def test_a_detached_head_on_a_known_commit(linked: GitRepository) -> None:
    linked.git("switch", "--quiet", "--detach")
    assert not unsaved_work(linked.root)


def test_a_checkout_without_a_commit(tmp_path: Path) -> None:
    repo = empty_repository(tmp_path / "ktrdr")
    assert not unsaved_work(repo.root)
    repo.write({"a": "x"})
    assert unsaved_work(repo.root).files == ("?? a",)


def test_changes_inside_a_submodule_count(linked: GitRepository, tmp_path: Path) -> None:
    library = repository(tmp_path / "library")
    linked.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(library.root), "l")
    linked.git("commit", "--quiet", "-m", "Add a submodule")
    assert not unsaved_work(linked.root)
    (linked.root / "l" / "new").touch()
    assert unsaved_work(linked.root).files == ("M l",)
