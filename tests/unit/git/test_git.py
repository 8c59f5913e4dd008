from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.git.git import REPOSITORY_VARIABLES, failed, git, try_git
from ktrdr_sandbox.git.repository import worktrees
from ktrdr_sandbox.process import CommandError
from tests.support.repositories import repository


def test_a_failure_keeps_everything(tmp_path: Path) -> None:
    root = repository(tmp_path / "ktrdr").root
    with pytest.raises(CommandError) as caught:
        git(["switch", "nowhere"], cwd=root)
    error = caught.value
    assert error.code == "git-failed"
    assert error.outcome.argv == ("git", "switch", "nowhere")
    assert error.outcome.exit_code == 128
    assert "invalid reference: nowhere" in error.outcome.stderr
    assert error.message == f"git switch failed: {error.outcome.stderr.strip()}"


def test_an_outcome_is_no_failure_unless_it_must_succeed(tmp_path: Path) -> None:
    outcome = try_git(["rev-parse", "--git-dir"], cwd=tmp_path)
    assert outcome.exit_code == 128
    assert "not a git repository" in outcome.stderr


@pytest.mark.parametrize("variable", ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"])
def test_variables_of_a_hook_point_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    root = repository(tmp_path / "ktrdr").root
    other = repository(tmp_path / "other")
    other.write({"new": ""})
    monkeypatch.setenv(variable, str(other.root / ".git"))
    shown = git(["rev-parse", "--show-toplevel"], cwd=root)
    assert shown.strip() == str(root)
    assert git(["status", "--porcelain"], cwd=root) == ""


def test_messages_are_in_one_language(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    assert "not a git repository" in try_git(["status"], cwd=tmp_path).stderr


def test_the_users_identity_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = repository(tmp_path / "ktrdr").root
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Somebody Else")
    git(["commit", "--quiet", "--allow-empty", "-m", "x"], cwd=root)
    assert git(["log", "-1", "--format=%an"], cwd=root) == "Somebody Else\n"


def test_no_git_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SandboxError) as caught:
        git(["status"], cwd=tmp_path)
    assert caught.value.code == "git-missing"


def test_no_such_directory(tmp_path: Path) -> None:
    with pytest.raises(SandboxError) as caught:
        git(["status"], cwd=tmp_path / "gone")
    assert caught.value.code == "git-failed"
    assert str(tmp_path / "gone") in caught.value.message


def test_names_that_are_no_text_pass_through(tmp_path: Path) -> None:
    repo = repository(tmp_path / "ktrdr")
    name = b"caf\xe9"
    (Path(repo.root) / name.decode("utf-8", "surrogateescape")).touch()
    listed = git(["ls-files", "--others", "-z"], cwd=repo.root)
    assert listed.encode("utf-8", "surrogateescape") == name + b"\0"


def half_made(tmp_path: Path) -> tuple[Path, Path, str]:
    """A repository in which another git has made a worktree's file and not written it yet; the
    file, and what will be in it."""
    made = repository(tmp_path / "r")
    made.git("worktree", "add", "--quiet", str(tmp_path / "other"))
    file = made.root / ".git" / "worktrees" / "other" / "commondir"
    text = file.read_text()
    file.write_text("")
    return made.root, file, text


def test_a_worktree_that_is_being_made_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ktrdr_sandbox.git.git._patience", [30.0])
    root, file, text = half_made(tmp_path)
    writing = threading.Timer(0.3, file.write_text, [text])
    writing.start()
    outcome = try_git(["worktree", "add", "--quiet", str(tmp_path / "ours")], cwd=root)
    writing.join()
    assert outcome.exit_code == 0, outcome
    assert len(worktrees(root)) == 3


def test_one_that_stays_half_made_is_told_before_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ktrdr_sandbox.git.git._patience", [0.2])
    root, _, _ = half_made(tmp_path)
    began = time.monotonic()
    for _ in range(20):
        outcome = try_git(["worktree", "list"], cwd=root)
        assert "remove its folder in .git/worktrees" in failed(outcome).hints[0]
    assert time.monotonic() - began < 30


def test_variables_that_address_no_repository_pass_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "alias.told")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "!echo $GIT_SSH_COMMAND $GIT_LFS_SKIP_SMUDGE")
    monkeypatch.setenv("GIT_SSH_COMMAND", "ssh -F mine")
    monkeypatch.setenv("GIT_LFS_SKIP_SMUDGE", "1")
    assert git(["told"], cwd=tmp_path) == "ssh -F mine 1\n"
    known = git(["rev-parse", "--local-env-vars"], cwd=tmp_path).split()
    assert {name for name in known if "CONFIG" not in name} <= REPOSITORY_VARIABLES
