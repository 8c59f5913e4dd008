"""Which service plays which part: told from its name, its image and its container ports.

A part is played by one service (workers excepted). Evidence, strongest first: the service is known
by name or image and publishes the part's own port; it only publishes that port; it is known and
publishes a single other port. Among equals a service that the enabled profiles include comes first,
then one without profiles, then the plainest name.

Workers are told by their names. A worker's port alone is enough only where the type of worker is
known besides: 5005 is also the port at which Java programs are debugged.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Final, Literal, NamedTuple

from ktrdr_sandbox.isolation.model import Service, natural, pairs
from ktrdr_sandbox.models import Role

Kind = Literal["backend", "db", "grafana", "jaeger", "prometheus", "worker"]
Rank = tuple[bool, bool, int, str]  # inactive, with profiles, words of the name, name

_TARGETS: Final[dict[Role, tuple[Kind, int]]] = {
    "backend": ("backend", 8000),
    "db": ("db", 5432),
    "grafana": ("grafana", 3000),
    "jaeger_ui": ("jaeger", 16686),
    "jaeger_otlp": ("jaeger", 4317),
    "prometheus": ("prometheus", 9090),
}
_WORKER_TARGETS: Final = range(5003, 5007)

# KTRDR's worker programs in a command: `uvicorn ktrdr.training.training_worker:app`.
_WORKER_PROGRAM: Final = re.compile(r"\b(?:backtest|training)_worker\b")

_IMAGE_WORDS: Final[dict[Kind, set[str]]] = {
    "db": {"postgres", "postgresql", "timescale", "timescaledb", "postgis", "pgvector"},
    "grafana": {"grafana"},
    "jaeger": {"jaeger", "jaegertracing"},
    "prometheus": {"prometheus"},
}
_NAME_WORDS: Final[dict[Kind, set[str]]] = {
    **_IMAGE_WORDS,
    "backend": {"backend", "api"},
    "db": _IMAGE_WORDS["db"] | {"db", "database"},
}
# Words of services that carry the name of what they serve: `postgres-exporter` is no database.
_SIDE_TOOLS: Final = {
    *("admin", "agent", "backup", "cli", "client", "exporter", "init", "migrate", "migration"),
    *("migrations", "operator", "pgadmin", "proxy", "renderer", "seed", "setup", "test", "tests"),
}
# Port 3000 is Grafana's, and that of most front ends: these do not become Grafana by port.
_FRONT_ENDS: Final = {
    *("app", "client", "docs", "front", "frontend", "next", "node", "react", "site", "ui", "vite"),
    *("web", "website", "www"),
}


class RoleAssignment(NamedTuple):
    """Who plays what. `publishes` gives the container port of each role that has a host port.

    `workers` publish a port, too, with that container port, in the order of their numbers.
    """

    roles: Mapping[str, frozenset[Role]]
    publishes: Mapping[Role, tuple[str, int]]
    workers: tuple[tuple[str, int], ...]


class _Part(NamedTuple):
    """What the choice needs to know of one service; the lower `rank` is the better claim."""

    name: str
    kind: Kind | None
    words: set[str]
    image_words: set[str]
    targets: Collection[int]
    rank: Rank


def assign_roles(
    services: Mapping[str, Service],
    targets: Mapping[str, Collection[int]],
    active: frozenset[str],
) -> RoleAssignment:
    """Give out the roles. `targets` are the TCP container ports that each service publishes.

    Workers are in the order of container port, then name; never of host port, which the file may
    take from the very variables that are derived here. Those with profiles come last, so that
    adding one renumbers nothing else.
    """
    parts = []
    for name, service in services.items():
        image, words = str(service.get("image") or ""), _words(name)
        rank = (name not in active, bool(service.get("profiles")), len(words), name)
        kind = None if service.get("provider") else kind_of(name, image)
        published = targets.get(name, ())
        parts.append(_Part(name, kind, set(words), _image_words(image), published, rank))
    publishes, roles = _named_roles(parts)
    numbered = []
    for part in parts:
        is_worker = part.kind == "worker"
        if part.kind is None and any(target in _WORKER_TARGETS for target in part.targets):
            is_worker = worker_type(part.name, services[part.name]) is not None
        if is_worker and not roles[part.name]:
            roles[part.name].add("worker")
            if part.targets:
                port = min(part.targets, key=lambda port: (port not in _WORKER_TARGETS, port))
                numbered.append((part.rank[1], port, natural(part.name), part.name))
    workers = tuple((name, port) for _, port, _, name in sorted(numbered))
    return RoleAssignment({key: frozenset(own) for key, own in roles.items()}, publishes, workers)


def _named_roles(parts: list[_Part]) -> tuple[dict[Role, tuple[str, int]], dict[str, set[Role]]]:
    """Who publishes each role, by which port; and the roles of each service, published or not."""
    roles: dict[str, set[Role]] = {part.name: set() for part in parts}
    publishes: dict[Role, tuple[str, int]] = {}
    for role, (kind, target) in _TARGETS.items():
        known = [part for part in parts if part.kind == kind]
        claims = [claim for part in parts if (claim := _claim(part, kind, target))]
        if claims:
            _, (*_, name), port = min(claims)
            publishes[role] = (name, port)
            roles[name].add(role)
        elif known:  # plays the role without publishing it
            roles[min(known, key=lambda part: part.rank).name].add(role)
    return publishes, roles


def _claim(part: _Part, kind: Kind, target: int) -> tuple[int, Rank, int] | None:
    """How good a service's claim to a role is, the lower the better, and by which port."""
    publishes = target in part.targets
    if part.kind == kind and publishes:
        return 0, part.rank, target
    if part.kind == kind and len(part.targets) == 1 and kind != "jaeger":
        return 3, part.rank, next(iter(part.targets))
    if part.kind is None and publishes and not (kind == "grafana" and part.words & _FRONT_ENDS):
        return 1 if part.image_words & _NAME_WORDS[kind] else 2, part.rank, target
    return None


def kind_of(name: str, image: str) -> Kind | None:
    """What a service is by its image, else by its name; None when neither tells."""
    words, image_words = _words(name), _image_words(image)
    if _SIDE_TOOLS & {*words, *image_words}:
        return None
    for kind, known in _IMAGE_WORDS.items():
        if known & image_words:
            return kind
    if "worker" in name.lower():
        return "worker"
    for word in reversed(words):  # `api-db` is a database, `db-api` an API
        for kind, known in _NAME_WORDS.items():
            if word in known:
                return kind
    return None


def worker_type(name: str, service: Service) -> str | None:
    """The type under which a worker registers with KTRDR's backend, or None when nothing tells.

    Told by the service's name, else by `WORKER_TYPE`, else by the program that it runs.
    """
    given = pairs(service.get("environment")).get("WORKER_TYPE") or ""
    command = service.get("command") or ""
    command = command if isinstance(command, str) else " ".join(map(str, command))
    for text in (name, given, *_WORKER_PROGRAM.findall(command)):
        if "backtest" in text.lower():
            return "backtesting"
        if "train" in text.lower():
            return "training"
    return None


def _words(name: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", name.lower())


def _image_words(image: str) -> set[str]:
    """Words of an image's name, and Jaeger's organisation: `grafana/loki` is not Grafana."""
    repository, _, last = image.partition("@")[0].rpartition("/")
    words = set(_words(last.partition(":")[0]))
    return words | ({"jaegertracing"} & set(repository.split("/")))
