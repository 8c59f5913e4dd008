from __future__ import annotations

from pathlib import Path

import pytest

from ktrdr_sandbox.git.ignored import hide_env_file, is_hidden, show_env_file
from ktrdr_sandbox.git.repository import locate
from tests.support.repositories import GitRepository, repository


@pytest.fixture
def repo(tmp_path: Path) -> GitRepository:
    return repository(tmp_path / "ktrdr")


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
