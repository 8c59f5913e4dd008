"""From Docker's machine formats to this program's records."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final, cast, get_args

from ktrdr_sandbox.docker.engine import (
    Belonging,
    BelongingKind,
    Container,
    ContainerDetail,
    ContainerState,
    Health,
)
from ktrdr_sandbox.models import LABEL_HOME, LABEL_ID, LABEL_SLOT, LABEL_UUID

_PROJECT: Final = "com.docker.compose.project"
_SERVICE: Final = "com.docker.compose.service"
_ONEOFF: Final = "com.docker.compose.oneoff"
_DIRECTORY: Final = "com.docker.compose.project.working_dir"
_NUMBER: Final = "com.docker.compose.container-number"

# Labels one by one: the list's own label text joins them with commas that values hold too.
CONTAINER_FORMAT: Final = (
    "[{{json .ID}},{{json .Names}},{{json .State}},{{json .Status}},{{json .Image}},"
    + ",".join(
        f'{{{{json (.Label "{label}")}}}}'
        for label in (_PROJECT, _SERVICE, _ONEOFF, LABEL_ID, LABEL_UUID)
    )
    + ",{{json .Ports}}]"
)
_PUBLISHED: Final = re.compile(
    r"(\[?[0-9a-f.:]+\]?):(\d+)(?:-(\d+))?->(\d+)(?:-\d+)?/(tcp|udp|sctp)"
)


def parse_container(line: str) -> Container:
    """One line of `docker ps --format CONTAINER_FORMAT`."""
    identity, name, state, status, image, project, service, oneoff, owner, uuid, ports = (
        str(value) for value in json.loads(line)
    )
    return Container(
        id=identity,
        name=name,
        state=_state(state),
        status=status,
        image=image,
        project=project,
        service=service,
        oneoff=oneoff == "True",
        instance_id=owner,
        uuid=uuid,
        published=_published_text(ports),
    )


_BELONGING: Final = {
    "instance_id": LABEL_ID,
    "uuid": LABEL_UUID,
    "home": LABEL_HOME,
    "slot": LABEL_SLOT,
    "project": _PROJECT,
    "directory": _DIRECTORY,
}


def belonging_format(kind: str) -> str:
    """For `docker ps`, `docker network ls` and `docker volume ls`."""
    name = "{{json .Names}}" if kind == "container" else "{{json .Name}}"
    labels = [f'{{{{json (.Label "{label}")}}}}' for label in _BELONGING.values()]
    return f"[{','.join([name, *labels])}]"


def parse_belonging(kind: BelongingKind, line: str) -> Belonging:
    """One line of the above."""
    name, *values = (str(value) for value in json.loads(line))
    return Belonging(kind=kind, name=name, **dict(zip(_BELONGING, values, strict=True)))


def _state(text: str) -> ContainerState:
    return cast(ContainerState, text) if text in get_args(ContainerState) else "dead"


def _published_text(text: str) -> tuple[tuple[str, int, int, str], ...]:
    return tuple(
        (address.strip("[]"), int(first) + offset, int(target) + offset, protocol)
        for address, first, last, target, protocol in _PUBLISHED.findall(text)
        for offset in range(int(last or first) - int(first) + 1)
    )


def parse_detail(entry: Mapping[str, Any]) -> ContainerDetail:
    """One element of `docker container inspect`."""
    state = entry["State"]
    config = entry.get("Config") or {}
    labels = config.get("Labels") or {}
    health = state.get("Health") or {}
    return ContainerDetail(
        id=entry["Id"],
        name=entry["Name"].removeprefix("/"),
        service=labels.get(_SERVICE, ""),
        replica=int(labels.get(_NUMBER) or 1),
        state=_state(state["Status"]),
        health=_health(health.get("Status")),
        exit_code=state.get("ExitCode", 0),
        oom_killed=bool(state.get("OOMKilled")),
        restart_count=entry.get("RestartCount", 0),
        error=state.get("Error", ""),
        started_at=state.get("StartedAt", ""),
        finished_at=state.get("FinishedAt", ""),
        health_test=_health_test(config),
        health_log=_last_probe(health),
        health_exits=tuple(int(probe.get("ExitCode", 1)) for probe in health.get("Log") or ()),
        health_shell=tuple(config.get("Shell") or ("/bin/sh", "-c")),
        health_timeout=_seconds(config, "Timeout") or 30.0,
        start_period=_seconds(config, "StartPeriod"),
        published=_published_map((entry.get("NetworkSettings") or {}).get("Ports") or {}),
        environment=dict(e.split("=", 1) for e in config.get("Env") or () if "=" in e),
        volumes=tuple(m["Name"] for m in entry.get("Mounts") or () if m.get("Type") == "volume"),
        command=(entry.get("Path") or "", *(entry.get("Args") or ())),
        working_dir=config.get("WorkingDir") or "/",
        memory_limit=(entry.get("HostConfig") or {}).get("Memory") or 0,
        networks=_networks(entry),
    )


def _networks(entry: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Aliases without those that the engine and Compose add: the short id, the own name."""
    own = {entry["Name"].removeprefix("/"), entry["Id"][:12]}
    found = (entry.get("NetworkSettings") or {}).get("Networks") or {}
    return {
        name: tuple(alias for alias in (endpoint or {}).get("Aliases") or () if alias not in own)
        for name, endpoint in found.items()
    }


def network_ids(entry: Mapping[str, Any]) -> frozenset[str]:
    """Networks that a container of `docker container inspect` holds to; not those by name alone."""
    found = (entry.get("NetworkSettings") or {}).get("Networks") or {}
    ids = ((endpoint or {}).get("NetworkID") for endpoint in found.values())
    return frozenset(identity for identity in ids if identity)


def _health(text: object) -> Health:
    return cast(Health, text) if text in get_args(Health) else "none"


def _health_test(config: Mapping[str, Any]) -> tuple[str, ...]:
    test = tuple((config.get("Healthcheck") or {}).get("Test") or ())
    return () if test[:1] == ("NONE",) else test


def _seconds(config: Mapping[str, Any], key: str) -> float:
    """A duration of the health check, which the engine gives in nanoseconds."""
    return float((config.get("Healthcheck") or {}).get(key) or 0) / 1e9


def _last_probe(health: Mapping[str, Any]) -> str:
    log = health.get("Log") or []
    return str(log[-1].get("Output", "")).strip() if log else ""


def _published_map(ports: Mapping[str, Any]) -> tuple[tuple[str, int, int, str], ...]:
    return tuple(
        (
            binding["HostIp"],
            int(binding["HostPort"]),
            int(key.partition("/")[0]),
            key.partition("/")[2] or "tcp",
        )
        for key, bindings in ports.items()
        for binding in bindings or ()
    )
