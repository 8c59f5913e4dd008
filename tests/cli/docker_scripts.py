"""A `docker` command of a test's own, where no engine is to be asked."""

from __future__ import annotations

import json
import os
import shlex
import shutil

from tests.support.world import World


def docker_script(world: World, script: str) -> dict[str, str]:
    """A PATH on which `docker` is this shell script, before everything else."""
    folder = world.folder / "bin"
    folder.mkdir(exist_ok=True)
    docker = folder / "docker"
    docker.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    docker.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


def empty_engine(world: World) -> dict[str, str]:
    """An engine that has nothing; Compose itself, which asks no engine to read files, is real."""
    real = shlex.quote(shutil.which("docker") or "docker")
    return docker_script(world, f'case " $* " in *" compose "*) exec {real} "$@";; esac\nexit 0')


def engine_with(world: World, *containers: dict[str, str], log: str = "") -> dict[str, str]:
    """An engine that lists these containers, and prints `log` for each of them."""
    lines = "\n".join(_listed(**container) for container in containers)
    listing, logs = world.folder / "docker-ps", world.folder / "docker-logs"
    listing.write_text(f"{lines}\n", encoding="utf-8")
    logs.write_text(log, encoding="utf-8")
    return docker_script(
        world,
        f'case " $* " in\n*" ps "*) cat {shlex.quote(str(listing))};;\n'
        f'*" logs "*) cat {shlex.quote(str(logs))};;\nesac',
    )


def _listed(*, uuid: str, service: str, state: str = "running", status: str = "Up 2 hours") -> str:
    """A line in the format that this program asks `docker ps` for."""
    name = f"ktrdr--feat-x-{service}-1"
    container = {
        "id": name.encode().hex(),
        "name": name,
        "state": state,
        "status": status,
        "image": "image:1",
        "project": "ktrdr--feat-x",
        "service": service,
        "oneoff": "False",
        "instance_id": "ktrdr--feat-x",
        "uuid": uuid,
        "published": "",
    }
    return json.dumps(container)
