"""What every `Engine` must do: the same tests for the fake engine and for a real one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ktrdr_sandbox.docker.cli import DockerEngine
from ktrdr_sandbox.docker.compose import require_compose
from ktrdr_sandbox.docker.engine import Container, Engine, Resources
from ktrdr_sandbox.docker.environment import current_address, flags
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.models import LABEL_UUID
from ktrdr_sandbox.process import CommandError
from tests.contract.stacks import ContractStack, script, until
from tests.support.fake_engine import FakeEngine

REAL = pytest.param("real", marks=pytest.mark.engine)


@pytest.fixture(params=["fake", "stored", REAL])
def stack(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ContractStack]:
    """A project with nothing in it yet, of which nothing is left afterwards."""
    file = tmp_path / "engine" if request.param == "stored" else None
    made = _real(tmp_path) if request.param == "real" else _fake(tmp_path, file)
    try:
        yield made
    finally:
        made.end()


def _fake(folder: Path, file: Path | None) -> ContractStack:
    return ContractStack(FakeEngine(images=["tiny:1"], file=file), "tiny:1", folder)


def _real(folder: Path) -> ContractStack:
    engine = DockerEngine(current_address(os.environ), os.environ)
    return ContractStack(engine, _tiny_image(engine), folder)


def _tiny_image(engine: Engine) -> str:
    """An image with a shell: the lab's, or one that most machines have."""
    named = os.environ.get("KTRDR_LAB_TINY_IMAGE")
    if named:
        return named
    query = ("image", "ls", "ktrdr-lab/tiny", "--format", "{{.Repository}}:{{.Tag}}")
    made = subprocess.run(
        ["docker", *flags(engine.address), *query], capture_output=True, text=True, check=True
    )
    newest_first = made.stdout.split()
    return newest_first[0] if newest_first else "busybox:latest"


def test_versions_tell_that_the_engine_answers(stack: ContractStack) -> None:
    versions = stack.engine.versions()
    assert versions.client
    assert versions.engine
    assert versions.api
    assert versions.compose[0].isdigit()
    require_compose(versions)


def test_an_unknown_uuid_has_nothing(stack: ContractStack) -> None:
    assert stack.engine.containers(uuid=stack.uuid) == ()
    assert not stack.engine.resources(stack.uuid)
    assert stack.engine.inspect([]) == ()
    assert stack.engine.inspect(["0" * 64]) == ()


# -- Compose: reading ----------------------------------------------------------------------------


def test_the_model_holds_the_services_of_the_calls_profiles(stack: ContractStack) -> None:
    services = {"app": stack.service(), "debug": stack.service(profiles=["debug"])}
    model = stack.engine.compose_config(stack.call(services, volumes=("data",)))
    assert model["name"] == stack.project
    assert set(model["services"]) == {"app"}
    assert model["services"]["app"]["labels"] == stack.labels
    assert model["networks"]["default"]["name"] == f"{stack.project}_default"
    for profiles in (("debug",), ("*",)):
        model = stack.engine.compose_config(stack.call(services, profiles=profiles))
        assert set(model["services"]) == {"app", "debug"}
        assert model["services"]["debug"]["profiles"] == ["debug"]


def test_variables_come_from_the_environment_then_the_file(stack: ContractStack) -> None:
    environment = {"A": "${A}", "B": "${B}", "C": "${C:-default}"}
    call = stack.call(
        {"app": stack.service(environment=environment)},
        variables={"A": "given"},
        env_file="A=file\nB=file\n",
    )
    model = stack.engine.compose_config(call)
    assert model["services"]["app"]["environment"] == {"A": "given", "B": "file", "C": "default"}


def test_paths_are_resolved_unless_told_otherwise(stack: ContractStack) -> None:
    mount = {"type": "bind", "source": "./code", "target": "/code"}
    call = stack.call({"app": stack.service(volumes=[mount])})

    def source(*, resolve: bool) -> str:
        model = stack.engine.compose_config(call, resolve_paths=resolve)
        return str(model["services"]["app"]["volumes"][0]["source"])

    assert source(resolve=True) == str(stack.folder / "code")
    assert source(resolve=False) == "./code"


@pytest.mark.parametrize("text", ["{", '{"services": []}', '{"services": {"app": {}}}'])
def test_a_file_that_is_none_is_told_as_such(stack: ContractStack, text: str) -> None:
    path = stack.folder / "broken.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CommandError) as caught:
        stack.engine.compose_config(stack.call_on(path))
    assert caught.value.code == "compose-file-invalid"
    assert caught.value.outcome.exit_code
    assert caught.value.outcome.stderr


# -- Compose: creating and starting --------------------------------------------------------------


def test_creating_starts_nothing(stack: ContractStack) -> None:
    mount = {"type": "volume", "source": "data", "target": "/data"}
    stack.created(
        {"app": stack.service(volumes=[mount]), "off": stack.service(profiles=["off"])},
        volumes=("data",),
    )
    found = stack.engine.resources(stack.uuid)
    assert [(c.service, c.state) for c in found.containers] == [("app", "created")]
    assert found.networks == (f"{stack.project}_default",)
    assert found.volumes == (f"{stack.project}_data",)
    assert found.names() == (
        f"container {stack.project}-app-1",
        f"network {stack.project}_default",
        f"volume {stack.project}_data",
    )


def test_a_container_is_listed_with_whose_it_is(stack: ContractStack) -> None:
    stack.created({"app": stack.service()})
    listed = stack.container("app")
    assert listed.name == f"{stack.project}-app-1"
    assert listed.image == stack.image
    assert listed.project == stack.project
    assert listed.instance_id == stack.project
    assert listed.uuid == stack.uuid
    assert not listed.oneoff
    assert listed in stack.engine.containers()
    assert stack.engine.containers(ids=[listed.id]) == (listed,)


def test_only_the_named_services_start(stack: ContractStack) -> None:
    services = {
        "app": stack.service(depends_on={"db": {"condition": "service_healthy"}}),
        "db": stack.service(),
    }
    call = stack.created(services)
    stack.engine.compose_start(call, ["app"], progress=lambda _: None)
    states = {c.service: c.state for c in stack.engine.containers(uuid=stack.uuid)}
    assert states == {"app": "running", "db": "created"}


def test_starting_again_changes_nothing(stack: ContractStack) -> None:
    call = stack.started({"app": stack.service()})
    before = stack.engine.inspect([stack.container("app").id])
    stack.engine.compose_start(call, ["app"], progress=lambda _: None)
    assert stack.engine.inspect([stack.container("app").id]) == before


def test_creating_again_replaces_only_what_changed(stack: ContractStack) -> None:
    stack.started({"app": stack.service(), "db": stack.service()})
    app, db = stack.container("app").id, stack.container("db").id
    stack.created({"app": stack.service(environment={"NEW": "1"}), "db": stack.service()})
    assert stack.container("app").id != app
    assert stack.container("db").id == db
    assert stack.container("db").state == "running"


def test_a_service_taken_out_of_the_file_loses_its_container(stack: ContractStack) -> None:
    stack.started({"app": stack.service(), "old": stack.service()})
    stack.created({"app": stack.service()})
    assert [c.service for c in stack.engine.containers(uuid=stack.uuid)] == ["app"]


def test_replicas_are_numbered(stack: ContractStack) -> None:
    stack.created({"worker": stack.service(scale=2)})
    ids = [c.id for c in stack.engine.containers(uuid=stack.uuid)]
    found = {(d.name, d.service, d.replica) for d in stack.engine.inspect(ids)}
    name = f"{stack.project}-worker"
    assert found == {(f"{name}-1", "worker", 1), (f"{name}-2", "worker", 2)}


def test_a_missing_image_is_told_as_such(stack: ContractStack) -> None:
    missing = stack.service(image="ktrdr-contract/none:1", pull_policy="never")
    with pytest.raises(CommandError) as caught:
        stack.created({"app": missing})
    assert caught.value.code == "image-missing"
    assert "ktrdr-contract/none:1" in caught.value.message


def test_progress_comes_in_whole_lines(stack: ContractStack) -> None:
    lines: list[str] = []
    call = stack.call({"app": stack.service()})
    stack.engine.compose_create(call, build=(), progress=lines.append)
    assert any(f"{stack.project}-app-1" in line for line in lines)
    assert not any("\n" in line or "\r" in line for line in lines)


# -- looking into containers ---------------------------------------------------------------------


def test_details_of_a_running_container(stack: ContractStack) -> None:
    health = {"test": ["CMD-SHELL", "exit 0"], "interval": "1h"}
    stack.started({"app": stack.service(environment={"MODE": "a=b"}, healthcheck=health)})
    (detail,) = stack.engine.inspect([stack.container("app").id])
    assert (detail.state, detail.health) == ("running", "starting")
    assert detail.health_test == ("CMD-SHELL", "exit 0")
    assert detail.environment["MODE"] == "a=b"
    assert detail.restart_count == 0
    assert not detail.oom_killed


def test_a_container_that_ended_keeps_its_exit_status(stack: ContractStack) -> None:
    stack.started({"job": stack.service(command=script("exit 3"))})
    ended = stack.container_once("job", "exited")
    (detail,) = stack.engine.inspect([ended.id])
    assert detail.exit_code == 3
    assert "(3)" in ended.status


def test_ids_that_are_gone_are_left_out(stack: ContractStack) -> None:
    stack.created({"app": stack.service()})
    own = stack.container("app").id
    assert [d.id for d in stack.engine.inspect(["f" * 64, own])] == [own]


def test_logs_are_the_last_lines(stack: ContractStack) -> None:
    stack.started({"job": stack.service(command=script("echo one; echo two; echo three; exit 0"))})
    ended = stack.container_once("job", "exited")
    until(lambda: len(stack.engine.logs(ended.id, tail=10)) == 3)
    assert stack.engine.logs(ended.id, tail=2) == ("two", "three")
    assert stack.engine.logs("0" * 64, tail=2) == ()


def test_logs_may_be_long(stack: ContractStack) -> None:
    text = "; ".join(f"echo {number}" for number in range(600))
    stack.started({"job": stack.service(command=script(f"{text}; exit 0"))})
    ended = stack.container_once("job", "exited")
    until(lambda: len(stack.engine.logs(ended.id, tail=1000)) == 600)
    assert stack.engine.logs(ended.id, tail=1000)[0] == "0"


def test_logs_with_the_time_of_each_line(stack: ContractStack) -> None:
    stack.started({"job": stack.service(command=script("echo one; echo two; echo three; exit 0"))})
    ended = stack.container_once("job", "exited").id
    until(lambda: len(stack.engine.logs(ended, tail=9)) == 3)

    def read(*, follow: bool = False, tail: int | None = None, since: str | None = None) -> Any:
        return list(stack.engine.stamped_logs(ended, follow=follow, tail=tail, since=since))

    found = read()
    assert [text for _, text in found] == ["one", "two", "three"]
    stamps = [stamp for stamp, _ in found]
    assert stamps == sorted(stamps)
    assert {len(stamp) for stamp in stamps} == {30}
    assert read(follow=True) == found
    assert read(tail=1) == found[-1:]
    assert read(since=stamps[1])[-2:] == found[1:]


def test_there_are_no_logs_of_a_container_that_is_gone(stack: ContractStack) -> None:
    assert list(stack.engine.stamped_logs("0" * 64, follow=False, tail=None, since=None)) == []


def test_commands_run_inside_a_container(stack: ContractStack) -> None:
    stack.started({"app": stack.service()})
    own = stack.container("app").id
    done = stack.engine.execute(own, script("echo from inside; exit 4"), timeout=30)
    assert (done.exit_code, done.output) == (4, "from inside\n")
    assert stack.engine.execute(own, ["sleep", "60"], timeout=0.5).exit_code is None


def test_a_command_that_is_given_up_ends_inside_the_container(stack: ContractStack) -> None:
    stack.started({"app": stack.service()})
    own = stack.container("app").id
    given_up = stack.engine.execute(own, ["sh", "-c", "sleep 4321"], timeout=1.5)
    assert given_up.exit_code is None
    listed = stack.engine.execute(own, ["sh", "-c", "cat /proc/[0-9]*/cmdline"], timeout=20)
    assert "4321" not in listed.output.replace("\0", "")


def test_no_command_runs_in_a_container_that_does_not(stack: ContractStack) -> None:
    stack.created({"app": stack.service()})
    done = stack.engine.execute(stack.container("app").id, ["true"], timeout=30)
    assert done.exit_code not in (0, None)
    assert "not running" in done.output


def test_a_command_inside_a_container_has_our_streams(
    stack: ContractStack, capfd: pytest.CaptureFixture[str]
) -> None:
    stack.started({"app": stack.service()})
    own = stack.container("app").id
    capfd.readouterr()
    status = stack.engine.execute_here(own, script("echo from inside; exit 4"), terminal=False)
    assert (status, capfd.readouterr().out) == (4, "from inside\n")
    assert stack.engine.execute_here(own, script("exit 0"), terminal=False) == 0


def test_no_command_with_our_streams_in_a_container_that_does_not_run(
    stack: ContractStack,
) -> None:
    stack.created({"app": stack.service()})
    own = stack.container("app").id
    assert stack.engine.execute_here(own, ["true"], terminal=False) != 0


# -- one more container of a service --------------------------------------------------------------


def one_off(stack: ContractStack, text: str, **more: Any) -> Container:
    """A container beside that of a service which publishes a port, running a script."""
    port = {"target": 80, "published": "18999", "host_ip": "127.0.0.1", "protocol": "tcp"}
    waits = {"db": {"condition": "service_healthy"}}
    own = stack.service(environment={"MODE": "same"}, ports=[port], depends_on=waits, **more)
    call = stack.created({"app": own, "db": stack.service()})
    made = stack.engine.compose_run(call, "app", script(text), name=f"{stack.project}-task")
    (found,) = stack.engine.containers(ids=[made])
    return found


def test_one_more_container_is_told_apart(stack: ContractStack) -> None:
    made = one_off(stack, "sleep 600", restart="always")
    assert (made.name, made.service) == (f"{stack.project}-task", "app")
    assert (made.oneoff, made.uuid) == (True, stack.uuid)
    assert (made.state, made.published) == ("running", ())
    others = [c for c in stack.engine.containers(uuid=stack.uuid) if not c.oneoff]
    assert {(c.service, c.state) for c in others} == {("app", "created"), ("db", "created")}
    owned = stack.engine.resources(stack.uuid).containers
    assert made.id in [container.id for container in owned]


def test_its_command_runs_once_and_its_outcome_stays(stack: ContractStack) -> None:
    made = one_off(stack, "echo done; exit 3", restart="always")
    until(lambda: stack.engine.inspect([made.id])[0].state == "exited")
    (detail,) = stack.engine.inspect([made.id])
    assert (detail.exit_code, detail.restart_count) == (3, 0)
    assert detail.command == ("sh", "-c", "echo done; exit 3")
    assert detail.environment["MODE"] == "same"
    assert stack.engine.logs(made.id, tail=5) == ("done",)


def test_what_the_engine_knows_of_a_container(stack: ContractStack) -> None:
    stack.created({"app": stack.service(environment={"MODE": "same"})})
    own = stack.container("app").id
    (found,) = stack.engine.describe(["f" * 64, own])
    assert found["Id"] == own
    assert "MODE=same" in found["Config"]["Env"]
    assert found["Config"]["Labels"][LABEL_UUID] == stack.uuid
    assert stack.engine.describe([]) == []


# -- stopping and removing -----------------------------------------------------------------------


@pytest.mark.parametrize("grace", [0, 1])
def test_a_stopped_container_stays(stack: ContractStack, grace: int) -> None:
    stack.started({"app": stack.service()})
    own = stack.container("app").id
    stack.engine.stop([own], grace=grace)
    assert stack.container_once("app", "exited").id == own
    stack.engine.stop([own], grace=grace)  # what has ended already is no failure


@pytest.mark.parametrize("files", [True, False], ids=["files", "name alone"])
def test_stopping_as_compose_does(stack: ContractStack, files: bool) -> None:
    web = stack.service(depends_on=["db"])
    call = stack.started({"db": stack.service(), "web": web})
    seen: list[str] = []
    if not files:
        call = replace(call, files=())
    stack.engine.compose_stop(call, grace=0, progress=seen.append)
    found = stack.engine.containers(uuid=stack.uuid)
    assert sorted((c.service, c.state) for c in found) == [("db", "exited"), ("web", "exited")]
    stopped = [line for line in seen if line.rstrip().endswith("Stopped")]
    assert ["web" in line for line in stopped] == [True, False], seen
    stack.engine.compose_stop(call, grace=None, progress=seen.append)


def test_only_the_named_services_stop(stack: ContractStack) -> None:
    call = stack.started({"db": stack.service(), "web": stack.service()})
    stack.engine.compose_stop(call, grace=0, progress=lambda _: None, services=["web"])
    assert (stack.container("db").state, stack.container("web").state) == ("running", "exited")


def test_restarting_begins_a_new_run(stack: ContractStack) -> None:
    stack.started({"app": stack.service()})
    own = stack.container("app").id
    (before,) = stack.engine.inspect([own])
    stack.engine.restart([own], grace=0)
    (after,) = stack.engine.inspect([own])
    assert after.state == "running"
    assert after.started_at > before.started_at
    stack.engine.restart([], grace=0)


def test_exactly_what_is_named_is_removed(stack: ContractStack) -> None:
    mount = {"type": "volume", "source": "data", "target": "/data"}
    stack.started({"app": stack.service(volumes=[mount]), "db": stack.service()}, volumes=("data",))
    app = stack.container("app")
    stack.engine.remove(Resources(containers=(app,)), grace=0)
    left = stack.engine.resources(stack.uuid)
    assert [c.service for c in left.containers] == ["db"]
    assert left.networks == (f"{stack.project}_default",)
    assert left.volumes == (f"{stack.project}_data",)
    stack.engine.remove(left, grace=0)
    assert not stack.engine.resources(stack.uuid)
    stack.engine.remove(left, grace=0)  # what is gone already is no failure


def test_what_is_in_use_is_left(stack: ContractStack) -> None:
    mount = {"type": "volume", "source": "data", "target": "/data"}
    stack.started({"app": stack.service(volumes=[mount])}, volumes=("data",))
    found = stack.engine.resources(stack.uuid)
    stack.engine.remove(Resources(networks=found.networks, volumes=found.volumes), grace=0)
    # by name: the age in a container's status has moved on
    assert stack.engine.resources(stack.uuid).names() == found.names()


# -- images and networks -------------------------------------------------------------------------


def test_names_of_images_come_and_go(stack: ContractStack) -> None:
    name = f"{stack.project}:one"
    assert stack.image in stack.engine.images()
    stack.engine.tag(stack.image, name)
    try:
        assert name in stack.engine.images()
    finally:
        stack.engine.untag(name)
    assert name not in stack.engine.images()
    assert stack.image in stack.engine.images()
    stack.engine.untag(name)  # missing is no failure


def test_an_unknown_image_cannot_be_named(stack: ContractStack) -> None:
    with pytest.raises(SandboxError) as caught:
        stack.engine.tag("ktrdr-contract/none:1", "ktrdr-contract/other:1")
    assert caught.value.code == "engine-failed"
    assert "ktrdr-contract/none:1" in caught.value.message


def test_networks_with_their_subnets(stack: ContractStack) -> None:
    name = f"{stack.project}_default"
    stack.started({"app": stack.service()})
    assert stack.engine.networks()[name]
    assert stack.engine.networks()["host"] == ()
    assert name not in stack.engine.unused_networks()
    stack.engine.remove(Resources(containers=(stack.container("app"),)), grace=0)
    assert name in stack.engine.unused_networks()
    assert not {"bridge", "host", "none"} & set(stack.engine.unused_networks())


def test_on_a_network_a_service_has_its_name_until_it_joins_without(stack: ContractStack) -> None:
    name = f"{stack.project}_default"
    aliased = {"networks": {"default": {"aliases": ["www"]}}}
    call = stack.created({"app": stack.service(**aliased), "db": stack.service()})
    own = stack.container("app").id
    (before,) = stack.engine.inspect([own])
    assert set(before.networks[name]) == {"app", "www"}
    for _ in range(2):
        stack.engine.join_unnamed(own, name, links=[f"{stack.project}-db-1:base"])
        (after,) = stack.engine.inspect([own])
        assert after.networks == {name: ()}
    for _ in range(2):  # Compose takes it as it is
        stack.engine.compose_create(call, build=(), progress=lambda _: None)
        stack.engine.compose_start(call, ["app", "db"], progress=lambda _: None)
        (running,) = stack.engine.inspect([own])
        assert (running.state, running.networks) == ("running", {name: ()})


def test_a_container_whose_network_was_removed_is_made_anew(stack: ContractStack) -> None:
    call = stack.started({"app": stack.service(), "db": stack.service()})
    ids = [stack.container(name).id for name in ("app", "db")]
    assert stack.engine.cut_off(ids) == ()
    assert stack.engine.cut_off([]) == ()
    assert stack.engine.cut_off(["f" * 64]) == ()
    stack.engine.stop(ids, grace=0)
    stack.engine.remove(Resources(networks=(f"{stack.project}_default",)), grace=0)
    assert set(stack.engine.cut_off(ids)) == set(ids)
    stack.engine.compose_create(call, build=(), recreate=["app"], progress=lambda _: None)
    app = stack.container("app").id
    assert app not in ids
    assert stack.engine.cut_off([app, ids[1]]) == (ids[1],)
    stack.engine.compose_start(call, ["app"], progress=lambda _: None)
    assert stack.container("app").state == "running"
    with pytest.raises(CommandError):
        stack.engine.compose_start(call, ["db"], progress=lambda _: None)


def test_a_container_that_is_gone_joins_nothing(stack: ContractStack) -> None:
    stack.created({"app": stack.service()})
    app = stack.container("app")
    stack.engine.remove(Resources(containers=(app,)), grace=0)
    stack.engine.join_unnamed(app.id, f"{stack.project}_default", links=())


def test_belongings_tell_whose_everything_is(stack: ContractStack) -> None:
    mount = {"type": "volume", "source": "data", "target": "/data"}
    stack.created({"app": stack.service(volumes=[mount])}, volumes=("data",))
    found = {one.kind: one for one in stack.engine.belongings() if one.uuid == stack.uuid}
    assert set(found) == {"container", "network", "volume"}
    for one in found.values():
        assert one.name.startswith(stack.project)
        assert (one.instance_id, one.project) == (stack.project, stack.project)
        assert (one.home, one.slot) == ("", "")


def test_a_command_of_its_own_in_a_throw_away_container(
    stack: ContractStack, tmp_path: Path
) -> None:
    run = stack.engine.run_once
    binds = {tmp_path: "/bound"}
    assert run(stack.image, ["chown", "-R", "0:0", "/bound"], binds=binds, uuid=stack.uuid) == 0
    assert run("ktrdr-test/none:1", ["true"], binds=binds, uuid=stack.uuid) == 125
    assert not stack.engine.resources(stack.uuid)
