"""Journals that the first version wrote are still recovered. The lines are as it wrote them."""

from __future__ import annotations

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


CREATE = (
    (
        '{"version": 1, "operation": "create", "pid": 31337, "since": "2026-02-03T04:05:06Z", '
        '"facts": '
        '{"instance_id": "ktrdr--feat-x", "uuid": "<uuid>", "path": "<path>", "main": "<folder>/ktrdr",'
        ' "common_dir": "<folder>/ktrdr/.git", "addition": {"main": "<folder>/ktrdr", "common_dir": '
        '"<folder>/ktrdr/.git", "path": "<path>", "checkout": {"branch": "feat-x", "creates_branch": '
        'true, "start": "<start>", "tracks": null}, "token": "<uuid>", "known": false}}}'
    ),
    '{"step": "slot", "event": "begun"}',
    '{"step": "slot", "event": "finished"}',
    '{"step": "worktree", "event": "begun"}',
    '{"step": "worktree", "event": "finished"}',
    '{"step": "exclude", "event": "begun"}',
    '{"step": "exclude", "event": "finished"}',
    '{"step": "marker", "event": "begun"}',
    '{"step": "mark',
)
DESTROY = (
    (
        '{"version": 1, "operation": "destroy", "pid": 31337, "since": "2026-02-03T04:05:06Z", '
        '"facts":'
        ' {"instance_id": "ktrdr--feat-x", "uuid": "<uuid>", "path": "<path>", "main": '
        '"<folder>/ktrdr", "common_dir": "<folder>/ktrdr/.git", "engine": {"context": null, "host": '
        'null, "tls_verify": false, "cert_path": null}, "made_by_us": true, "deletes": true, "doomed": '
        '"<folder>/.ktrdr--feat-x.removing-12345678", "trash": null, "images": '
        '["ktrdr--feat-x/app:dev"], "tools": ["tiny:1", "ktrdr--feat-x/app:dev"]}}'
    ),
    '{"step": "entry removing", "event": "begun"}',
    '{"step": "entry removing", "event": "finished"}',
    '{"step": "containers", "event": "begun"}',
)


def test_a_create_is_taken_back(scene: Scene) -> None:
    instance = scene.instance()
    scene.context.registry.add(instance.with_state("creating"))
    journal(scene, instance, *CREATE)
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
    before, _, after = CREATE[0].replace('"create"', '"init"').partition('"addition": ')
    journal(scene, instance, before + '"addition": null}}', *CREATE[1:])
    assert after
    recover(scene.context, instance.id)
    assert scene.registered() == {}
    assert not instance.env_file.exists()
    assert scene.checkout(instance).head() == scene.repository.head()


def test_a_destroy_before_the_directory_is_called_off(scene: Scene) -> None:
    instance = scene.instance()
    scene.context.registry.add(instance.with_state("removing"))
    journal(scene, instance, *DESTROY)
    recover(scene.context, instance.id)
    assert scene.registered() == {instance.id: instance}
    assert instance.env_file.is_file()


def test_a_destroy_after_the_directory_is_finished(scene: Scene) -> None:
    instance = scene.instance()
    scene.stack(instance)
    scene.engine.tag("tiny:1", "ktrdr--feat-x/app:dev")
    scene.context.registry.add(instance.with_state("removing"))
    renamed = scene.folder / ".ktrdr--feat-x.removing-12345678"
    instance.path.rename(renamed)
    journal(scene, instance, *DESTROY, '{"step": "directory renamed", "event": "begun"}')
    recover(scene.context, instance.id)
    assert scene.registered() == {}
    assert not renamed.exists()
    assert not scene.engine.resources(instance.uuid)
    assert scene.engine.images() == {"tiny:1"}
    assert scene.repository.worktrees() == [scene.repository.root]
