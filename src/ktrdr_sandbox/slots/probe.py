"""Whether host ports are free, asked of the system itself by binding them."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Iterable
from typing import Final

from ktrdr_sandbox.models import Protocol
from ktrdr_sandbox.slots.allocation import A_CONTAINER, BusyPort

_KINDS: Final = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
# What listens for a container: the engine's process for one port, and Docker Desktop's for all.
_PROXIES: Final = {"docker-proxy", "com.docker.backend"}


def is_port_free(port: int, *, address: str = "127.0.0.1", protocol: Protocol = "tcp") -> bool:
    """Free on the address it will be published on, on the wildcard, and on IPv6 loopback.

    A socket in TIME_WAIT counts as free. An address that this host does not have is not asked, nor
    is SCTP, which many a kernel has only after somebody used it.
    """
    places = dict.fromkeys([address, "0.0.0.0", "::1"])  # noqa: S104  asked, never listened on
    return protocol not in _KINDS or all(_can_bind(place, port, protocol) for place in places)


def _can_bind(address: str, port: int, protocol: Protocol) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, _KINDS[protocol]) as probe:
            if protocol == "tcp":
                # The engine binds with it too: lets a socket in TIME_WAIT pass, not a listener.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind((address, port))
            return True
    except OSError as error:
        return error.errno not in (errno.EADDRINUSE, errno.EACCES)


def busy_ports(
    ports: Iterable[tuple[int, Protocol]], *, address: str = "127.0.0.1"
) -> list[BusyPort]:
    """Those of the ports that are held, each with the process that holds it where it is known."""
    held = [(p, kind) for p, kind in ports if not is_port_free(p, address=address, protocol=kind)]
    holders = _holders() if held else {}
    return [BusyPort(port=p, protocol=kind, holder=holders.get((p, kind), "")) for p, kind in held]


def _holders() -> dict[tuple[int, str], str]:
    """Port and protocol to "name (pid N)", as far as the system lets this user see."""
    import psutil  # only after a conflict was found

    found: dict[tuple[int, str], str] = {}
    # macOS refuses the whole question to ordinary users: then nobody is named.
    with contextlib.suppress(psutil.AccessDenied, OSError):
        for entry in psutil.net_connections(kind="inet"):
            protocol = "tcp" if entry.type == socket.SOCK_STREAM else "udp"
            listening = entry.status == psutil.CONN_LISTEN or protocol == "udp"
            if entry.laddr and listening and entry.pid:
                holder = f"pid {entry.pid}"
                with contextlib.suppress(psutil.Error):
                    name = psutil.Process(entry.pid).name()
                    proxy = name in _PROXIES
                    holder = f"{A_CONTAINER} ({name})" if proxy else f"{name} ({holder})"
                found[(entry.laddr.port, protocol)] = holder
    return found
