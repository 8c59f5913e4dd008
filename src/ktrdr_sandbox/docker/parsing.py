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

_CONTAINER: Final = {
    "id": ".ID",
    "name": ".Names",
    "state": ".State",
    "status": ".Status",
    "image": ".Image",
    # Labels one by one: the list's own label text joins them with commas that values hold too.
    "project": f'(.Label "{_PROJECT}")',
    "service": f'(.Label "{_SERVICE}")',
    "oneoff": '(.Label "com.docker.compose.oneoff")',
    "instance_id": f'(.Label "{LABEL_ID}")',
    "uuid": f'(.Label "{LABEL_UUID}")',
    "published": ".Ports",
}
_BELONGING: Final = {
    "instance_id": f'(.Label "{LABEL_ID}")',
    "uuid": f'(.Label "{LABEL_UUID}")',
    "home": f'(.Label "{LABEL_HOME}")',
    "slot": f'(.Label "{LABEL_SLOT}")',
    "project": f'(.Label "{_PROJECT}")',
    "directory": '(.Label "com.docker.compose.project.working_dir")',
}


def _format(fields: Mapping[str, str]) -> str:
    """A template that prints these as one JSON object a line."""
    return "{" + ",".join(f'"{name}":{{{{json {it}}}}}' for name, it in fields.items()) + "}"


CONTAINER_FORMAT: Final = _format(_CONTAINER)
_PUBLISHED: Final = re.compile(
    r"(\[?[0-9a-f.:]+\]?):(\d+)(?:-(\d+))?->(\d+)(?:-\d+)?/(tcp|udp|sctp)"
)


def parse_container(line: str) -> Container:
    """One line of `docker ps --format CONTAINER_FORMAT`."""
    fields: dict[str, Any] = json.loads(line)
    published = tuple(
        (address.strip("[]"), int(first) + offset, int(target) + offset, protocol)
        for address, first, last, target, protocol in _PUBLISHED.findall(fields["published"])
        for offset in range(int(last or first) - int(first) + 1)
    )
    own = {"state": _state(fields["state"]), "oneoff": fields["oneoff"] == "True"}
    return Container(**{**fields, **own, "published": published})


def belonging_format(kind: BelongingKind) -> str:
    """For `docker ps`, `docker network ls` and `docker volume ls`."""
    return _format({"name": ".Names" if kind == "container" else ".Name", **_BELONGING})


def parse_belonging(kind: BelongingKind, line: str) -> Belonging:
    """One line of the above."""
    return Belonging(kind=kind, **json.loads(line))


def _state(text: str) -> ContainerState:
    return cast(ContainerState, text) if text in get_args(ContainerState) else "dead"


def parse_detail(entry: Mapping[str, Any]) -> ContainerDetail:
    """One element of `docker container inspect`."""
    state = entry["State"]
    config = entry.get("Config") or {}
    labels = config.get("Labels") or {}
    check = config.get("Healthcheck") or {}
    health = state.get("Health") or {}
    probes = health.get("Log") or ()
    test = tuple(check.get("Test") or ())
    standing = health.get("Status")
    name = entry["Name"].removeprefix("/")
    own_names = {name, entry["Id"][:12]}  # aliases that the engine and Compose add
    ports = (entry.get("NetworkSettings") or {}).get("Ports") or {}
    return ContainerDetail(
        id=entry["Id"],
        name=name,
        service=labels.get(_SERVICE, ""),
        replica=int(labels.get("com.docker.compose.container-number") or 1),
        state=_state(state["Status"]),
        health=cast(Health, standing) if standing in get_args(Health) else "none",
        exit_code=state.get("ExitCode", 0),
        oom_killed=bool(state.get("OOMKilled")),
        restart_count=entry.get("RestartCount", 0),
        error=state.get("Error", ""),
        started_at=state.get("StartedAt", ""),
        finished_at=state.get("FinishedAt", ""),
        health_test=() if test[:1] == ("NONE",) else test,
        health_log=str(probes[-1].get("Output", "")).strip() if probes else "",
        health_exits=tuple(int(probe.get("ExitCode", 1)) for probe in probes),
        health_shell=tuple(config.get("Shell") or ("/bin/sh", "-c")),
        health_timeout=float(check.get("Timeout") or 30e9) / 1e9,  # the engine's are nanoseconds
        start_period=float(check.get("StartPeriod") or 0) / 1e9,
        published=tuple(
            (
                binding["HostIp"],
                int(binding["HostPort"]),
                int(key.partition("/")[0]),
                key.partition("/")[2] or "tcp",
            )
            for key, bindings in ports.items()
            for binding in bindings or ()
        ),
        environment=dict(e.split("=", 1) for e in config.get("Env") or () if "=" in e),
        volumes=tuple(m["Name"] for m in entry.get("Mounts") or () if m.get("Type") == "volume"),
        command=(entry.get("Path") or "", *(entry.get("Args") or ())),
        working_dir=config.get("WorkingDir") or "/",
        memory_limit=(entry.get("HostConfig") or {}).get("Memory") or 0,
        networks={
            network: tuple(one for one in endpoint.get("Aliases") or () if one not in own_names)
            for network, endpoint in _endpoints(entry).items()
        },
    )


def _endpoints(entry: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    found = (entry.get("NetworkSettings") or {}).get("Networks") or {}
    return {name: endpoint or {} for name, endpoint in found.items()}


def network_ids(entry: Mapping[str, Any]) -> frozenset[str]:
    """Networks that a container of `docker container inspect` holds to; not those by name alone."""
    ids = (endpoint.get("NetworkID") for endpoint in _endpoints(entry).values())
    return frozenset(identity for identity in ids if identity)
