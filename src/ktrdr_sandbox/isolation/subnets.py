"""Subnets: the engine's choice, or a small one for each network from the slot's part of a pool."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, Final

from ktrdr_sandbox.isolation import model as compose
from ktrdr_sandbox.isolation.findings import Finding, Findings, edit, reset
from ktrdr_sandbox.isolation.refusals import NETWORK_POOL, refuse
from ktrdr_sandbox.isolation.request import IsolationRequest

_SLOT_BITS: Final = 4
"""A pool is cut into sixteen parts, enough for slots 0 to 10."""

_SIZES: Final = (26, 27, 28)
"""Prefix lengths of one network, best first: 61, 29 or 13 containers."""


def choose_subnets(
    model: Mapping[str, Any], request: IsolationRequest, joined: frozenset[str]
) -> Findings:
    """Drop the file's subnets, and where a pool is set give each network its own from there."""
    networks = {
        key: body for key, body in compose.section(model, "networks").items() if key not in joined
    }
    chosen: dict[str, IPv4Network] = {}
    try:
        chosen = pool_subnets(request.network_pool, request.instance.slot, sorted(networks))
        yield from _conflicts(chosen, request)
    except ValueError as error:
        yield _refuse_pool(request, f"network_pool {request.network_pool} cannot serve: {error}")
    for position, (key, body) in enumerate(sorted(networks.items())):
        subnets: list[str] = [str(chosen[key])] if key in chosen else []
        if body.get("enable_ipv6"):
            subnets.append(str(private_ipv6(request.instance.uuid, position)))
        yield from _addressing(key, body, subnets)


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


def _addressing(key: str, body: Mapping[str, Any], subnets: list[str]) -> Findings:
    before = _declared(body)
    if subnets:
        reason = "a subnet of this instance's own"
        value = {"config": [{"subnet": subnet} for subnet in subnets]}
        path = ("networks", key, "ipam")
        after = ", ".join(subnets)
        yield edit(path, value, reason, before=before, after=after, tag="!override")
    elif before:
        reason = "two networks cannot have one subnet: the engine picks a free one"
        yield reset(("networks", key, "ipam"), reason, before=before)


def _declared(body: Mapping[str, Any]) -> str:
    """The addresses that the file gives, as text; "" when it leaves them to the engine."""
    ipam = body.get("ipam") or {}
    return ", ".join(
        str(value) for config in ipam.get("config") or [] for value in config.values() if value
    )


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
                yield _refuse_pool(request, reason)


def _refuse_pool(request: IsolationRequest, reason: str) -> Finding:
    return refuse(request, None, "network_pool", reason, NETWORK_POOL)
