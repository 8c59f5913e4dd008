from __future__ import annotations

from pathlib import Path

import pytest

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.lifecycle.checkout import (
    compose_files,
    is_ktrdr_checkout,
    packaged_compose_file,
)

DEPLOYED = "deploy/environments/local/docker-compose.yml"
IN_ORDER = [
    "docker-compose.sandbox.yml",
    "compose.yaml",
    "compose.yml",
    "docker-compose.yml",
    "docker-compose.yaml",
    DEPLOYED,
]


def touch(root: Path, name: str) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


@pytest.mark.parametrize("first", range(len(IN_ORDER)))
def test_the_first_of_the_order_is_taken(tmp_path: Path, first: int) -> None:
    for name in IN_ORDER[first:]:
        touch(tmp_path, name)
    assert compose_files(tmp_path, configured=None) == (tmp_path / IN_ORDER[first],)


def test_a_configured_file_beats_all(tmp_path: Path) -> None:
    for name in (*IN_ORDER, "ops/mine.yml"):
        touch(tmp_path, name)
    assert compose_files(tmp_path, configured="ops/mine.yml") == (tmp_path / "ops/mine.yml",)


def test_a_configured_file_that_is_not_there(tmp_path: Path) -> None:
    touch(tmp_path, "compose.yaml")
    with pytest.raises(SandboxError) as caught:
        compose_files(tmp_path, configured="nope.yml")
    assert caught.value.code == "compose-file-missing"


@pytest.mark.parametrize(
    ("base", "override"),
    [
        ("compose.yaml", "compose.override.yaml"),
        ("docker-compose.yml", "docker-compose.override.yml"),
    ],
)
def test_what_plain_compose_would_merge_in_comes_along(
    tmp_path: Path, base: str, override: str
) -> None:
    expected = (touch(tmp_path, base), touch(tmp_path, override))
    assert compose_files(tmp_path, configured=None) == expected


def test_a_symlink_in_the_root_is_taken_as_it_is(tmp_path: Path) -> None:
    touch(tmp_path, DEPLOYED)
    (tmp_path / "docker-compose.yml").symlink_to(DEPLOYED)
    assert compose_files(tmp_path, configured=None) == (tmp_path / "docker-compose.yml",)


@pytest.mark.parametrize("name", ["KTRDR", "ktrdr"])
def test_a_ktrdr_checkout_without_a_file_gets_the_packaged_one(tmp_path: Path, name: str) -> None:
    (tmp_path / "pyproject.toml").write_text(f'[project]\nname = "{name}"\n', encoding="utf-8")
    assert compose_files(tmp_path, configured=None) == (packaged_compose_file(),)
    assert packaged_compose_file().is_file()
    assert is_ktrdr_checkout(tmp_path)


@pytest.mark.parametrize("text", ['[project]\nname = "other"\n', "not toml [", ""])
def test_any_other_checkout_without_a_file_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
    assert not is_ktrdr_checkout(tmp_path)
    with pytest.raises(SandboxError) as caught:
        compose_files(tmp_path, configured=None)
    assert caught.value.code == "compose-file-missing"
