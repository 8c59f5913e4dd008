from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.git.repository import locate
from ktrdr_sandbox.git.worktree import (
    Checkout,
    add_worktree,
    choose_checkout,
    plan_addition,
    take_back_worktree,
)
from tests.support.repositories import GitRepository, git, repository


@pytest.fixture
def repo(tmp_path: Path) -> GitRepository:
    return repository(tmp_path / "ktrdr")


def chosen(repo: GitRepository, *, name: str = "feat-x", branch: str | None = None) -> Checkout:
    return choose_checkout(locate(repo.root), name=name, branch=branch)


def add(
    repo: GitRepository,
    path: Path,
    checkout: Checkout,
    *,
    meanwhile: Callable[[], object] = lambda: None,
    fail: BaseException | None = None,
    save: Callable[[Path], None] | None = None,
) -> None:
    """Add the worktree, let something happen in it, and take it back when a later step fails."""
    addition = plan_addition(locate(repo.root), path, checkout, "the-token")
    try:
        add_worktree(addition)
        assert (path / "README.md").exists()
        meanwhile()
        if fail is not None:
            raise fail
    except BaseException:
        for _ in range(2):  # a second time changes nothing
            take_back_worktree(addition, save=save or nothing_to_save)
        raise


def nothing_to_save(directory: Path) -> None:
    raise AssertionError(f"{directory} holds nothing that is anybody's work")


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
    with pytest.raises(KeyboardInterrupt):
        add(repo, path, chosen(repo), fail=KeyboardInterrupt())
    assert not path.exists()
    assert repo.branches() == ["main"]


@pytest.mark.parametrize("work", ["untracked", "README.md"])
def test_work_that_was_put_into_it_is_saved(repo: GitRepository, tmp_path: Path, work: str) -> None:
    path, saved = tmp_path / "made", tmp_path / "saved"

    def save(directory: Path) -> None:
        directory.rename(saved)

    with pytest.raises(RuntimeError):
        add(
            repo,
            path,
            chosen(repo),
            meanwhile=lambda: (path / work).write_text("precious"),
            fail=RuntimeError(),
            save=save,
        )
    assert (saved / work).read_text() == "precious"
    assert repo.worktrees() == [repo.root]
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


def test_a_branch_in_a_rebase_elsewhere_is_a_conflict(repo: GitRepository, tmp_path: Path) -> None:
    """Git lists its worktree as detached, and refuses the branch all the same."""
    other = repo.add_worktree(tmp_path / "other", "-b", "feat-x")
    other.commit({"a": "one"})
    repo.commit({"a": "two"})
    with pytest.raises(AssertionError, match="CONFLICT"):
        other.git("rebase", "main")
    with pytest.raises(SandboxError) as caught:
        add(repo, tmp_path / "made", chosen(repo))
    assert caught.value.code == "worktree-conflict"
    assert caught.value.message == (
        f"Cannot create worktree: branch 'feat-x' is already checked out at '{other.root}'. "
        "Use a different name or checkout a different branch there first."
    )
    assert repo.worktrees() == [repo.root, other.root]


def test_another_programs_branch_is_left(repo: GitRepository, tmp_path: Path) -> None:
    """The branch came to be after the check, at the very commit ours would have started from."""
    checkout = chosen(repo)
    repo.git("branch", "feat-x")
    with pytest.raises(SandboxError):
        add(repo, tmp_path / "made", checkout)
    assert "feat-x" in repo.branches()
    assert not (tmp_path / "made").exists()


def test_a_post_checkout_hook_that_fails_is_told_and_all_stays(
    repo: GitRepository, tmp_path: Path
) -> None:
    hook = repo.root / ".git" / "hooks" / "post-checkout"
    hook.write_text("#!/bin/sh\necho error: no node_modules >&2\nexit 127\n")
    hook.chmod(0o755)
    path = tmp_path / "made"
    told = add_worktree(plan_addition(locate(repo.root), path, chosen(repo), "the-token"))
    assert told is not None
    assert "post-checkout" in told
    assert "no node_modules" in told
    assert path in repo.worktrees()


def test_a_filter_that_fails_leaves_nothing(repo: GitRepository, tmp_path: Path) -> None:
    repo.commit({".gitattributes": "*.secret filter=vault\n", "a.secret": "x"})
    for key, value in (("smudge", "echo no key file >&2; false"), ("required", "true")):
        repo.git("config", f"filter.vault.{key}", value)
    path = tmp_path / "made"
    with pytest.raises(SandboxError) as caught:
        add(repo, path, chosen(repo))
    assert caught.value.code == "worktree-failed"
    assert "no key file" in caught.value.message
    assert "filter" in caught.value.hints[0]
    assert not path.exists()
    assert (repo.branches(), repo.worktrees()) == (["main"], [repo.root])


# -- taking back what a killed git left ---------------------------------------------------------


def killed_at(repo: GitRepository, path: Path) -> None:
    """git, and whoever waits for it, killed by the hook that runs when the files are there."""
    hook = repo.root / ".git" / "hooks" / "post-checkout"
    hook.write_text("#!/bin/sh\nkill -9 $PPID\n")
    hook.chmod(0o755)
    with pytest.raises(SandboxError):
        add_worktree(plan_addition(locate(repo.root), path, chosen(repo), "the-token"))
    hook.unlink()


def test_a_worktree_that_git_was_filling(repo: GitRepository, tmp_path: Path) -> None:
    path = tmp_path / "made"
    addition = plan_addition(locate(repo.root), path, chosen(repo), "the-token")
    killed_at(repo, path)
    assert path in repo.worktrees()
    take_back_worktree(addition, save=nothing_to_save)
    assert not path.exists()
    assert repo.worktrees() == [repo.root]
    assert repo.branches() == ["main"]
    assert not list((repo.root / ".git" / "worktrees").glob("*"))


@pytest.mark.parametrize("gitdir", [None, ""])
def test_an_entry_that_git_had_only_begun(
    repo: GitRepository, tmp_path: Path, gitdir: str | None
) -> None:
    path = tmp_path / "made"
    addition = plan_addition(locate(repo.root), path, chosen(repo), "the-token")
    entry = repo.root / ".git" / "worktrees" / "made"
    entry.mkdir(parents=True)
    (entry / "locked").write_text("initializing")
    if gitdir is not None:
        (entry / "gitdir").write_text(gitdir)
    path.mkdir()
    (path / ".git").write_text(f"gitdir: {entry}\n")
    take_back_worktree(addition, save=nothing_to_save)
    assert not path.exists()
    assert not entry.exists()
    add(repo, path, chosen(repo))


def half_an_entry(repo: GitRepository, name: str, path: Path) -> Path:
    """As a loss of power leaves it: the last file that git wrote is there and empty."""
    entry = repo.root / ".git" / "worktrees" / name
    entry.mkdir(parents=True)
    (entry / "gitdir").write_text(f"{path}/.git\n")
    (entry / "commondir").write_text("")
    path.mkdir()
    (path / ".git").write_text(f"gitdir: {entry}\n")
    return entry


def test_an_entry_over_which_git_fails_altogether(repo: GitRepository, tmp_path: Path) -> None:
    path = tmp_path / "made"
    addition = plan_addition(locate(repo.root), path, chosen(repo), "the-token")
    entry = half_an_entry(repo, "made", path)
    take_back_worktree(addition, save=nothing_to_save)
    assert not path.exists()
    assert not entry.exists()
    add(repo, path, chosen(repo))


def test_another_ones_entry_over_which_git_fails_is_left(
    repo: GitRepository, tmp_path: Path
) -> None:
    addition = plan_addition(locate(repo.root), tmp_path / "made", chosen(repo), "the-token")
    entry = half_an_entry(repo, "made", tmp_path / "elsewhere")
    with pytest.raises(SandboxError):
        take_back_worktree(addition, save=nothing_to_save)
    assert entry.exists()


def test_other_peoples_entries_of_like_names_are_left(repo: GitRepository, tmp_path: Path) -> None:
    theirs = repo.add_worktree(tmp_path / "made-by-them", "-b", "x")
    addition = plan_addition(locate(repo.root), tmp_path / "made", chosen(repo), "the-token")
    take_back_worktree(addition, save=nothing_to_save)
    assert theirs.root in repo.worktrees()


def test_a_branch_that_another_token_made_is_left(repo: GitRepository, tmp_path: Path) -> None:
    checkout = chosen(repo)
    add_worktree(plan_addition(locate(repo.root), tmp_path / "other", checkout, "another"))
    repo.git("worktree", "remove", str(tmp_path / "other"))
    take_back_worktree(
        plan_addition(locate(repo.root), tmp_path / "made", checkout, "the-token"),
        save=nothing_to_save,
    )
    assert "feat-x" in repo.branches()


def test_a_repository_that_is_gone_needs_nothing(repo: GitRepository, tmp_path: Path) -> None:
    addition = plan_addition(locate(repo.root), tmp_path / "made", chosen(repo), "the-token")
    repo.root.rename(tmp_path / "moved")
    take_back_worktree(addition, save=nothing_to_save)
