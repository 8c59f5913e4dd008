"""Which ignored files are found: git's matching on real repositories."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from ktrdr_sandbox.git.ignored import include_patterns, included
from tests.support.repositories import GitRepository, repository


@pytest.fixture
def main(tmp_path: Path) -> GitRepository:
    made = repository(tmp_path / "ktrdr")
    made.commit({".gitignore": ".env*\n*.log\n.venv/\nlocal/\nbuild\n", "svc/app.py": ""})
    made.write(
        {
            ".env": "A=1\n",
            "svc/.env": "",
            "svc/only/.env": "",
            "app.log": "",
            ".venv/lib/.env": "",
            "local/keys/a.pem": "",
            "local/keys/b.txt": "",
            "local/deep/er/.env": "",
            "build/x/out": "",
            "draft.txt": "",
            ".env.sandbox": "",
        }
    )
    return made


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        ([], []),
        (["# .env", "", "  "], []),
        ([".env"], [".env", "svc/.env", "svc/only/.env"]),
        (["/.env"], [".env"]),
        ([".env", "!/svc/**"], [".env"]),
        (["svc/**/.env"], ["svc/.env", "svc/only/.env"]),
        (["*.log"], ["app.log"]),
        (["local/keys/*.pem"], ["local/keys/a.pem"]),
        (["local/**/*.txt"], ["local/keys/b.txt"]),
        (["/local/"], ["local/deep/er/.env", "local/keys/a.pem", "local/keys/b.txt"]),
        (["local"], ["local/deep/er/.env", "local/keys/a.pem", "local/keys/b.txt"]),
        (["**/build/x/"], ["build/x/out"]),
        (["build/x/out"], ["build/x/out"]),
        (["draft.txt", "README.md", "svc/app.py"], []),
        ([".env.sandbox", ".git", "/.git/**"], []),
        (["--option", ":(top)*", "../*"], []),
    ],
)
def test_what_patterns_find(
    main: GitRepository, patterns: Sequence[str], found: Sequence[str]
) -> None:
    assert list(included(main.root, patterns)) == sorted(found)


def test_what_is_not_in_git_but_tracked_is_not_found(main: GitRepository) -> None:
    main.commit({"svc/.env": "tracked though ignored"})
    assert included(main.root, [".env"]) == (".env", "svc/only/.env")


def test_a_folder_that_no_pattern_names_is_not_looked_into(
    main: GitRepository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    many = {f".venv/{i}/{j}/.env": "" for i in range(5) for j in range(9)}
    main.write({**many, "svc/local/only/.env": ""})
    monkeypatch.setenv("GIT_TRACE2_EVENT", str(tmp_path / "trace"))
    assert included(main.root, [".env"]) == (".env", "svc/.env", "svc/only/.env")
    visited = re.findall(r'"directories-visited","value":"(\d+)"', (tmp_path / "trace").read_text())
    assert visited
    assert all(int(number) < 10 for number in visited)


def test_names_of_every_kind(main: GitRepository) -> None:
    strange = [".env with space", ".env\nline", ".env*[x]", ".env\t\"'\\", ".env\N{SNOWMAN}"]
    for name in strange:
        (main.root / name).touch()
    bytes_name = os.fsdecode(b".env\xff")
    (main.root / bytes_name).touch()
    assert set(included(main.root, ["/.env?*", "!*.sandbox"])) == {*strange, bytes_name}


def test_more_files_than_a_command_line_takes_at_once(main: GitRepository) -> None:
    names = [f"{'x' * 150}-{i}.log" for i in range(1201)]
    for name in names:
        (main.root / name).touch()
    assert set(included(main.root, ["x*.log"])) == set(names)


def test_a_repository_within_is_one_entry(main: GitRepository) -> None:
    repository(main.root / "local" / "vendored")
    assert "local/vendored/" in included(main.root, ["local/"])


def test_the_files_lines(tmp_path: Path) -> None:
    assert include_patterns(tmp_path) == ()
    (tmp_path / ".worktreeinclude").write_text(".env\n\n# x\n", encoding="utf-8")
    assert include_patterns(tmp_path) == (".env", "", "# x")


def test_a_link_to_a_device_is_not_read(tmp_path: Path) -> None:
    (tmp_path / ".worktreeinclude").symlink_to("/dev/zero")
    assert include_patterns(tmp_path) == ()
