from __future__ import annotations

from pathlib import Path

import pytest

from ktrdr_sandbox.commands.compose_files import (
    compose_files,
    compose_project,
    is_ktrdr_checkout,
    packaged_compose_file,
)
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.settings import Settings

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


@pytest.mark.parametrize("name", ["nope.yml", "compose.yaml:nope.yml", ":"])
def test_a_configured_file_that_is_not_there(tmp_path: Path, name: str) -> None:
    touch(tmp_path, "compose.yaml")
    with pytest.raises(SandboxError) as caught:
        compose_files(tmp_path, configured=name)
    assert caught.value.code == "compose-file-missing"


@pytest.mark.parametrize(
    ("base", "override"),
    [
        ("compose.yaml", "compose.override.yaml"),
        ("docker-compose.yml", "docker-compose.override.yml"),
        ("compose.yaml", "docker-compose.override.yml"),
    ],
)
def test_what_plain_compose_would_merge_in_comes_along(
    tmp_path: Path, base: str, override: str
) -> None:
    expected = (touch(tmp_path, base), touch(tmp_path, override))
    assert compose_files(tmp_path, configured=None) == expected


def test_several_configured_files(tmp_path: Path) -> None:
    expected = (touch(tmp_path, "a.yml"), touch(tmp_path, "ops/b.yml"))
    assert compose_files(tmp_path, configured="a.yml:ops/b.yml") == expected
    odd = touch(tmp_path, "a:b.yml")
    assert compose_files(tmp_path, configured="a:b.yml") == (odd,)


@pytest.mark.parametrize("separator", ["", "COMPOSE_PATH_SEPARATOR=,\n"])
def test_the_checkouts_dotenv_may_name_files(tmp_path: Path, separator: str) -> None:
    touch(tmp_path, "compose.yaml")
    expected = (touch(tmp_path, "stack.yaml"), touch(tmp_path, "dev.yaml"))
    names = "stack.yaml,dev.yaml" if separator else "stack.yaml:dev.yaml"
    (tmp_path / ".env").write_text(f"{separator}COMPOSE_FILE={names}\n", encoding="utf-8")
    assert compose_files(tmp_path, configured=None) == expected
    assert is_ktrdr_checkout(tmp_path)
    sandbox = touch(tmp_path, "docker-compose.sandbox.yml")
    assert compose_files(tmp_path, configured=None) == (sandbox,)


def test_a_file_that_dotenv_names_is_not_there(tmp_path: Path) -> None:
    touch(tmp_path, "compose.yaml")
    (tmp_path / ".env").write_text("COMPOSE_FILE=gone.yaml\n", encoding="utf-8")
    with pytest.raises(SandboxError) as caught:
        compose_files(tmp_path, configured=None)
    assert caught.value.code == "compose-file-missing"
    assert "gone.yaml" in caught.value.message
    assert "COMPOSE_FILE" in caught.value.message


@pytest.mark.parametrize("text", [b"\xff\xfe", b"COMPOSE_FILE=\n", b"# COMPOSE_FILE\n"])
def test_a_dotenv_that_names_none(tmp_path: Path, text: bytes) -> None:
    base = touch(tmp_path, "compose.yaml")
    (tmp_path / ".env").write_bytes(text)
    assert compose_files(tmp_path, configured=None) == (base,)


def test_paths_start_where_plain_compose_has_them_start(tmp_path: Path) -> None:
    """At the first file's folder; for KTRDR's own, by way of its symlink, at the root."""
    touch(tmp_path, DEPLOYED)
    assert compose_project(tmp_path, Settings()).directory == tmp_path
    assert compose_project(tmp_path, Settings(compose_file=DEPLOYED)).directory == tmp_path
    touch(tmp_path, "ops/compose.yml")
    dotenvs = (touch(tmp_path, ".env"), touch(tmp_path, "ops/.env"))
    project = compose_project(tmp_path, Settings(compose_file="ops/compose.yml"))
    assert (project.directory, project.env_files) == (tmp_path / "ops", dotenvs)
    (tmp_path / "docker-compose.yml").symlink_to("ops/compose.yml")
    project = compose_project(tmp_path, Settings(compose_file="ops/compose.yml"))
    assert (project.directory, project.env_files) == (tmp_path, dotenvs[:1])


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
