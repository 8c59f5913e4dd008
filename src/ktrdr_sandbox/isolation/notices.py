"""Values that lead to the main environment, to both, or nowhere.

They are only told of, and never changed: what a value is for, such as the page that a browser is
to call, only the file's author knows. Nothing of a value is shown but the address, for the rest may
be a secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from ktrdr_sandbox.isolation.model import Service, StackModel, attachments, pairs
from ktrdr_sandbox.isolation.ports import Publication
from ktrdr_sandbox.isolation.request import IsolationRequest, Notice

# An address on this host, with its port. `local` ones are, in a container, the container's.
_HOST: Final = re.compile(
    r"(?<![\w.-])(?:(?P<local>localhost|127\.0\.0\.1|\[::1\])|host\.docker\.internal)"
    r":(?P<port>\d{1,5})(?!\d)",
    re.I,
)
_TRAEFIK: Final = re.compile(r"traefik\.\w+\.(?:routers|services)\.", re.I)
_CADDY: Final = re.compile(r"caddy(?:_\d+)?", re.I)


def stale_addresses(
    model: StackModel, publications: Iterable[Publication], request: IsolationRequest
) -> Iterator[Notice]:
    """One notice for each active service and kind of address.

    Of a port on several protocols the one of TCP, which most addresses mean.
    """
    ordered = sorted(publications, key=lambda publication: publication.protocol != "tcp")
    given = {port.published for publication in ordered for port in publication.given}
    moved: dict[int, Publication] = {}
    for publication in ordered:
        for port in _numbers(publication.asked):
            if port not in given:
                moved.setdefault(port, publication)
    fixed = {
        str(body[key]).lower(): name
        for name, service in model.services.items()
        for body in attachments(service).values()
        for key in ("ipv4_address", "ipv6_address")
        if body.get(key)
    }
    for name, service in model.services.items():
        if name in request.active:
            values = _values(service)
            for texts in (_stale_ports(service, values, moved, model), _stale_ips(values, fixed)):
                text = "; ".join(texts)
                if text:
                    yield Notice(name, text)


def _values(service: Service) -> dict[str, str]:
    """Where a service may name an address: variables, build arguments, options of the log driver,
    and what a container finds others by."""
    servers = service.get("dns") or []
    hosts = [  # `name=address`, or with a colon before 2.24
        str(entry).replace("=", ":", 1).partition(":") for entry in service.get("extra_hosts") or []
    ]
    sections = {
        "extra_hosts": {name: address for name, _, address in hosts},
        "environment": service.get("environment"),
        "build.args": (service.get("build") or {}).get("args"),
        "logging.options": (service.get("logging") or {}).get("options"),
    }
    values = {"dns": servers if isinstance(servers, str) else " ".join(map(str, servers))}
    for section, body in sections.items():
        values.update({f"{section}.{key}": value or "" for key, value in pairs(body).items()})
    return values


def _numbers(span: str) -> range:
    """`8000` or `8000-8003`."""
    first, _, last = span.partition("-")
    return range(int(first), int(last or first) + 1) if first.isdigit() else range(0)


def _stale_ports(
    service: Service, values: Mapping[str, str], moved: Mapping[int, Publication], model: StackModel
) -> Iterator[str]:
    """Which of the moved ports the service's values name, and where.

    Where it listens on the same port itself, `localhost` is more likely its own container. To a log
    driver, which runs beside the engine, `localhost` is always the host.
    """
    kind, _, other = str(service.get("network_mode") or "").partition(":")
    owner = model.services.get(other, service) if kind == "service" else service
    inner = {int(body["target"]) for body in owner.get("ports") or []}
    for span in owner.get("expose") or []:
        inner.update(_numbers(str(span).partition("/")[0]))
    named: dict[int, dict[str, None]] = {}
    for key, value in values.items():
        for match in _HOST.finditer(value):
            port = int(match["port"])
            inside = match["local"] and port in inner and not key.startswith("logging.")
            if port in moved and not inside:
                named.setdefault(port, {})[key] = None
    for port, keys in named.items():
        publication = moved[port]
        here = "the one that the engine picks"
        if publication.given:
            own = publication.given[0]
            here = f"{own.published}: ${{{own.variable}:-{port}}} is right in both"
        yield (
            f"{_listed(keys)} the host's port {port}, which leads to the main environment; here, "
            f"{publication.service} is on {here}"
        )


def _stale_ips(values: Mapping[str, str], fixed: Mapping[str, str]) -> Iterator[str]:
    """Which of the addresses that the file gives its services, and that they do not have here."""
    for address, owner in fixed.items():
        around = r"[\w:.]" if ":" in address else r"[\w.]"  # a port may follow the shorter form
        whole = re.compile(rf"(?<!{around}){re.escape(address)}(?!{around})", re.I)
        keys = [key for key, value in values.items() if whole.search(value)]
        if keys:
            yield (
                f"{_listed(keys)} {address}, the fixed address of {owner}, which has another one "
                "here and is found by its name alone"
            )


def _listed(keys: Iterable[str]) -> str:
    *more, last = keys
    return f"{', '.join(more)} and {last} name" if more else f"{last} names"


def shared_routes(service: Service, instance_id: str) -> list[str]:
    """Where a service declares routes that every instance of its file has: what bears the
    instance's id is its own.

    A reverse proxy that reads them from the Docker API knows nothing of projects. Of one router in
    two containers it makes one that spreads requests over both
    (https://doc.traefik.io/traefik/routing/providers/docker/, caddy-docker-proxy, nginx-proxy).
    """
    labels = pairs(service.get("labels"))
    traefik = [key for key in labels if _TRAEFIK.match(key)]
    traefik += [labels[key] or "" for key in traefik if key.endswith(".rule")]
    if (labels.get("traefik.enable") or "").lower() == "false":
        traefik = []
    routes = {
        "traefik labels": traefik,
        "caddy labels": [value or "" for key, value in labels.items() if _CADDY.fullmatch(key)],
        "VIRTUAL_HOST": [pairs(service.get("environment")).get("VIRTUAL_HOST") or instance_id],
    }
    return [
        kind for kind, parts in routes.items() if any(instance_id not in part for part in parts)
    ]
