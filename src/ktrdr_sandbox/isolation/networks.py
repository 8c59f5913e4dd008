"""Networks: own ones for every instance, with addresses that nobody else has; and the names by
which services are found on the external ones that are joined."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, Final

from ktrdr_sandbox.isolation.model import (
    Service,
    StackModel,
    attachments,
    declared_name,
    replicas,
)
from ktrdr_sandbox.isolation.names import container_name, own_names
from ktrdr_sandbox.isolation.notices import shared_routes
from ktrdr_sandbox.isolation.override import Finding, Findings, edit, reset
from ktrdr_sandbox.isolation.refusals import HOST_INTERFACE, NETWORK_POOL, refuse
from ktrdr_sandbox.isolation.request import ExternalMembership, IsolationRequest, Notice

_STATIC: Final = ("ipv4_address", "ipv6_address", "link_local_ips", "mac_address")
_BRIDGE_NAME: Final = "com.docker.network.bridge.name"
_PARENT_DRIVERS: Final = frozenset({"macvlan", "ipvlan", "host"})

_SLOT_BITS: Final = 4
"""A pool is cut into sixteen parts, enough for slots 0 to 10."""

_SIZES: Final = (26, 27, 28)
"""Prefix lengths of one network, best first: 61, 29 or 13 containers."""


def scope_networks(
    model: StackModel, request: IsolationRequest, memberships: Iterable[ExternalMembership]
) -> Findings:
    """Own networks for each instance; external ones that exist are joined and nothing else."""
    for key, name in own_names(model.own_networks, request.instance.id).items():
        yield from _rename(key, model.networks[key], name)
    for key, body in model.own_networks.items():
        bridge = (body.get("driver_opts") or {}).get(_BRIDGE_NAME)
        if bridge:
            path = ("networks", key, "driver_opts", _BRIDGE_NAME)
            yield reset(path, "a bridge's name exists once per host", before=str(bridge))
        driver = str(body.get("driver") or "")
        if driver in _PARENT_DRIVERS:
            reason = f"network {key} is on the host's own interface, which has room for one"
            yield refuse(request, None, f"networks.{key}.driver: {driver}", reason, HOST_INTERFACE)
    unnamed = {(membership.service, membership.network) for membership in memberships}
    for key in sorted(model.external):
        yield from _join(key, model, request, unnamed)
    for name, service in model.services.items():
        yield from _free_addresses(name, service)
    yield from _choose_subnets(model, request)


def _rename(key: str, body: Mapping[str, Any], name: str) -> Findings:
    declared = declared_name(key, body)
    if body.get("external"):
        reason = f"there is no network {declared}: this instance makes its own"
        yield reset(("networks", key, "external"), reason, before="true")
        text = f"the external network {declared} does not exist; {name} is made in its place"
        yield Notice(service=None, text=text)
    reason = "a fixed name is one network for all instances"
    yield edit(("networks", key, "name"), name, reason, before=declared, after=name)


def _join(
    key: str, model: StackModel, request: IsolationRequest, unnamed: set[tuple[str, str]]
) -> Findings:
    """Joined as declared, but for the names: `unnamed` are services and networks where a service
    is not found by its own."""
    network = declared_name(key, model.networks[key])
    members = {
        name: service for name, service in model.services.items() if key in attachments(service)
    }
    if network == "host":
        for name in members:
            reason = "uses the host's own ports: two instances take the same ones"
            yield refuse(request, name, f"networks.{key}: host", reason, "host-network")
    elif members:
        routes = {one: shared_routes(members[one], request.instance.id) for one in members}
        hidden = [one for one in members if (one, network) in unnamed]
        several = [one for one in members if replicas(members[one]) > 1 and one not in hidden]
        text = f"joins the external network {network} with {', '.join(members)}"
        quiet = [one for one in hidden if not routes[one]]
        if quiet:
            them = "them" if len(quiet) == len(members) else ", ".join(quiet)
            text += f"; what else is there finds {them} by container names alone"
        if several:
            text += f"; having several containers, {', '.join(several)} can be called by name"
        yield Notice(service=None, text=text)
        for name in members:
            if routes[name] and name in request.active:
                text = (
                    f"on the external network {network}, a proxy that reads the Docker API finds "
                    f"its {' and '.join(routes[name])} here and in the main environment, and "
                    "spreads the requests over both: take them out on the branch, or have "
                    "${INSTANCE_ID:-main} in their names and hosts"
                )
                yield Notice(service=name, text=text)


def _free_addresses(name: str, service: Service) -> Findings:
    reason = "a fixed address exists once per network, and the subnet is not fixed any more"
    if service.get("mac_address"):
        path = ("services", name, "mac_address")
        yield reset(path, reason, before=str(service["mac_address"]))
    for network, body in attachments(service).items():
        for key in _STATIC:
            value = body.get(key)
            if value:
                before = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
                yield reset(("services", name, "networks", network, key), reason, before=before)


# -- subnets ---------------------------------------------------------------------------------------


def _choose_subnets(model: StackModel, request: IsolationRequest) -> Findings:
    """Drop the file's subnets, and where a pool is set give each network its own from there."""
    networks = sorted(model.own_networks.items())
    chosen: dict[str, IPv4Network] = {}
    try:
        keys = [key for key, _ in networks]
        chosen = pool_subnets(request.network_pool, request.instance.slot, keys)
        yield from _conflicts(chosen, request)
    except ValueError as error:
        reason = f"network_pool {request.network_pool} cannot serve: {error}"
        yield refuse(request, None, "network_pool", reason, NETWORK_POOL)
    for position, (key, body) in enumerate(networks):
        subnets: list[str] = [str(chosen[key])] if key in chosen else []
        if body.get("enable_ipv6"):
            subnets.append(str(private_ipv6(request.instance.uuid, position)))
        configs = (body.get("ipam") or {}).get("config") or []
        before = ", ".join(str(value) for config in configs for value in config.values() if value)
        path = ("networks", key, "ipam")
        if subnets:
            value = {"config": [{"subnet": subnet} for subnet in subnets]}
            reason, after = "a subnet of this instance's own", ", ".join(subnets)
            yield edit(path, value, reason, before=before, after=after, tag="!override")
        elif before:
            reason = "two networks cannot have one subnet: the engine picks a free one"
            yield reset(path, reason, before=before)


def pool_subnets(pool: str | None, slot: int, networks: Sequence[str]) -> dict[str, IPv4Network]:
    """A subnet of the slot's part of the pool for each network; {} without a pool.

    Depends on slot and network names alone. Raises ValueError when the pool is none, or too small.
    """
    if pool is None:
        return {}
    whole = IPv4Network(pool)
    part_length = whole.prefixlen + _SLOT_BITS
    size = next(
        (s for s in _SIZES if s >= part_length and 2 ** (s - part_length) >= len(networks)), 0
    )
    if not size:
        raise ValueError(f"too small for {len(networks)} networks in each of sixteen parts")
    part = IPv4Network((int(whole.network_address) + (slot << (32 - part_length)), part_length))
    return dict(zip(networks, part.subnets(new_prefix=size), strict=False))


def private_ipv6(uuid: str, position: int) -> IPv6Network:
    """A private IPv6 subnet of this instance's own (RFC 4193).

    Engines before 27 have no pool to choose an IPv6 subnet from, so that dropping the file's would
    leave the network without any.
    """
    own = hashlib.sha256(uuid.encode()).digest()[:5]
    prefix = bytes([0xFD]) + own + position.to_bytes(2, "big") + bytes(8)
    return IPv6Network((int.from_bytes(prefix, "big"), 64))


def _conflicts(chosen: Mapping[str, IPv4Network], request: IsolationRequest) -> Iterator[Finding]:
    """Routes of the host that our subnets would hide.

    A route to exactly such a subnet is this instance's own network from an earlier `up`.
    """
    routes = [ip_network(route, strict=False) for route in request.host_routes]
    for key, subnet in chosen.items():
        for route in routes:
            if (
                isinstance(route, IPv4Network)
                and route.prefixlen > 0
                and route != subnet
                and route.overlaps(subnet)
            ):
                reason = f"subnet {subnet} for network {key} overlaps the host's route to {route}"
                yield refuse(request, None, "network_pool", reason, NETWORK_POOL)


# -- names on external networks --------------------------------------------------------------------


def external_memberships(
    model: StackModel, request: IsolationRequest
) -> Iterator[ExternalMembership]:
    """Every service of an external network that can do without its name there.

    Compose makes a service's name an alias on each of its networks, and no file can say otherwise.
    On a network of many stacks the main environment's workers would find an instance's `backend`
    under it. The instance's own services have links (see `link_own_services`), which only lead to
    single containers: one of several keeps its names where nothing else leads to it.
    """
    for name, service in model.services.items():
        for key in sorted(model.external & attachments(service).keys()):
            if replicas(service) == 1 or _is_found_elsewhere(service, key, model):
                yield ExternalMembership(
                    service=name,
                    network=declared_name(key, model.networks.get(key) or {}),
                    links=tuple(_links(service, model, request)),
                )


def _is_found_elsewhere(service: Service, key: str, model: StackModel) -> bool:
    """Whether each service on the network shares one of the instance's own with this one."""
    own = attachments(service).keys() - model.external
    there = [attachments(other) for other in model.services.values()]
    return all(own & networks.keys() for networks in there if key in networks)


def link_own_services(model: StackModel, request: IsolationRequest) -> Findings:
    """Link every service of an external network to the containers of its own instance.

    Every stack on such a network has a `backend` there, and the engine answers a name from the
    network that comes first by its own name: workers would register with the backend of another
    instance, or of the main environment. A link is asked before any network, and leads to one
    container by its own name. It may name one that does not exist. Several containers have no link
    in common.
    """
    for name, service in model.services.items():
        seen = model.external & attachments(service).keys()
        if not seen:
            continue
        links = _links(service, model, request)
        if links:
            reason = "on an external network the same names lead to other stacks as well"
            yield edit(("services", name, "external_links"), links, reason, after=", ".join(links))
        for other, content in model.services.items():
            both = seen & attachments(content).keys()
            if replicas(content) > 1 and both:
                text = (
                    f"on the external network {', '.join(sorted(both))} the name {other} leads to "
                    "other stacks' containers as well: it has several of its own"
                )
                yield Notice(service=name, text=text)


def _links(service: Service, model: StackModel, request: IsolationRequest) -> list[str]:
    """`container:alias` for each name by which the service may call one of its own instance."""
    seen_from = attachments(service)
    links = []
    for name, other in model.services.items():
        shared = [body for key, body in attachments(other).items() if key in seen_from]
        if shared and replicas(other) == 1:
            fixed = other.get("container_name")
            aliases = [str(alias) for body in shared for alias in body.get("aliases") or ()]
            names = dict.fromkeys([name, *([str(fixed)] if fixed else []), *aliases])
            container = container_name(name, other, request)
            links += [f"{container}:{alias}" for alias in names]
    return links
