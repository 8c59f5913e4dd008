from __future__ import annotations

import stat
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import filelock
import pytest

from ktrdr_sandbox import env_file
from ktrdr_sandbox.commands.create import CreatePlan, create, init
from ktrdr_sandbox.errors import ErrorCode, SandboxError
from ktrdr_sandbox.models import EngineAddress
from ktrdr_sandbox.settings import CHECKOUT_FILE
from ktrdr_sandbox.state import journal
from tests.support.processes import foreign_listener, held_slot
from tests.support.repositories import GitRepository
from tests.unit.commands.scenes import Scene
from tests.unit.state.instances import an_instance


def refused(scene: Scene, code: ErrorCode, **arguments: object) -> SandboxError:
    with pytest.raises(SandboxError) as caught:
        scene.create(**arguments)  # type: ignore[arg-type]
    assert caught.value.code == code
    return caught.value


def nothing_is_left(scene: Scene, *, branches: tuple[str, ...] = ("main",)) -> None:
    assert scene.registered() == {}
    assert scene.repository.worktrees() == [scene.repository.root]
    assert tuple(scene.repository.branches()) == branches
    assert list(scene.folder.glob("ktrdr--*")) == []
    assert not any((scene.home.sandbox / "instances").glob("*"))
    exclude = scene.repository.root / ".git" / "info" / "exclude"
    assert not (exclude.exists() and ".env.sandbox" in exclude.read_text())
    assert scene.repository.git("status", "--porcelain") == ""


# -- create --------------------------------------------------------------------------------------


def test_everything_is_in_place(scene: Scene) -> None:
    made = scene.create("feat-x")
    instance = made.instance
    assert instance.path == scene.folder / "ktrdr--feat-x"
    assert (made.branch, made.new_branch) == ("feat-x", True)
    checkout = scene.checkout(instance)
    assert checkout.git("branch", "--show-current") == "feat-x\n"
    assert checkout.git("status", "--porcelain") == ""
    values = env_file.read(instance.env_file)
    assert values["INSTANCE_ID"] == "ktrdr--feat-x"
    assert values["SLOT_NUMBER"] == str(instance.slot)
    assert values["KTRDR_API_PORT"] == str(made.ports["backend"])
    assert values["KTRDR_WORKER_PORT_4"] == str(made.ports["worker_base"] + 3)
    assert values["SANDBOX_UUID"] == instance.uuid
    assert values["KTRDR_SHARED_DIR"] == str(scene.home.shared)
    assert stat.S_IMODE(instance.env_file.stat().st_mode) == 0o600
    assert scene.registered() == {"ktrdr--feat-x": instance}
    assert instance.state == "created"
    assert instance.created_by == "create"
    assert instance.is_worktree
    assert instance.parent_repo == scene.repository.root


def test_the_engine_of_the_moment_is_recorded(scene: Scene) -> None:
    scene.context = replace(scene.context, environment={"DOCKER_HOST": "ssh://me@big"})
    assert scene.instance().engine == EngineAddress(host="ssh://me@big")
    assert scene.registered()["ktrdr--feat-x"].engine == EngineAddress(host="ssh://me@big")
    assert scene.engine.calls == []


def test_instances_get_different_slots(scene: Scene) -> None:
    slots = [scene.instance(name).slot for name in ("a", "b", "c")]
    assert len(set(slots)) == 3
    assert slots == sorted(slots)


def test_from_inside_an_instance_the_place_is_still_beside_the_main_worktree(scene: Scene) -> None:
    first = scene.instance("first")
    head = scene.checkout(first).commit({"a": "x"})
    (first.path / "deep").mkdir()
    scene.context = scene.at(first.path / "deep")
    second = scene.instance("second")
    assert second.path == scene.folder / "ktrdr--second"
    assert second.parent_repo == scene.repository.root
    assert scene.checkout(second).head() == head


def test_a_name_with_its_prefix_is_the_same_name(scene: Scene) -> None:
    assert scene.instance("ktrdr--feat-x").name == "feat-x"
    refused(scene, "directory-exists", name="feat-x")


def test_a_slot_whose_port_is_held_is_passed_over(scene: Scene) -> None:
    with held_slot() as slot, foreign_listener(9090 + slot) as (port, pid):
        error = refused(scene, "port-conflict", slot=slot)
        assert error.message.startswith(f"Port {port} is already in use. This could be another ")
        assert error.message.endswith(f"(pid {pid})")
        nothing_is_left(scene)


def test_the_worker_ports_count_too(scene: Scene) -> None:
    with held_slot() as slot, foreign_listener(5000 + slot * 10 + 3) as (port, _):
        error = refused(scene, "port-conflict", slot=slot)
        assert [entry["port"] for entry in error.details["ports"]] == [port]


def test_the_address_of_the_settings_counts(scene: Scene) -> None:
    (scene.repository.root / CHECKOUT_FILE).write_text('bind_address = "nonsense"\n')
    refused(scene, "bad-settings")
    (scene.repository.root / CHECKOUT_FILE).unlink()
    nothing_is_left(scene)


# -- whatever breaks, nothing remains ------------------------------------------------------------


def test_bad_name(scene: Scene) -> None:
    refused(scene, "usage", name="a/b")
    nothing_is_left(scene)


def test_no_such_branch(scene: Scene) -> None:
    refused(scene, "worktree-failed", branch="nowhere")
    nothing_is_left(scene)


@pytest.mark.parametrize("kind", ["directory", "file", "dangling-link"])
def test_something_in_its_place(scene: Scene, kind: str) -> None:
    path = scene.path_of("feat-x")
    if kind == "directory":
        path.mkdir()
    elif kind == "file":
        path.touch()
    else:
        path.symlink_to("nowhere")
    refused(scene, "directory-exists")
    path.rmdir() if kind == "directory" else path.unlink()
    nothing_is_left(scene)


def test_a_taken_slot(scene: Scene) -> None:
    first = scene.instance("first")
    refused(scene, "slot-taken", slot=first.slot)
    assert list(scene.registered()) == ["ktrdr--first"]
    assert "feat-x" not in scene.repository.branches()


def failing_filter(scene: Scene) -> None:
    scene.repository.commit({".gitattributes": "*.secret filter=vault\n", "a.secret": "x"})
    for key, value in {"clean": "cat", "smudge": "false", "required": "true"}.items():
        scene.repository.git("config", f"filter.vault.{key}", value)


def test_a_checkout_that_fails(scene: Scene) -> None:
    failing_filter(scene)
    refused(scene, "worktree-failed")
    nothing_is_left(scene)


@pytest.mark.parametrize("exists", [True, False])
def test_an_environment_file_that_cannot_be_written(scene: Scene, exists: bool) -> None:
    if exists:
        scene.repository.git("branch", "feat-x")
    scene.hook("mkdir -p .env.sandbox/in-the-way")
    refused(scene, "cannot-write")
    nothing_is_left(scene, branches=("feat-x", "main") if exists else ("main",))


def test_an_exclude_file_that_cannot_be_written(scene: Scene) -> None:
    info = scene.repository.root / ".git" / "info"
    for path in info.iterdir():
        path.unlink()
    info.rmdir()
    info.touch()
    refused(scene, "cannot-write")
    nothing_is_left(scene)


def test_a_registry_that_cannot_be_written(scene: Scene) -> None:
    scene.home.sandbox.parent.mkdir(parents=True)
    scene.home.sandbox.touch()
    refused(scene, "cannot-write")
    scene.home.sandbox.unlink()
    nothing_is_left(scene)


def test_a_registry_that_a_newer_program_took_over_meanwhile(scene: Scene) -> None:
    newer = '{"version": 2}'
    scene.hook(f"echo '{newer}' > {scene.home.registry}")
    refused(scene, "registry-newer")
    assert scene.home.registry.read_text() == f"{newer}\n"
    scene.home.registry.unlink()
    nothing_is_left(scene)


def test_after_a_failure_the_same_command_succeeds(scene: Scene) -> None:
    failing_filter(scene)
    refused(scene, "worktree-failed")
    scene.repository.git("config", "filter.vault.smudge", "cat")
    assert scene.instance().slot


def test_an_entry_whose_directory_was_deleted_is_in_the_way(scene: Scene) -> None:
    instance = scene.instance()
    scene.checkout(instance).git("worktree", "remove", "--force", str(instance.path))
    error = refused(scene, "instance-exists")
    assert "ktrdr-sandbox destroy feat-x" in error.hints[0]


# -- init ----------------------------------------------------------------------------------------


@pytest.fixture
def clone(scene: Scene) -> GitRepository:
    return scene.repository.clone(scene.folder / "My KTRDR")


def test_a_clone_becomes_an_instance_where_it_is(scene: Scene, clone: GitRepository) -> None:
    (clone.root / "deep").mkdir()
    made = init(scene.at(clone.root / "deep"), slot=None)
    instance = made.instance
    assert (instance.id, instance.path) == ("ktrdr--my-ktrdr", clone.root)
    assert (instance.created_by, instance.is_worktree) == ("init", False)
    assert instance.parent_repo is None
    assert env_file.read(instance.env_file)["INSTANCE_ID"] == "ktrdr--my-ktrdr"
    assert clone.git("status", "--porcelain") == ""
    assert clone.git("branch", "--show-current") == "main\n"
    assert list(scene.registered()) == ["ktrdr--my-ktrdr"]


def test_a_linked_worktree_knows_its_parent(scene: Scene) -> None:
    linked = scene.repository.add_worktree(scene.folder / "ktrdr--by-hand", "-b", "x")
    instance = init(scene.at(linked.root), slot=None).instance
    assert instance.id == "ktrdr--by-hand"
    assert (instance.is_worktree, instance.parent_repo) == (True, scene.repository.root)
    assert instance.created_by == "init"


def test_a_second_init_is_refused(scene: Scene, clone: GitRepository) -> None:
    init(scene.at(clone.root), slot=None)
    for remove in (False, True):
        if remove:
            (clone.root / ".env.sandbox").unlink()
        with pytest.raises(SandboxError) as caught:
            init(scene.at(clone.root), slot=None)
        assert caught.value.code == "already-initialised"
        assert "ktrdr--my-ktrdr" in caught.value.message


def test_a_marked_directory_of_another_registry_is_refused(
    scene: Scene, clone: GitRepository
) -> None:
    clone.write({".env.sandbox": "INSTANCE_ID=ktrdr--theirs\n"})
    with pytest.raises(SandboxError) as caught:
        init(scene.at(clone.root), slot=None)
    assert caught.value.code == "already-initialised"
    assert "ktrdr--theirs" in caught.value.message


def test_directories_of_one_name_become_instances_of_different_names(scene: Scene) -> None:
    scene.instance("feat-x")
    clones = [
        scene.repository.clone(scene.folder / context / "ktrdr--feat-x").root
        for context in ("a", "b")
    ]
    made = [init(scene.at(root), slot=None).instance for root in clones]
    assert [one.id for one in made] == ["ktrdr--feat-x-2", "ktrdr--feat-x-3"]
    for root, one in zip(clones, made, strict=True):
        values = env_file.read(root / ".env.sandbox")
        assert values["INSTANCE_ID"] == values["COMPOSE_PROJECT_NAME"] == one.id
        with pytest.raises(SandboxError) as caught:
            init(scene.at(root), slot=None)
        assert caught.value.code == "already-initialised"
        assert one.id in caught.value.message
    assert len(scene.registered()) == 3


def test_a_name_that_another_instance_is_at_work_under_is_not_waited_for(scene: Scene) -> None:
    other = scene.instance("feat-x")
    root = scene.repository.clone(scene.folder / "elsewhere" / "ktrdr--feat-x").root
    with filelock.FileLock(scene.home.instance_lock(other.id)):
        assert init(scene.at(root), slot=None).instance.name == "feat-x-2"
    assert not any("Waiting" in sentence for sentence in scene.told)


def test_a_name_that_is_taken_while_its_lock_is_waited_for(scene: Scene) -> None:
    """Of two that began at once, one gets the lock first."""
    root = scene.repository.clone(scene.folder / "elsewhere" / "ktrdr--feat-x").root
    lock = filelock.FileLock(scene.home.instance_lock("ktrdr--feat-x"), thread_local=False)
    with lock, ThreadPoolExecutor() as pool:
        waiting = pool.submit(init, scene.at(root), slot=None)
        while not scene.told:
            assert not waiting.done()
            time.sleep(0.01)
        quicker = an_instance("feat-x", slot=10)
        scene.context.registry.add(quicker)
        lock.release()
        assert waiting.result(timeout=60).instance.name == "feat-x-2"
    assert scene.registered()[quicker.id] == quicker


def test_an_init_that_was_killed_under_another_name_is_no_finished_one(scene: Scene) -> None:
    scene.instance("feat-x")
    root = scene.repository.clone(scene.folder / "elsewhere" / "ktrdr--feat-x").root
    made = init(scene.at(root), slot=None).instance.with_state("creating")
    scene.context.registry.add(made)
    plan = CreatePlan(instance=made, main=root, common_dir=root / ".git")
    with suppress(KeyError), journal.operation(scene.home, made.id, "init", plan) as log:
        log.owing = True
        log.begin("slot")
        log.begin("marker")
        raise KeyError("killed")
    assert journal.exists(scene.home, made.id)
    again = init(scene.at(root), slot=None).instance
    assert again.id == made.id
    assert again.uuid != made.uuid
    assert not journal.exists(scene.home, made.id)


def test_a_repository_without_compose_file_and_of_another_name(scene: Scene) -> None:
    scene.repository.git("rm", "--quiet", "docker-compose.yml")
    scene.repository.commit({"pyproject.toml": '[project]\nname = "other"\n'})
    with pytest.raises(SandboxError) as caught:
        init(scene.context, slot=None)
    assert caught.value.code == "not-a-repository"
    nothing_is_left(scene)


def test_a_failed_init_leaves_the_checkout_as_it_was(scene: Scene, clone: GitRepository) -> None:
    clone.write({"work": "x"})
    (clone.root / ".env.sandbox").mkdir()
    (clone.root / ".env.sandbox" / "in-the-way").touch()
    with pytest.raises(SandboxError) as caught:
        init(scene.at(clone.root), slot=None)
    assert caught.value.code == "cannot-write"
    assert (clone.root / "work").exists()
    assert (clone.root / ".env.sandbox" / "in-the-way").exists()
    assert scene.registered() == {}
    assert ".env.sandbox" not in (clone.root / ".git" / "info" / "exclude").read_text()


# -- what is only shown --------------------------------------------------------------------------


def test_a_dry_run_makes_nothing_and_leaves_no_lock(scene: Scene) -> None:
    shown = create(scene.context, name="feat-x", branch=None, slot=None, dry_run=True)
    assert (shown.branch, shown.new_branch) == ("feat-x", True)
    assert shown.instance.slot >= 1
    nothing_is_left(scene)
    assert init(scene.context, slot=None, dry_run=True).instance.path == scene.repository.root
    nothing_is_left(scene)
    locks = {path.name for path in (scene.home.sandbox / "locks").iterdir()}
    assert not any(name.startswith("ktrdr--") for name in locks), locks


def test_a_create_that_fails_leaves_no_lock(scene: Scene) -> None:
    refused(scene, "worktree-failed", branch="nowhere")
    assert not scene.home.instance_lock("ktrdr--feat-x").exists()
