from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.worktrees.operations import (
    Checkout,
    add_worktree,
    choose_checkout,
    forget_worktree,
    hide_env_file,
    is_hidden,
    plan_addition,
    show_env_file,
    take_back_worktree,
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


# -- forgetting ----------------------------------------------------------------------------------


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


# -- hiding the environment file -----------------------------------------------------------------


def exclude_file(repo: GitRepository) -> Path:
    return repo.root / ".git" / "info" / "exclude"


def hide(repo: GitRepository) -> None:
    hide_env_file(locate(repo.root).common_dir)


def show(repo: GitRepository) -> None:
    show_env_file(repo.root, locate(repo.root).common_dir)


def test_git_does_not_see_the_file(repo: GitRepository, tmp_path: Path) -> None:
    linked = repo.add_worktree(tmp_path / "made", "-b", "x")
    assert not is_hidden(linked.root)
    hide(linked)
    linked.write({".env.sandbox": "x", ".env.sandbox.tmp": "x"})
    assert linked.git("status", "--porcelain") == ""
    assert is_hidden(linked.root)
    assert is_hidden(repo.root)


def test_it_is_hidden_once(repo: GitRepository) -> None:
    for _ in range(2):
        hide(repo)
    assert exclude_file(repo).read_text().splitlines().count("/.env.sandbox") == 1


def test_a_repository_that_ignores_it_already(repo: GitRepository) -> None:
    repo.commit({".gitignore": ".env*\n"})
    assert is_hidden(repo.root)
    repo.commit({".gitignore": ".env.sandbox\n"})
    assert not is_hidden(repo.root)


@pytest.mark.parametrize("content", [None, "*.swp", "*.swp\n", "# mine\n\n*.swp\n", "\udcff\n"])
def test_showing_gives_the_file_back(repo: GitRepository, content: str | None) -> None:
    path = exclude_file(repo)
    path.unlink(missing_ok=True)
    if content is not None:
        path.write_text(content, errors="surrogateescape")
        path.chmod(0o640)
    hide(repo)
    for _ in range(2):
        show(repo)
    expected = content if content is None or content.endswith("\n") else f"{content}\n"
    assert path.read_text(errors="surrogateescape") == (expected or "")
    assert content is None or path.stat().st_mode & 0o777 == 0o640


def test_it_stays_hidden_while_another_worktree_has_one(
    repo: GitRepository, tmp_path: Path
) -> None:
    linked = repo.add_worktree(tmp_path / "made", "-b", "x")
    hide(repo)
    linked.write({".env.sandbox": "x"})
    show(repo)
    assert is_hidden(linked.root)
    (linked.root / ".env.sandbox").unlink()
    show(repo)
    assert not is_hidden(linked.root)


def test_a_line_that_somebody_else_wrote_is_not_ours(repo: GitRepository) -> None:
    exclude_file(repo).write_text("/.env.sandbox\n")
    hide(repo)
    show(repo)
    assert exclude_file(repo).read_text() == "/.env.sandbox\n"
