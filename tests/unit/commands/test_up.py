"""up without the gate, on the fake engine: what is checked, written and created."""

from __future__ import annotations

import json
import shutil
import stat
from collections.abc import Mapping
from typing import Any

import pytest

from ktrdr_sandbox import env_file
from ktrdr_sandbox.commands.destroy import destroy
from ktrdr_sandbox.commands.down import down
from ktrdr_sandbox.commands.inspect import status
from ktrdr_sandbox.commands.up import Startup, UpOptions, up
from ktrdr_sandbox.errors import ErrorCode, SandboxError
from ktrdr_sandbox.models import LABEL_ID, LABEL_UUID, Instance
from ktrdr_sandbox.state import last_up
from tests.support.processes import foreign_listener, held_slot
from tests.unit.commands.scenes import FOREVER, IMAGE, Scene

BACKEND = {
    "image": IMAGE,
    "command": FOREVER,
    "container_name": "ktrdr-backend",
    "ports": [{"target": 8000, "published": "8000", "protocol": "tcp", "mode": "ingress"}],
    "volumes": [{"type": "bind", "source": "./logs", "target": "/app/logs", "bind": {}}],
}
DB = {
    "image": IMAGE,
    "command": FOREVER,
    "volumes": [{"type": "volume", "source": "rows", "target": "/rows", "volume": {}}],
}


def checkout_with(
    scene: Scene, services: Mapping[str, Any], *, slot: int | None = None, **more: Any
) -> Instance:
    """An instance whose own Compose file has these services (JSON is YAML)."""
    model = {"services": services, "volumes": {"rows": {}}, **more}
    scene.repository.commit({"docker-compose.yml": json.dumps(model)})
    return scene.create("feat-x", slot=slot).instance


def start(scene: Scene, instance: Instance, *, build: bool = False) -> Startup:
    options = UpOptions(wait=False, build=build)
    return up(scene.context, instance, options, progress=lambda _: None, observe=lambda _: None)


def refused(scene: Scene, instance: Instance, code: ErrorCode) -> SandboxError:
    with pytest.raises(SandboxError) as caught:
        start(scene, instance)
    assert caught.value.code == code
    return caught.value


def test_everything_created_carries_our_labels(scene: Scene) -> None:
    instance = checkout_with(scene, {"backend": BACKEND, "db": DB})
    done = start(scene, instance)
    assert done.gate is None
    found = scene.engine.resources(instance.uuid)
    assert found.names() == (
        "container ktrdr--feat-x-backend-1",
        "container ktrdr--feat-x-db-1",
        "network ktrdr--feat-x_default",
        "volume ktrdr--feat-x_rows",
    )
    for container in scene.engine.held.values():
        assert container.labels[LABEL_UUID] == instance.uuid
        assert container.labels[LABEL_ID] == instance.id
        assert container.detail.state == "running"
        assert container.detail.environment["INSTANCE_ID"] == instance.id


def test_the_slots_port_is_published_on_loopback(scene: Scene) -> None:
    instance = checkout_with(scene, {"backend": BACKEND})
    start(scene, instance)
    (port,) = scene.engine.named("ktrdr--feat-x-backend-1").detail.published
    assert port == ("127.0.0.1", 8000 + instance.slot, 8000, "tcp")


def test_what_teardown_needs_is_noted(scene: Scene) -> None:
    instance = checkout_with(scene, {"backend": BACKEND, "db": DB})
    start(scene, instance)
    kept = last_up.load(scene.home, instance)
    assert kept.services == ("backend", "db")
    assert [(port.service, port.published) for port in kept.ports] == [
        ("backend", 8000 + instance.slot)
    ]
    override = scene.home.state_of(instance.id) / "override.yml"
    assert stat.S_IMODE(override.stat().st_mode) == 0o600


def test_services_without_containers_hold_nothing_up_and_are_not_missed(scene: Scene) -> None:
    needed = {name: {"condition": "service_healthy"} for name in ("db", "cache")}
    services = {
        "backend": {**BACKEND, "depends_on": needed},
        "db": {"provider": {"type": "cloud"}},
        "cache": {**DB, "scale": 0},
    }
    instance = checkout_with(scene, services)
    start(scene, instance)
    found = status(scene.context, instance)
    assert (found.status, found.missing) == ("running", ())
    assert [one.service for one in found.containers] == ["backend"]


def test_missing_bind_sources_are_made_for_whatever_user_the_container_has(scene: Scene) -> None:
    instance = checkout_with(scene, {"backend": BACKEND})
    start(scene, instance)
    logs = instance.path / "logs"
    assert stat.S_IMODE(logs.stat().st_mode) == 0o777
    assert (scene.home.shared / "data").is_dir()


def test_an_existing_bind_source_keeps_its_mode(scene: Scene) -> None:
    instance = checkout_with(scene, {"backend": BACKEND})
    logs = instance.path / "logs"
    logs.mkdir(mode=0o700)
    start(scene, instance)
    assert stat.S_IMODE(logs.stat().st_mode) == 0o700


def test_up_again_changes_nothing(scene: Scene) -> None:
    """Not even its own ports are in its way, which the engine's proxy holds by now."""
    with held_slot() as slot:
        instance = checkout_with(scene, {"backend": BACKEND, "db": DB}, slot=slot)
        start(scene, instance)
        before = [(one.detail.id, one.detail.started_at) for one in scene.engine.held.values()]
        with foreign_listener(8000 + slot):
            start(scene, instance)
    after = [(one.detail.id, one.detail.started_at) for one in scene.engine.held.values()]
    assert after == before


def test_a_whole_life_leaves_nothing(scene: Scene) -> None:
    instance = checkout_with(scene, {"backend": BACKEND, "db": DB})
    start(scene, instance)
    down(scene.context, instance, volumes=False)
    start(scene, instance)
    destroy(scene.context, instance, keep_worktree=False, force=False)
    assert not scene.engine.resources(instance.uuid)
    assert scene.engine.images() == {IMAGE}
    assert not (scene.home.state_of(instance.id) / "stack.json").exists()


def test_an_environment_file_that_was_deleted_is_written_anew(scene: Scene) -> None:
    instance = checkout_with(scene, {"backend": BACKEND})
    before = env_file.read(instance.env_file)
    instance.env_file.unlink()
    start(scene, instance)
    assert env_file.read(instance.env_file) == before
    assert scene.told == [f"{instance.env_file} was missing and has been written anew."]


def test_an_edited_identity_moves_nothing(scene: Scene) -> None:
    instance = checkout_with(
        scene, {"backend": {**BACKEND, "environment": {"WHO": "${INSTANCE_ID} ${SLOT_NUMBER}"}}}
    )
    text = instance.env_file.read_text()
    text = text.replace("INSTANCE_ID=ktrdr--feat-x", "INSTANCE_ID=ktrdr--other")
    instance.env_file.write_text(text.replace(f"SLOT_NUMBER={instance.slot}", "SLOT_NUMBER=77"))
    start(scene, instance)
    environment = scene.engine.named("ktrdr--feat-x-backend-1").detail.environment
    assert environment["WHO"] == f"ktrdr--feat-x {instance.slot}"


# -- refused before anything is created ----------------------------------------------------------


def test_a_busy_port_is_named_with_its_process(scene: Scene) -> None:
    with held_slot() as slot:
        instance = checkout_with(scene, {"backend": BACKEND}, slot=slot)
        with foreign_listener(8000 + slot) as (port, pid):
            error = refused(scene, instance, "port-conflict")
    assert error.message.startswith(f"Port {port} is already in use. This could be another ")
    assert error.message.endswith(f"(pid {pid})")
    assert error.details["slot"] == slot
    assert not scene.engine.resources(instance.uuid)
    assert not (scene.home.state_of(instance.id) / "stack.json").exists()


def test_a_port_that_no_container_will_publish_may_be_busy(scene: Scene) -> None:
    with held_slot() as slot:
        services = {"backend": {**BACKEND, "scale": 0}, "db": DB}
        instance = checkout_with(scene, services, slot=slot)
        with foreign_listener(8000 + slot):
            start(scene, instance)


def test_a_busy_port_of_a_container_is_named_with_the_container(scene: Scene) -> None:
    with held_slot() as slot:
        other = scene.instance("other")
        instance = checkout_with(scene, {"backend": BACKEND}, slot=slot)
        port = {"target": 80, "published": str(8000 + slot), "host_ip": "0.0.0.0"}
        scene.stack(other, {"web": {"ports": [port]}})
        with foreign_listener(8000 + slot):  # the engine's proxy, as the system sees it
            error = refused(scene, instance, "port-conflict")
    assert error.message.splitlines()[1:] == [
        f"  {8000 + slot}: held by container ktrdr--other-web-1"
    ]
    assert error.hints == (
        "Stop what holds it, or use another slot: ktrdr-sandbox move feat-x --slot N",
    )


def test_containers_of_another_stack_with_our_name(scene: Scene) -> None:
    instance = checkout_with(scene, {"backend": BACKEND})
    scene.stack(instance, {"backend": {}}, uuid="somebody-elses")
    error = refused(scene, instance, "compose-failed")
    assert "ktrdr--feat-x-backend-1" in error.message
    assert not scene.engine.resources(instance.uuid)


def test_what_cannot_be_isolated(scene: Scene) -> None:
    instance = checkout_with(scene, {"backend": {**BACKEND, "network_mode": "host", "ports": []}})
    error = refused(scene, instance, "isolation-refused")
    assert error.message.startswith(
        "This Compose file cannot run beside others:\n  backend: network_mode: "
    )
    assert "KTRDR_SANDBOX_ALLOW=" in error.hints[0]
    assert not scene.engine.resources(instance.uuid)


def test_a_file_that_compose_does_not_take(scene: Scene) -> None:
    instance = checkout_with(scene, {"backend": {}})
    refused(scene, instance, "compose-file-invalid")


def test_no_compose_file(scene: Scene) -> None:
    scene.repository.git("rm", "--quiet", "docker-compose.yml")
    scene.repository.commit({"pyproject.toml": '[project]\nname = "other"\n'})
    instance = scene.instance()
    refused(scene, instance, "compose-file-missing")


def test_a_directory_that_is_gone(scene: Scene) -> None:
    instance = checkout_with(scene, {"backend": BACKEND})
    shutil.rmtree(instance.path)
    error = refused(scene, instance, "no-such-instance")
    assert error.hints == ("End what is left of it: ktrdr-sandbox destroy feat-x",)


def test_a_missing_image(scene: Scene) -> None:
    instance = checkout_with(scene, {"backend": {**BACKEND, "image": "nobody/has:it"}})
    refused(scene, instance, "image-missing")


def test_what_is_paused_is_not_started(scene: Scene) -> None:
    instance = checkout_with(scene, {"backend": BACKEND})
    start(scene, instance)
    scene.engine.change("ktrdr--feat-x-backend-1", state="paused")
    error = refused(scene, instance, "compose-failed")
    assert error.hints == ("Resume it: docker unpause ktrdr--feat-x-backend-1",)


def test_an_engine_that_does_not_answer(scene: Scene) -> None:
    instance = checkout_with(scene, {"backend": BACKEND})
    scene.engine.failing = SandboxError("docker-not-answering", "no answer")
    refused(scene, instance, "docker-not-answering")


# -- images --------------------------------------------------------------------------------------


def test_a_built_image_starts_from_the_one_the_base_names(scene: Scene) -> None:
    scene.engine.tag(IMAGE, "ktrdr-backend:dev")
    built = {**BACKEND, "image": "ktrdr-backend:dev", "build": {"context": "."}}
    instance = checkout_with(scene, {"backend": built})
    start(scene, instance)
    own = scene.engine.named("ktrdr--feat-x-backend-1").image
    assert own != "ktrdr-backend:dev"
    assert instance.id in own
    assert own in scene.engine.images()
    destroy(scene.context, instance, keep_worktree=False, force=False)
    assert scene.engine.images() == {IMAGE, "ktrdr-backend:dev"}


def test_an_image_without_a_name_is_built_for_this_instance_and_goes_with_it(scene: Scene) -> None:
    scene.engine.tag(IMAGE, "ktrdr--feat-x-test-web:latest")  # of the instance `feat-x-test`
    build = {"context": ".", "tags": ["web:1"]}
    instance = checkout_with(scene, {"test-web": {"command": FOREVER, "build": build}})
    start(scene, instance)
    assert scene.engine.named("ktrdr--feat-x-test-web-1").image == "ktrdr--feat-x/test-web:latest"
    assert "ktrdr--feat-x/test-web:latest" in scene.engine.images()
    plan = destroy(scene.context, instance, keep_worktree=False, force=False)
    assert plan.images == ("ktrdr--feat-x/test-web:latest", "ktrdr--feat-x/web:1")
    assert scene.engine.images() == {IMAGE, "ktrdr--feat-x-test-web:latest"}


def test_what_the_file_does_not_build_any_more_goes_with_the_instance(scene: Scene) -> None:
    services = {name: {"command": FOREVER, "build": {"context": "."}} for name in ("api", "web")}
    instance = checkout_with(scene, services)
    start(scene, instance)
    model = {"services": {"api": services["api"]}}
    (instance.path / "docker-compose.yml").write_text(json.dumps(model), encoding="utf-8")
    for _ in range(2):
        start(scene, instance)
    plan = destroy(scene.context, instance, keep_worktree=False, force=True)
    assert plan.images == ("ktrdr--feat-x/api:latest", "ktrdr--feat-x/web:latest")
    assert scene.engine.images() == {IMAGE}


@pytest.mark.parametrize("kind", ["volume", "network"])
@pytest.mark.parametrize("labels", [{}, {LABEL_UUID: "another-homes"}], ids=["plain", "other-home"])
def test_a_volume_or_network_of_our_name_that_is_not_ours(
    scene: Scene, kind: str, labels: dict[str, str]
) -> None:
    """Compose would take it over, with the data of somebody else in it."""
    instance = checkout_with(scene, {"db": DB})
    if kind == "volume":
        scene.engine.add_volume(f"{instance.id}_rows", labels)
    else:
        scene.engine.add_network(f"{instance.id}_default", labels)
    error = refused(scene, instance, "compose-failed")
    assert f"{kind} {instance.id}_" in error.message
    assert scene.engine.held == {}
