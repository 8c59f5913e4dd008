"""Two instances and a stranger on one network that none of them owns, as KTRDR's later revisions
join one for telemetry: every name leads home."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.stacks import Sandbox, Stack, docker, sandbox, tiny_image, try_docker

pytestmark = [
    pytest.mark.engine,
    pytest.mark.xdist_group("engine"),
    pytest.mark.timeout(300),
]

COMPOSE = "deploy/environments/local/docker-compose.yml"
NETWORKS = "    networks:\n      - ktrdr-network\n"


@pytest.fixture
def shared(mark: str) -> Iterator[str]:
    """Its name comes before those of instances: the engine asks networks in that order."""
    name = f"{mark}-shared"
    docker("network", "create", name)
    yield name
    docker("network", "rm", name)


@pytest.fixture
def stranger(shared: str) -> Iterator[str]:
    """A container that is called `backend` there, as that of the main environment."""
    options = ("--detach", "--network", shared, "--network-alias", "backend")
    identity = docker("run", *options, tiny_image(), "sleep", "600")
    yield identity
    docker("rm", "--force", identity)


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory, stranger: str) -> Iterator[Sandbox]:
    with sandbox(tmp_path_factory.mktemp("external") / "place") as made:
        made.make_repository(light=True)
        yield made


def joined(place: Sandbox, name: str, shared: str) -> Stack:
    stack = place.create(name)
    stack.edit(COMPOSE, NETWORKS, f"{NETWORKS}      - telemetry\n")
    outside = f"  telemetry:\n    external: true\n    name: {shared}\n"
    stack.edit(COMPOSE, "\nnetworks:\n", f"\nnetworks:\n{outside}")
    return stack


def addresses(stack: Stack, service: str) -> set[str]:
    networks = stack.container(service)["NetworkSettings"]["Networks"]
    return {network["IPAddress"] for network in networks.values()}


def found_under(container: str, name: str) -> set[str]:
    """The addresses that a name has in a container, asked often enough to see all of them."""
    said = [try_docker("exec", container, "getent", "hosts", name).stdout for _ in range(8)]
    return {line.split()[0] for text in said for line in text.splitlines()}


def test_each_instance_finds_its_own(place: Sandbox, shared: str, stranger: str, mark: str) -> None:
    stacks = [joined(place, f"{mark}-ext{number}", shared) for number in (1, 2)]
    for stack in stacks:
        place.up(stack).expect(0)
    for stack in stacks:
        (worker,) = stack.get("/api/v1/workers")
        assert worker["endpoint_url"] == "http://training-worker-1:5005"
        inside = stack.container("training-worker-1")["Id"]
        assert found_under(inside, "backend") <= addresses(stack, "backend")
        inside = stack.container("backend")["Id"]
        assert found_under(inside, "training-worker-1") <= addresses(stack, "training-worker-1")
