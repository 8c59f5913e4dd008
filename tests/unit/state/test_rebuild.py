"""A registry that was lost: what is found again, and from where."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

from ktrdr_sandbox import env_file
from ktrdr_sandbox.commands.create import init
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.models import LABEL_HOME, LABEL_ID, LABEL_SLOT, LABEL_UUID, Instance
from ktrdr_sandbox.state.last_up import home_id
from ktrdr_sandbox.state.rebuild import Places, rebuild, salvaged
from ktrdr_sandbox.state.registry import Rebuilt
from tests.unit.commands.scenes import Scene


def found(scene: Scene, *, copies: bool = False, damaged: str = "") -> Rebuilt:
    """What is found by somebody who stands in the main checkout."""
    places = Places(
        home=scene.home,
        cwd=scene.repository.root,
        engine=lambda _: scene.engine,
        here=scene.engine.address,
    )
    kept = scene.context.registry.copies() if copies else []
    return rebuild(places, copies=kept, damaged=damaged)


def only(result: Rebuilt) -> Instance:
    (instance,) = result.instances
    return instance


def test_copies_know_everything(scene: Scene) -> None:
    instances = [scene.instance("a"), scene.instance("b")]
    assert list(found(scene, copies=True).instances) == instances
    assert found(scene, copies=True).remarks == ()


def test_a_marker_knows_the_rest_from_git(scene: Scene) -> None:
    instance = scene.instance()
    assert only(found(scene)) == replace(instance, engine=scene.engine.address)


def test_a_marker_elsewhere_is_never_a_licence_to_delete(scene: Scene) -> None:
    instance = scene.instance()
    moved = scene.folder / "elsewhere"
    scene.repository.git("worktree", "move", str(instance.path), str(moved))
    again = only(found(scene))
    assert (again.path, again.created_by) == (moved, "init")


def test_a_checkout_that_was_initialised(scene: Scene) -> None:
    instance = init(scene.context, slot=None).instance
    assert only(found(scene)) == replace(instance, engine=scene.engine.address)


def test_single_entries_of_a_damaged_file(scene: Scene) -> None:
    one, two = scene.instance("a"), scene.instance("b")
    text = scene.home.registry.read_text()
    assert list(salvaged(text)) == [one, two]
    assert list(salvaged(text[: text.index('"ktrdr--b"') + 30])) == [one]
    assert list(salvaged(text.replace(f'"slot": {one.slot}', '"slot": 99'))) == [two]
    assert list(salvaged("garbage")) == []
    for path in (one.path, two.path):
        (path / ".env.sandbox").unlink()
    assert only(found(scene, damaged=text[: text.index('"ktrdr--b"') + 30])) == one


def test_a_worktree_that_is_gone_keeps_its_slot_by_labels(scene: Scene) -> None:
    instance = scene.instance()
    labels = {
        LABEL_ID: instance.id,
        LABEL_UUID: instance.uuid,
        LABEL_HOME: home_id(scene.home),
        LABEL_SLOT: str(instance.slot),
    }
    scene.engine.add_network(f"{instance.id}_default", labels)
    scene.repository.git("worktree", "remove", "--force", str(instance.path))
    again = only(found(scene))
    assert (again.id, again.uuid, again.slot) == (instance.id, instance.uuid, instance.slot)
    assert again.created_by == "init"
    assert not again.path.exists()


def test_labels_of_another_home_are_another_homes(scene: Scene) -> None:
    home_id(scene.home)
    labels = {LABEL_ID: "ktrdr--x", LABEL_UUID: "u", LABEL_HOME: "another", LABEL_SLOT: "3"}
    scene.engine.add_network("ktrdr--x_default", labels)
    scene.engine.add_network("ktrdr--y_default", {**labels, LABEL_HOME: ""})
    assert found(scene).instances == ()


def test_an_engine_that_does_not_answer_is_told(scene: Scene) -> None:
    instance = scene.instance()
    home_id(scene.home)
    scene.engine.failing = SandboxError("docker-not-answering", "No answer.")
    result = found(scene, copies=True)
    assert only(result) == instance
    assert any("No answer." in remark for remark in result.remarks)


def test_a_copied_marker_does_not_move_an_instance(scene: Scene) -> None:
    instance = scene.instance()
    other = scene.repository.add_worktree(scene.folder / "mine", "-b", "mine")
    shutil.copy(instance.env_file, other.root)
    result = found(scene)
    assert only(result).path == instance.path
    assert str(other.root) in result.remarks[0]
    assert only(found(scene, copies=True)).path == instance.path


def test_a_moved_worktree_is_found_where_it_is(scene: Scene) -> None:
    instance = scene.instance()
    moved = scene.folder / "elsewhere"
    scene.repository.git("worktree", "move", str(instance.path), str(moved))
    again = only(found(scene, copies=True))
    assert again == replace(instance, path=moved)


def test_two_claims_on_one_slot(scene: Scene) -> None:
    one, two = scene.instance("a"), scene.instance("b")
    env_file.update(two.env_file, {"SLOT_NUMBER": str(one.slot)})
    result = found(scene)
    slots = {instance.id: instance.slot for instance in result.instances}
    assert slots[one.id] == one.slot
    assert slots[two.id] not in (one.slot, 0)
    assert any(two.id in remark for remark in result.remarks)


def test_two_instances_of_one_id(scene: Scene) -> None:
    instance = scene.instance()
    other = scene.repository.add_worktree(scene.folder / "mine", "-b", "mine")
    text = instance.env_file.read_text().replace(instance.uuid, "u-2")
    (other.root / ".env.sandbox").write_text(text)
    result = found(scene, copies=True)
    assert only(result) == instance
    assert any(str(other.root) in remark for remark in result.remarks)


def test_nonsense_in_a_marker_is_passed_over(scene: Scene) -> None:
    for number, text in enumerate(
        ["", "INSTANCE_ID=../x\nSANDBOX_UUID=u\n", "INSTANCE_ID=ktrdr--a"]
    ):
        linked = scene.repository.add_worktree(scene.folder / f"w{number}", "-b", f"b{number}")
        linked.write({".env.sandbox": text})
    assert found(scene).instances == ()


def test_what_a_salvaged_document_says_is_checked(scene: Scene) -> None:
    entry = {"slot": 1, "path": "/x", "created_at": "t", "is_worktree": True}
    text = json.dumps({"instances": {"ktrdr--../../x": entry, "ktrdr--ok": entry}})
    assert [one.id for one in salvaged(text)] == ["ktrdr--ok"]
