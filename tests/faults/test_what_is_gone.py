"""Things taken away or changed by hand: told, nothing lost, and a way back that works."""

from __future__ import annotations

import shutil

import pytest
from dotenv import dotenv_values

from tests.faults.world import Ending, FaultWorld
from tests.support.labels import LABEL_ID, LABEL_UUID

UP = ("up", "feat-x", "--no-wait")
DESTROY = ("destroy", "feat-x", "--yes")


@pytest.fixture
def world(empty_world: FaultWorld) -> FaultWorld:
    empty_world.ok("create", "feat-x")
    empty_world.ok(*UP)
    return empty_world


def refused(world: FaultWorld, status: int, *argv: str) -> Ending:
    ending = world.run(*argv)
    assert ending.status == status, ending
    return ending


def all_gone(world: FaultWorld) -> None:
    world.ok(*DESTROY)
    assert world.registered() == {}
    assert world.repository.worktrees() == [world.repository.root]
    engine = world.engine_now()
    assert (engine.held, engine._networks, engine._volumes) == ({}, {}, {})
    assert not any(image.startswith("ktrdr--") for image in engine._images)
    assert list(world.root.glob("*ktrdr--*")) == []


def test_a_deleted_marker_is_written_anew_from_the_registry(world: FaultWorld) -> None:
    marker = world.path_of("feat-x") / ".env.sandbox"
    before = dotenv_values(marker)
    marker.unlink()
    ending = world.ok(*UP)
    assert f"{marker} was missing and has been written anew." in ending.output
    assert dotenv_values(marker) == before
    all_gone(world)


def test_an_edited_marker_moves_nothing(world: FaultWorld) -> None:
    """Identity and slot are the registry's; everything else in the file is its owner's."""
    marker = world.path_of("feat-x") / ".env.sandbox"
    text = marker.read_text(encoding="utf-8")
    marker.write_text(text.replace("SLOT_NUMBER=", "SLOT_NUMBER=9") + "MINE=yes\n")
    before = set(world.engine_now().held)
    world.ok(*UP)
    assert dotenv_values(marker)["MINE"] == "yes"
    assert set(world.engine_now().held) == before
    all_gone(world)


def test_an_unreadable_marker_is_told(world: FaultWorld) -> None:
    marker = world.path_of("feat-x") / ".env.sandbox"
    marker.write_bytes(b"\xff\xfe\x00")
    ending = refused(world, 1, *UP)
    assert str(marker) in ending.output
    assert "hint:" in ending.output
    marker.unlink()
    world.ok(*UP)


def test_a_worktree_removed_by_hand(world: FaultWorld) -> None:
    shutil.rmtree(world.path_of("feat-x"))
    ending = refused(world, 66, *UP)
    assert "The directory of ktrdr--feat-x is gone" in ending.output
    assert "ktrdr-sandbox destroy feat-x" in ending.output
    assert "orphaned" in world.ok("list").output
    assert world.registered()["ktrdr--feat-x"]["slot"]
    all_gone(world)


def test_a_worktree_removed_by_git(world: FaultWorld) -> None:
    path = str(world.path_of("feat-x"))
    world.repository.git("worktree", "remove", "--force", path)
    assert "orphaned" in world.ok("list").output
    all_gone(world)


def test_with_nothing_left_in_docker_either_list_drops_it(world: FaultWorld) -> None:
    world.ok("down", "feat-x", "--volumes", "--now")
    engine = world.engine
    with engine.turn():
        engine._images = {one for one in engine._images if not one.startswith("ktrdr--")}
    world.repository.git("worktree", "remove", "--force", str(world.path_of("feat-x")))
    ending = world.ok("list")
    assert "ktrdr--feat-x was dropped" in ending.output
    assert world.registered() == {}


def test_a_deleted_branch(world: FaultWorld) -> None:
    """git refuses to delete a checked-out branch; `update-ref` does not."""
    checkout = world.checkout("feat-x")
    work = checkout.commit({"work": "precious"})
    world.repository.git("update-ref", "-d", "refs/heads/feat-x")
    world.ok("status", "feat-x")
    ending = refused(world, 77, *DESTROY)
    assert "work" in ending.output
    world.ok(*DESTROY, "--force")
    (trash,) = (world.home / "sandbox" / "trash").iterdir()
    assert (trash / "work").read_text() == "precious"
    assert world.repository.git("cat-file", "-t", work) == "commit\n"


def test_containers_removed_by_hand(world: FaultWorld) -> None:
    engine = world.engine
    with engine.turn():
        engine.held.clear()
    assert "No containers" in world.ok("status", "feat-x").output
    world.ok(*UP)
    assert len(world.engine_now().held) == 2
    all_gone(world)


def test_one_container_removed_by_hand(world: FaultWorld) -> None:
    engine = world.engine
    with engine.turn():
        del engine.held[engine.named("ktrdr--feat-x-db-1").detail.id]
    said = world.ok("status", "feat-x").output
    assert "Status     partial" in said
    assert "db       no container" in said
    world.ok(*UP)
    assert {one.detail.service for one in world.engine_now().held.values()} == {"db", "backend"}


def test_containers_of_our_name_that_are_not_ours(world: FaultWorld) -> None:
    """Another program, or another home, used the same project name."""
    world.ok("down", "feat-x", "--now")
    engine = world.engine
    with engine.turn():
        engine.add_volume("ktrdr--feat-x_theirs", {LABEL_ID: "ktrdr--feat-x", LABEL_UUID: "other"})
        engine.add_network("ktrdr--feat-x_plain", {})
    world.ok(*DESTROY)
    engine = world.engine_now()
    assert set(engine._volumes) == {"ktrdr--feat-x_theirs"}
    assert set(engine._networks) == {"ktrdr--feat-x_plain"}


def test_a_clock_set_back(world: FaultWorld) -> None:
    """Nothing decides by wall-clock time: an instance from the future is one like any other."""
    path = world.home / "sandbox" / "instances.json"
    path.write_text(path.read_text().replace('"created_at": "20', '"created_at": "30'))
    assert "feat-x" in world.ok("list").output
    world.ok(*UP)
    all_gone(world)


def test_a_journal_of_nonsense_is_no_obstacle(world: FaultWorld) -> None:
    journal = world.home / "sandbox" / "journal" / "ktrdr--feat-x.jsonl"
    for text in ("", "{", "[]\n", '{"operation": "dance"}\n', "\x00\xff"):
        journal.write_text(text, encoding="latin-1")
        world.ok("status", "feat-x")
        assert not journal.exists()
    all_gone(world)


def test_an_engine_that_keeps_something(world: FaultWorld) -> None:
    """A destroy that fails in the middle keeps the entry; the next command calls it off."""
    engine = world.engine
    with engine.turn():
        engine.stubborn.add("ktrdr--feat-x_rows")
    ending = refused(world, 1, *DESTROY)
    assert "ktrdr--feat-x_rows" in ending.output
    assert "removing" in world.ok("list").output
    assert world.path_of("feat-x").is_dir()
    ending = world.ok("status", "feat-x")
    assert "its directory was untouched, so the instance stays" in ending.output
    assert world.registered()["ktrdr--feat-x"]["state"] == "created"
    engine = world.engine
    with engine.turn():
        engine.stubborn.clear()
    all_gone(world)


@pytest.mark.parametrize(
    "then", ["create feat-y", "create other", "destroy feat-y --yes", "doctor --fix"]
)
def test_a_loss_of_power_in_the_middle_of_git(world: FaultWorld, then: str) -> None:
    """Git's last file is there and empty: git fails over it in every command in the repository."""
    points = world.ok("create", "feat-y").points
    world.ok("destroy", "feat-y", "--yes")
    adding = next(at for at, label in enumerate(points) if label.startswith("start git worktree a"))
    assert world.run("create", "feat-y", kill_at=adding).killed
    path = world.path_of("feat-y")
    entry = world.repository.root / ".git" / "worktrees" / path.name
    entry.mkdir()
    (entry / "gitdir").write_text(f"{path}/.git\n")
    (entry / "commondir").touch()
    path.mkdir()
    (path / ".git").write_text(f"gitdir: {entry}\n")
    ending = world.ok(*then.split())
    assert "An earlier 'create feat-y'" in ending.output
    made = {world.path_of(name) for name in ("feat-x", "feat-y", "other") if name in then}
    assert set(world.repository.worktrees()) == {
        *(world.repository.root, world.path_of("feat-x")),
        *(made if then.startswith("create") else ()),
    }
