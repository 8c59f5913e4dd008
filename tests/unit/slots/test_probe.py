"""Against real sockets of this machine, on ports that the system chose."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ktrdr_sandbox.slots.probe import busy_ports, is_port_free
from tests.support.http_server import closed_port
from tests.support.processes import foreign_listener


@contextmanager
def bound(address: str) -> Iterator[int]:
    """A TCP listener of this process on a port of the system's choice."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((address, 0))
        listener.listen()
        yield listener.getsockname()[1]


def has_ipv6() -> bool:
    try:
        with bound("::1"):
            return True
    except OSError:
        return False


def test_a_port_that_nobody_holds() -> None:
    port = closed_port()
    assert is_port_free(port)
    assert busy_ports([(port, "tcp"), (port, "udp")]) == []


@pytest.mark.parametrize("holder", ["127.0.0.1", "0.0.0.0"])
@pytest.mark.parametrize("published", ["127.0.0.1", "0.0.0.0"])
def test_a_listener_on_ipv4_counts_wherever_it_listens(holder: str, published: str) -> None:
    with bound(holder) as port:
        assert not is_port_free(port, address=published)


def test_a_listener_on_another_loopback_address_is_in_the_way_of_the_wildcard() -> None:
    with bound("127.0.0.2") as port:
        assert not is_port_free(port)


@pytest.mark.parametrize("holder", ["::1", "::"])
def test_a_listener_on_ipv6_counts_too(holder: str) -> None:
    if not has_ipv6():
        assert is_port_free(closed_port())  # an address this host does not have is not asked
        return
    with bound(holder) as port:
        assert not is_port_free(port)


def test_a_socket_in_time_wait_is_free() -> None:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        server.listen()
        with socket.create_connection(("127.0.0.1", port)) as client:
            accepted, _ = server.accept()
            accepted.close()  # the side that closes first is the one left in TIME_WAIT
            assert client.recv(1) == b""
    with socket.socket() as strict, pytest.raises(OSError, match="in use"):
        strict.bind(("127.0.0.1", port))  # it really is in TIME_WAIT: without REUSEADDR it fails
    assert is_port_free(port)


def test_udp_and_tcp_are_told_apart() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
        assert not is_port_free(port, protocol="udp")
        assert is_port_free(port, protocol="tcp")
        (busy,) = busy_ports([(port, "udp"), (port, "tcp")])
        assert (busy.port, busy.protocol) == (port, "udp")
        assert f"(pid {os.getpid()})" in busy.holder


def test_a_protocol_that_cannot_be_asked_for_counts_as_free() -> None:
    with foreign_listener() as (port, _):
        assert is_port_free(port, protocol="sctp")


def test_the_process_that_holds_a_port_is_named() -> None:
    with foreign_listener() as (port, pid):
        (busy,) = busy_ports([(port, "tcp")])
        assert busy.port == port
        assert busy.holder.endswith(f"(pid {pid})")
        assert str(busy) == f"{port} ({busy.holder})"


def test_the_engines_proxy_stands_for_a_container(tmp_path: Path) -> None:
    proxy = tmp_path / "docker-proxy"
    proxy.symlink_to(sys.executable)
    with foreign_listener(program=str(proxy)) as (port, _):
        (busy,) = busy_ports([(port, "tcp")])
    assert busy.holder == "a container (docker-proxy)"


def test_an_address_of_another_host_is_not_asked() -> None:
    assert is_port_free(closed_port(), address="192.0.2.1")
