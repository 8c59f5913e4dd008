"""Checkouts in places whose names YAML, Compose or a shell could trip over."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.corpus.worlds import CASES, World, bind_sources

pytestmark = pytest.mark.engine

NAMES = {
    "spaces": "my own code",
    "quotes": 'it\'s "mine"',
    "unicode": "größe 数据 😀",
    "dollar": "a$HOME $$ ${X}",
    "comment": "a #b: c",
    "backslash": "a\\nb",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_paths_arrive_as_they_are(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    world = World(folder)
    root = world.check_out(CASES / "bind-climbing", "ktrdr--s1")
    (root / "docker-compose.yml").unlink()
    (root / "docker-compose.yml").write_text(
        "services:\n  app:\n    image: busybox\n    volumes:\n"
        "      - ./data:/data\n      - ./src:/src\n"
        "      - {type: bind, source: '${PARENT_CHECKOUT}/config', target: /config}\n",
        encoding="utf-8",
    )

    resolved = world.resolve(root, slot=1)

    assert bind_sources(resolved) == {
        str(world.shared["data"]),
        str(root / "src"),
        str(root / "config"),
    }
    created = {source.path for source in resolved.isolation.bind_sources}
    assert created == {root / "src", root / "config"}


def test_climbing_binds_come_home_in_a_symlinked_checkout(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.check_out(CASES / "bind-climbing", "real")
    link = tmp_path / "link"
    link.symlink_to("real")

    resolved = world.resolve(
        link, slot=1, compose_directory=link / "deploy" / "environments" / "local"
    )

    assert bind_sources(resolved) == {str(link / "mcp"), str(link / "tools" / "lint")}


def test_climbing_binds_come_home_when_only_the_root_is_known_by_its_link(tmp_path: Path) -> None:
    """The Compose file's folder is real, the worktree is called by its link."""
    world = World(tmp_path)
    world.check_out(CASES / "bind-climbing", "real")
    link = tmp_path / "link"
    link.symlink_to("real")

    resolved = world.resolve(link, slot=1)

    assert bind_sources(resolved) == {str(link / "mcp"), str(link / "tools" / "lint")}


def test_the_files_own_spelling_tells_a_host_folder_from_a_climbing_path(tmp_path: Path) -> None:
    """An absolute path and a climbing one resolve alike; the second means the checkout's."""
    world = World(tmp_path)
    root = world.check_out(CASES / "bind-climbing", "ktrdr--s1")
    host_folder = root.parent.parent.parent / "tools" / "lint"
    compose = root / "deploy" / "environments" / "local" / "docker-compose.yml"
    compose.write_text(
        "services:\n  app:\n    image: busybox\n    volumes:\n"
        f"      - {host_folder}:/host\n      - ../../../mcp:/mcp\n",
        encoding="utf-8",
    )
    raw = world.config("ktrdr--s1", root, [root / "docker-compose.yml"], "--no-path-resolution")

    guessed = world.resolve(root, slot=1)
    resolved = world.resolve(root, slot=1, unresolved=raw)

    assert bind_sources(guessed) == {str(root / "tools" / "lint"), str(root / "mcp")}
    assert bind_sources(resolved) == {str(host_folder), str(root / "mcp")}
