"""Which IPv4 networks are spoken for on this host: an instance's subnet must hide none."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from ktrdr_sandbox.models import ID_PREFIX

_ROUTES: Final = Path("/proc/net/route")


def occupied_subnets(networks: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """CIDRs that the host routes, VPNs included, and those of other people's engine networks.

    `networks` are the engine's, with their subnets. Those of instances do not count: they come from
    the same pool, each from its own slot's part.
    """
    engine = {subnet for subnets in networks.values() for subnet in subnets}
    foreign = {
        subnet
        for name, subnets in networks.items()
        if not name.startswith(ID_PREFIX)
        for subnet in subnets
        if ":" not in subnet
    }
    return tuple(sorted((set(_routes()) - engine) | foreign))


def _routes() -> Iterator[str]:
    try:
        lines = _ROUTES.read_text(encoding="ascii").splitlines()[1:]
    except OSError:
        yield from _interfaces()
        return
    for line in lines:
        fields = line.split()
        destination, mask = _address(fields[1]), _address(fields[7])
        if mask != "0.0.0.0":  # noqa: S104  the default route covers everything and means nothing
            yield str(ipaddress.ip_network(f"{destination}/{mask}", strict=False))


def _address(text: str) -> str:
    """The kernel's hexadecimal, in the host's byte order: little-endian wherever Docker runs."""
    return str(ipaddress.IPv4Address(int.from_bytes(bytes.fromhex(text), "little")))


def _interfaces() -> Iterator[str]:
    """Without the kernel's table (macOS), at least the networks of the interfaces themselves."""
    import psutil

    for addresses in psutil.net_if_addrs().values():
        for entry in addresses:
            if entry.netmask and ":" not in entry.address:
                yield str(ipaddress.ip_interface(f"{entry.address}/{entry.netmask}").network)
