"""gc: exactly what is orphaned, and nothing that somebody might still want."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from pathlib import Path

import pytest

from ktrdr_sandbox.commands.gc import Collection, Item, collect
from ktrdr_sandbox.locking import hold
from ktrdr_sandbox.models import LABEL_HOME, LABEL_ID, LABEL_UUID, Instance
from ktrdr_sandbox.state import journal
from ktrdr_sandbox.state.last_up import home_id
from tests.unit.commands.scenes import Scene


def dry(scene: Scene) -> Collection:
    return collect(scene.context, yes=False)


def only(collection: Collection) -> Item:
    (item,) = collection.items
    return item


def orphan(scene: Scene, *, home: str | None = None, name: str = "ktrdr--gone") -> None:
    """A network and a volume of an instance that is registered nowhere."""
    labels = {LABEL_ID: name, LABEL_UUID: f"uuid-of-{name}"}
    labels[LABEL_HOME] = home_id(scene.home) if home is None else home
    scene.engine.add_network(f"{name}_default", labels)
    scene.engine.add_volume(f"{name}_rows", labels)


def everything(scene: Scene) -> tuple[set[str], set[str]]:
    return set(scene.engine.volumes()), set(scene.engine.networks())


def test_nothing_is_orphaned(scene: Scene) -> None:
    scene.stack(scene.instance())
    home_id(scene.home)
    assert dry(scene).items == ()


def test_an_instance_whose_directory_is_gone(scene: Scene) -> None:
    instance = scene.instance()
    scene.stack(instance)
    shutil.rmtree(instance.path)
    item = only(dry(scene))
    assert (item.kind, item.name) == ("instance", instance.id)
    assert item.parts == (
        "container ktrdr--feat-x-db-1",
        "container ktrdr--feat-x-backend-1",
        "network ktrdr--feat-x_default",
        "volume ktrdr--feat-x_data",
    )
    assert instance.id in scene.registered(), "a dry run changes nothing"
    assert only(collect(scene.context, yes=True)).done
    assert scene.registered() == {}
    assert not scene.engine.resources(instance.uuid)
    assert scene.repository.worktrees() == [scene.repository.root]
    assert dry(scene).items == ()


def test_what_carries_this_home_and_no_instance(scene: Scene) -> None:
    orphan(scene)
    scene.engine.tag("tiny:1", "ktrdr--gone/app:dev")
    item = only(dry(scene))
    assert (item.kind, item.name) == ("orphan", "ktrdr--gone")
    assert item.parts == (
        "network ktrdr--gone_default",
        "volume ktrdr--gone_rows",
        "image tag ktrdr--gone/app:dev",
    )
    assert collect(scene.context, yes=True).complete
    assert scene.engine.volumes() == ()
    assert scene.engine.images() == {"tiny:1"}


@pytest.mark.parametrize("home", ["another", ""])
def test_what_is_another_homes_or_nobodys_stays(scene: Scene, home: str) -> None:
    home_id(scene.home)
    orphan(scene, home=home)
    scene.engine.add_volume("ktrdr--plain_rows", {})
    scene.engine.tag("tiny:1", "ktrdr--gone/app:dev")
    before = everything(scene)
    assert collect(scene.context, yes=True).items == ()
    assert everything(scene) == before
    assert "ktrdr--gone/app:dev" in scene.engine.images()


def test_tags_of_a_name_that_another_home_has_too_are_left(scene: Scene) -> None:
    orphan(scene)
    labels = {LABEL_ID: "ktrdr--gone", LABEL_UUID: "theirs", LABEL_HOME: "another"}
    scene.engine.add_volume("theirs", labels)
    scene.engine.tag("tiny:1", "ktrdr--gone/app:dev")
    collect(scene.context, yes=True)
    assert scene.engine.volumes() == ("theirs",)
    assert "ktrdr--gone/app:dev" in scene.engine.images()


def test_what_stays_is_told_and_the_rest_goes(scene: Scene) -> None:
    orphan(scene)
    orphan(scene, name="ktrdr--other")
    scene.engine.stubborn.add("ktrdr--gone_rows")
    done = collect(scene.context, yes=True)
    assert not done.complete
    assert [(item.name, item.done) for item in done.items] == [
        ("ktrdr--gone", False),
        ("ktrdr--other", True),
    ]
    assert "ktrdr--gone_rows" in done.items[0].trouble


def trash(scene: Scene, name: str) -> Path:
    path = scene.home.trash / name
    (path / "deep").mkdir(parents=True)
    (path / "deep" / "work").touch()
    return path


def test_the_trash_is_emptied_when_its_time_has_come(scene: Scene) -> None:
    old, new = trash(scene, "ktrdr--a-20200101T000000"), trash(scene, "ktrdr--b-29990101T000000")
    partial = trash(scene, "ktrdr--c-20200101T000000.partial")
    (old / "deep").chmod(0o500)
    done = collect(scene.context, yes=True)
    assert {item.name for item in done.items} == {str(old), str(partial)}
    assert done.complete
    assert (old.exists(), partial.exists(), new.exists()) == (False, False, True)


def test_an_old_registry_that_was_set_aside(scene: Scene) -> None:
    scene.instance()
    old = scene.home.sandbox / "instances.json.damaged-1"
    new = scene.home.sandbox / "instances.json.damaged-2"
    for path in (old, new):
        path.touch()
    then = time.time() - 31 * 86400
    os.utime(old, (then, then))
    assert only(collect(scene.context, yes=True)).name == str(old)
    assert (old.exists(), new.exists()) == (False, True)


def killed(scene: Scene, instance: Instance) -> None:
    with (
        contextlib.suppress(KeyboardInterrupt),
        journal.operation(scene.home, instance.id, "down", {}) as log,
    ):
        log.owing = True
        raise KeyboardInterrupt


def test_a_killed_command_is_ended(scene: Scene) -> None:
    instance = scene.instance()
    killed(scene, instance)
    assert only(dry(scene)).name == "down feat-x"
    assert only(collect(scene.context, yes=True)).done
    assert not journal.exists(scene.home, instance.id)


def test_an_instance_that_is_being_worked_on_is_left(scene: Scene) -> None:
    instance = scene.instance()
    killed(scene, instance)
    lock = scene.home.instance_lock(instance.id)
    with hold(lock, purpose="up", patience=1, tell=lambda _: None):
        found = collect(scene.context, yes=True)
    assert found.items == ()
    assert "is under way" in found.remarks[0]
