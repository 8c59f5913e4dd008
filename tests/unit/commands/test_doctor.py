"""doctor: what it finds, what it repairs, and that it works where hardly anything does."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import replace

from ktrdr_sandbox import env_file
from ktrdr_sandbox.commands.doctor import Examination, examine
from ktrdr_sandbox.commands.doctor_checks import Finding
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.models import LABEL_HOME, LABEL_ID, LABEL_UUID
from ktrdr_sandbox.settings import CHECKOUT_FILE
from ktrdr_sandbox.state import journal
from ktrdr_sandbox.state.last_up import home_id
from tests.support.processes import foreign_listener, held_slot
from tests.unit.commands.scenes import IMAGE, Scene


def examined(scene: Scene, *, fix: bool = False) -> Examination:
    """Without what it says of ports, which others on this machine take and give back meanwhile."""
    found = examine(scene.context, fix=fix)
    return replace(found, findings=tuple(one for one in found.findings if one.check != "ports"))


def blocked(scene: Scene) -> list[Finding]:
    return [one for one in examine(scene.context).findings if one.check == "ports" and one.instance]


def problems(scene: Scene) -> list[Finding]:
    return [one for one in examined(scene).findings if one.level == "problem"]


def the_problem(scene: Scene, check: str) -> Finding:
    (found,) = [one for one in problems(scene) if one.check == check]
    return found


def test_all_is_well(scene: Scene) -> None:
    scene.instance()
    found = examined(scene)
    assert found.healthy
    assert {"docker", "compose", "git", "disk", "settings", "home", "registry", "instance"} <= {
        one.check for one in found.findings if one.level == "ok"
    }


def test_a_silent_engine_does_not_hide_the_rest(scene: Scene) -> None:
    instance = scene.instance()
    instance.env_file.unlink()
    scene.engine.failing = SandboxError(
        "docker-not-answering", "No answer.", hints=("Start Docker.",)
    )
    found = problems(scene)
    assert {one.check for one in found} == {"docker", "instance"}
    assert {one.fix for one in found} >= {"Start Docker."}


def test_a_registry_of_a_newer_program(scene: Scene) -> None:
    scene.home.sandbox.mkdir(parents=True)
    scene.home.registry.write_text('{"version": 99}')
    assert "newer" in the_problem(scene, "registry").text


def test_a_registry_of_ktrdrs_own_tool(scene: Scene) -> None:
    scene.home.sandbox.mkdir(parents=True)
    (scene.home.sandbox / "instances.json").write_text('{"version": 2, "instances": {}}')
    told = [one for one in examined(scene).findings if "own sandbox tool" in one.text]
    assert [one.check for one in told] == ["registry"]
    assert "KTRDR_HOME" in told[0].fix


def test_markers_of_ktrdrs_own_tool(scene: Scene) -> None:
    instance = scene.instance()
    for root in (instance.path, scene.repository.root):
        (root / ".env.sandbox").write_text("INSTANCE_ID=ktrdr--theirs\nSLOT_NUMBER=3\n")
    assert "own sandbox tool" in the_problem(scene, "instance").text
    (told,) = [one for one in examined(scene).findings if one.check == "worktree"]
    assert "slot 3" in told.text


def test_settings_that_cannot_be_used(scene: Scene) -> None:
    instance = scene.instance()
    (instance.path / CHECKOUT_FILE).write_text('bind_address = "nonsense"\n')
    assert "bind_address" in the_problem(scene, "settings").text


def test_a_missing_marker_is_repaired(scene: Scene) -> None:
    instance = scene.instance()
    before = env_file.read(instance.env_file)
    instance.env_file.unlink()
    assert the_problem(scene, "instance").instance == instance.id
    found = examined(scene, fix=True)
    assert found.healthy
    assert [one.check for one in found.findings if one.repaired] == ["instance"]
    assert env_file.read(instance.env_file) == before


def test_a_marker_with_another_slot_is_repaired(scene: Scene) -> None:
    instance = scene.instance()
    env_file.update(instance.env_file, {"SLOT_NUMBER": "77"})
    assert "tells slot 77" in the_problem(scene, "instance").text
    assert examined(scene, fix=True).healthy
    assert env_file.read(instance.env_file)["SLOT_NUMBER"] == str(instance.slot)


def test_a_marker_of_somebody_else_is_left(scene: Scene) -> None:
    instance = scene.instance()
    env_file.update(instance.env_file, {"SANDBOX_UUID": "theirs"})
    assert not examined(scene, fix=True).healthy
    assert env_file.read(instance.env_file)["SANDBOX_UUID"] == "theirs"


def test_a_marker_that_cannot_be_read_is_told_with_what_writes_it_anew(scene: Scene) -> None:
    instance = scene.instance()
    instance.env_file.write_bytes(b"\xff")
    fix = f"rm '{instance.env_file}', then ktrdr-sandbox up {instance.name}"
    assert the_problem(scene, "instance").fix == fix


def test_secrets_that_others_can_read_are_repaired(scene: Scene) -> None:
    instance = scene.instance()
    instance.env_file.chmod(0o644)
    assert str(instance.env_file) in the_problem(scene, "permissions").text
    assert examined(scene, fix=True).healthy
    assert instance.env_file.stat().st_mode & 0o777 == 0o600


def test_a_worktree_that_git_does_not_know_any_more_is_repaired(scene: Scene) -> None:
    instance = scene.instance()
    now = scene.folder / "elsewhere"
    instance.path.rename(now)
    scene.context.registry.add(replace(instance, path=now))
    assert "git does not list" in the_problem(scene, "instance").text
    assert examined(scene, fix=True).healthy
    assert now in scene.repository.worktrees()


def test_a_directory_that_is_gone_is_left_to_gc(scene: Scene) -> None:
    instance = scene.instance()
    shutil.rmtree(instance.path)
    assert "ktrdr-sandbox gc" in the_problem(scene, "instance").fix
    assert not examined(scene, fix=True).healthy
    assert instance.id in scene.registered()


def test_a_killed_command_is_ended(scene: Scene) -> None:
    instance = scene.instance()
    with (
        contextlib.suppress(KeyboardInterrupt),
        journal.operation(scene.home, instance.id, "down", {}) as log,
    ):
        log.owing = True
        log.begin("containers")
        raise KeyboardInterrupt
    assert "was killed at containers" in the_problem(scene, "journal").text
    assert examined(scene, fix=True).healthy
    assert not journal.exists(scene.home, instance.id)


def test_orphans_and_other_homes(scene: Scene) -> None:
    labels = {LABEL_ID: "ktrdr--gone", LABEL_UUID: "u", LABEL_HOME: home_id(scene.home)}
    scene.engine.add_volume("ktrdr--gone_rows", labels)
    scene.engine.add_volume("theirs", {**labels, LABEL_ID: "ktrdr--theirs", LABEL_HOME: "another"})
    assert "volume ktrdr--gone_rows" in the_problem(scene, "orphan").text
    (note,) = [one for one in examined(scene).findings if one.check == "other-home"]
    assert "ktrdr--theirs" in note.text
    examined(scene, fix=True)
    assert len(scene.engine.volumes()) == 2


def test_image_tags_of_nobody_here_are_told(scene: Scene) -> None:
    instance = scene.instance()
    scene.engine.add_volume("theirs", {LABEL_ID: "ktrdr--theirs", LABEL_UUID: "u", LABEL_HOME: "x"})
    for owner in (instance.id, "ktrdr--theirs", "ktrdr--gone"):
        scene.engine.tag(IMAGE, f"{owner}/backend:sandbox")
    (found,) = [one for one in examined(scene, fix=True).findings if one.check == "images"]
    assert found.level == "note"
    assert found.text.endswith("not registered here: ktrdr--gone/backend:sandbox")
    assert "ktrdr--gone/backend:sandbox" in scene.engine.images()


def test_what_a_destroy_left_without_a_journal_is_told(scene: Scene) -> None:
    instance = scene.instance()
    left = scene.folder / ".ktrdr--gone.removing-12345678"
    left.mkdir()
    (found,) = [one for one in examined(scene, fix=True).findings if one.check == "leavings"]
    assert str(left) in found.text
    assert left.is_dir()
    with (
        contextlib.suppress(KeyboardInterrupt),
        journal.operation(scene.home, instance.id, "down", {}) as log,
    ):
        log.owing = True
        left.rename(left.with_name(f".{instance.id}.removing-12345678"))
        raise KeyboardInterrupt
    assert not [one for one in examined(scene).findings if one.check == "leavings"]


def test_a_slot_that_others_block(scene: Scene) -> None:
    with held_slot() as slot:
        instance = scene.create("feat-x", slot=slot).instance
        with foreign_listener(8000 + slot) as (port, _):
            (found,) = blocked(scene)
            assert str(port) in found.text
            scene.stack(instance)
            assert not blocked(scene)


def test_only_what_concerns_one_instance(scene: Scene) -> None:
    one, other = scene.instance("a"), scene.instance("b")
    for instance in (one, other):
        instance.env_file.unlink()
    found = examine(scene.context, instance_id=one.id)
    assert {finding.instance for finding in found.findings} == {"", one.id}
