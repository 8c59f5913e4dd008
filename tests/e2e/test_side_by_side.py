"""Two instances beside the main environment: ready, apart from each other, and gone again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from ktrdr_sandbox.commands.demo import greet_as
from tests.e2e.plain import PlainStack, is_listening, make_way
from tests.support.http import eventually, get_json, post_json
from tests.support.stacks import (
    Sandbox,
    Stack,
    commit,
    docker,
    git,
    image_id,
    images,
    leftovers,
    sandbox,
)

pytestmark = [
    pytest.mark.engine,
    pytest.mark.xdist_group("chosen slots"),
    pytest.mark.timeout(300),
]

SERVICES = {
    "db",
    "backend",
    "jaeger",
    "prometheus",
    "grafana",
    "backtest-worker-1",
    "backtest-worker-2",
    "training-worker-1",
    "training-worker-2",
    "mcp-local",
    "mcp-preprod",
}
VOLUMES = 5
NETWORKS = 1

JAEGER_OTLP_HTTP = 4318
"""Published by main, or by another that main makes way for, and the port of slot 1 for OTLP."""

BASE_IMAGE = "ktrdr-backend:dev"


@dataclass
class Room:
    """The main environment and what stands beside it."""

    sandbox: Sandbox
    main: PlainStack
    main_port: int
    names: tuple[str, str]
    stacks: dict[str, Stack] = field(default_factory=dict)

    @property
    def main_api(self) -> str:
        return f"http://127.0.0.1:{self.main_port}/api/v1"

    def pair(self) -> tuple[Stack, Stack]:
        """Both instances, running: whichever is not is created or started."""
        for name in self.names:
            listed = self.sandbox.listed().get(name)
            if listed is None:
                self.stacks[name] = self.sandbox.create(name, any_slot=True)
            if listed is None or listed["status"] != "running":
                self.sandbox.up(self.stacks[name]).expect(0)
        one, two = self.names
        return self.stacks[one], self.stacks[two]


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory, mark: str) -> Iterator[Room]:
    names = (f"{mark}-one", f"{mark}-two")
    with sandbox(tmp_path_factory.mktemp("side-by-side") / "place") as made:
        made.make_repository(branches=names)
        main = PlainStack(made.repository, f"{mark}-main")
        ports = make_way(made.repository, prefix=main.project)
        if git("status", "--porcelain", cwd=made.repository):
            commit(made.repository, "Make way for others on this machine")
        with main.running(images_written=[BASE_IMAGE]):
            # Its port decides the slots. The rest of main comes up while the instances do.
            eventually(lambda: is_listening(JAEGER_OTLP_HTTP))
            found = Room(made, main, ports[8000], names)
            found.pair()
            eventually(lambda: get_json(f"{found.main_api}/info"))
            yield found
            made.finish()


@pytest.fixture
def pair(room: Room) -> tuple[Stack, Stack]:
    return room.pair()


def test_slot_1_is_passed_over_while_main_holds_its_port(pair: tuple[Stack, Stack]) -> None:
    for stack in pair:
        assert JAEGER_OTLP_HTTP in stack.skipped["1"]
    slots = {stack.slot for stack in pair}
    assert len(slots) == 2
    assert 1 not in slots


def test_each_answers_on_its_own_port_as_itself(room: Room, pair: tuple[Stack, Stack]) -> None:
    for stack in pair:
        assert stack.ports["backend"] == 8000 + stack.slot
        answer = stack.get("/api/v1/info")
        assert answer["instance_id"] == stack.id
        assert answer["greeting"] == stack.name, "the code of the branch of that name"
    main = get_json(f"{room.main_api}/info")
    assert (main["instance_id"], main["greeting"]) == ("", "hello from main")


def test_each_has_its_own_workers(pair: tuple[Stack, Stack]) -> None:
    one, two = ({w["worker_id"] for w in stack.get("/api/v1/workers")} for stack in pair)
    assert (len(one), len(two)) == (4, 4)
    assert not one & two


def test_rows_in_one_database_are_in_no_other(room: Room, pair: tuple[Stack, Stack]) -> None:
    one, two = pair
    addresses = {"one": one.url("/api/v1"), "two": two.url("/api/v1"), "main": room.main_api}
    for name, address in addresses.items():
        post_json(f"{address}/notes", {"text": f"only in {name}"})
    for name, address in addresses.items():
        texts = {note["text"] for note in get_json(f"{address}/notes")}
        assert texts == {f"only in {name}"}


def test_an_edit_in_one_worktree_changes_that_stack_alone(
    room: Room, pair: tuple[Stack, Stack]
) -> None:
    one, two = pair
    greet_as(one.path, "edited")
    try:
        eventually(lambda: one.get("/api/v1/info")["greeting"] == "edited")
        assert two.get("/api/v1/info")["greeting"] == two.name
        assert get_json(f"{room.main_api}/info")["greeting"] == "hello from main"
    finally:
        git("checkout", "--quiet", "--", ".", cwd=one.path)
    eventually(lambda: one.get("/api/v1/info")["greeting"] == one.name)


def test_list_and_status_tell_what_is(room: Room, pair: tuple[Stack, Stack]) -> None:
    listed = room.sandbox.listed()
    assert set(listed) == set(room.names)
    for stack in pair:
        row = listed[stack.name]
        assert row["status"] == "running"
        assert (row["slot"], row["api_port"]) == (stack.slot, stack.ports["backend"])
        assert row["path"] == str(stack.path)
        told = room.sandbox.run("status", stack.name, "--json").expect(0).data
        assert told["status"] == "running"
        states = {entry["service"]: entry["state"] for entry in told["containers"]}
        assert states == dict.fromkeys(SERVICES, "running")
        assert told["missing"] == []
        assert _told_ports(told["ports"]) == _bound_ports(stack)


Published = set[tuple[str, int, str, int]]
"""Service, port in the container, address and port on the host."""


def _told_ports(ports: list[dict[str, Any]]) -> Published:
    return {(p["service"], p["target"], p["host_ip"], p["published"]) for p in ports}


def _bound_ports(stack: Stack) -> Published:
    return {
        (service, int(inside.partition("/")[0]), place["HostIp"], int(place["HostPort"]))
        for service, container in stack.services().items()
        for inside, places in container["HostConfig"]["PortBindings"].items()
        for place in places
    }


def test_a_killed_container_shows_and_comes_back_by_up(
    room: Room, pair: tuple[Stack, Stack]
) -> None:
    one, two = pair
    docker("kill", one.container("mcp-preprod")["Id"])
    listed = room.sandbox.listed()
    assert (listed[one.name]["status"], listed[two.name]["status"]) == ("partial", "running")
    told = room.sandbox.run("status", one.name, "--json").expect(0).data
    states = {entry["service"]: entry["state"] for entry in told["containers"]}
    assert told["status"] == "partial"
    assert states.pop("mcp-preprod") == "exited"
    assert set(states.values()) == {"running"}
    before = made_of(one)
    room.sandbox.up(one).expect(0)
    assert room.sandbox.listed()[one.name]["status"] == "running"
    assert made_of(one) == before, "it was made anew, or others were"


def made_of(stack: Stack) -> dict[str, dict[str, str]]:
    """Each service's container, and what Compose takes for a reason to make another."""
    return {
        service: {
            "id": container["Id"],
            "config": container["Config"]["Labels"]["com.docker.compose.config-hash"],
            "image": container["Config"]["Labels"]["com.docker.compose.image"],
            "networks": str({n: e["NetworkID"] for n, e in networks_of(container).items()}),
        }
        for service, container in stack.services().items()
    }


def networks_of(container: dict[str, Any]) -> dict[str, Any]:
    return dict(container["NetworkSettings"]["Networks"])


def test_main_is_never_taken_for_an_instance_whose_backend_is_down(
    room: Room, pair: tuple[Stack, Stack]
) -> None:
    """Main is on the default ports, healthy, and has the four workers that are expected."""
    one, _ = pair
    eventually(lambda: len(get_json(f"{room.main_api}/workers")) == 4)
    docker("kill", one.container("backend")["Id"])
    port = f"KTRDR_API_PORT={one.ports['backend']}"
    main = f"KTRDR_API_PORT={room.main_port}"
    one.edit(".env.sandbox", port, main)
    try:
        failed = room.sandbox.run(
            *("wait", one.name, "--json"), environment={"KTRDR_API_URL": room.main_api}
        ).expect(2)
    finally:
        one.edit(".env.sandbox", main, port)
    checks = {check["name"]: check for check in failed.data["gate"]["checks"]}
    assert checks["backend"]["facts"] == ["backend exited (137)"]
    assert not checks["workers"]["passed"]
    assert checks["database"]["passed"]
    room.sandbox.up(one).expect(0)


def test_logs_of_one_are_not_of_the_other(room: Room, pair: tuple[Stack, Stack]) -> None:
    one, two = pair
    for stack, other in ((one, two), (two, one)):
        shown = room.sandbox.run("logs", "--instance", stack.name, "backend").expect(0).stdout
        assert f"listening on 8000: {stack.name}" in shown
        assert other.name not in shown
    told = room.sandbox.run("logs", "-i", one.name, "--tail", "1", "--json").expect(0).data
    assert {entry["service"] for entry in told["containers"]} == SERVICES


def test_destroying_both_leaves_main_and_nothing_else(
    room: Room, pair: tuple[Stack, Stack]
) -> None:
    # Plain Compose starts the last of main only a minute later, after its first health checks.
    eventually(room.main.is_up, within=180, every=0.5)
    main_before = room.main.runs()
    assert len(main_before) == len(SERVICES)
    base_image = image_id(BASE_IMAGE)
    for stack in pair:
        assert len(stack.leftovers()) == len(SERVICES) + NETWORKS + VOLUMES
        assert images(f"{stack.id}/*") == [f"{stack.id}/{BASE_IMAGE}"]
        room.sandbox.run("destroy", stack.name, "--yes").expect(0)
    for stack in pair:
        assert stack.leftovers() == []
        assert leftovers(f"label=com.docker.compose.project={stack.id}") == []
        assert images(f"{stack.id}/*") == []
        assert not stack.path.exists()
        assert not (room.sandbox.state / "instances" / stack.id).exists()
    assert room.sandbox.listed() == {}
    repository = room.sandbox.repository
    assert git("worktree", "list", "--porcelain", cwd=repository).count("worktree ") == 1
    branches = git("branch", "--format=%(refname:short)", cwd=repository).split()
    assert set(branches) == {"main", *room.names}
    assert git("status", "--porcelain", cwd=repository) == ""
    assert room.main.runs() == main_before
    assert get_json(f"{room.main_api}/info")["greeting"] == "hello from main"
    assert image_id(BASE_IMAGE) == base_image
