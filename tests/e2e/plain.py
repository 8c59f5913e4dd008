"""The main environment: a checkout's stack under plain `docker compose`."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.support.http import eventually
from tests.support.http_server import closed_port
from tests.support.stacks import (
    base_environment,
    containers,
    docker,
    image_id,
    leftovers,
    run,
    try_docker,
)

DEFAULT_PORTS: Final = (3000, 4317, 4318, 5003, 5004, 5005, 5006, 5432, 8000, 9090, 16686)
"""All host ports of the sample's own Compose file."""


WRITTEN_FOLDERS: Final = (
    "data",
    "logs",
    "models",
    "output",
    "research_agents",
    "training_analytics",
)
"""Bind sources that the sample does not track; the engine would make them its own, as root."""


@dataclass(frozen=True, slots=True)
class PlainStack:
    """The stack of a checkout, under plain `docker compose`, on the ports of its file."""

    checkout: Path
    project: str

    @contextmanager
    def running(self, images_written: Sequence[str]) -> Iterator[None]:
        """Start it, and take it away after the block with the image tags that it wrote.

        It is still starting when the block begins.
        """
        before = {image: image_id(image) for image in images_written}
        for name in WRITTEN_FOLDERS:
            folder = self.checkout / name
            folder.mkdir(exist_ok=True)
            folder.chmod(0o777)
        log = self.checkout.parent / f"{self.project}.log"
        try:
            with log.open("wb") as output:
                process = subprocess.Popen(
                    [*self._compose, "up", "--detach"],
                    cwd=self.checkout,
                    env=base_environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                )
                with process:
                    try:
                        yield
                    finally:
                        if process.poll() is None:
                            process.terminate()
        finally:
            self._down()
            for image, earlier in before.items():
                if earlier is None:
                    try_docker("image", "rm", image)
                elif image_id(image) != earlier:
                    try_docker("image", "tag", earlier, image)
            left = [one for one in self.leftovers() if one not in self._stuck_networks()]
            assert not left, f"left behind: {', '.join(left)}"

    @property
    def _compose(self) -> list[str]:
        return ["docker", "compose", "--project-name", self.project]

    @property
    def filter(self) -> str:
        return f"label=com.docker.compose.project={self.project}"

    def _down(self) -> None:
        argv = [*self._compose, "down", "--volumes", "--remove-orphans", "--timeout", "1"]
        run(argv, cwd=self.checkout, environment=base_environment())

    def _stuck_networks(self) -> list[str]:
        """Networks that no container is on and the engine still does not let go.

        Engine 20.10 counts an endpoint too many now and then, until it is started again ("has
        active endpoints"). This stack is plain Compose's; the next run of the tests removes them.
        """
        found = docker("network", "ls", "--quiet", "--filter", self.filter).split()
        return [
            f"network {name}"
            for name, members in (
                docker(
                    "network", "inspect", "--format", "{{.Name}} {{len .Containers}}", one
                ).split()
                for one in found
            )
            if members == "0" and "active endpoints" in try_docker("network", "rm", name).stderr
        ]

    def containers(self) -> list[dict[str, Any]]:
        return containers(self.filter)

    def leftovers(self) -> list[str]:
        return leftovers(self.filter)

    def is_up(self) -> bool:
        """Whether every container has been started."""
        found = self.containers()
        return bool(found) and all(c["State"]["Status"] == "running" for c in found)

    def runs(self) -> dict[str, str]:
        """When each container was last started, by its id."""
        return {c["Id"]: c["State"]["StartedAt"] for c in self.containers()}


def make_way(checkout: Path, *, prefix: str) -> dict[int, int]:
    """Leave names and ports of the checkout's Compose file to others who have them already.

    Returns the host port for each of the file's own; the same one where it is free. The container
    names get the `prefix` if any is taken. What another test has for a moment is waited for.
    """
    with contextlib.suppress(AssertionError):
        eventually(lambda: not _ports_taken() and not _names_taken(), within=20, every=1)
    ports = {port: port for port in DEFAULT_PORTS} | {
        port: closed_port() for port in _ports_taken()
    }
    file = checkout / "docker-compose.yml"
    text = file.read_text(encoding="utf-8")
    for own, given in ports.items():
        text = text.replace(f'- "{own}:', f'- "{given}:')
    if _names_taken():
        text = text.replace("container_name: ktrdr-", f"container_name: {prefix}-")
    file.write_text(text, encoding="utf-8")
    return ports


def _ports_taken() -> list[int]:
    return [port for port in DEFAULT_PORTS if not _is_free(port)]


def _names_taken() -> bool:
    # The sample's Compose file fixes the names of its containers, as the real one does.
    return bool(docker("ps", "--all", "--quiet", "--filter", "name=^/ktrdr-[a-z]"))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return False
        return True


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
