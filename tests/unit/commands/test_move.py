"""move: another slot, with everything that follows from it, and the data where it was."""

from __future__ import annotations

import pytest

from ktrdr_sandbox import env_file
from ktrdr_sandbox.commands.down import down
from ktrdr_sandbox.commands.move import move
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.models import Instance
from ktrdr_sandbox.slots.port_map import get_ports
from ktrdr_sandbox.state import last_up
from tests.support.processes import foreign_listener, held_slot
from tests.unit.commands.scenes import Scene


def refused(scene: Scene, instance: Instance, slot: int) -> SandboxError:
    with pytest.raises(SandboxError) as caught:
        move(scene.context, instance, slot=slot)
    assert scene.registered()[instance.id].slot == instance.slot
    assert env_file.read(instance.env_file)["SLOT_NUMBER"] == str(instance.slot)
    return caught.value


def test_registry_and_environment_file_follow(scene: Scene) -> None:
    instance = scene.instance()
    with instance.env_file.open("a") as stream:
        stream.write("MINE=yes\n")
    with held_slot() as slot:
        done = move(scene.context, instance, slot=slot)
    assert (done.instance.slot, done.former_slot) == (slot, instance.slot)
    assert scene.registered()[instance.id].slot == slot
    values, ports = env_file.read(instance.env_file), get_ports(slot)
    assert values["SLOT_NUMBER"] == str(slot)
    assert values["KTRDR_API_PORT"] == str(ports["backend"])
    assert values["DB_PORT"] == values["KTRDR_DB_PORT"] == str(ports["db"])
    assert values["KTRDR_WORKER_PORT_4"] == str(ports["worker_base"] + 3)
    assert values["MINE"] == "yes"
    assert values["SANDBOX_UUID"] == instance.uuid


def test_the_data_stays_and_the_network_goes(scene: Scene) -> None:
    instance = scene.instance()
    scene.stack(instance)
    down(scene.context, instance, volumes=False)
    scene.engine.add_network("left", {"ktrdr.sandbox.uuid": instance.uuid})
    with held_slot() as slot:
        move(scene.context, instance, slot=slot)
    assert scene.engine.resources(instance.uuid).names() == ("volume ktrdr--feat-x_data",)


def test_an_instance_with_containers_is_refused(scene: Scene) -> None:
    instance = scene.instance()
    scene.stack(instance, start=False)
    with held_slot() as slot:
        error = refused(scene, instance, slot)
    assert error.code == "not-stopped"
    assert error.hints == ("Stop it first, its data stays: ktrdr-sandbox down feat-x",)


def test_a_taken_slot_is_refused(scene: Scene) -> None:
    instance, other = scene.instance(), scene.instance("other")
    error = refused(scene, instance, other.slot)
    assert error.code == "slot-taken"
    assert error.hints == ("Use another slot: ktrdr-sandbox move feat-x --slot N",)


def test_a_busy_slot_is_refused(scene: Scene) -> None:
    instance = scene.instance()
    with held_slot() as slot, foreign_listener(8000 + slot):
        error = refused(scene, instance, slot)
    assert error.code == "port-conflict"
    assert error.hints[-1].endswith("another slot: ktrdr-sandbox move feat-x --slot N")


def test_its_own_slot_is_no_change(scene: Scene) -> None:
    instance = scene.instance()
    scene.stack(instance)
    assert move(scene.context, instance, slot=instance.slot).instance == instance


def test_a_file_that_is_gone_is_left_to_up(scene: Scene) -> None:
    instance = scene.instance()
    instance.env_file.unlink()
    with held_slot() as slot:
        assert move(scene.context, instance, slot=slot).instance.slot == slot
    assert not instance.env_file.exists()


def test_ports_of_the_former_slot_are_not_shown_any_more(scene: Scene) -> None:
    instance = scene.instance()
    folder = scene.home.state_of(instance.id)
    (folder / "stack.json").write_text(
        f'{{"uuid": "{instance.uuid}", "slot": {instance.slot}, "services": ["db"], "images": [],'
        ' "inputs": {}, "ports": [{"service": "db", "target": 5432, "protocol": "tcp",'
        ' "host_ip": "127.0.0.1", "published": 5433, "role": "db", "variable": "V"}]}'
    )
    assert len(last_up.load(scene.home, instance).ports) == 1
    with held_slot() as slot:
        moved = move(scene.context, instance, slot=slot).instance
    assert last_up.load(scene.home, moved).ports == ()
    assert last_up.load(scene.home, moved).services == ("db",)
