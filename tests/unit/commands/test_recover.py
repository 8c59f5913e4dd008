"""Journals that the first version wrote are still recovered. The lines are as it wrote them."""

from __future__ import annotations

from pathlib import Path

from ktrdr_sandbox.commands.context import recover
from ktrdr_sandbox.models import Instance
from tests.unit.commands.scenes import Scene


def journal(scene: Scene, instance: Instance, *lines: str) -> None:
    """A journal with the scene's places in it."""
    folder = scene.home.sandbox / "journal"
    folder.mkdir(parents=True, exist_ok=True)
    text = "\n".join([*lines, ""])
    for mark, value in {
        "<uuid>": instance.uuid,
        "<path>": str(instance.path),
        "<folder>": str(scene.folder),
        "<start>": scene.repository.head(),
    }.items():
        text = text.replace(mark, value)
    (folder / f"{instance.id}.jsonl").write_text(text, encoding="utf-8")


def first_version(command: str) -> list[str]:
    path = Path(__file__).with_name("journals") / f"{command}.jsonl"
    return path.read_text(encoding="utf-8").splitlines()


def test_a_create_is_taken_back(scene: Scene) -> None:
    instance = scene.instance()
    scene.context.registry.add(instance.with_state("creating"))
    journal(scene, instance, *first_version("create"))
    assert recover(scene.context, instance.id)
    assert scene.registered() == {}
    assert not instance.path.exists()
    assert scene.repository.branches() == ["main"]
    assert scene.repository.worktrees() == [scene.repository.root]
    assert scene.told == [
        (
            "An earlier 'create feat-x' (pid 31337, 2026-02-03T04:05:06Z) did not end: what it had "
            "made was taken back."
        )
    ]
    assert not recover(scene.context, instance.id)


def test_an_init_keeps_the_checkout(scene: Scene) -> None:
    instance = scene.instance()
    scene.context.registry.add(instance.with_state("creating"))
    head, *steps = first_version("create")
    facts, _, _ = head.replace('"create"', '"init"').partition('"addition": ')
    journal(scene, instance, facts + '"addition": null}}', *steps)
    recover(scene.context, instance.id)
    assert scene.registered() == {}
    assert not instance.env_file.exists()
    assert scene.checkout(instance).head() == scene.repository.head()


def test_a_destroy_before_the_directory_is_called_off(scene: Scene) -> None:
    instance = scene.instance()
    scene.context.registry.add(instance.with_state("removing"))
    journal(scene, instance, *first_version("destroy"))
    recover(scene.context, instance.id)
    assert scene.registered() == {instance.id: instance}
    assert instance.env_file.is_file()


def test_a_destroy_after_the_directory_is_finished(scene: Scene) -> None:
    instance = scene.instance()
    scene.stack(instance)
    scene.engine.tag("tiny:1", "ktrdr--feat-x/app:dev")
    scene.context.registry.add(instance.with_state("removing"))
    renamed = scene.folder / f".ktrdr--feat-x.removing-{instance.uuid[:8]}"
    instance.path.rename(renamed)
    journal(
        scene,
        instance,
        *first_version("destroy"),
        '{"step": "directory renamed", "event": "begun"}',
    )
    recover(scene.context, instance.id)
    assert scene.registered() == {}
    assert not renamed.exists()
    assert not scene.engine.resources(instance.uuid)
    assert scene.engine.images() == {"tiny:1"}
    assert scene.repository.worktrees() == [scene.repository.root]
