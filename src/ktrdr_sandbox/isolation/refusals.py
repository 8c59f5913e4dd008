"""What cannot be isolated, and what only deserves a word."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from ktrdr_sandbox.isolation import model as compose
from ktrdr_sandbox.isolation.findings import Finding, Findings, edit
from ktrdr_sandbox.isolation.model import Service
from ktrdr_sandbox.isolation.request import IsolationRequest
from ktrdr_sandbox.isolation.result import Notice, Refusal

EXTRA_PORTS: Final = "extra-ports"
HOST_INTERFACE: Final = "host-interface"
NETWORK_POOL: Final = "network-pool"

_HOST: Final = {
    "network_mode": ("host-network", "uses the host's own ports: two instances take the same ones"),
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

TOKENS: Final = frozenset(
    {
        *(token for token, _ in _HOST.values()),
        *_CONTAINER.values(),
        "container-volumes",
        "external-links",
        EXTRA_PORTS,
        HOST_INTERFACE,
        NETWORK_POOL,
    }
)
"""Every token that a refusal may name and the settings may allow."""

_OTHER_CONTAINER: Final = "belongs to a container outside this instance"


def shares_foreign_network(service: Service) -> bool:
    """Whether the service has no network of its own, and so publishes nothing by itself."""
    mode = str(service.get("network_mode") or "")
    return mode == "host" or mode.startswith(("container:", "service:"))


def refuse(
    request: IsolationRequest, service: str | None, key: str, reason: str, token: str
) -> Finding:
    """A refusal, or a notice where the settings allow it or the service will not be started."""
    if token in request.allow:
        return Notice(service=service, text=f"{key}: {reason} (allowed by the setting {token})")
    if service is not None and service not in request.active:
        return Notice(service=service, text=f"{key}: {reason}; refused once its profile is enabled")
    return Refusal(service=service, key=key, reason=reason, setting=token)


def find_refusals(model: Mapping[str, Any], request: IsolationRequest) -> Findings:
    """Everything in the services that reaches around the instance.

    A container named by the `container_name` of one of the model's own services is that service,
    and is referred to as such instead.
    """
    services = compose.services(model)
    named = {
        str(service["container_name"]): name
        for name, service in services.items()
        if service.get("container_name")
    }
    for name, service in services.items():
        yield from _host_namespaces(name, service, request)
        yield from _other_containers(name, service, named, request)
        yield from _links(name, service, request)
        if name in request.active:
            yield from _warnings(name, service)


def _host_namespaces(name: str, service: Service, request: IsolationRequest) -> Findings:
    for key, (token, reason) in _HOST.items():
        if service.get(key) == "host":
            yield refuse(request, name, f"{key}: host", reason, token)


def _other_containers(
    name: str, service: Service, named: Mapping[str, str], request: IsolationRequest
) -> Findings:
    for key, token in _CONTAINER.items():
        kind, _, container = str(service.get(key) or "").partition(":")
        if kind != "container":
            continue
        if container in named:
            own = f"service:{named[container]}"
            reason = "that container is this service of the same file"
            before = f"container:{container}"
            yield edit(("services", name, key), own, reason, before=before, after=own)
        else:
            yield refuse(request, name, f"{key}: container:{container}", _OTHER_CONTAINER, token)
    yield from _volumes_from(name, service, named, request)


def _volumes_from(
    name: str, service: Service, named: Mapping[str, str], request: IsolationRequest
) -> Findings:
    sources = [str(source) for source in service.get("volumes_from") or []]
    own = [_own_source(source, named) for source in sources]
    for source in own:
        if source.startswith("container:"):
            key = f"volumes_from: {source}"
            yield refuse(request, name, key, _OTHER_CONTAINER, "container-volumes")
    if own != sources:
        yield edit(
            ("services", name, "volumes_from"),
            own,
            "that container is a service of the same file",
            before=", ".join(sources),
            after=", ".join(own),
            tag="!override",
        )


def _own_source(source: str, named: Mapping[str, str]) -> str:
    kind, _, rest = source.partition(":")
    container, colon, mode = rest.partition(":")
    if kind == "container" and container in named:
        return f"{named[container]}{colon}{mode}"
    return source


def _links(name: str, service: Service, request: IsolationRequest) -> Findings:
    for link in service.get("external_links") or []:
        yield refuse(request, name, f"external_links: {link}", _OTHER_CONTAINER, "external-links")


def _warnings(name: str, service: Service) -> Iterator[Notice]:
    """What weakens isolation by the file's own choice, without a collision."""
    mode = str(service.get("network_mode") or "")
    own = ("host", "none", "container:", "service:")
    if mode and not mode.startswith(own):
        text = f"network_mode: {mode} is a network that other instances' containers are on, too"
        yield Notice(service=name, text=text)
    if service.get("privileged"):
        yield Notice(service=name, text="privileged: this container can do anything to the host")
    if service.get("use_api_socket") or any(
        str(volume.get("source", "")).endswith(("/docker.sock", "/podman.sock"))
        for volume in compose.volumes(service)
    ):
        text = "has the engine's socket: it can act on every container of every instance"
        yield Notice(service=name, text=text)
    if service.get("devices") or service.get("gpus"):
        yield Notice(service=name, text="devices: shared by every instance")
