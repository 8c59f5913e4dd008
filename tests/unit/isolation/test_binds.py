from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ktrdr_sandbox.isolation.mounts import looks_like_file
from ktrdr_sandbox.isolation.request import IsolatedStack
from tests.unit.isolation.requests import PARENT, ROOT, SHARED, an_instance, bind, isolated, plain

COMPOSE = ROOT / "deploy" / "environments" / "local"
DATA = str(SHARED["data"])


def nothing_but(*paths: str | Path) -> Callable[[Path], bool]:
    """A machine that has exactly these paths."""
    known = {Path(path) for path in paths}
    return lambda path: path in known


def isolated_binds(*mounts: dict[str, Any], **changes: Any) -> IsolatedStack:
    return isolated({"app": {"volumes": list(mounts)}}, **changes)


def sources(isolation: IsolatedStack) -> list[str] | None:
    """Sources of the service's mounts in the override; None when they are left alone."""
    volumes = isolation.override["services"]["app"].get("volumes")
    return volumes and [mount.get("source") for mount in plain(volumes)["!override"]]


@pytest.mark.parametrize("name", ["data", "models", "strategies"])
def test_data_folders_are_the_shared_ones(name: str) -> None:
    assert sources(isolated_binds(bind(f"{ROOT}/{name}"))) == [str(SHARED[name])]


@pytest.mark.parametrize("path", ["database", "data2", "src/data", "Data", "logs"])
def test_other_folders_of_the_checkout_stay(path: str) -> None:
    assert sources(isolated_binds(bind(f"{ROOT}/{path}"))) is None


def test_a_file_that_the_branch_brings_stays() -> None:
    script = f"{ROOT}/data/schema.sql"
    assert sources(isolated_binds(bind(script), exists=nothing_but(script))) is None
    assert sources(isolated_binds(bind(script), exists=nothing_but(f"{DATA}/schema.sql"))) == [
        f"{DATA}/schema.sql"
    ]


@pytest.mark.parametrize(
    ("source", "place"),
    [
        (f"{PARENT}", str(ROOT)),
        (f"{PARENT}/config/app.yml", f"{ROOT}/config/app.yml"),
        (f"{PARENT}/data", DATA),
        (f"{PARENT}/../ktrdr/config", f"{ROOT}/config"),
    ],
)
def test_the_main_checkout_becomes_the_worktree(source: str, place: str) -> None:
    assert sources(isolated_binds(bind(source))) == [place]


def test_a_folder_that_begins_like_the_main_checkout_is_another() -> None:
    assert sources(isolated_binds(bind(f"{PARENT}-data/x"), exists=nothing_but())) is None


def test_the_repository_itself_stays_where_it_is() -> None:
    assert sources(isolated_binds(bind(f"{PARENT}/.git", read_only=True))) is None


# `../../../mcp` of deploy/environments/local, resolved from the root /dev/code/ktrdr--feat-x
CLIMBED = "/mcp"


def test_a_climbing_path_is_seen_from_the_compose_file() -> None:
    isolation = isolated_binds(
        bind(CLIMBED), compose_directory=COMPOSE, exists=nothing_but(ROOT / "mcp", CLIMBED)
    )
    assert sources(isolation) == [f"{ROOT}/mcp"]


def test_a_path_outside_that_the_checkout_has_no_like_of_stays() -> None:
    isolation = isolated_binds(bind("/srv/files"), exists=nothing_but("/srv/files"))
    assert sources(isolation) is None
    assert ["/srv/files is outside" in notice.text for notice in isolation.notices] == [True]


def spelt(*sources: str) -> dict[str, Any]:
    """The model in which paths are as the file has them."""
    return {"services": {"app": {"volumes": [bind(source) for source in sources]}}}


def test_a_path_that_the_file_spells_absolute_stays() -> None:
    for spelling in ("/tools/lint", "~/lint"):
        isolation = isolated_binds(bind("/tools/lint"), unresolved=spelt(spelling))
        assert sources(isolation) is None


def test_a_path_that_the_file_spells_relative_comes_home() -> None:
    """Over-climbing ends at the file system's root, so that only the spelling tells the way."""
    isolation = isolated_binds(
        bind("/dev"),
        compose_directory=COMPOSE,
        unresolved=spelt("../../.."),
        exists=nothing_but(ROOT, "/dev"),
    )
    assert sources(isolation) == [str(ROOT)]


def test_a_relative_path_that_is_nowhere_is_made_in_the_checkout() -> None:
    isolation = isolated_binds(
        bind("/logs"),
        compose_directory=COMPOSE,
        unresolved=spelt("../../../logs"),
        exists=nothing_but(),
    )
    assert sources(isolation) == [f"{ROOT}/logs"]
    assert [source.path for source in isolation.bind_sources] == [ROOT / "logs"]


@pytest.mark.parametrize(("name", "place"), [("logs", ROOT / "logs"), ("data", SHARED["data"])])
def test_what_the_main_stack_made_outside_is_not_meant(name: str, place: Path) -> None:
    """The engine makes `../../../logs` beside the main checkout, and its containers write to it."""
    isolation = isolated_binds(
        bind(f"/{name}"),
        compose_directory=COMPOSE,
        unresolved=spelt(f"../../../{name}"),
        exists=nothing_but(f"/{name}"),
    )
    assert sources(isolation) == [str(place)]


def test_an_empty_folder_outside_is_nothing() -> None:
    isolation = isolated_binds(
        bind("/dev/code/common"),
        unresolved=spelt("../common"),
        exists=nothing_but("/dev/code/common"),
        is_empty=lambda path: path == Path("/dev/code/common"),
    )
    assert sources(isolation) == [f"{ROOT}/common"]


@pytest.mark.parametrize("name", ["data", "models", "frontend"])
def test_beside_a_file_in_the_root_a_neighbour_is_meant(name: str) -> None:
    outside = ROOT.parent / name
    isolation = isolated_binds(
        bind(str(outside)),
        exists=nothing_but(outside, *SHARED.values()),
        is_empty=lambda _: False,
        compose_directory=ROOT,
        unresolved={"services": {"app": {"volumes": [bind(f"../{name}")]}}},
    )
    assert sources(isolation) is None


def test_dollar_signs() -> None:
    root = Path("/dev/a$b")
    mounts = [bind("/dev/a$$b/x$$y"), bind("/dev/a$$b/data/c$$d")]
    isolation = isolated({"app": {"volumes": mounts}}, an_instance(path=root), exists=nothing_but())
    assert sources(isolation) == ["/dev/a$$b/x$$y", f"{DATA}/c$$d"]
    assert [source.path for source in isolation.bind_sources] == [
        Path("/dev/a$b/x$y"),
        Path(f"{DATA}/c$d"),
    ]


# What has to exist before the engine makes it as root


def test_missing_folders_are_listed_once() -> None:
    isolation = isolated(
        {
            "one": {"volumes": [bind(f"{ROOT}/logs"), bind(f"{ROOT}/data", "/d")]},
            "two": {"volumes": [bind(f"{ROOT}/logs")]},
            "asleep": {"profiles": ["x"], "volumes": [bind(f"{ROOT}/other")]},
        },
        exists=nothing_but(),
    )
    assert [(source.path, source.own) for source in isolation.bind_sources] == [
        (ROOT / "logs", True),
        (SHARED["data"], True),
    ]


def test_a_missing_folder_outside_is_the_users_own() -> None:
    isolation = isolated_binds(bind("/opt/cache", read_only=True), exists=nothing_but())
    assert [(s.path, s.own) for s in isolation.bind_sources] == [(Path("/opt/cache"), False)]


@pytest.mark.parametrize(
    "mount",
    [
        bind(f"{ROOT}/alembic.ini", "/app/alembic.ini"),
        bind(f"{ROOT}/settings", "/app/settings.yml"),
        bind(f"{ROOT}/.env", "/app/.env"),
        bind(f"{ROOT}/must", "/must", bind={"create_host_path": False}),
        bind("/opt/settings.yml", read_only=True),
    ],
)
def test_no_folder_is_guessed_at(mount: dict[str, Any]) -> None:
    isolation = isolated_binds(mount, exists=nothing_but())
    assert isolation.bind_sources == ()
    assert [("does not exist" in notice.text) for notice in isolation.notices] == [True]
    changed = isolation.override["services"]["app"].get("volumes")
    (made,) = plain(changed)["!override"] if changed else [mount]
    assert made == {**mount, "bind": {**mount.get("bind", {}), "create_host_path": False}}


def test_mount_points_inside_a_mounted_folder_are_created_too() -> None:
    isolation = isolated_binds(
        bind(str(ROOT), "/app"),
        {"type": "volume", "source": "modules", "target": "/app/node_modules"},
        {"type": "volume", "target": "/app/web/cache"},
        bind(f"{ROOT}/x.conf", "/app/etc/x.conf"),
        exists=nothing_but(ROOT, ROOT / "x.conf", ROOT / "web" / "cache"),
    )
    assert [source.path for source in isolation.bind_sources] == [ROOT / "node_modules"]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/a/b.yml", True),
        ("/a/alembic.ini", True),
        ("/a/.env", True),
        ("/a/.bashrc", True),
        ("/a/conf.d", False),
        ("/a/.cache", False),
        ("/a/python3.11", False),
        ("/a/app.v2", False),
        ("/a/src", False),
        ("/a/x.egg-info", False),
    ],
)
def test_names_of_files(path: str, expected: bool) -> None:
    assert looks_like_file(path) is expected
