"""A worktree that was moved is the same instance; a copy is not."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from ktrdr_sandbox.commands.create import init
from ktrdr_sandbox.commands.destroy import destroy
from ktrdr_sandbox.commands.inspect import list_instances
from ktrdr_sandbox.commands.relocated import resolve_moved
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.models import Instance
from tests.support.repositories import GitRepository
from tests.unit.commands.scenes import Scene


def test_one_that_is_where_it_was(scene: Scene) -> None:
    instance = scene.instance()
    assert resolve_moved(scene.context, instance) == instance
    assert resolve_moved(scene.context, instance, here=instance.path) == instance
    assert scene.told == []


def test_moved_by_git_and_meant_by_name(scene: Scene) -> None:
    instance = scene.instance()
    now = scene.folder / "elsewhere"
    scene.repository.git("worktree", "move", str(instance.path), str(now))
    assert resolve_moved(scene.context, instance) == replace(instance, path=now)
    assert scene.registered()[instance.id].path == now
    assert scene.context.registry.copies() == [replace(instance, path=now)]
    (told,) = scene.told
    assert f"was moved from {instance.path} to {now}" in told


def test_moved_by_hand_and_meant_by_its_directory(scene: Scene) -> None:
    instance = scene.instance()
    now = scene.folder / "else where"
    instance.path.rename(now)
    moved = resolve_moved(scene.context, instance, here=now)
    assert moved.path == now
    assert now in scene.repository.worktrees()
    assert GitRepository(now).git("status", "--porcelain") == ""
    destroy(scene.context, moved, keep_worktree=False, force=False)
    assert not now.exists()
    assert scene.repository.worktrees() == [scene.repository.root]


def test_moved_by_hand_and_meant_by_name_is_gone(scene: Scene) -> None:
    """Nothing on the machine tells where it went, until a command is run in it."""
    instance = scene.instance()
    instance.path.rename(scene.folder / "elsewhere")
    assert resolve_moved(scene.context, instance) == instance


def test_a_clone_that_was_moved(scene: Scene) -> None:
    clone = scene.repository.clone(scene.folder / "mine")
    instance = init(scene.at(clone.root), slot=None).instance
    now = scene.folder / "yours"
    clone.root.rename(now)
    assert resolve_moved(scene.context, instance, here=now).path == now


def test_a_copy_is_told_apart(scene: Scene) -> None:
    instance = scene.instance()
    copy = scene.folder / "copy"
    shutil.copytree(instance.path, copy)
    with pytest.raises(SandboxError) as caught:
        resolve_moved(scene.context, instance, here=copy)
    assert caught.value.code == "no-such-instance"
    assert str(instance.path) in caught.value.message
    assert scene.registered()[instance.id] == instance


@pytest.fixture
def copy(scene: Scene) -> tuple[Instance, Path]:
    """An instance whose directory is away, and a copy of it."""
    instance = scene.instance()
    copy = scene.folder / "copy"
    shutil.copytree(instance.path, copy)
    instance.path.rename(scene.folder / "away")
    return instance, copy


def test_a_copy_is_never_the_instance(scene: Scene, copy: tuple[Instance, Path]) -> None:
    """Nor where git takes it for the worktree: it writes down any that it is run in."""
    instance, directory = copy
    for _ in range(2):
        with pytest.raises(SandboxError) as caught:
            resolve_moved(scene.context, instance, here=directory)
        assert caught.value.code == "no-such-instance"
        assert resolve_moved(scene.context, instance) == instance
        assert scene.registered()[instance.id] == instance
        scene.repository.git("worktree", "repair", str(directory))
    (scene.folder / "away").rename(instance.path)
    assert resolve_moved(scene.context, instance, here=instance.path) == instance
    assert directory.is_dir()


def test_init_lets_a_directory_go_on_as_the_instance(
    scene: Scene, copy: tuple[Instance, Path]
) -> None:
    instance, directory = copy
    made = init(scene.at(directory), slot=None).instance
    assert (made.id, made.uuid, made.slot) == (instance.id, instance.uuid, instance.slot)
    assert (made.path, made.created_by) == (directory, "init")
    assert resolve_moved(scene.context, made, here=directory) == made
    destroy(scene.context, made, keep_worktree=False, force=False)
    assert directory.is_dir()
    assert scene.registered() == {}


def test_init_in_a_copy_is_refused_while_the_instance_is_there(scene: Scene) -> None:
    instance = scene.instance()
    directory = scene.folder / "copy"
    shutil.copytree(instance.path, directory)
    with pytest.raises(SandboxError) as caught:
        init(scene.at(directory), slot=None)
    assert caught.value.code == "no-such-instance"
    assert scene.registered() == {instance.id: instance}


def test_list_does_not_call_it_orphaned(scene: Scene) -> None:
    instance = scene.instance()
    scene.repository.git("worktree", "move", str(instance.path), str(scene.folder / "elsewhere"))
    (row,) = list_instances(scene.context).instances
    assert row.status == "stopped"
    assert row.instance.path == scene.folder / "elsewhere"
