"""A branch that adds what no port map knows: a published port and a second Compose profile."""

from __future__ import annotations

import httpx
import pytest

from tests.support.http import eventually
from tests.support.stacks import Sandbox, Stack, commit, run, sample_images

pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(300),
]

ADDED = """
  web:
    image: {image}
    command: ["python3", "-m", "http.server", "--directory", "/app/config", "8080"]
    stop_grace_period: 1s
    ports:
      - "18080:8080"
    volumes:
      - ./config:/app/config:ro

  inspector:
    image: {image}
    command: ["sleep", "infinity"]
    stop_grace_period: 1s
    profiles: ["inspection"]
    ports:
      - "18081:8081/udp"
      - "18081:8081"
    volumes:
      - inspected:/inspected

volumes:
  inspected:"""


@pytest.fixture
def pair(light: Sandbox, mark: str) -> tuple[Stack, Stack]:
    """Two instances of a branch with two more services, both running."""
    one = light.create(f"{mark}-one")
    image = sample_images()["python:3.12-slim"]
    compose = one.path / "deploy" / "environments" / "local" / "docker-compose.yml"
    text = compose.read_text(encoding="utf-8")
    added = ADDED.format(image=image)
    compose.write_text(text.replace("\nvolumes:", added, 1), encoding="utf-8")
    commit(one.path, "Two more services")
    two = light.create(f"{mark}-two", cwd=one.path)  # starts where the first one is
    for stack in (one, two):
        light.up(stack).expect(0)
    return one, two


def start_inspector(sandbox: Sandbox, stack: Stack) -> None:
    """As a user may, with plain Compose and the files that the instance has."""
    override = sandbox.state / "instances" / stack.id / "override.yml"
    run(
        [
            *("docker", "compose", "--project-name", stack.id),
            *("--project-directory", str(stack.path)),
            *("--file", str(stack.path / "docker-compose.yml"), "--file", str(override)),
            *("--env-file", str(stack.path / ".env.sandbox")),
            *("--profile", "inspection", "up", "--detach", "inspector"),
        ],
        cwd=stack.path,
        environment=sandbox.environment,
    ).expect(0)


def bound(stack: Stack, service: str) -> dict[str, list[dict[str, str]]]:
    found = stack.container(service)["HostConfig"]["PortBindings"]
    assert isinstance(found, dict)
    return found


def served(address: str) -> bytes:
    """What is at the address, as soon as something listens there."""
    return eventually(lambda: httpx.get(address, trust_env=False).content)


def test_ports_as_documented_and_nothing_left_of_the_inactive_profile(
    light: Sandbox, pair: tuple[Stack, Stack]
) -> None:
    for stack in pair:
        first = 20000 + stack.slot * 100
        assert set(stack.services()) == {"db", "backend", "training-worker-1", "web"}
        # By service, container port and protocol: the inspector's two come first, running or not.
        web = {"HostIp": "127.0.0.1", "HostPort": str(first + 2)}
        assert bound(stack, "web") == {"8080/tcp": [web]}
        address = f"http://127.0.0.1:{first + 2}/sample.toml"
        assert served(address) == (stack.path / "config" / "sample.toml").read_bytes()
        variables = (stack.path / ".env.sandbox").read_text(encoding="utf-8").splitlines()
        assert f"KTRDR_PORT_WEB_8080={first + 2}" in variables

        start_inspector(light, stack)
        assert bound(stack, "inspector") == {
            "8081/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(first)}],
            "8081/udp": [{"HostIp": "127.0.0.1", "HostPort": str(first + 1)}],
        }

    one, two = pair
    light.run("down", one.name).expect(0)
    volumes = {f"volume {one.id}_inspected", f"volume {one.id}_postgres_data"}
    assert set(one.leftovers()) == volumes
    light.run("down", one.name, "--volumes").expect(0)
    assert one.leftovers() == []
    assert "inspector" in two.services(), "the other's still runs"

    light.run("destroy", two.name, "--yes").expect(0)
    assert two.leftovers() == []
