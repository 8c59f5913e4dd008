"""Published ports: every host port of the stack comes from the slot.

Named roles get the slot's named ports, workers `worker_base` + i, all others the slot's extra
block, by (service, container port, protocol). A port published without a host port (the engine
picks a free one) stays so unless it has a role. Container ports, and `expose`, are never touched.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final

from ktrdr_sandbox.isolation import model as compose
from ktrdr_sandbox.isolation.document import Entry
from ktrdr_sandbox.isolation.findings import Edit, Finding, change_at
from ktrdr_sandbox.isolation.model import Service
from ktrdr_sandbox.isolation.refusals import EXTRA_PORTS, shares_foreign_network
from ktrdr_sandbox.isolation.request import IsolationRequest
from ktrdr_sandbox.isolation.result import Change, Notice, Refusal
from ktrdr_sandbox.isolation.roles import Casting, cast
from ktrdr_sandbox.models import Protocol, PublishedPort, Role

VARIABLES: Final[dict[Role, str]] = {
    "backend": "KTRDR_API_PORT",
    "db": "KTRDR_DB_PORT",
    "grafana": "KTRDR_GRAFANA_PORT",
    "jaeger_ui": "KTRDR_JAEGER_UI_PORT",
    "jaeger_otlp": "KTRDR_JAEGER_OTLP_PORT",
    "prometheus": "KTRDR_PROMETHEUS_PORT",
}
"""Names that `.env.sandbox` has for the roles' ports."""

WORKERS_PER_SLOT: Final = 10
"""Worker ports of a slot; one more would be the next slot's first."""

_LAST_PORT: Final = 65536
_PROTOCOLS: Final[dict[str, Protocol]] = {"udp": "udp", "sctp": "sctp"}
"""Those that Compose prints besides `tcp`, its own default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """One entry of a service's `ports`, and the host ports it is given: one for each replica.

    `body` is the entry as the model has it. `role` is None in the extra block. Without `given` the
    engine picks a free port.
    """

    service: str
    target: int
    protocol: Protocol
    asked: str
    replicas: int
    body: Mapping[str, Any]
    given: tuple[int, ...] = ()
    role: Role | None = None
    variables: tuple[str, ...] = ()


@dataclass(slots=True)
class Allocation:
    """Who plays what, every publication with its host ports, and what a person should know."""

    casting: Casting
    publications: list[Publication]
    findings: list[Finding] = field(default_factory=list)

    def published(self, bind_address: str) -> tuple[PublishedPort, ...]:
        """One entry for each host port, in the order of services and container ports."""
        return tuple(
            PublishedPort(
                service=publication.service,
                target=publication.target,
                protocol=publication.protocol,
                host_ip=bind_address,
                published=port,
                role=publication.role,
                variable=variable,
            )
            for publication in self.publications
            for port, variable in zip(publication.given, publication.variables, strict=True)
        )


def allocate(model: Mapping[str, Any], request: IsolationRequest) -> Allocation:
    """Give every publication of the model its host ports, inactive services included.

    Nothing depends on which profiles are enabled, save who plays a role that two services claim.
    """
    services = compose.services(model)
    waiting = [
        publication
        for name, service in services.items()
        for publication in _publications(name, service)
    ]
    targets = {
        name: tuple(
            sorted({p.target for p in waiting if p.service == name and p.protocol == "tcp"})
        )
        for name in services
    }
    allocation = Allocation(cast(services, targets, request.active), [])
    rest = _give_workers(_give_roles(waiting, allocation, request), allocation, request)
    _give_extra(rest, allocation, request)
    allocation.publications.sort(key=lambda p: (compose.natural(p.service), p.target, p.protocol))
    return allocation


def rewrite_ports(
    model: Mapping[str, Any], allocation: Allocation, request: IsolationRequest
) -> Iterable[Finding]:
    """The edits: each service's whole list of ports is replaced."""
    services = compose.services(model)
    yield from allocation.findings
    for name in services:
        mine = [
            publication for publication in allocation.publications if publication.service == name
        ]
        if mine:
            entries = [_entry(publication, request.bind_address) for publication in mine]
            changes = tuple(_change(publication, request.bind_address) for publication in mine)
            reason = f"slot {request.instance.slot}'s host ports, on {request.bind_address} only"
            yield Edit(("services", name, "ports"), Entry(entries, reason, "!override"), changes)


def _publications(name: str, service: Service) -> list[Publication]:
    """A service's publications; entries that differ in the host address only count once."""
    if shares_foreign_network(service):
        return []
    found: dict[tuple[int, str, str], Publication] = {}
    for body in service.get("ports") or []:
        publication = Publication(
            service=name,
            target=int(body["target"]),
            protocol=_PROTOCOLS.get(str(body.get("protocol")), "tcp"),
            asked=str(body.get("published") or ""),
            replicas=max(1, compose.replicas(service)),
            body=body,
        )
        found.setdefault((publication.target, publication.protocol, publication.asked), publication)
    return sorted(found.values(), key=_order)


def _order(publication: Publication) -> tuple[str, int, str, int]:
    """The order of the extra block. Of the same container port, the lowest host port asked for."""
    first = publication.asked.partition("-")[0]
    return (
        publication.service,
        publication.target,
        publication.protocol,
        int(first) if first.isdigit() else _LAST_PORT,
    )


def _give_roles(
    waiting: list[Publication], allocation: Allocation, request: IsolationRequest
) -> list[Publication]:
    """Serve the named roles; returns the publications still waiting."""
    rest = list(waiting)
    for role, (service, target) in allocation.casting.publishes.items():
        publication = _first(rest, service, target)
        if publication.replicas > 1:
            allocation.findings.append(_too_many_for_one(publication, role))
            continue
        rest.remove(publication)
        allocation.publications.append(
            _served(publication, request.ports[role], role, (VARIABLES[role],))
        )
    return rest


def _give_workers(
    waiting: list[Publication], allocation: Allocation, request: IsolationRequest
) -> list[Publication]:
    """Serve the workers, each with as many ports in a row as it has replicas."""
    rest, used = list(waiting), 0
    for service, target in allocation.casting.workers:
        publication = _first(rest, service, target)
        if used + publication.replicas > WORKERS_PER_SLOT:
            text = f"a slot has {WORKERS_PER_SLOT} worker ports; {service} gets extra ports instead"
            allocation.findings.append(Notice(service=service, text=text))
            continue
        rest.remove(publication)
        numbers = range(used + 1, used + 1 + publication.replicas)
        variables = tuple(f"KTRDR_WORKER_PORT_{number}" for number in numbers)
        first = request.ports["worker_base"] + used
        allocation.publications.append(_served(publication, first, "worker", variables))
        used += publication.replicas
    return rest


def _give_extra(
    waiting: list[Publication], allocation: Allocation, request: IsolationRequest
) -> None:
    """Serve all others from the extra block, in order; what asks for no host port gets none."""
    used, names = 0, set[str]()
    beyond: list[Publication] = []
    for publication in sorted(waiting, key=_order):
        if not publication.asked:
            allocation.publications.append(publication)
            continue
        ports = request.extra_ports[used : used + publication.replicas]
        used += publication.replicas
        if len(ports) < publication.replicas:
            allocation.publications.append(publication)
            beyond.append(publication)
            continue
        variables = tuple(_variable(publication, names) for _ in ports)
        allocation.publications.append(_served(publication, ports[0], None, variables))
    allocation.findings += _beyond_block(beyond, request)


def _first(waiting: list[Publication], service: str, target: int) -> Publication:
    return next(
        p for p in waiting if p.service == service and p.target == target and p.protocol == "tcp"
    )


def _served(
    publication: Publication, first: int, role: Role | None, variables: tuple[str, ...]
) -> Publication:
    return Publication(
        service=publication.service,
        target=publication.target,
        protocol=publication.protocol,
        asked=publication.asked,
        replicas=publication.replicas,
        body=publication.body,
        given=tuple(range(first, first + publication.replicas)),
        role=role,
        variables=variables,
    )


def _variable(publication: Publication, taken: set[str]) -> str:
    """`KTRDR_PORT_<SERVICE>_<TARGET>`, with a protocol other than TCP, and a number when taken."""
    service = "".join(
        letter if letter.isascii() and letter.isalnum() else "_" for letter in publication.service
    )
    suffix = "" if publication.protocol == "tcp" else f"_{publication.protocol.upper()}"
    name = base = f"KTRDR_PORT_{service.upper()}_{publication.target}{suffix}"
    number = 1
    while name in taken:
        number += 1
        name = f"{base}_{number}"
    taken.add(name)
    return name


def _entry(publication: Publication, bind_address: str) -> Entry:
    """The entry for the override. Everything but address and host port is as in the model."""
    body = {
        key: value for key, value in publication.body.items() if key not in {"host_ip", "published"}
    }
    body["host_ip"] = bind_address
    if publication.given:
        body["published"] = _span(publication.given)
    return Entry(body, _reason(publication))


def _change(publication: Publication, bind_address: str) -> Change:
    address = publication.body.get("host_ip") or "0.0.0.0"  # noqa: S104 - Compose's own default
    return change_at(
        ("services", publication.service, "ports", f"{publication.target}/{publication.protocol}"),
        before=f"{address}:{publication.asked or 'any'}",
        after=f"{bind_address}:{_span(publication.given) or 'any'}",
        reason=_reason(publication),
    )


def _reason(publication: Publication) -> str:
    was = f"was {publication.asked}" if publication.asked else "had no fixed host port"
    if not publication.given:
        return "no fixed host port: the engine picks a free one"
    what = f"{publication.role} of the port map" if publication.role else "the slot's extra block"
    return f"{what}, {' '.join(publication.variables)}; {was}"


def _span(ports: tuple[int, ...]) -> str:
    if not ports:
        return ""
    return str(ports[0]) if len(ports) == 1 else f"{ports[0]}-{ports[-1]}"


def _too_many_for_one(publication: Publication, role: Role) -> Notice:
    text = (
        f"{publication.service} has {publication.replicas} replicas and the port map one {role} "
        "port; all of them get extra ports"
    )
    return Notice(service=publication.service, text=text)


def _beyond_block(beyond: Collection[Publication], request: IsolationRequest) -> Iterator[Finding]:
    """One finding for each range of container ports: Compose makes one entry of each port of it."""
    owners = sorted({(one.service, one.protocol) for one in beyond})
    for service, protocol in owners:
        mine = {one.target for one in beyond if (one.service, one.protocol) == (service, protocol)}
        for first, last in _ranges(mine):
            place = f"container port {first}/{protocol} is"
            if first != last:
                place = f"container ports {first}-{last}/{protocol} are"
            yield _too_many(service, place, request)


def _ranges(ports: Iterable[int]) -> Iterator[tuple[int, int]]:
    """First and last of all numbers in a row."""
    # Numbers in a row are equally far from their places in the sorted list.
    for _, group in groupby(enumerate(sorted(ports)), key=lambda pair: pair[1] - pair[0]):
        row = [port for _, port in group]
        yield row[0], row[-1]


def _too_many(service: str, place: str, request: IsolationRequest) -> Finding:
    if service in request.active and EXTRA_PORTS not in request.allow:
        return Refusal(
            service=service,
            key="ports",
            reason=f"{place} beyond the {len(request.extra_ports)} extra ports of a slot",
            setting=EXTRA_PORTS,
        )
    text = f"{place} beyond the slot's extra ports; the engine picks what is free"
    return Notice(service=service, text=text)
