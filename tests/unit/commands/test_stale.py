"""What list does about a directory that was removed by hand and of which Docker has nothing."""

from __future__ import annotations

import shutil

import filelock
import pytest

from ktrdr_sandbox.commands.create import init
from ktrdr_sandbox.commands.inspect import list_instances
from ktrdr_sandbox.models import Instance
from tests.unit.commands.scenes import Scene


@pytest.fixture
def instance(scene: Scene) -> Instance:
    return scene.instance("feat-x")


def dropped(scene: Scene) -> list[str]:
    found = list_instances(scene.context).dropped
    assert not {one.id for one in found} & set(scene.registered())
    return [one.name for one in found]


def excluded(scene: Scene) -> bool:
    return ".env.sandbox" in (scene.repository.root / ".git" / "info" / "exclude").read_text()


def test_its_name_is_free_again(scene: Scene, instance: Instance) -> None:
    head = scene.checkout(instance).commit({"work": "x"})
    shutil.rmtree(instance.path)
    assert dropped(scene) == ["feat-x"]
    assert scene.repository.worktrees() == [scene.repository.root]
    assert not excluded(scene)
    again = scene.instance("feat-x")
    assert scene.checkout(again).head() == head
    assert again.uuid != instance.uuid


def test_what_others_need_stays(scene: Scene, instance: Instance) -> None:
    other = scene.instance("other")
    away = scene.repository.add_worktree(scene.folder / "away", "-b", "away").root
    for gone in (away, instance.path):
        shutil.rmtree(gone)
    assert dropped(scene) == ["feat-x"]
    assert scene.repository.worktrees() == [scene.repository.root, away, other.path]
    assert excluded(scene)


def test_a_worktree_that_init_found_stays_gits(scene: Scene) -> None:
    linked = scene.repository.add_worktree(scene.folder / "linked", "-b", "x").root
    init(scene.at(linked), slot=None)
    shutil.rmtree(linked)
    assert dropped(scene) == ["linked"]
    assert scene.repository.worktrees() == [scene.repository.root, linked]
    assert not excluded(scene)


@pytest.mark.parametrize(
    "arguments",
    [["worktree", "lock", "."], ["switch", "--quiet", "--detach"], ["update-ref", "-d", "HEAD"]],
)
def test_what_git_alone_may_hold_is_left_to_git(
    scene: Scene, instance: Instance, arguments: list[str]
) -> None:
    checkout = scene.checkout(instance)
    checkout.commit({"work": "x"})
    checkout.git(*arguments)
    shutil.rmtree(instance.path)
    assert dropped(scene) == ["feat-x"]
    assert scene.repository.worktrees() == [scene.repository.root, instance.path]


def test_a_directory_that_was_only_renamed_keeps_its_entry(
    scene: Scene, instance: Instance
) -> None:
    now = instance.path.rename(scene.folder / "renamed")
    assert dropped(scene) == []
    assert instance.id in scene.registered()
    assert instance.path in scene.repository.worktrees()
    shutil.rmtree(now)
    assert dropped(scene) == ["feat-x"]


@pytest.mark.parametrize("of", ["instance", "repository"])
def test_nobody_is_disturbed_or_waited_for(scene: Scene, instance: Instance, of: str) -> None:
    shutil.rmtree(instance.path)
    common_dir = scene.repository.root / ".git"
    locks = {
        "instance": scene.home.instance_lock(instance.id),
        "repository": scene.home.repository_lock(common_dir),
    }
    with filelock.FileLock(locks[of]):
        assert dropped(scene) == []
    assert scene.told == []
    assert instance.path in scene.repository.worktrees()
    assert dropped(scene) == ["feat-x"]


def test_without_a_repository_or_git_it_is_dropped_all_the_same(
    scene: Scene, instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = scene.instance("other")
    shutil.rmtree(other.path)
    monkeypatch.setenv("PATH", str(scene.folder / "nothing"))
    assert dropped(scene) == ["other"]
    shutil.rmtree(instance.path)
    shutil.rmtree(scene.repository.root)
    assert dropped(scene) == ["feat-x"]


def test_a_file_in_its_place_is_no_worktree(scene: Scene, instance: Instance) -> None:
    shutil.rmtree(instance.path)
    instance.path.write_text("precious")
    assert dropped(scene) == ["feat-x"]
    assert instance.path.read_text() == "precious"
