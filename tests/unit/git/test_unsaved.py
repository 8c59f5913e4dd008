"""What removing a worktree would lose: found whatever hides it, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ktrdr_sandbox.git.unsaved import UnsavedWork, ignored_files, unsaved_work
from tests.support.repositories import GitRepository, empty_repository, git, repository


@pytest.fixture
def repo(tmp_path: Path) -> GitRepository:
    return repository(tmp_path / "ktrdr")


@pytest.fixture
def linked(repo: GitRepository) -> GitRepository:
    return repo.add_worktree(repo.root.parent / "ktrdr--x", "-b", "x")


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


# -- what hides ----------------------------------------------------------------------------------


def test_a_flagged_symlink_that_points_elsewhere_now(linked: GitRepository) -> None:
    (linked.root / "link").symlink_to("README.md")
    linked.git("add", "link")
    linked.git("commit", "--quiet", "-m", "Link")
    linked.git("update-index", "--assume-unchanged", "link", "README.md")
    assert not unsaved_work(linked.root)
    (linked.root / "link").unlink()
    (linked.root / "link").symlink_to("nowhere")
    assert unsaved_work(linked.root).files == ("M link",)


def test_a_flagged_file_that_is_absent_holds_nothing(linked: GitRepository) -> None:
    linked.git("update-index", "--skip-worktree", "README.md")
    (linked.root / "README.md").unlink()
    assert not unsaved_work(linked.root)


def test_more_flagged_files_than_a_command_line_takes(linked: GitRepository) -> None:
    names = [f"{'long' * 40}/{'name' * 40}-{number:05}" for number in range(9000)]
    linked.commit({"README.md": "x"})
    folder = linked.root / ("long" * 40)
    folder.mkdir()
    for name in names:
        (linked.root / name).touch()
    linked.git("add", "--all")
    linked.git("commit", "--quiet", "-m", "Many")
    flag = ["update-index", "-z", "--stdin"]
    git_with_input(linked, [*flag[:1], "--assume-unchanged", *flag[1:]], "\0".join(names))
    (linked.root / names[77]).write_text("edited")
    assert unsaved_work(linked.root).files == (f"M {names[77]}",)


def git_with_input(repo: GitRepository, arguments: list[str], text: str) -> None:
    subprocess.run(["git", *arguments], cwd=repo.root, input=text, text=True, check=True)


def test_a_sparse_checkout(linked: GitRepository) -> None:
    linked.commit({"in/a": "x", "out/b": "x"})
    linked.git("sparse-checkout", "set", "in")
    assert not (linked.root / "out").exists()
    assert not unsaved_work(linked.root)
    linked.write({"out/b": "written beyond the cone"})
    assert unsaved_work(linked.root).files == ("M out/b",)


def test_an_index_that_is_split(linked: GitRepository) -> None:
    linked.commit({"a": "x"})
    linked.git("update-index", "--split-index")
    linked.git("update-index", "--assume-unchanged", "a")
    linked.write({"a": "edited"})
    assert unsaved_work(linked.root).files == ("M a",)


POWERLESS = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all")
ASK = """
import sys
from pathlib import Path
from ktrdr_sandbox.git.unsaved import unsaved_work
print("\\n".join(unsaved_work(Path(sys.argv[1])).lines()))
"""


def test_a_folder_that_cannot_be_looked_into(linked: GitRepository) -> None:
    """Git takes it for empty; a container may have filled it. Being root would help, so that is
    given up first."""
    linked.commit({".gitignore": "ignored/\n"})
    linked.write({"results/of/a/week": "x", "ignored/x": "x"})
    argv = [*(POWERLESS if os.geteuid() == 0 else ()), sys.executable, "-c", ASK, str(linked.root)]
    for name in ("results", "ignored"):
        (linked.root / name).chmod(0)
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    finally:
        for name in ("results", "ignored"):
            (linked.root / name).chmod(0o700)
    assert (done.stdout, done.stderr) == ("?? results/ (this user cannot look into it)\n", "")


def test_commits_of_a_ref_that_only_this_worktree_has(linked: GitRepository) -> None:
    start = linked.head()
    linked.git("switch", "--quiet", "--detach")
    commit = linked.commit({"a": "1"}, message="Kept aside")
    linked.git("update-ref", "refs/worktree/aside", commit)
    linked.git("switch", "--quiet", "--detach", start)
    assert [one.partition(" ")[2] for one in unsaved_work(linked.root).commits] == ["Kept aside"]


def test_a_stash_is_the_repositorys(repo: GitRepository, linked: GitRepository) -> None:
    linked.write({"README.md": "stashed"})
    linked.git("stash", "push", "--quiet")
    assert not unsaved_work(linked.root)
    repo.git("worktree", "remove", str(linked.root))
    assert "stash@{0}" in repo.git("stash", "list")


def test_cherry_picks_of_which_one_is_done(linked: GitRepository) -> None:
    """Between two of them no CHERRY_PICK_HEAD tells that more are to come."""
    theirs = conflict(linked)
    second = linked.git("commit-tree", "-p", theirs, "-m", "Second", f"{theirs}^{{tree}}").strip()
    with pytest.raises(AssertionError):
        linked.git("cherry-pick", theirs, second)
    linked.git("checkout", "--quiet", "--ours", "README.md")
    linked.write({"README.md": "both"})
    linked.git("commit", "--quiet", "--all", "-m", "Resolved")
    work = unsaved_work(linked.root)
    assert (work.files, work.operation) == ((), "cherry-pick or revert")


# -- other repositories within -------------------------------------------------------------------


def with_submodule(linked: GitRepository, tmp_path: Path) -> GitRepository:
    library = repository(tmp_path / "library")
    linked.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(library.root), "l")
    linked.git("commit", "--quiet", "-m", "Add a submodule")
    return GitRepository(linked.root / "l")


def test_commits_of_a_submodule_that_were_never_pushed(
    linked: GitRepository, tmp_path: Path
) -> None:
    """The branch only has its number; the commit itself goes with the worktree."""
    submodule = with_submodule(linked, tmp_path)
    submodule.commit({"new": "x"}, message="Never pushed")
    linked.git("commit", "--quiet", "--all", "-m", "Use it")
    assert linked.git("status", "--porcelain") == ""
    (line,) = unsaved_work(linked.root).repositories
    assert line.startswith("in l: commit that is only here: ")
    assert line.endswith(" Never pushed")
    submodule.git("push", "--quiet", "origin", "HEAD:refs/heads/pushed")
    assert not unsaved_work(linked.root)


def test_a_stash_and_a_branch_of_a_submodule(linked: GitRepository, tmp_path: Path) -> None:
    submodule = with_submodule(linked, tmp_path)
    submodule.git("switch", "--quiet", "-c", "aside")
    submodule.commit({"new": "x"}, message="On a branch")
    submodule.git("switch", "--quiet", "main")
    submodule.write({"README.md": "stashed"})
    submodule.git("stash", "push", "--quiet", "-m", "for later")
    assert linked.git("status", "--porcelain") == ""
    lines = "\n".join(unsaved_work(linked.root).repositories)
    assert "On a branch" in lines
    assert "for later" in lines


def test_a_shallow_submodule_has_nothing_of_its_own(linked: GitRepository, tmp_path: Path) -> None:
    submodule = with_submodule(linked, tmp_path)
    source = GitRepository(tmp_path / "library")
    pinned = source.commit({"a": "1"})
    source.commit({"a": "2"})
    source.git("config", "uploadpack.allowAnySHA1InWant", "true")
    shutil.rmtree(linked.root / "l")
    linked.git("submodule", "deinit", "--force", "--all")
    git(linked.root, "init", "--quiet", "--initial-branch=main", "l")
    submodule.git("remote", "add", "origin", f"file://{source.root}")
    submodule.git("fetch", "--quiet", "--depth=1", "origin", pinned)
    submodule.git("checkout", "--quiet", pinned)
    assert unsaved_work(linked.root).repositories == ()
    submodule.commit({"b": "1"}, message="Mine")
    (line,) = unsaved_work(linked.root).repositories
    assert line.endswith(" Mine")


def test_a_clone_within_that_git_ignores(repo: GitRepository, linked: GitRepository) -> None:
    linked.commit({".gitignore": "vendor/\n"})
    clone = repo.clone(linked.root / "vendor" / "deep" / "clone")
    assert not unsaved_work(linked.root)
    clone.write({"draft": "x"})
    clone.commit({"a": "1"}, message="Only here")
    lines = unsaved_work(linked.root).repositories
    assert lines[0] == "in vendor/deep/clone: ?? draft"
    assert lines[1].startswith("in vendor/deep/clone: commit that is only here: ")
    assert lines[1].endswith(" Only here")
    assert len(lines) == 2


def test_a_worktree_within_that_git_ignores(repo: GitRepository, linked: GitRepository) -> None:
    linked.commit({".gitignore": ".worktrees/\n"})
    repo.add_worktree(linked.root / ".worktrees" / "y", "-b", "y")
    assert unsaved_work(linked.root).repositories == (
        "in .worktrees/y: it is a worktree of its own",
    )


def test_a_repository_within_that_git_cannot_read(linked: GitRepository) -> None:
    linked.commit({".gitignore": "odd/\n"})
    linked.write({"odd/.git": "gitdir: /nowhere\n"})
    assert unsaved_work(linked.root).repositories == ("in odd: a repository that git cannot read",)


def test_an_empty_folder_called_like_a_repository_is_none(linked: GitRepository) -> None:
    linked.commit({".gitignore": "odd/\n"})
    (linked.root / "odd" / ".git").mkdir(parents=True)
    assert not unsaved_work(linked.root)


def test_a_repository_behind_a_symlink_is_not_within(
    repo: GitRepository, linked: GitRepository
) -> None:
    linked.commit({".gitignore": "away\n"})
    outside = repo.clone(repo.root.parent / "outside")
    outside.write({"draft": "x"})
    (linked.root / "away").symlink_to(outside.root)
    assert not unsaved_work(linked.root)


def test_what_git_ignores_is_named_by_folder(linked: GitRepository) -> None:
    linked.commit({".gitignore": ".env\n*.log\ncache/\n"})
    linked.write({".env": "x", "a.log": "x", "cache/deep/er": "x", "cache/b": "x", "seen": "x"})
    assert set(ignored_files(linked.root)) == {".env", "a.log", "cache/"}


def test_names_are_shown_and_not_acted_upon_by_a_terminal(linked: GitRepository) -> None:
    linked.write({"line\nend": "x", "red\x1b[31m": "x", "é ü": "x"})
    (linked.root / os.fsdecode(b"latin\xe9")).touch()
    assert sorted(unsaved_work(linked.root).lines()) == [
        "?? latin\\udce9",
        "?? line\\nend",
        "?? red\\x1b[31m",
        "?? é ü",
    ]
