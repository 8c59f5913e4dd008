from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.worktrees.operations import (
    Checkout,
    added_worktree,
    choose_checkout,
    excluded_env_file,
    remove_worktree,
)
from ktrdr_sandbox.worktrees.repository import locate
from tests.support.repositories import GitRepository, empty_repository, git, repository


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


# -- which branch --------------------------------------------------------------------------------


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


def test_a_branch_of_a_worktree_whose_directory_is_gone_is_free(repo: GitRepository) -> None:
    gone = repo.add_worktree(repo.root.parent / "gone", "-b", "feat-x")
    gone.root.rename(repo.root.parent / "moved")
    assert not chosen(repo).creates_branch


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


# -- adding --------------------------------------------------------------------------------------


def add(
    repo: GitRepository,
    path: Path,
    checkout: Checkout,
    *,
    meanwhile: Callable[[], object] = lambda: None,
    fail: BaseException | None = None,
) -> None:
    """Add the worktree, let something happen in it, and fail in a later step if told to."""
    with added_worktree(locate(repo.root), path, checkout):
        assert (path / "README.md").exists()
        meanwhile()
        if fail is not None:
            raise fail


def test_a_new_branch_in_its_worktree(repo: GitRepository, tmp_path: Path) -> None:
    path = tmp_path / "with space"
    add(repo, path, chosen(repo))
    made = GitRepository(path)
    assert made.git("branch", "--show-current").strip() == "feat-x"
    assert "branch.feat-x" not in made.git("config", "--list")
    assert path in repo.worktrees()


def test_a_tracking_branch(repo: GitRepository, tmp_path: Path) -> None:
    repo.git("branch", "shared")
    clone = repo.clone(tmp_path / "clone")
    add(clone, tmp_path / "made", chosen(clone, branch="shared"))
    upstream = git(tmp_path / "made", "rev-parse", "--abbrev-ref", "shared@{upstream}")
    assert upstream.strip() == "origin/shared"


@pytest.mark.parametrize("exists", [True, False])
def test_a_failure_later_on_takes_all_of_it_away(
    repo: GitRepository, tmp_path: Path, exists: bool
) -> None:
    if exists:
        repo.git("branch", "feat-x")
    before = repo.branches()
    path = tmp_path / "ktrdr--feat-x"
    with pytest.raises(RuntimeError, match="a later step"):
        add(repo, path, chosen(repo), fail=RuntimeError("a later step"))
    assert not path.exists()
    assert repo.worktrees() == [repo.root]
    assert repo.branches() == before
    add(repo, path, chosen(repo))  # and nothing is in the way of a second try


def test_an_interrupt_takes_it_away_too(repo: GitRepository, tmp_path: Path) -> None:
    path = tmp_path / "made"
    dirty = (path / "untracked").touch
    with pytest.raises(KeyboardInterrupt):
        add(repo, path, chosen(repo), meanwhile=dirty, fail=KeyboardInterrupt())
    assert not path.exists()
    assert repo.branches() == ["main"]


def test_a_commit_made_meanwhile_keeps_its_branch(repo: GitRepository, tmp_path: Path) -> None:
    path = tmp_path / "made"
    start = repo.head()

    def work() -> None:
        GitRepository(path).commit({"work": "x"})

    with pytest.raises(RuntimeError):
        add(repo, path, chosen(repo), meanwhile=work, fail=RuntimeError("a later step"))
    assert not path.exists()
    assert repo.head("feat-x^") == start


def test_another_programs_directory_is_left(repo: GitRepository, tmp_path: Path) -> None:
    path = tmp_path / "theirs"
    path.mkdir()
    (path / "work").touch()
    with pytest.raises(SandboxError) as caught:
        add(repo, path, chosen(repo))
    assert caught.value.code == "worktree-failed"
    assert "already exists" in caught.value.message
    assert (path / "work").exists()
    assert repo.branches() == ["main"]


def test_another_programs_worktree_is_left(repo: GitRepository, tmp_path: Path) -> None:
    """Somebody was quicker between the check and the `git worktree add`."""
    checkout = chosen(repo)
    quicker = repo.add_worktree(tmp_path / "made", "-b", "feat-x")
    with pytest.raises(SandboxError) as caught:
        add(repo, tmp_path / "made", checkout)
    assert caught.value.code == "worktree-failed"
    assert quicker.root in repo.worktrees()
    assert "feat-x" in repo.branches()


def test_another_programs_branch_is_left(repo: GitRepository, tmp_path: Path) -> None:
    """The branch came to be after the check, at the very commit ours would have started from."""
    checkout = chosen(repo)
    repo.git("branch", "feat-x")
    with pytest.raises(SandboxError):
        add(repo, tmp_path / "made", checkout)
    assert "feat-x" in repo.branches()
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("exists", [True, False])
def test_a_hook_that_fails_leaves_nothing(
    repo: GitRepository, tmp_path: Path, exists: bool
) -> None:
    if exists:
        repo.git("branch", "feat-x")
    before = repo.branches()
    hook = repo.root / ".git" / "hooks" / "post-checkout"
    hook.write_text("#!/bin/sh\necho hook says no >&2\nexit 1\n")
    hook.chmod(0o755)
    path = tmp_path / "made"
    with pytest.raises(SandboxError) as caught:
        add(repo, path, chosen(repo))
    assert caught.value.code == "worktree-failed"
    assert "hook says no" in caught.value.message
    assert not path.exists()
    assert repo.branches() == before
    assert repo.worktrees() == [repo.root]


# -- removing ------------------------------------------------------------------------------------


def test_a_removed_worktree_leaves_its_branch(repo: GitRepository, tmp_path: Path) -> None:
    linked = repo.add_worktree(tmp_path / "made", "-b", "x")
    linked.write({"untracked": "x", "README.md": "changed"})
    remove_worktree(repo.root, linked.root)
    assert not linked.root.exists()
    assert repo.worktrees() == [repo.root]
    assert "x" in repo.branches()


def test_a_worktree_whose_directory_is_gone_is_forgotten(
    repo: GitRepository, tmp_path: Path
) -> None:
    linked = repo.add_worktree(tmp_path / "made", "-b", "x")
    linked.root.rename(tmp_path / "moved")
    remove_worktree(repo.root, linked.root)
    assert repo.worktrees() == [repo.root]


def test_other_worktrees_that_are_not_there_now_are_kept(
    repo: GitRepository, tmp_path: Path
) -> None:
    """They may be on a drive that comes back."""
    linked = repo.add_worktree(tmp_path / "made", "-b", "x")
    away = repo.add_worktree(tmp_path / "away", "-b", "y")
    away.root.rename(tmp_path / "unplugged")
    remove_worktree(repo.root, linked.root)
    remove_worktree(repo.root, linked.root)
    assert repo.worktrees() == [repo.root, away.root]


def test_a_locked_worktree_is_refused(repo: GitRepository, tmp_path: Path) -> None:
    linked = repo.add_worktree(tmp_path / "made", "-b", "x")
    repo.git("worktree", "lock", "--reason", "on a stick", str(linked.root))
    with pytest.raises(SandboxError) as caught:
        remove_worktree(repo.root, linked.root)
    assert caught.value.code == "git-failed"
    assert "on a stick" in caught.value.message
    assert linked.root.is_dir()


# -- hiding the environment file -----------------------------------------------------------------


def exclude_file(repo: GitRepository) -> Path:
    return repo.root / ".git" / "info" / "exclude"


def test_git_does_not_see_the_file(repo: GitRepository, tmp_path: Path) -> None:
    linked = repo.add_worktree(tmp_path / "made", "-b", "x")
    with excluded_env_file(locate(linked.root)):
        linked.write({".env.sandbox": "x"})
    assert linked.git("status", "--porcelain") == ""
    assert repo.git("status", "--porcelain") == ""
    lines = exclude_file(repo).read_text().splitlines()
    assert lines.count("/.env.sandbox") == 1


def test_it_is_excluded_once(repo: GitRepository) -> None:
    for _ in range(2):
        with excluded_env_file(locate(repo.root)):
            pass
    assert exclude_file(repo).read_text().count(".env.sandbox") == 1


def test_a_repository_that_ignores_it_already_is_not_touched(repo: GitRepository) -> None:
    repo.commit({".gitignore": ".env*\n"})
    before = exclude_file(repo).read_bytes()
    with excluded_env_file(locate(repo.root)):
        pass
    assert exclude_file(repo).read_bytes() == before


@pytest.mark.parametrize("content", [None, "*.swp", "*.swp\n", ""])
def test_a_failure_gives_the_file_back(repo: GitRepository, content: str | None) -> None:
    path = exclude_file(repo)
    path.unlink(missing_ok=True)
    if content is not None:
        path.write_text(content)
    with pytest.raises(RuntimeError), excluded_env_file(locate(repo.root)):
        raise RuntimeError
    after = path.read_text().split() if path.exists() else []
    assert after == (content or "").split()


def test_a_line_that_was_there_before_survives_a_failure(repo: GitRepository) -> None:
    exclude_file(repo).write_text("/.env.sandbox\n")
    with pytest.raises(RuntimeError), excluded_env_file(locate(repo.root)):
        raise RuntimeError
    assert exclude_file(repo).read_text() == "/.env.sandbox\n"
