"""Networks: own ones for every instance, without addresses that only one of them can have."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from ktrdr_sandbox.isolation import model as compose
from ktrdr_sandbox.isolation.findings import Findings, edit, reset
from ktrdr_sandbox.isolation.guests import guests
from ktrdr_sandbox.isolation.model import Service
from ktrdr_sandbox.isolation.refusals import HOST_INTERFACE, refuse
from ktrdr_sandbox.isolation.request import IsolationRequest
from ktrdr_sandbox.isolation.result import Notice
from ktrdr_sandbox.isolation.routes import shared_routes
from ktrdr_sandbox.isolation.scope import own_names

_STATIC: Final = ("ipv4_address", "ipv6_address", "link_local_ips", "mac_address")
_BRIDGE_NAME: Final = "com.docker.network.bridge.name"
_PARENT_DRIVERS: Final = frozenset({"macvlan", "ipvlan", "host"})


def joined_networks(model: Mapping[str, Any], existing: frozenset[str]) -> frozenset[str]:
    """Keys of the external networks that exist, and so are joined as declared."""
    return frozenset(
        key
        for key, body in compose.section(model, "networks").items()
        if body.get("external") and str(body.get("name") or key) in existing
    )


def scope_networks(
    model: Mapping[str, Any], request: IsolationRequest, joined: frozenset[str]
) -> Findings:
    """Own networks for each instance; external ones that exist are joined and nothing else."""
    networks = compose.section(model, "networks")
    own = {key: body for key, body in networks.items() if key not in joined}
    for key, name in own_names(own, request.instance.id).items():
        yield from _rename(key, own[key], name)
    for key, body in own.items():
        yield from _host_side(key, body, request)
    unnamed = {(one.service, one.network) for one in guests(model, request.instance.id, joined)}
    for key in sorted(joined):
        yield from _join(key, networks[key], model, request, unnamed)
    for name, service in compose.services(model).items():
        yield from _free_addresses(name, service)


def _rename(key: str, body: Mapping[str, Any], name: str) -> Findings:
    declared = str(body.get("name") or key)
    if body.get("external"):
        reason = f"there is no network {declared}: this instance makes its own"
        yield reset(("networks", key, "external"), reason, before="true")
        yield Notice(
            service=None,
            text=f"the external network {declared} does not exist; {name} is made in its place",
        )
    reason = "a fixed name is one network for all instances"
    yield edit(("networks", key, "name"), name, reason, before=declared, after=name)


def _host_side(key: str, body: Mapping[str, Any], request: IsolationRequest) -> Findings:
    """What a network takes of the host: a bridge's name, or a whole interface."""
    bridge = (body.get("driver_opts") or {}).get(_BRIDGE_NAME)
    if bridge:
        reason = "a bridge's name exists once per host"
        path = ("networks", key, "driver_opts", _BRIDGE_NAME)
        yield reset(path, reason, before=str(bridge))
    driver = str(body.get("driver") or "")
    if driver in _PARENT_DRIVERS:
        reason = f"network {key} is on the host's own interface, which has room for one"
        yield refuse(request, None, f"networks.{key}.driver: {driver}", reason, HOST_INTERFACE)


def _join(
    key: str,
    body: Mapping[str, Any],
    model: Mapping[str, Any],
    request: IsolationRequest,
    unnamed: Collection[tuple[str, str]],
) -> Findings:
    """Joined as declared, but for the names: `unnamed` are services and networks of `guests`."""
    name = str(body.get("name") or key)
    members = {
        service: content
        for service, content in compose.services(model).items()
        if key in compose.attachments(content)
    }
    if name == "host":
        for service in members:
            reason = "uses the host's own ports: two instances take the same ones"
            yield refuse(request, service, f"networks.{key}: host", reason, "host-network")
    elif members:
        routes = {one: shared_routes(members[one], request.instance.id) for one in members}
        hidden = [one for one in members if (one, name) in unnamed]
        several = [one for one in members if compose.replicas(members[one]) > 1]
        parts = [
            f"joins the external network {name} with {', '.join(members)}",
            _by_containers([one for one in hidden if not routes[one]], among=len(members)),
            _by_name([one for one in several if one not in hidden]),
        ]
        yield Notice(service=None, text="; ".join(filter(None, parts)))
        for one in members:
            if routes[one] and one in request.active:
                yield _routed(one, name, routes[one])


def _by_containers(services: Sequence[str], *, among: int) -> str:
    if not services:
        return ""
    them = "them" if len(services) == among else ", ".join(services)
    return f"what else is there finds {them} by container names alone"


def _by_name(services: Sequence[str]) -> str:
    if not services:
        return ""
    return f"having several containers, {', '.join(services)} can be called by name"


def _routed(service: str, network: str, routes: Sequence[str]) -> Notice:
    text = (
        f"on the external network {network}, a proxy that reads the Docker API finds its "
        f"{' and '.join(routes)} here and in the main environment, and spreads the requests over "
        "both: take them out on the branch, or have ${INSTANCE_ID:-main} in their names and hosts"
    )
    return Notice(service=service, text=text)


def _free_addresses(name: str, service: Service) -> Findings:
    reason = "a fixed address exists once per network, and the subnet is not fixed any more"
    if service.get("mac_address"):
        path = ("services", name, "mac_address")
        yield reset(path, reason, before=str(service["mac_address"]))
    for network, body in compose.attachments(service).items():
        for key in _STATIC:
            if body.get(key):
                where = ("services", name, "networks", network, key)
                yield reset(where, reason, before=_shown(body[key]))


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
