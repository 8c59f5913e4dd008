"""Values that name an address which is another one here: they lead to the main environment, or
nowhere.

They are only told of, and never changed: what a value is for, such as the page that a browser is
to call, only the file's author knows. Nothing of a value is shown but the address, for the rest may
be a secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from ktrdr_sandbox.isolation import model as compose
from ktrdr_sandbox.isolation.model import Service
from ktrdr_sandbox.isolation.ports import Allocation, Publication
from ktrdr_sandbox.isolation.request import IsolationRequest
from ktrdr_sandbox.isolation.result import Notice

_HOST: Final = re.compile(
    r"(?<![\w.-])(?:(?P<local>localhost|127\.0\.0\.1|\[::1\])|host\.docker\.internal)"
    r":(?P<port>\d{1,5})(?!\d)",
    re.I,
)
"""An address on this host, with its port. `local` ones are, in a container, the container's."""

_ADDRESSES: Final = ("ipv4_address", "ipv6_address")

Places = dict[str, None]
"""Where in a service something is named, in order and each once."""


def stale_addresses(
    model: Mapping[str, Any], allocation: Allocation, request: IsolationRequest
) -> Iterator[Notice]:
    """One notice for each active service and kind of address."""
    services = compose.services(model)
    moved, fixed = _moved_ports(allocation), _fixed_addresses(services)
    for name, service in services.items():
        if name in request.active:
            named = _named_ports(service, moved, own=_listens_on(service, services))
            yield from _told(
                name, [_led_elsewhere(moved[port], port, named[port]) for port in named]
            )
            yield from _told(name, list(_addresses_gone(service, fixed)))


def _told(service: str, texts: list[str]) -> Iterator[Notice]:
    if texts:
        yield Notice(service=service, text="; ".join(texts))


# -- host ports ------------------------------------------------------------------------------------


def _moved_ports(allocation: Allocation) -> dict[int, Publication]:
    """The file's host ports that are others here, and so are the main environment's.

    Of a number on several protocols the one of TCP, which most addresses mean.
    """
    given = {port for publication in allocation.publications for port in publication.given}
    moved: dict[int, Publication] = {}
    for publication in sorted(allocation.publications, key=lambda one: one.protocol != "tcp"):
        for port in _numbers(publication.asked):
            if port not in given:
                moved.setdefault(port, publication)
    return moved


def _numbers(span: str) -> range:
    """`8000` or `8000-8003`."""
    first, _, last = span.partition("-")
    return range(int(first), int(last or first) + 1) if first.isdigit() else range(0)


def _named_ports(
    service: Service, moved: Mapping[int, Publication], *, own: frozenset[int]
) -> dict[int, Places]:
    """Which of the moved ports the service's values name, and where.

    Where it listens on the same port itself, `localhost` is more likely its own container. To a log
    driver, which runs beside the engine, `localhost` is always the host.
    """
    found: dict[int, Places] = {}
    for place, value in _values(service):
        for match in _HOST.finditer(value):
            port = int(match["port"])
            inside = match["local"] and port in own and not place.startswith("logging.")
            if port in moved and not inside:
                found.setdefault(port, {})[place] = None
    return found


def _listens_on(service: Service, services: Mapping[str, Service]) -> frozenset[int]:
    """Container ports that the file gives to a service, or to the one whose network it has."""
    kind, _, other = str(service.get("network_mode") or "").partition(":")
    owner = services.get(other, service) if kind == "service" else service
    published = {int(body["target"]) for body in owner.get("ports") or []}
    exposed = (str(port).partition("/")[0] for port in owner.get("expose") or [])
    return frozenset(published.union(*(_numbers(span) for span in exposed)))


def _values(service: Service) -> Iterator[tuple[str, str]]:
    """Variables, build arguments and options of the log driver."""
    sections = {
        "environment": service.get("environment"),
        "build.args": (service.get("build") or {}).get("args"),
        "logging.options": (service.get("logging") or {}).get("options"),
    }
    for section, body in sections.items():
        for key, value in compose.pairs(body).items():
            yield f"{section}.{key}", value or ""


def _led_elsewhere(publication: Publication, port: int, places: Iterable[str]) -> str:
    here = "the one that the engine picks"
    if publication.given:
        here = f"{publication.given[0]}: ${{{publication.variables[0]}:-{port}}} is right in both"
    return (
        f"{_listed(places)} the host's port {port}, which leads to the main environment; here, "
        f"{publication.service} is on {here}"
    )


# -- fixed addresses -------------------------------------------------------------------------------


def _fixed_addresses(services: Mapping[str, Service]) -> dict[str, str]:
    """The services by the addresses that the file gives them, and that they do not have here."""
    return {
        str(body[key]).lower(): name
        for name, service in services.items()
        for body in compose.attachments(service).values()
        for key in _ADDRESSES
        if body.get(key)
    }


def _addresses_gone(service: Service, fixed: Mapping[str, str]) -> Iterator[str]:
    for address, owner in fixed.items():
        around = r"[\w:.]" if ":" in address else r"[\w.]"  # a port may follow the shorter form
        whole = re.compile(rf"(?<!{around}){re.escape(address)}(?!{around})", re.I)
        places = [place for place, value in _lookups(service) if whole.search(value)]
        if places:
            yield (
                f"{_listed(dict.fromkeys(places))} {address}, the fixed address of {owner}, which "
                "has another one here and is found by its name alone"
            )


def _lookups(service: Service) -> Iterator[tuple[str, str]]:
    """Everything by which a container finds another one's address."""
    servers = service.get("dns") or []
    for server in [servers] if isinstance(servers, str) else servers:
        yield "dns", str(server)
    for entry in service.get("extra_hosts") or []:  # `name=address`, or with a colon before 2.24
        name, _, address = str(entry).replace("=", ":", 1).partition(":")
        yield f"extra_hosts.{name}", address
    yield from _values(service)


def _listed(places: Iterable[str]) -> str:
    """`a and b name`"""
    *more, last = places
    return f"{', '.join(more)} and {last} name" if more else f"{last} names"
