"""Two instances of one Compose file side by side, resolved by the real `docker compose config`.

Needs the Compose plugin and no engine: nothing is created anywhere but in a temporary folder.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ktrdr_sandbox.isolation.isolate import isolate
from ktrdr_sandbox.isolation.override import render
from ktrdr_sandbox.isolation.request import IsolatedStack, IsolationRequest
from tests.support.compose_program import QUICK, compose_command
from tests.unit.isolation.requests import a_request, an_instance, unprofiled

CASES = Path(__file__).parent / "files"
EXISTING_NETWORKS = frozenset({"existing-network", "bridge", "host", "none"})
"""Networks that the machine of these tests is said to have."""

NESTED = "deploy/environments/local/docker-compose.yml"


@dataclass(frozen=True)
class Resolved:
    """One instance: its request, what isolation made of it, and the model with the override."""

    request: IsolationRequest
    isolation: IsolatedStack
    text: str
    base: dict[str, Any]
    model: dict[str, Any]

    @property
    def id(self) -> str:
        return self.request.instance.id

    @property
    def root(self) -> str:
        return str(self.request.instance.path)


class World:
    """A folder with a main checkout, shared folders and worktrees, on a machine of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.variables: dict[str, str] = {}
        self.parent = folder / "ktrdr"
        self.shared = {name: folder / "shared" / name for name in ("data", "models", "strategies")}
        for path in (self.parent, *self.shared.values()):
            path.mkdir(parents=True, exist_ok=True)

    def check_out(self, case: Path, name: str) -> Path:
        """A worktree of a case: a folder's content, or a single file as its Compose file."""
        root = self.folder / name
        if case.is_dir():
            shutil.copytree(case, root)
        else:
            root.mkdir()
            shutil.copy(case, root / "docker-compose.yml")
        if (root / NESTED).exists():
            (root / "docker-compose.yml").symlink_to(NESTED)
        return root

    def resolve(self, root: Path, *, slot: int, **changes: Any) -> Resolved:
        """Isolate a checkout and lay the override over its own files."""
        files = [
            root / name
            for name in ("docker-compose.yml", "docker-compose.override.yml")
            if (root / name).exists()
        ]
        instance = an_instance(slot=slot, name=f"s{slot}", path=root, uuid=f"uuid-{slot}")
        base = self.config(instance.id, root, files)
        request = a_request(
            instance,
            parent_checkout=self.parent,
            compose_directory=files[0].resolve().parent,
            shared=self.shared,
            active=unprofiled(base),
            networks=EXISTING_NETWORKS,
            exists=Path.exists,
        )
        request = replace(request, **changes)
        isolation = isolate(base, request)
        text = render(isolation, request)
        override = self.folder / f"override-{slot}.yml"
        override.write_text(text, encoding="utf-8")
        model = self.config(instance.id, root, [*files, override])
        return Resolved(request, isolation, text, base, model)

    def config(self, project: str, root: Path, files: list[Path], *more: str) -> dict[str, Any]:
        """The resolved model. A model that Compose refuses fails the test with its words."""
        arguments = [part for file in files for part in ("-f", str(file))]
        environment = self._environment()
        command = [*compose_command(environment), "-p", project, "--project-directory", str(root)]
        done = subprocess.run(
            [*command, *arguments, "--profile", "*", "config", "--format", "json", *more],
            env={**environment, **QUICK},
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        model: dict[str, Any] = json.loads(done.stdout)
        return model

    def _environment(self) -> dict[str, str]:
        kept = {key: os.environ[key] for key in ("PATH", "DOCKER_CONFIG") if key in os.environ}
        # The plugin is found through the real home; `~` in a case's file means this one, too.
        home = os.environ.get("HOME", str(self.folder))
        return {**kept, "HOME": home, "PARENT_CHECKOUT": str(self.parent), **self.variables}


@dataclass(frozen=True)
class Claims:
    """What a resolved model takes for itself of what a machine has only once."""

    host_ports: frozenset[tuple[int, str]]
    container_names: frozenset[str]
    volumes: frozenset[str]
    networks: frozenset[str]
    images: frozenset[str]
    addresses: frozenset[str]


def claims(resolved: Resolved) -> Claims:
    """Read from Compose's own output, whatever isolation says it did."""
    return claims_of(resolved.model, resolved.id)


def claims_of(model: Mapping[str, Any], project: str) -> Claims:
    """The claims of a merged model under a project's name."""
    services = model["services"]
    return Claims(
        host_ports=frozenset(_host_ports(services)),
        container_names=frozenset(
            service["container_name"]
            for service in services.values()
            if "container_name" in service
        ),
        volumes=frozenset(body["name"] for body in (model.get("volumes") or {}).values()),
        networks=frozenset(
            body["name"]
            for body in (model.get("networks") or {}).values()
            if not body.get("external")
        ),
        images=frozenset(_written_images(project, services)),
        addresses=frozenset(_addresses(model)),
    )


def host_port_list(resolved: Resolved) -> list[tuple[int, str]]:
    """Every host port with its protocol, as often as the model has it."""
    return list(_host_ports(resolved.model["services"]))


def bind_sources(resolved: Resolved) -> frozenset[str]:
    """Host paths that containers get, those of volumes, secrets and configs included."""
    model = resolved.model
    services = model["services"].values()
    mounts = [mount for service in services for mount in service.get("volumes") or []]
    devices = [
        (volume.get("driver_opts") or {}).get("device", "")
        for volume in (model.get("volumes") or {}).values()
    ]
    files = [
        body.get("file", "")
        for section in ("secrets", "configs")
        for body in (model.get(section) or {}).values()
    ]
    found = [mount["source"] for mount in mounts if mount["type"] == "bind"]
    paths = [path.replace("$$", "$") for path in (*found, *devices, *files)]
    return frozenset(path for path in paths if path.startswith("/"))


def _host_ports(services: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    for service in services.values():
        for port in service.get("ports") or []:
            if port.get("published"):
                first, _, last = str(port["published"]).partition("-")
                for number in range(int(first), int(last or first) + 1):
                    yield number, port["protocol"]


def _written_images(project: str, services: Mapping[str, Any]) -> Iterator[str]:
    for name, service in services.items():
        build = service.get("build")
        if build:
            yield service.get("image") or f"{project}-{name}"
            yield from build.get("tags") or []


def _addresses(model: Mapping[str, Any]) -> Iterator[str]:
    for network in (model.get("networks") or {}).values():
        for config in (network.get("ipam") or {}).get("config") or []:
            yield from config.values()
    for service in model["services"].values():
        if service.get("mac_address"):
            yield service["mac_address"]
        for body in (service.get("networks") or {}).values():
            for key in ("ipv4_address", "ipv6_address", "mac_address"):
                if (body or {}).get(key):
                    yield body[key]
