"""Networks: own ones with own addresses, and the names of services on external ones."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, Final

from ktrdr_sandbox.isolation.model import Service, StackModel, attachments, declared_name, replicas
from ktrdr_sandbox.isolation.names import container_name, scope_names
from ktrdr_sandbox.isolation.notices import shared_routes
from ktrdr_sandbox.isolation.override import Findings, edit, reset
from ktrdr_sandbox.isolation.refusals import HOST_PORTS, refuse
from ktrdr_sandbox.isolation.request import ExternalMembership, IsolationRequest, Notice

_STATIC: Final = ("ipv4_address", "ipv6_address", "link_local_ips", "mac_address")
_BRIDGE_NAME: Final = "com.docker.network.bridge.name"
_PARENT_DRIVERS: Final = frozenset({"macvlan", "ipvlan", "host"})
_SLOT_BITS: Final = 4  # a pool is cut into sixteen parts, enough for slots 0 to 10
_SIZES: Final = (26, 27, 28)  # prefix lengths, best first: 61, 29 or 13 containers


def scope_networks(
    model: StackModel, request: IsolationRequest, memberships: Iterable[ExternalMembership]
) -> Findings:
    """Own networks for each instance; external ones that exist are joined and nothing else."""
    yield from scope_names("networks", model.own_networks, request)
    for key, body in model.own_networks.items():
        bridge = (body.get("driver_opts") or {}).get(_BRIDGE_NAME)
        if bridge:
            path = ("networks", key, "driver_opts", _BRIDGE_NAME)
            yield reset(path, "a bridge's name exists once per host", before=str(bridge))
        driver = str(body.get("driver") or "")
        if driver in _PARENT_DRIVERS:
            reason = f"network {key} is on the host's own interface, which has room for one"
            yield refuse(
                request, None, f"networks.{key}.driver: {driver}", reason, "host-interface"
            )
    unnamed = {(membership.service, membership.network) for membership in memberships}
    for key in sorted(model.external):
        yield from _join(key, model, request, unnamed)
    yield from _free_addresses(model)
    yield from _choose_subnets(model, request)


def _free_addresses(model: StackModel) -> Findings:
    reason = "a fixed address exists once per network, and the subnet is not fixed any more"
    for name, service in model.services.items():
        fixed: dict[tuple[str, ...], Any] = {("mac_address",): service.get("mac_address")}
        for network, body in attachments(service).items():
            fixed.update({("networks", network, key): body.get(key) for key in _STATIC})
        for keys, value in fixed.items():
            if value:
                before = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
                yield reset(("services", name, *keys), reason, before=before)


def _join(
    key: str, model: StackModel, request: IsolationRequest, unnamed: set[tuple[str, str]]
) -> Findings:
    """Joined as declared; `unnamed` are services and networks where they have no name."""
    network = declared_name(key, model.networks[key])
    members = {
        name: service for name, service in model.services.items() if key in attachments(service)
    }
    if network == "host":
        for name in members:
            yield refuse(request, name, f"networks.{key}: host", HOST_PORTS, "host-network")
        return
    if not members:
        return
    routes = {name: shared_routes(body, request.instance.id) for name, body in members.items()}
    hidden = [name for name in members if (name, network) in unnamed]
    several = [name for name in members if replicas(members[name]) > 1 and name not in hidden]
    quiet = [name for name in hidden if not routes[name]]
    text = f"joins the external network {network} with {', '.join(members)}"
    if quiet:
        them = "them" if len(quiet) == len(members) else ", ".join(quiet)
        text += f"; what else is there finds {them} by container names alone"
    if several:
        text += f"; having several containers, {', '.join(several)} can be called by name"
    yield Notice(None, text)
    for name in members:
        if routes[name] and name in request.active:
            text = (
                f"on the external network {network}, a proxy that reads the Docker API finds "
                f"its {' and '.join(routes[name])} here and in the main environment, and "
                "spreads the requests over both: take them out on the branch, or have "
                "${INSTANCE_ID:-main} in their names and hosts"
            )
            yield Notice(name, text)


def _choose_subnets(model: StackModel, request: IsolationRequest) -> Findings:
    """Drop the file's subnets, and where a pool is set give each network its own from there."""
    networks = sorted(model.own_networks.items())
    chosen: dict[str, IPv4Network] = {}
    try:
        keys = [key for key, _ in networks]
        chosen = pool_subnets(request.network_pool, request.instance.slot, keys)
        for reason in _conflicts(chosen, request.host_routes):
            yield refuse(request, None, "network_pool", reason, "network-pool")
    except ValueError as error:
        reason = f"network_pool {request.network_pool} cannot serve: {error}"
        yield refuse(request, None, "network_pool", reason, "network-pool")
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
    length = whole.prefixlen + _SLOT_BITS
    sizes = [size for size in _SIZES if size >= length and 2 ** (size - length) >= len(networks)]
    if not sizes:
        raise ValueError(f"too small for {len(networks)} networks in each of sixteen parts")
    part = IPv4Network((int(whole.network_address) + (slot << (32 - length)), length))
    return dict(zip(networks, part.subnets(new_prefix=sizes[0]), strict=False))


def private_ipv6(uuid: str, position: int) -> IPv6Network:
    """A private IPv6 subnet of this instance's own (RFC 4193).

    Engines before 27 have no pool to choose an IPv6 subnet from, so that dropping the file's would
    leave the network without any.
    """
    own = hashlib.sha256(uuid.encode()).digest()[:5]
    prefix = bytes([0xFD]) + own + position.to_bytes(2, "big") + bytes(8)
    return IPv6Network((int.from_bytes(prefix, "big"), 64))


def _conflicts(chosen: dict[str, IPv4Network], host_routes: Iterable[str]) -> Iterator[str]:
    """Routes of the host that our subnets would hide.

    A route to exactly such a subnet is this instance's own network from an earlier `up`.
    """
    routes = [ip_network(route, strict=False) for route in host_routes]
    for key, subnet in chosen.items():
        for route in routes:
            is_other = isinstance(route, IPv4Network) and route.prefixlen > 0 and route != subnet
            if is_other and subnet.overlaps(route):
                yield f"subnet {subnet} for network {key} overlaps the host's route to {route}"


# -- names on external networks --------------------------------------------------------------------


def external_memberships(
    model: StackModel, request: IsolationRequest
) -> Iterator[ExternalMembership]:
    """Every service of an external network that can do without its name there.

    Compose makes a service's name an alias on each of its networks, and no file can say otherwise.
    On a network of many stacks the main environment's workers would find an instance's `backend`
    under it. The instance's own services have links (see `link_own_services`), which only lead to
    single containers: one of several keeps its names where nothing else leads to it, which is
    where some service on the network shares none of the instance's own with this one.
    """
    there = [attachments(service).keys() for service in model.services.values()]
    for name, service in model.services.items():
        own = attachments(service).keys() - model.external
        for key in sorted(model.external & attachments(service).keys()):
            is_found = all(own & networks for networks in there if key in networks)
            if replicas(service) == 1 or is_found:
                network = declared_name(key, model.networks[key])
                links = tuple(_links(service, model, request))
                yield ExternalMembership(name, network, links)


def link_own_services(model: StackModel, request: IsolationRequest) -> Findings:
    """Link every service of an external network to the containers of its own instance.

    Every stack on such a network has a `backend` there, and the engine answers a name from the
    network that comes first by its own name: workers would register with the backend of another
    instance, or of the main environment. A link is asked before any network, and leads to one
    container by its own name. Several containers have no link in common.
    """
    for name, service in model.services.items():
        seen = model.external & attachments(service).keys()
        links = _links(service, model, request) if seen else []
        if links:
            reason = "on an external network the same names lead to other stacks as well"
            yield edit(("services", name, "external_links"), links, reason)
        for other, content in model.services.items():
            both = seen & attachments(content).keys()
            if replicas(content) > 1 and both:
                text = (
                    f"on the external network {', '.join(sorted(both))} the name {other} leads to "
                    "other stacks' containers as well: it has several of its own"
                )
                yield Notice(name, text)


def _links(service: Service, model: StackModel, request: IsolationRequest) -> list[str]:
    """`container:alias` for each name by which the service may call one of its own instance."""
    seen_from = attachments(service)
    links = []
    for name, other in model.services.items():
        shared = [body for key, body in attachments(other).items() if key in seen_from]
        if shared and replicas(other) == 1:
            names = [name, other.get("container_name") or name]
            names += [str(alias) for body in shared for alias in body.get("aliases") or ()]
            container = container_name(name, other, request)
            links += [f"{container}:{alias}" for alias in dict.fromkeys(names)]
    return links
