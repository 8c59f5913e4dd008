from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import Any

import pytest

from ktrdr_sandbox.commands.inspect import Summary, Workers, list_instances, status, status_of_all
from ktrdr_sandbox.commands.logs import LogRequest, collected_logs, shown_logs
from ktrdr_sandbox.docker.engine import Engine
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.models import EngineAddress, Instance
from tests.support.http_server import HttpServer, Reply, reply_json
from tests.unit.commands.scenes import Scene


@pytest.fixture
def instance(scene: Scene) -> Instance:
    return scene.instance("feat-x")


def listed(scene: Scene) -> dict[str, Summary]:
    return {row.instance.name: row.status for row in list_instances(scene.context).instances}


def recorded(scene: Scene, instance: Instance, **fields: Any) -> None:
    """What an `up` would have noted."""
    document = {
        "uuid": instance.uuid,
        "slot": instance.slot,
        "services": [],
        "ports": [],
        "images": [],
        "inputs": {},
        **fields,
    }
    state = scene.home.state_of(instance.id)
    state.mkdir(parents=True, exist_ok=True)
    (state / "stack.json").write_text(json.dumps(document), encoding="utf-8")


# -- list ----------------------------------------------------------------------------------------


def test_nothing_is_registered(scene: Scene) -> None:
    found = list_instances(scene.context)
    assert (found.instances, found.dropped) == ((), ())
    assert scene.addresses == []


def test_rows_are_in_slot_order_with_their_api_port(scene: Scene) -> None:
    made = [scene.create(name) for name in ("z", "a", "m")]
    rows = list_instances(scene.context).instances
    assert [row.instance for row in rows] == [one.instance for one in made]
    assert [row.api_port for row in rows] == [one.ports["backend"] for one in made]


def test_one_question_to_each_engine(scene: Scene) -> None:
    for name in ("a", "b", "c"):
        scene.stack(scene.instance(name))
    scene.engine.calls.clear()
    list_instances(scene.context)
    assert scene.engine.calls == ["containers"]


def test_a_stack_in_each_state(scene: Scene, instance: Instance) -> None:
    assert listed(scene) == {"feat-x": "stopped"}
    scene.stack(instance)
    assert listed(scene) == {"feat-x": "running"}
    scene.engine.change("ktrdr--feat-x-db-1", state="exited", exit_code=1)
    assert listed(scene) == {"feat-x": "partial"}
    scene.engine.change("ktrdr--feat-x-backend-1", state="exited", exit_code=1)
    assert listed(scene) == {"feat-x": "stopped"}


def test_a_job_that_ended_well_does_not_count_against_it(scene: Scene, instance: Instance) -> None:
    scene.stack(instance, {"backend": {}, "migrate": {"command": ["sh", "-c", "exit 0"]}})
    assert listed(scene) == {"feat-x": "running"}
    scene.stack(instance, {"backend": {}, "migrate": {"command": ["sh", "-c", "exit 1"]}})
    assert listed(scene) == {"feat-x": "partial"}


def test_a_one_off_container_is_no_part_of_it(scene: Scene, instance: Instance) -> None:
    call = scene.stack(instance)
    argv = ["sh", "-c", "exit 1"]
    scene.engine.compose_run(call, "backend", argv, name=f"{instance.id}-migration")
    assert listed(scene) == {"feat-x": "running"}
    shown = status(scene.context, instance)
    assert (shown.status, len(shown.containers)) == ("running", 2)


def test_containers_of_others_do_not_count(scene: Scene, instance: Instance) -> None:
    scene.stack(instance, uuid="somebody-elses")
    assert listed(scene) == {"feat-x": "stopped"}


@pytest.mark.parametrize("state", ["creating", "removing"])
def test_a_command_half_way(scene: Scene, instance: Instance, state: Any) -> None:
    scene.context.registry.add(instance.with_state(state))
    assert listed(scene) == {"feat-x": state}


def test_a_directory_that_is_gone_while_something_is_left(scene: Scene, instance: Instance) -> None:
    scene.stack(instance)
    shutil.rmtree(instance.path)
    assert listed(scene) == {"feat-x": "orphaned"}
    assert instance.id in scene.registered()


def test_a_volume_alone_is_something(scene: Scene, instance: Instance) -> None:
    scene.stack(instance)
    shutil.rmtree(instance.path)
    found = scene.engine.resources(instance.uuid)
    scene.engine.remove(replace(found, volumes=()), grace=0)
    assert listed(scene) == {"feat-x": "orphaned"}


def test_a_directory_that_is_gone_and_nothing_left(scene: Scene, instance: Instance) -> None:
    recorded(scene, instance)
    shutil.rmtree(instance.path)
    found = list_instances(scene.context)
    assert (found.instances, found.dropped) == ((), (instance,))
    assert scene.registered() == {}
    assert not scene.home.state_of(instance.id).exists()


def test_an_image_tag_alone_is_something(scene: Scene, instance: Instance) -> None:
    recorded(scene, instance, images=["ktrdr--feat-x/app:dev"])
    scene.engine.tag("tiny:1", "ktrdr--feat-x/app:dev")
    shutil.rmtree(instance.path)
    assert listed(scene) == {"feat-x": "orphaned"}


def test_an_engine_that_does_not_answer_is_told_once(scene: Scene) -> None:
    for name in ("a", "b"):
        scene.instance(name)
    scene.engine.failing = SandboxError("docker-not-answering", "Docker does not answer")
    assert listed(scene) == {"a": "unknown", "b": "unknown"}
    assert scene.told == ["Docker does not answer"]


def test_without_an_answer_nothing_is_dropped(scene: Scene, instance: Instance) -> None:
    shutil.rmtree(instance.path)
    scene.engine.failing = SandboxError("docker-not-answering", "Docker does not answer")
    assert listed(scene) == {"feat-x": "orphaned"}
    assert instance.id in scene.registered()


def test_one_silent_engine_does_not_hide_the_others(scene: Scene, instance: Instance) -> None:
    scene.stack(instance)
    far = replace(scene.instance("far"), engine=EngineAddress(host="ssh://far"))
    scene.context.registry.add(far)
    here = scene.context.engine

    def engine(address: EngineAddress) -> Engine:
        if address == far.engine:
            raise SandboxError("docker-not-answering", "ssh://far does not answer")
        return here(address)

    scene.context = replace(scene.context, engine=engine)
    assert listed(scene) == {"feat-x": "running", "far": "unknown"}


# -- status --------------------------------------------------------------------------------------


def test_before_the_first_up_the_ports_are_the_slots(scene: Scene) -> None:
    made = scene.create("feat-x")
    found = status(scene.context, made.instance)
    assert (found.status, found.containers, found.missing) == ("stopped", (), ())
    assert found.ports == ()
    assert found.named_ports == made.ports


def test_containers_ports_and_what_is_missing(scene: Scene, instance: Instance) -> None:
    port = port_of("backend", "backend", 8001)
    recorded(scene, instance, services=["backend", "db", "grafana"], ports=[port])
    scene.stack(instance)
    found = status(scene.context, instance)
    assert [one.service for one in found.containers] == ["backend", "db"]
    assert found.missing == ("grafana",)
    assert [one.published for one in found.ports] == [8001]
    assert found.status == "partial"


def port_of(service: str, role: str, published: int) -> dict[str, Any]:
    return {
        "service": service,
        "target": 8000,
        "protocol": "tcp",
        "host_ip": "127.0.0.1",
        "published": published,
        "role": role,
        "variable": f"KTRDR_{service}",
    }


@pytest.mark.parametrize(
    ("reply", "registered"),
    [
        (reply_json([]), 0),
        (reply_json({"workers": [{"worker_id": "w"}]}), 1),
        (reply_json({}, status=404), None),
        (reply_json("busy"), None),
    ],
)
def test_workers_that_have_not_registered(
    scene: Scene, instance: Instance, reply: Reply, registered: int | None
) -> None:
    with HttpServer({"/api/v1/workers": reply}) as server:
        ports = [port_of("backend", "backend", server.port), port_of("w", "worker", 5010)]
        recorded(scene, instance, services=["backend", "w"], ports=ports)
        scene.stack(instance, {"backend": {}, "w": {}})
        expected = None if registered is None else Workers(registered=registered, expected=1)
        assert status(scene.context, instance).workers == expected
        assert list_instances(scene.context).instances[0].workers == expected


def test_a_stopped_stack_misses_nothing(scene: Scene, instance: Instance) -> None:
    recorded(scene, instance, services=["backend", "db"])
    assert status(scene.context, instance).missing == ()


@pytest.mark.parametrize("text", ["", "garbage", "[]", '{"uuid": "another"}'])
def test_a_record_of_no_use_is_none(scene: Scene, instance: Instance, text: str) -> None:
    recorded(scene, instance)
    (scene.home.state_of(instance.id) / "stack.json").write_text(text)
    assert status(scene.context, instance).ports == ()


def test_status_needs_an_answer(scene: Scene, instance: Instance) -> None:
    scene.engine.failing = SandboxError("docker-not-answering", "no answer")
    with pytest.raises(SandboxError) as caught:
        status(scene.context, instance)
    assert caught.value.code == "docker-not-answering"


def test_all_in_detail_by_slot_with_one_question(scene: Scene) -> None:
    made = [scene.create(name).instance for name in ("z", "a", "m")]
    scene.stack(made[1])
    scene.addresses.clear()
    found = status_of_all(scene.context)
    assert len(scene.addresses) == 1
    assert [one.instance for one in found] == made
    assert [one.status for one in found] == ["stopped", "running", "stopped"]
    assert found[1] == status(scene.context, made[1])


def test_all_without_an_answer(scene: Scene, instance: Instance) -> None:
    scene.engine.failing = SandboxError("docker-not-answering", "no answer")
    (found,) = status_of_all(scene.context)
    assert (found.instance, found.status, found.containers) == (instance, "unknown", ())


def test_all_of_none(scene: Scene) -> None:
    assert status_of_all(scene.context) == []
    assert scene.addresses == []


# -- logs ----------------------------------------------------------------------------------------

TALKATIVE = {
    "backend": {"command": ["sh", "-c", "echo b1; echo b2; exit 0"]},
    "db": {"command": ["sh", "-c", "echo d1; exit 0"]},
}


def lines(scene: Scene, instance: Instance, request: LogRequest) -> dict[str, list[str]]:
    document = collected_logs(scene.context, instance, request)
    assert document["instance"] == instance.id
    return {one["service"]: one["lines"] for one in document["containers"]}


def test_lines_by_container(scene: Scene, instance: Instance) -> None:
    scene.stack(instance, TALKATIVE)
    assert lines(scene, instance, LogRequest()) == {"backend": ["b1", "b2"], "db": ["d1"]}
    only = LogRequest(services=("backend",), tail=1)
    assert lines(scene, instance, only) == {"backend": ["b2"]}


def test_a_service_that_is_not_there(scene: Scene, instance: Instance) -> None:
    scene.stack(instance, TALKATIVE)
    for ask in (shown_logs, collected_logs):
        with pytest.raises(SandboxError) as caught:
            ask(scene.context, instance, LogRequest(services=("db", "nope")))
        assert caught.value.code == "no-such-service"
        assert caught.value.message == (
            "ktrdr--feat-x has no service 'nope'. Services: backend, db."
        )


def test_no_containers_no_logs(scene: Scene, instance: Instance) -> None:
    with pytest.raises(SandboxError) as caught:
        shown_logs(scene.context, instance, LogRequest())
    assert caught.value.code == "no-such-service"
    assert caught.value.hints == ("Start it: ktrdr-sandbox up feat-x",)


def test_logs_of_others_are_not_shown(scene: Scene, instance: Instance) -> None:
    scene.stack(instance, TALKATIVE, uuid="somebody-elses")
    with pytest.raises(SandboxError) as caught:
        shown_logs(scene.context, instance, LogRequest())
    assert caught.value.code == "no-such-service"


def test_lines_since_a_time_are_all_there_are(scene: Scene, instance: Instance) -> None:
    many = "; ".join(f"echo {number}" for number in range(1, 151))
    scene.stack(instance, {"backend": {"command": ["sh", "-c", f"{many}; exit 0"]}})
    since = "2026-01-01T00:00:11.000000000Z"  # the engine of these tests prints a line each second
    assert lines(scene, instance, LogRequest(since=since)) == {
        "backend": [str(number) for number in range(11, 151)]
    }
    assert lines(scene, instance, LogRequest(since=since, tail=2)) == {"backend": ["149", "150"]}
    assert len(lines(scene, instance, LogRequest())["backend"]) == 100


def test_a_document_has_an_end(scene: Scene, instance: Instance) -> None:
    with pytest.raises(SandboxError) as caught:
        collected_logs(scene.context, instance, LogRequest(follow=True, since="10m"))
    assert caught.value.code == "usage"


def shown(scene: Scene, instance: Instance, request: LogRequest) -> list[str]:
    found = [line for line in shown_logs(scene.context, instance, request) if line is not None]
    return [f"{line.source} {line.text}" for line in found]


def test_lines_of_all_containers_by_time(scene: Scene, instance: Instance) -> None:
    scene.stack(instance, TALKATIVE)
    assert shown(scene, instance, LogRequest()) == ["backend-1 b1", "db-1 d1", "backend-1 b2"]
    assert shown(scene, instance, LogRequest(tail=1)) == ["db-1 d1", "backend-1 b2"]


def test_logs_are_shown_though_the_directory_is_gone(scene: Scene, instance: Instance) -> None:
    scene.stack(instance, TALKATIVE)
    shutil.rmtree(instance.path)
    assert shown(scene, instance, LogRequest(services=("db",))) == ["db-1 d1"]
