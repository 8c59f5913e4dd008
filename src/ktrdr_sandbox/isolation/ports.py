"""Published ports: every host port of the stack comes from the slot.

Named roles get the slot's named ports, workers `worker_base` + i, all others the slot's extra
block, by (service, container port, protocol). A port published without a host port (the engine
picks a free one) stays so unless it has a role. Container ports, and `expose`, are never touched.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final, NamedTuple

from ktrdr_sandbox.isolation.model import Service, StackModel, natural, replicas
from ktrdr_sandbox.isolation.override import Edit, Entry, Finding, Findings, change_at
from ktrdr_sandbox.isolation.request import Change, IsolationRequest, Notice, Refusal
from ktrdr_sandbox.isolation.roles import assign_roles
from ktrdr_sandbox.models import Protocol, PublishedPort, Role

_VARIABLES: Final[dict[Role, str]] = {  # the names that `.env.sandbox` has for the roles' ports
    "backend": "KTRDR_API_PORT",
    "db": "KTRDR_DB_PORT",
    "grafana": "KTRDR_GRAFANA_PORT",
    "jaeger_ui": "KTRDR_JAEGER_UI_PORT",
    "jaeger_otlp": "KTRDR_JAEGER_OTLP_PORT",
    "prometheus": "KTRDR_PROMETHEUS_PORT",
}
_EXTRA_PORTS: Final = "extra-ports"  # the token of a refusal
_WORKERS_PER_SLOT: Final = 10  # one more would be the next slot's first
_PROTOCOLS: Final[dict[str, Protocol]] = {"udp": "udp", "sctp": "sctp"}


@dataclass(slots=True, kw_only=True)
class Publication:
    """One entry of a service's `ports`, and the host ports it is given: one for each replica.

    `body` is the entry as the model has it. Without `given` the engine picks a free port.
    """

    service: str
    target: int
    protocol: Protocol
    asked: str
    replicas: int
    body: Mapping[str, Any]
    given: tuple[PublishedPort, ...] = ()

    @property
    def order(self) -> tuple[str, int, str, int]:
        """Place in the extra block. Of the same container port, the lowest host port asked for."""
        first = self.asked.partition("-")[0]
        return self.service, self.target, self.protocol, int(first) if first.isdigit() else 65536

    def give(self, first: int, variables: list[str], ip: str, role: Role | None = None) -> None:
        self.given = tuple(
            PublishedPort(
                service=self.service,
                target=self.target,
                protocol=self.protocol,
                host_ip=ip,
                published=port,
                role=role,
                variable=variable,
            )
            for port, variable in enumerate(variables, start=first)
        )


class Allocation(NamedTuple):
    """Who plays what, every publication with its host ports, and what a person should know."""

    roles: Mapping[str, frozenset[Role]]
    publications: list[Publication]
    findings: list[Finding]


def allocate(model: StackModel, request: IsolationRequest) -> Allocation:
    """Give every publication of the model its host ports, inactive services included.

    Nothing depends on which profiles are enabled, save who plays a role that two services claim.
    """
    publications = [p for name, body in model.services.items() for p in _publications(name, body)]
    by_place: dict[tuple[str, int], Publication] = {}
    targets: dict[str, set[int]] = {}
    for publication in publications:
        if publication.protocol == "tcp":
            by_place.setdefault((publication.service, publication.target), publication)
            targets.setdefault(publication.service, set()).add(publication.target)
    assignment = assign_roles(model.services, targets, request.active)
    findings: list[Finding] = []
    address = request.bind_address
    for role, place in assignment.publishes.items():
        publication = by_place[place]
        if publication.replicas == 1:
            publication.give(request.ports[role], [_VARIABLES[role]], address, role)
        else:
            text = (
                f"{publication.service} has {publication.replicas} replicas and the port map one "
                f"{role} port; all of them get extra ports"
            )
            findings.append(Notice(publication.service, text))
    used = 0
    for place in assignment.workers:  # each with as many ports in a row as it has replicas
        publication = by_place[place]
        numbers = range(used + 1, used + 1 + publication.replicas)
        if numbers[-1] <= _WORKERS_PER_SLOT:
            names = [f"KTRDR_WORKER_PORT_{number}" for number in numbers]
            publication.give(request.ports["worker_base"] + used, names, address, "worker")
            used += publication.replicas
        else:
            text = (
                f"a slot has {_WORKERS_PER_SLOT} worker ports; {place[0]} gets extra ports instead"
            )
            findings.append(Notice(place[0], text))
    findings += _give_extra([p for p in publications if p.asked and not p.given], request)
    publications.sort(key=lambda p: (natural(p.service), p.target, p.protocol))
    return Allocation(assignment.roles, publications, findings)


def _publications(name: str, service: Service) -> list[Publication]:
    """A service's publications; entries that differ in the host address only count once.

    What has another's network publishes nothing by itself.
    """
    mode = str(service.get("network_mode") or "")
    if mode == "host" or mode.startswith(("container:", "service:")):
        return []
    distinct: dict[tuple[str, int, str, str], Publication] = {}
    for body in service.get("ports") or []:
        publication = Publication(
            service=name,
            target=int(body["target"]),
            protocol=_PROTOCOLS.get(str(body.get("protocol")), "tcp"),
            asked=str(body.get("published") or ""),
            replicas=max(1, replicas(service)),
            body=body,
        )
        distinct.setdefault((*publication.order[:3], publication.asked), publication)
    return sorted(distinct.values(), key=lambda publication: publication.order)


def _give_extra(waiting: list[Publication], request: IsolationRequest) -> Iterator[Finding]:
    """Serve all others from the extra block, in order, and tell of what is beyond it.

    Compose makes one entry of each port of a range: there is one finding for all in a row.
    """
    used, names = 0, set[str]()
    beyond: dict[tuple[str, str], set[int]] = {}
    for publication in sorted(waiting, key=lambda p: p.order):
        ports = request.extra_ports[used : used + publication.replicas]
        used += publication.replicas
        if len(ports) < publication.replicas:
            kind = (publication.service, publication.protocol)
            beyond.setdefault(kind, set()).add(publication.target)
        else:
            variables = [_variable(publication, names) for _ in ports]
            publication.give(ports[0], variables, request.bind_address)
    for (service, protocol), targets in sorted(beyond.items()):
        # Numbers in a row are equally far from their places in the sorted list.
        for _, group in groupby(enumerate(sorted(targets)), key=lambda pair: pair[1] - pair[0]):
            row = [port for _, port in group]
            place = f"container port {row[0]}/{protocol} is"
            if len(row) > 1:
                place = f"container ports {row[0]}-{row[-1]}/{protocol} are"
            if service in request.active and _EXTRA_PORTS not in request.allow:
                reason = f"{place} beyond the {len(request.extra_ports)} extra ports of a slot"
                yield Refusal(service, "ports", reason, _EXTRA_PORTS)
            else:
                text = f"{place} beyond the slot's extra ports; the engine picks what is free"
                yield Notice(service, text)


def _variable(publication: Publication, taken: set[str]) -> str:
    """`KTRDR_PORT_<SERVICE>_<TARGET>`, with a protocol other than TCP, and a number when taken."""
    service = re.sub(r"[^A-Za-z0-9]", "_", publication.service).upper()
    suffix = "" if publication.protocol == "tcp" else f"_{publication.protocol.upper()}"
    name = base = f"KTRDR_PORT_{service}_{publication.target}{suffix}"
    number = 1
    while name in taken:
        number += 1
        name = f"{base}_{number}"
    taken.add(name)
    return name


def rewrite_ports(model: StackModel, allocation: Allocation, request: IsolationRequest) -> Findings:
    """Replace each service's whole list of ports."""
    yield from allocation.findings
    address = request.bind_address
    for name in model.services:
        rewritten = [_rewritten(p, address) for p in allocation.publications if p.service == name]
        if rewritten:
            entries, changes = zip(*rewritten, strict=True)
            reason = f"slot {request.instance.slot}'s host ports, on {address} only"
            whole = Entry(list(entries), reason, "!override")
            yield Edit(("services", name, "ports"), whole, changes)


def _rewritten(publication: Publication, address: str) -> tuple[Entry, Change]:
    """The entry for the override: all but address and host port is as in the model."""
    body = {**publication.body, "host_ip": address}
    body.pop("published", None)
    reason = "no fixed host port: the engine picks a free one"
    if publication.given:
        first, last = publication.given[0].published, publication.given[-1].published
        body["published"] = str(first) if first == last else f"{first}-{last}"
        role = publication.given[0].role
        what = f"{role} of the port map" if role else "the slot's extra block"
        was = f"was {publication.asked}" if publication.asked else "had no fixed host port"
        reason = f"{what}, {' '.join(port.variable for port in publication.given)}; {was}"
    before = publication.body.get("host_ip") or "0.0.0.0"  # noqa: S104 - Compose's own default
    where = f"{publication.target}/{publication.protocol}"
    change = change_at(
        ("services", publication.service, "ports", where),
        before=f"{before}:{publication.asked or 'any'}",
        after=f"{address}:{body.get('published', 'any')}",
        reason=reason,
    )
    return Entry(body, reason), change
