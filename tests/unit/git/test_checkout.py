from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.git.repository import locate
from ktrdr_sandbox.git.worktree import Checkout, choose_checkout, refuse_listed
from tests.support.repositories import GitRepository, empty_repository, repository


@pytest.fixture
def repo(tmp_path: Path) -> GitRepository:
    return repository(tmp_path / "ktrdr")


def chosen(repo: GitRepository, *, name: str = "feat-x", branch: str | None = None) -> Checkout:
    return choose_checkout(locate(repo.root), name=name, branch=branch)


def refused(
    repo: GitRepository, *, name: str = "feat-x", branch: str | None = None
) -> SandboxError:
    with pytest.raises(SandboxError) as caught:
        chosen(repo, name=name, branch=branch)
    return caught.value


def test_a_new_branch_starts_at_the_current_commit(repo: GitRepository) -> None:
    repo.git("switch", "--quiet", "-c", "work")
    head = repo.commit({"a": "x"})
    assert chosen(repo) == Checkout(branch="feat-x", creates_branch=True, start=head)


def test_the_current_commit_is_that_of_the_worktree_asked_from(repo: GitRepository) -> None:
    linked = repo.add_worktree(repo.root.parent / "linked", "-b", "other")
    head = linked.commit({"a": "x"})
    assert chosen(linked).start == head
    assert chosen(repo).start != head


def test_an_existing_free_branch_of_that_name_is_checked_out(repo: GitRepository) -> None:
    start = repo.head()
    repo.git("branch", "feat-x")
    repo.commit({"a": "x"})
    assert chosen(repo) == Checkout(branch="feat-x", creates_branch=False, start=start)


def test_a_named_branch(repo: GitRepository) -> None:
    repo.git("branch", "feature/metrics")
    made = chosen(repo, branch="feature/metrics")
    assert (made.branch, made.creates_branch) == ("feature/metrics", False)


@pytest.mark.parametrize("branch", ["feature/metrics", None])
def test_a_remote_only_branch_becomes_a_tracking_branch(
    repo: GitRepository, tmp_path: Path, branch: str | None
) -> None:
    wanted = branch or "feat-x"
    repo.git("switch", "--quiet", "-c", wanted)
    head = repo.commit({"a": "x"})
    repo.git("switch", "--quiet", "main")
    clone = repo.clone(tmp_path / "clone")
    assert chosen(clone, branch=branch) == Checkout(
        branch=wanted, creates_branch=True, start=head, tracks=f"origin/{wanted}"
    )


def test_a_branch_on_several_remotes_is_not_guessed(repo: GitRepository, tmp_path: Path) -> None:
    repo.git("branch", "shared")
    clone = repo.clone(tmp_path / "clone")
    clone.git("remote", "add", "second", str(repo.root))
    clone.git("fetch", "--quiet", "second")
    error = refused(clone, branch="shared")
    assert error.code == "worktree-failed"
    assert error.details == {"branch": "shared", "remotes": ["origin/shared", "second/shared"]}
    assert error.hints == ("Make it first: git branch --track shared origin/shared",)


@pytest.mark.parametrize("branch", ["main", None])
def test_a_branch_that_is_checked_out_elsewhere(repo: GitRepository, branch: str | None) -> None:
    error = refused(repo, name="main", branch=branch)
    assert error.code == "worktree-conflict"
    assert error.message == (
        f"Cannot create worktree: branch 'main' is already checked out at '{repo.root}'. "
        "Use a different name or checkout a different branch there first."
    )
    assert error.details == {"branch": "main", "path": str(repo.root)}


def test_a_branch_of_a_worktree_whose_directory_is_gone(repo: GitRepository) -> None:
    gone = repo.add_worktree(repo.root.parent / "it's gone", "-b", "feat-x").root
    gone.rename(repo.root.parent / "moved")
    error = refused(repo)
    assert error.code == "worktree-conflict"
    assert error.message == (
        f"Cannot create worktree: branch 'feat-x' is already checked out at '{gone}'. "
        "Use a different name or checkout a different branch there first."
    )
    (hint,) = error.hints
    said, command = hint.split(": ")
    assert said == "Its directory is gone; have git forget it"
    repo.git(*shlex.split(command)[1:])
    assert chosen(repo) == Checkout(branch="feat-x", creates_branch=False, start=repo.head())


@pytest.mark.parametrize(("reason", "shown"), [(["--reason", "USB"], " (USB)"), ([], "")])
def test_a_locked_worktree_may_come_back(
    repo: GitRepository, reason: list[str], shown: str
) -> None:
    away = repo.add_worktree(repo.root.parent / "away", "-b", "feat-x").root
    repo.git("worktree", "lock", *reason, str(away))
    away.rename(repo.root.parent / "unplugged")
    why, way_out = refused(repo).hints
    assert why == f"It is locked{shown}: its directory may be on a drive that is not there now."
    repo.git(*shlex.split(way_out.partition(": ")[2])[1:])
    assert chosen(repo).branch == "feat-x"


def test_a_directory_that_is_no_worktree_any_more(repo: GitRepository) -> None:
    linked = repo.add_worktree(repo.root.parent / "linked", "-b", "feat-x").root
    (linked / ".git").unlink()
    (hint,) = refused(repo).hints
    repo.git(*shlex.split(hint.partition(": ")[2])[1:])
    assert chosen(repo).branch == "feat-x"


@pytest.mark.parametrize(
    ("arguments", "held"), [(["-b", "other"], "branch 'other'"), (["--detach"], "commit ")]
)
def test_a_place_that_git_keeps_for_a_worktree(
    repo: GitRepository, arguments: list[str], held: str
) -> None:
    path = repo.root.parent / "ktrdr--feat-x"
    repo.add_worktree(path, *arguments).root.rename(repo.root.parent / "moved")
    with pytest.raises(SandboxError) as caught:
        refuse_listed(locate(repo.root), path)
    assert caught.value.code == "worktree-conflict"
    assert f"git has one at '{path}' already, with {held}" in caught.value.message
    assert caught.value.hints == (
        f"Its directory is gone; have git forget it: git worktree remove --force {path}",
        "Or use another name.",
    )
    refuse_listed(locate(repo.root), repo.root.parent / "ktrdr--feat-y")


def test_a_branch_that_is_nowhere(repo: GitRepository) -> None:
    error = refused(repo, branch="nowhere")
    assert error.code == "worktree-failed"
    assert error.message == (
        "Cannot create worktree: there is no branch 'nowhere', here or on a remote."
    )


@pytest.mark.parametrize("branch", ["a..b", "--force", "@{-1}", "a b"])
def test_a_name_that_git_does_not_take(repo: GitRepository, branch: str) -> None:
    error = refused(repo, branch=branch)
    assert error.code == "usage"
    assert error.message == f"'{branch}' is not a valid branch name."


def test_a_tag_or_commit_is_no_branch(repo: GitRepository) -> None:
    repo.git("tag", "v1")
    assert refused(repo, branch="v1").code == "worktree-failed"
    assert refused(repo, branch=repo.head()).code == "worktree-failed"


def test_no_commit_to_start_from(tmp_path: Path) -> None:
    error = refused(empty_repository(tmp_path / "ktrdr"))
    assert error.code == "worktree-failed"
    assert error.message.endswith("has no commit yet.")
