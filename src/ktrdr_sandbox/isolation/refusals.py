"""What cannot be isolated, and what weakens isolation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from ktrdr_sandbox.isolation.model import Service, StackModel, mounts
from ktrdr_sandbox.isolation.override import Finding, Findings, edit
from ktrdr_sandbox.isolation.request import IsolationRequest, Notice, Refusal

HOST_PORTS: Final = "uses the host's own ports: two instances take the same ones"
_HOST: Final = {
    "network_mode": ("host-network", HOST_PORTS),
    "pid": ("host-pid", "sees, and may signal, every process of the host"),
    "ipc": ("host-ipc", "shares the host's memory segments with other instances"),
    "uts": ("host-uts", "shares, and may set, the host's name"),
    "userns_mode": ("host-userns", "is not separated from the host's users"),
    "cgroup": ("host-cgroup", "shares the host's control groups with other instances"),
}
_CONTAINER: Final = {
    "network_mode": "container-network",
    "pid": "container-pid",
    "ipc": "container-ipc",
}

_OWN_CONTAINER: Final = "that container is a service of the same file"
_OTHER_CONTAINER: Final = "belongs to a container outside this instance"
SOCKETS: Final = ("/docker.sock", "/podman.sock")


def refuse(
    request: IsolationRequest, service: str | None, key: str, reason: str, token: str
) -> Finding:
    """A refusal, or a notice where the settings allow it or the service will not be started."""
    if token in request.allow:
        return Notice(service, f"{key}: {reason} (allowed by the setting {token})")
    if service is not None and service not in request.active:
        return Notice(service, f"{key}: {reason}; refused once its profile is enabled")
    return Refusal(service, key, reason, token)


def find_refusals(model: StackModel, request: IsolationRequest) -> Findings:
    """Everything in the services that reaches around the instance.

    A container named by the `container_name` of one of the model's own services is that service,
    and is referred to as such instead.
    """
    named = {
        str(service["container_name"]): name
        for name, service in model.services.items()
        if service.get("container_name")
    }
    for name, service in model.services.items():
        for key, (token, reason) in _HOST.items():
            if service.get(key) == "host":
                yield refuse(request, name, f"{key}: host", reason, token)
        yield from _other_containers(name, service, named, request)
        for link in service.get("external_links") or []:
            key = f"external_links: {link}"
            yield refuse(request, name, key, _OTHER_CONTAINER, "external-links")
        if name in request.active:
            yield from _warnings(name, service)


def _other_containers(
    name: str, service: Service, named: Mapping[str, str], request: IsolationRequest
) -> Findings:
    for key, token in _CONTAINER.items():
        before = str(service.get(key) or "")
        kind, _, container = before.partition(":")
        if kind == "container" and container in named:
            own = f"service:{named[container]}"
            yield edit(("services", name, key), own, _OWN_CONTAINER, before=before)
        elif kind == "container":
            yield refuse(request, name, f"{key}: {before}", _OTHER_CONTAINER, token)
    sources = [str(source) for source in service.get("volumes_from") or []]
    renamed = []
    for source in sources:
        kind, _, rest = source.partition(":")
        container, colon, mode = rest.partition(":")
        if kind == "container" and container in named:
            source = f"{named[container]}{colon}{mode}"
        elif kind == "container":
            key = f"volumes_from: {source}"
            yield refuse(request, name, key, _OTHER_CONTAINER, "container-volumes")
        renamed.append(source)
    if renamed != sources:
        path, reason = ("services", name, "volumes_from"), _OWN_CONTAINER
        yield edit(path, renamed, reason, before=", ".join(sources), tag="!override")


def _warnings(name: str, service: Service) -> Iterator[Notice]:
    """What weakens isolation by the file's own choice, without a collision."""
    mode = str(service.get("network_mode") or "")
    if mode and not mode.startswith(("host", "none", "container:", "service:")):
        text = f"network_mode: {mode} is a network that other instances' containers are on, too"
        yield Notice(name, text)
    if service.get("privileged"):
        yield Notice(name, "privileged: this container can do anything to the host")
    if service.get("use_api_socket") or any(
        str(mount.get("source", "")).endswith(SOCKETS) for mount in mounts(service)
    ):
        text = "has the engine's socket: it can act on every container of every instance"
        yield Notice(name, text)
    if service.get("devices") or service.get("gpus"):
        yield Notice(name, "devices: shared by every instance")
