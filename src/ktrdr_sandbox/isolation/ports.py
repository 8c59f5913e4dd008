"""Published ports: every host port of the stack comes from the slot.

Named roles get the slot's named ports, workers `worker_base` + i, all others the slot's extra
block, by (service, container port, protocol). A port published without a host port (the engine
picks a free one) stays so unless it has a role. Container ports, and `expose`, are never touched.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any, Final

from ktrdr_sandbox.isolation.model import Service, StackModel, natural, replicas
from ktrdr_sandbox.isolation.override import Edit, Entry, Finding, Findings, change_at
from ktrdr_sandbox.isolation.refusals import EXTRA_PORTS
from ktrdr_sandbox.isolation.request import Change, IsolationRequest, Notice, Refusal
from ktrdr_sandbox.isolation.roles import RoleAssignment, assign_roles
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

    @property
    def order(self) -> tuple[str, int, str, int]:
        """Place in the extra block. Of the same container port, the lowest host port asked for."""
        first = self.asked.partition("-")[0]
        number = int(first) if first.isdigit() else _LAST_PORT
        return self.service, self.target, self.protocol, number

    def given_from(
        self, first: int, variables: Iterable[str], role: Role | None = None
    ) -> Publication:
        given = tuple(range(first, first + self.replicas))
        return replace(self, given=given, role=role, variables=tuple(variables))


@dataclass(slots=True)
class Allocation:
    """Who plays what, every publication with its host ports, and what a person should know."""

    assignment: RoleAssignment
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


def allocate(model: StackModel, request: IsolationRequest) -> Allocation:
    """Give every publication of the model its host ports, inactive services included.

    Nothing depends on which profiles are enabled, save who plays a role that two services claim.
    """
    waiting = [
        publication
        for name, service in model.services.items()
        for publication in _publications(name, service)
    ]
    targets = {
        name: tuple(
            sorted({p.target for p in waiting if p.service == name and p.protocol == "tcp"})
        )
        for name in model.services
    }
    allocation = Allocation(assign_roles(model.services, targets, request.active), [])
    _give_roles(waiting, allocation, request)
    _give_workers(waiting, allocation, request)
    _give_extra(waiting, allocation, request)
    allocation.publications.sort(key=lambda p: (natural(p.service), p.target, p.protocol))
    return allocation


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


def _publications(name: str, service: Service) -> list[Publication]:
    """A service's publications; entries that differ in the host address only count once.

    What has another's network publishes nothing by itself.
    """
    mode = str(service.get("network_mode") or "")
    if mode == "host" or mode.startswith(("container:", "service:")):
        return []
    distinct: dict[tuple[int, str, str], Publication] = {}
    for body in service.get("ports") or []:
        publication = Publication(
            service=name,
            target=int(body["target"]),
            protocol=_PROTOCOLS.get(str(body.get("protocol")), "tcp"),
            asked=str(body.get("published") or ""),
            replicas=max(1, replicas(service)),
            body=body,
        )
        key = (publication.target, publication.protocol, publication.asked)
        distinct.setdefault(key, publication)
    return sorted(distinct.values(), key=lambda publication: publication.order)


def _give_roles(
    waiting: list[Publication], allocation: Allocation, request: IsolationRequest
) -> None:
    """Serve the named roles, taking them off the waiting ones."""
    for role, (service, target) in allocation.assignment.publishes.items():
        publication = next(
            p for p in waiting if (p.service, p.target, p.protocol) == (service, target, "tcp")
        )
        if publication.replicas > 1:
            text = (
                f"{service} has {publication.replicas} replicas and the port map one {role} "
                "port; all of them get extra ports"
            )
            allocation.findings.append(Notice(service=service, text=text))
            continue
        waiting.remove(publication)
        served = publication.given_from(request.ports[role], [VARIABLES[role]], role)
        allocation.publications.append(served)


def _give_workers(
    waiting: list[Publication], allocation: Allocation, request: IsolationRequest
) -> None:
    """Serve the workers, each with as many ports in a row as it has replicas."""
    used = 0
    for service, target in allocation.assignment.workers:
        publication = next(
            p for p in waiting if (p.service, p.target, p.protocol) == (service, target, "tcp")
        )
        if used + publication.replicas > WORKERS_PER_SLOT:
            text = f"a slot has {WORKERS_PER_SLOT} worker ports; {service} gets extra ports instead"
            allocation.findings.append(Notice(service=service, text=text))
            continue
        waiting.remove(publication)
        numbers = range(used + 1, used + 1 + publication.replicas)
        variables = [f"KTRDR_WORKER_PORT_{number}" for number in numbers]
        first = request.ports["worker_base"] + used
        allocation.publications.append(publication.given_from(first, variables, "worker"))
        used += publication.replicas


def _give_extra(
    waiting: list[Publication], allocation: Allocation, request: IsolationRequest
) -> None:
    """Serve all others from the extra block, in order; what asks for no host port gets none."""
    used, names = 0, set[str]()
    beyond: list[Publication] = []
    for publication in sorted(waiting, key=lambda one: one.order):
        ports = request.extra_ports[used : used + publication.replicas]
        if not publication.asked:
            allocation.publications.append(publication)
        elif len(ports) < publication.replicas:
            used += publication.replicas
            allocation.publications.append(publication)
            beyond.append(publication)
        else:
            used += publication.replicas
            variables = [_variable(publication, names) for _ in ports]
            allocation.publications.append(publication.given_from(ports[0], variables))
    allocation.findings += _beyond_block(beyond, request)


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


def _rewritten(publication: Publication, address: str) -> tuple[Entry, Change]:
    """The entry for the override: all but address and host port is as in the model."""
    body = {**publication.body, "host_ip": address}
    body.pop("published", None)
    reason = "no fixed host port: the engine picks a free one"
    if publication.given:
        body["published"] = _span(publication.given)
        what = (
            f"{publication.role} of the port map" if publication.role else "the slot's extra block"
        )
        was = f"was {publication.asked}" if publication.asked else "had no fixed host port"
        reason = f"{what}, {' '.join(publication.variables)}; {was}"
    before = publication.body.get("host_ip") or "0.0.0.0"  # noqa: S104 - Compose's own default
    port = f"{publication.target}/{publication.protocol}"
    change = change_at(
        ("services", publication.service, "ports", port),
        before=f"{before}:{publication.asked or 'any'}",
        after=f"{address}:{_span(publication.given) or 'any'}",
        reason=reason,
    )
    return Entry(body, reason), change


def _span(ports: tuple[int, ...]) -> str:
    return "-".join(str(port) for port in dict.fromkeys((ports[0], ports[-1]))) if ports else ""


def _beyond_block(beyond: list[Publication], request: IsolationRequest) -> Iterator[Finding]:
    """One finding for each range of container ports: Compose makes one entry of each port of it."""
    for service, protocol in sorted({(one.service, one.protocol) for one in beyond}):
        targets = {p.target for p in beyond if (p.service, p.protocol) == (service, protocol)}
        # Numbers in a row are equally far from their places in the sorted list.
        for _, group in groupby(enumerate(sorted(targets)), key=lambda pair: pair[1] - pair[0]):
            row = [port for _, port in group]
            place = f"container port {row[0]}/{protocol} is"
            if len(row) > 1:
                place = f"container ports {row[0]}-{row[-1]}/{protocol} are"
            if service in request.active and EXTRA_PORTS not in request.allow:
                reason = f"{place} beyond the {len(request.extra_ports)} extra ports of a slot"
                yield Refusal(service=service, key="ports", reason=reason, setting=EXTRA_PORTS)
            else:
                text = f"{place} beyond the slot's extra ports; the engine picks what is free"
                yield Notice(service=service, text=text)
