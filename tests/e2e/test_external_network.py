"""Two instances and a stranger on one network that none of them owns, as KTRDR's later revisions
join one for telemetry: every name leads home, and the stranger finds none of theirs under it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.stacks import Sandbox, Stack, docker, sample_images, sandbox, try_docker

pytestmark = [
    pytest.mark.engine,
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
    identity = docker("run", *options, sample_images()["python:3.12-slim"], "sleep", "600")
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


def addresses_of(container: str) -> set[str]:
    form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    return {docker("inspect", "--format", form, container).strip()}


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
    assert found_under(stranger, "backend") == addresses_of(stranger)
    assert not found_under(stranger, "training-worker-1")
    for stack in stacks:
        backend = stack.container("backend")
        assert found_under(stranger, backend["Name"][1:]) <= addresses(stack, "backend")
        assert found_under(stranger, backend["Name"][1:])

    # One that left its network half-way joins it again.
    docker("kill", stack.container("backend")["Id"])
    docker("network", "disconnect", shared, stack.container("backend")["Id"])
    place.up(stack).expect(0)
    assert shared in stack.container("backend")["NetworkSettings"]["Networks"]
    assert found_under(stranger, "backend") == addresses_of(stranger)
