from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest

from ktrdr_sandbox.commands.create import init
from ktrdr_sandbox.commands.destroy import DestroyPlan, destroy, plan_destroy
from ktrdr_sandbox.commands.down import down
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.models import LABEL_UUID, Instance
from ktrdr_sandbox.state.values import from_json, to_json
from tests.support.repositories import GitRepository
from tests.unit.commands.scenes import Scene


@pytest.fixture
def instance(scene: Scene) -> Instance:
    return scene.instance("feat-x")


def ended(
    scene: Scene, instance: Instance, *, keep_worktree: bool = False, force: bool = False
) -> DestroyPlan:
    return destroy(scene.context, instance, keep_worktree=keep_worktree, force=force)


def states(scene: Scene) -> dict[str, str]:
    return {one.detail.name: one.detail.state for one in scene.engine.held.values()}


# -- down ----------------------------------------------------------------------------------------


def test_containers_and_networks_go_and_the_data_stays(scene: Scene, instance: Instance) -> None:
    scene.stack(instance)
    done = down(scene.context, instance, volumes=False)
    assert done.removed.names() == (
        "container ktrdr--feat-x-db-1",
        "container ktrdr--feat-x-backend-1",
        "network ktrdr--feat-x_default",
    )
    assert done.volumes_kept == ("ktrdr--feat-x_data",)
    left = scene.engine.resources(instance.uuid)
    assert left.names() == ("volume ktrdr--feat-x_data",)
    assert instance.path.is_dir()


def test_the_data_goes_when_asked(scene: Scene, instance: Instance) -> None:
    scene.stack(instance)
    done = down(scene.context, instance, volumes=True)
    assert done.removed.volumes == ("ktrdr--feat-x_data",)
    assert done.volumes_kept == ()
    assert not scene.engine.resources(instance.uuid)


def test_volumes_can_go_later(scene: Scene, instance: Instance) -> None:
    scene.stack(instance)
    down(scene.context, instance, volumes=False)
    assert down(scene.context, instance, volumes=True).removed.names() == (
        "volume ktrdr--feat-x_data",
    )


def test_nothing_runs(scene: Scene, instance: Instance) -> None:
    done = down(scene.context, instance, volumes=True)
    assert not done.removed
    assert "remove" not in scene.engine.calls


def test_down_needs_neither_directory_nor_compose_file(scene: Scene, instance: Instance) -> None:
    scene.stack(instance)
    shutil.rmtree(instance.path)
    down(scene.context, instance, volumes=True)
    assert not scene.engine.resources(instance.uuid)


def test_what_has_not_our_uuid_is_left(scene: Scene, instance: Instance) -> None:
    """The same project name, by plain Compose or another registry: not ours."""
    scene.stack(instance, uuid="somebody-elses")
    scene.engine.add_volume("ktrdr--feat-x_old", {})
    done = down(scene.context, instance, volumes=True)
    assert not done.removed
    assert len(scene.engine.held) == 2
    assert set(scene.engine.volumes()) == {"ktrdr--feat-x_data", "ktrdr--feat-x_old"}


@pytest.mark.parametrize(
    "survivor", ["ktrdr--feat-x-db-1", "ktrdr--feat-x_default", "ktrdr--feat-x_data"]
)
def test_what_survives_is_named(scene: Scene, instance: Instance, survivor: str) -> None:
    scene.stack(instance)
    scene.engine.stubborn.add(survivor)
    with pytest.raises(SandboxError) as caught:
        down(scene.context, instance, volumes=True)
    assert caught.value.code == "teardown-incomplete"
    assert survivor in caught.value.message


def test_an_engine_that_does_not_answer(scene: Scene, instance: Instance) -> None:
    scene.engine.failing = SandboxError("docker-not-answering", "no answer")
    with pytest.raises(SandboxError) as caught:
        down(scene.context, instance, volumes=False)
    assert caught.value.code == "docker-not-answering"


def test_the_instances_own_engine_is_asked(scene: Scene, instance: Instance) -> None:
    elsewhere = replace(instance, engine=replace(instance.engine, host="ssh://me@big"))
    scene.context.registry.add(elsewhere)
    down(scene.context, elsewhere, volumes=False)
    assert scene.addresses == [elsewhere.engine]


# -- destroy -------------------------------------------------------------------------------------


def test_all_of_an_instance_goes_but_its_branch(scene: Scene, instance: Instance) -> None:
    scene.checkout(instance).commit({"work": "x"})
    scene.stack(instance)
    done = ended(scene, instance)
    assert done.directory == instance.path
    assert done.branch == "feat-x"
    assert done.trash is None
    assert not instance.path.exists()
    assert not scene.engine.resources(instance.uuid)
    assert scene.registered() == {}
    assert scene.repository.worktrees() == [scene.repository.root]
    assert scene.repository.branches() == ["feat-x", "main"]
    assert not scene.home.state_of(instance.id).exists()


def test_other_instances_are_untouched(scene: Scene, instance: Instance) -> None:
    other = scene.instance("other")
    for one in (instance, other):
        scene.stack(one)
    before = scene.engine.resources(other.uuid)
    ended(scene, instance)
    assert scene.engine.resources(other.uuid) == before
    assert scene.registered() == {other.id: other}
    assert other.env_file.is_file()


def test_the_slot_is_free_again(scene: Scene, instance: Instance) -> None:
    ended(scene, instance)
    assert scene.create("next", slot=instance.slot).instance.slot == instance.slot


def test_its_own_image_tags_go(scene: Scene, instance: Instance) -> None:
    scene.engine.tag("tiny:1", f"{instance.id}/app:dev")
    state = scene.home.state_of(instance.id)
    state.mkdir(parents=True, exist_ok=True)
    (state / "stack.json").write_text(
        f'{{"uuid": "{instance.uuid}", "services": [], "ports": [], "inputs": {{}}, '
        f'"images": ["{instance.id}/app:dev"]}}'
    )
    assert ended(scene, instance).images == (f"{instance.id}/app:dev",)
    assert scene.engine.images() == {"tiny:1"}


def test_the_plan_changes_nothing(scene: Scene, instance: Instance) -> None:
    scene.stack(instance)
    plan = plan_destroy(scene.context, instance, keep_worktree=False)
    assert plan.resources == scene.engine.resources(instance.uuid)
    assert (plan.directory, plan.kept_because) == (instance.path, None)
    assert not plan.unsaved
    assert scene.registered() == {instance.id: instance}
    assert set(states(scene).values()) == {"running"}


def test_unsaved_work_is_refused_before_anything_goes(scene: Scene, instance: Instance) -> None:
    scene.stack(instance)
    scene.checkout(instance).write({"README.md": "changed", "new": "x"})
    with pytest.raises(SandboxError) as caught:
        ended(scene, instance)
    error = caught.value
    assert error.code == "would-lose-work"
    assert error.message == (
        f"{instance.path} holds work that is nowhere else:\n  M README.md\n  ?? new"
    )
    assert error.details["files"] == ["M README.md", "?? new"]
    assert set(states(scene).values()) == {"running"}
    assert scene.registered() == {instance.id: instance}


def test_much_unsaved_work_is_summed_up(scene: Scene, instance: Instance) -> None:
    scene.checkout(instance).write({f"new-{number:02}": "x" for number in range(30)})
    with pytest.raises(SandboxError) as caught:
        ended(scene, instance)
    lines = caught.value.message.splitlines()
    assert len(lines) == 22
    assert lines[-1] == "  ... and 10 more"
    assert len(caught.value.details["files"]) == 30


def test_by_force_unsaved_work_is_moved_and_not_deleted(scene: Scene, instance: Instance) -> None:
    scene.checkout(instance).write({"new": "precious", "README.md": "changed"})
    done = ended(scene, instance, force=True)
    assert done.trash is not None
    assert done.trash.parent == scene.home.sandbox / "trash"
    assert (done.trash / "new").read_text() == "precious"
    assert (done.trash / "README.md").read_text() == "changed"
    assert not instance.path.exists()
    assert scene.repository.worktrees() == [scene.repository.root]
    assert scene.registered() == {}


def test_lost_commits_can_be_had_back_from_the_trash(scene: Scene, instance: Instance) -> None:
    checkout = scene.checkout(instance)
    checkout.git("switch", "--quiet", "--detach")
    lost = checkout.commit({"work": "x"})
    with pytest.raises(SandboxError) as caught:
        ended(scene, instance)
    assert caught.value.code == "would-lose-work"
    done = ended(scene, instance, force=True)
    assert done.trash is not None
    assert (done.trash / "work").read_text() == "x"
    assert scene.repository.git("cat-file", "-t", lost) == "commit\n"


def test_by_force_without_unsaved_work_there_is_no_trash(scene: Scene, instance: Instance) -> None:
    assert ended(scene, instance, force=True).trash is None
    assert not (scene.home.sandbox / "trash").exists()


def test_a_kept_directory_loses_only_its_marker(scene: Scene, instance: Instance) -> None:
    scene.checkout(instance).write({"new": "x"})
    done = ended(scene, instance, keep_worktree=True)
    assert done.kept_because == "--keep-worktree"
    assert (instance.path / "new").exists()
    assert not instance.env_file.exists()
    assert instance.path in scene.repository.worktrees()
    assert scene.registered() == {}


def test_a_directory_that_create_did_not_make_is_kept(scene: Scene) -> None:
    clone = scene.repository.clone(scene.folder / "mine")
    instance = init(scene.at(clone.root), slot=None).instance
    clone.write({"new": "x"})
    done = ended(scene, instance, force=True)
    assert done.kept_because == "'create' did not make it"
    assert (clone.root / "new").exists()
    assert not instance.env_file.exists()
    assert scene.registered() == {}


def test_a_directory_that_is_another_repository_by_now(scene: Scene, instance: Instance) -> None:
    scene.repository.git("worktree", "remove", "--force", str(instance.path))
    theirs = scene.repository.clone(instance.path)
    theirs.write({"new": "x"})
    done = ended(scene, instance, force=True)
    assert done.kept_because == "it is no longer this instance's worktree"
    assert (instance.path / "new").exists()
    assert scene.registered() == {}


def test_a_directory_marked_as_another_instances(scene: Scene, instance: Instance) -> None:
    instance.env_file.write_text("INSTANCE_ID=ktrdr--feat-x\nSANDBOX_UUID=theirs\n")
    done = ended(scene, instance, force=True)
    assert done.kept_because == "it is no longer this instance's worktree"
    assert instance.env_file.exists()
    assert instance.path.is_dir()


def test_a_symlink_in_its_place_is_not_followed(scene: Scene, instance: Instance) -> None:
    moved = scene.folder / "moved"
    instance.path.rename(moved)
    instance.path.symlink_to(moved)
    (moved / "new").touch()
    ended(scene, instance, force=True)
    assert (moved / "new").exists()
    assert (moved / "README.md").exists()


def test_a_directory_that_is_gone_already(scene: Scene, instance: Instance) -> None:
    scene.stack(instance)
    shutil.rmtree(instance.path)
    done = ended(scene, instance)
    assert (done.directory, done.kept_because) == (None, None)
    assert scene.repository.worktrees() == [scene.repository.root]
    assert not scene.engine.resources(instance.uuid)
    assert scene.registered() == {}


def test_a_repository_that_is_gone(scene: Scene, instance: Instance) -> None:
    scene.stack(instance)
    shutil.rmtree(scene.repository.root)
    done = ended(scene, instance)
    assert done.kept_because == "it is no longer this instance's worktree"
    assert instance.path.is_dir()
    assert not scene.engine.resources(instance.uuid)


def test_what_survives_keeps_the_entry_and_a_second_try_ends_it(
    scene: Scene, instance: Instance
) -> None:
    scene.stack(instance)
    scene.engine.stubborn.add("ktrdr--feat-x_data")
    with pytest.raises(SandboxError) as caught:
        ended(scene, instance)
    assert caught.value.code == "teardown-incomplete"
    assert caught.value.details["left"] == ["volume ktrdr--feat-x_data"]
    assert instance.path.is_dir()
    entry = scene.registered()[instance.id]
    assert entry.state == "removing"
    scene.engine.stubborn.clear()
    ended(scene, entry)
    assert scene.registered() == {}
    assert not instance.path.exists()


def test_an_engine_that_does_not_answer_leaves_everything(scene: Scene, instance: Instance) -> None:
    scene.stack(instance)
    scene.engine.failing = SandboxError("docker-not-answering", "no answer")
    with pytest.raises(SandboxError):
        ended(scene, instance)
    assert instance.path.is_dir()
    assert scene.registered() == {instance.id: instance}


def test_a_locked_worktree_is_told_and_can_be_tried_again(scene: Scene, instance: Instance) -> None:
    scene.repository.git("worktree", "lock", str(instance.path))
    with pytest.raises(SandboxError) as caught:
        ended(scene, instance)
    assert caught.value.code == "git-failed"
    assert instance.path.is_dir()
    scene.repository.git("worktree", "unlock", str(instance.path))
    ended(scene, scene.registered()[instance.id])
    assert not instance.path.exists()


def test_a_merge_in_progress_is_work(scene: Scene, instance: Instance) -> None:
    checkout = GitRepository(instance.path)
    checkout.commit({"mine": "x"})
    scene.repository.commit({"theirs": "x"})
    checkout.git("merge", "--no-commit", "--no-ff", "main")
    with pytest.raises(SandboxError) as caught:
        ended(scene, instance)
    assert caught.value.details["operation"] == "merge"


def test_nothing_without_our_label_is_ever_removed(scene: Scene, instance: Instance) -> None:
    scene.stack(instance)
    scene.engine.add_volume("ktrdr--feat-x_plain", {})
    scene.engine.add_volume("theirs", {LABEL_UUID: "another"})
    scene.engine.add_network("ktrdr--feat-x_plain", {})
    ended(scene, instance)
    assert set(scene.engine.volumes()) == {"ktrdr--feat-x_plain", "theirs"}
    assert "ktrdr--feat-x_plain" in scene.engine.networks()


def test_an_engine_that_is_gone_for_good_is_not_asked(scene: Scene, instance: Instance) -> None:
    scene.engine.failing = SandboxError("docker-not-answering", "no answer")
    done = destroy(scene.context, instance, keep_worktree=False, force=False, without_docker=True)
    assert not done.resources
    assert not instance.path.exists()
    assert scene.registered() == {}
    assert scene.repository.worktrees() == [scene.repository.root]


# -- what may finish, and what is only shown -----------------------------------------------------


def test_what_writes_outside_gets_its_signal_first(scene: Scene, instance: Instance) -> None:
    def bind(source: str, **more: object) -> dict[str, object]:
        return {"volumes": [{"type": "bind", "source": source, "target": "/x", **more}]}

    services = {
        "inside": bind(str(instance.path / "logs")),
        "outside": bind(str(scene.folder / "shared")),
        "reader": bind(str(scene.folder / "shared"), read_only=True),
    }
    scene.stack(instance, services)
    plan = plan_destroy(scene.context, instance, keep_worktree=False)
    assert (plan.finish_first, plan.grace) == (("outside",), 5)
    kept = plan_destroy(scene.context, instance, keep_worktree=True)
    assert kept.finish_first == ("inside", "outside")
    assert plan_destroy(scene.context, instance, keep_worktree=False, now=True).finish_first == ()
    ended(scene, instance)
    assert "compose_stop" in scene.engine.calls
    assert not scene.engine.resources(instance.uuid)


def test_the_plan_survives_the_journal(scene: Scene, instance: Instance) -> None:
    scene.stack(instance)
    scene.checkout(instance).write({"work": "x"})
    plan = plan_destroy(scene.context, instance, keep_worktree=False)
    assert from_json(DestroyPlan, json.loads(json.dumps(to_json(plan)))) == plan


def test_a_dry_run_removes_nothing(scene: Scene, instance: Instance) -> None:
    scene.stack(instance)
    before = scene.engine.resources(instance.uuid)
    plan = down(scene.context, instance, volumes=True, dry_run=True)
    assert plan.removed == before == scene.engine.resources(instance.uuid)


def test_down_tells_how_it_stops(scene: Scene, instance: Instance) -> None:
    scene.stack(instance)
    told: list[str] = []
    down(scene.context, instance, volumes=False, progress=told.append)
    assert told[0] == "Stopping, each container in its own time; --now kills them at once."
    assert told[1] == " Container ktrdr--feat-x-backend-1  Stopped"


def test_another_of_its_projects_name_is_not_stopped(scene: Scene, instance: Instance) -> None:
    scene.stack(instance, {"ours": {}, "theirs": {}})
    theirs = scene.engine.named("ktrdr--feat-x-theirs-1")
    theirs.labels = {**theirs.labels, LABEL_UUID: "somebody-elses"}
    with pytest.raises(SandboxError, match="network ktrdr--feat-x_default"):  # which it holds
        down(scene.context, instance, volumes=False)
    assert states(scene) == {"ktrdr--feat-x-theirs-1": "running"}
