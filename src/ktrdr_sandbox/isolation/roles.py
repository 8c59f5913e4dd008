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
from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

from ktrdr_sandbox.isolation.model import Service, natural, pairs
from ktrdr_sandbox.models import Role

Kind = Literal["backend", "db", "grafana", "jaeger", "prometheus", "worker"]

ROLE_TARGETS: Final[dict[Role, tuple[Kind, int]]] = {
    "backend": ("backend", 8000),
    "db": ("db", 5432),
    "grafana": ("grafana", 3000),
    "jaeger_ui": ("jaeger", 16686),
    "jaeger_otlp": ("jaeger", 4317),
    "prometheus": ("prometheus", 9090),
}
"""The container port of each named role, as the stack's services listen."""

WORKER_TARGETS: Final = range(5003, 5007)
"""Container ports of the stack's four workers."""

_WORKER_PROGRAM: Final = re.compile(r"\b(?:backtest|training)_worker\b")
"""KTRDR's worker programs in a command: `uvicorn ktrdr.training.training_worker:app`."""

_IMAGE_WORDS: Final[dict[Kind, set[str]]] = {
    "db": {"postgres", "postgresql", "timescale", "timescaledb", "postgis", "pgvector"},
    "grafana": {"grafana"},
    "jaeger": {"jaeger", "jaegertracing"},
    "prometheus": {"prometheus"},
}
_NAME_WORDS: Final[dict[Kind, set[str]]] = {
    "backend": {"backend", "api"},
    "db": _IMAGE_WORDS["db"] | {"db", "database"},
    "grafana": {"grafana"},
    "jaeger": {"jaeger"},
    "prometheus": {"prometheus"},
}
_SIDE_TOOLS: Final = {
    *("admin", "agent", "backup", "cli", "client", "exporter", "init", "migrate", "migration"),
    *("migrations", "operator", "pgadmin", "proxy", "renderer", "seed", "setup", "test", "tests"),
}
"""Words of services that carry the name of what they serve: `postgres-exporter` is no database."""

_FRONT_ENDS: Final = {
    *("app", "client", "docs", "front", "frontend", "next", "node", "react", "site", "ui", "vite"),
    *("web", "website", "www"),
}
"""Port 3000 is Grafana's, and that of most front ends: these do not become Grafana by port."""


class RoleAssignment(NamedTuple):
    """Who plays what. `publishes` gives the container port of each role that has a host port."""

    roles: Mapping[str, frozenset[Role]]
    publishes: Mapping[Role, tuple[str, int]]
    workers: tuple[tuple[str, int], ...]
    """Workers that publish a port, with that container port, in the order of their numbers."""


class _Part(NamedTuple):
    """What the choice needs to know of one service. `rank` sorts the better of equal claims
    first."""

    name: str
    kind: Kind | None
    worker_type: str | None
    words: frozenset[str]
    image_words: frozenset[str]
    targets: tuple[int, ...]
    profiled: bool
    rank: tuple[bool, bool, int, str]

    @property
    def is_worker(self) -> bool:
        if self.kind is None and self.worker_type is not None:
            return any(target in WORKER_TARGETS for target in self.targets)
        return self.kind == "worker"

    @property
    def worker_target(self) -> int:
        return min(self.targets, key=lambda port: (port not in WORKER_TARGETS, port), default=0)


def assign_roles(
    services: Mapping[str, Service],
    targets: Mapping[str, tuple[int, ...]],
    active: frozenset[str],
) -> RoleAssignment:
    """Give out the roles. `targets` are the TCP container ports that each service publishes.

    Workers are in the order of container port, then name; never of host port, which the file may
    take from the very variables that are derived here. Services with profiles come last, so that
    adding one, or enabling its profile, renumbers nothing else.
    """
    parts = [
        _part(name, service, targets.get(name, ()), active) for name, service in services.items()
    ]
    publishes = {
        role: publisher
        for role, (kind, target) in ROLE_TARGETS.items()
        if (publisher := _publisher(kind, target, parts))
    }
    roles = _roles(parts, publishes)
    workers = sorted(
        (part for part in parts if "worker" in roles[part.name] and part.targets),
        key=lambda part: (part.profiled, part.worker_target, natural(part.name)),
    )
    return RoleAssignment(
        roles, publishes, tuple((part.name, part.worker_target) for part in workers)
    )


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

    The service's name tells first, then what KTRDR's own files give a worker: `WORKER_TYPE` and
    the program that it runs.
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


def _part(name: str, service: Service, targets: tuple[int, ...], active: frozenset[str]) -> _Part:
    image = str(service.get("image") or "")
    words = _words(name)
    profiled = bool(service.get("profiles"))
    return _Part(
        name=name,
        kind=None if service.get("provider") else kind_of(name, image),
        worker_type=worker_type(name, service),
        words=frozenset(words),
        image_words=_image_words(image),
        targets=targets,
        profiled=profiled,
        rank=(name not in active, profiled, len(words), name),
    )


_KNOWN_AND_PORT, _IMAGE_AND_PORT, _PORT, _ODD_PORT = range(4)


def _publisher(kind: Kind, target: int, parts: list[_Part]) -> tuple[str, int] | None:
    """The service that publishes a role, with the container port, or None."""
    claims = [
        (strength, part.rank, part.targets[0] if strength == _ODD_PORT else target)
        for part in parts
        if (strength := _claim(part, kind, target)) is not None
    ]
    if not claims:
        return None
    _, rank, port = min(claims)
    return rank[3], port


def _claim(part: _Part, kind: Kind, target: int) -> int | None:
    """How good a service's claim to a role is; lower is better, None is no claim."""
    if part.kind == kind:
        if target in part.targets:
            return _KNOWN_AND_PORT
        single = len(part.targets) == 1 and kind != "jaeger"
        return _ODD_PORT if single else None
    if part.kind is not None or target not in part.targets:
        return None
    if kind == "grafana" and part.words & _FRONT_ENDS:
        return None
    return _IMAGE_AND_PORT if part.image_words & _NAME_WORDS[kind] else _PORT


def _roles(
    parts: list[_Part], publishes: Mapping[Role, tuple[str, int]]
) -> dict[str, frozenset[Role]]:
    """Roles by service: of who publishes them, and of who is known to play them unpublished."""
    holders: dict[Role, str] = {role: name for role, (name, _) in publishes.items()}
    for role, (kind, _) in ROLE_TARGETS.items():
        known = [part.rank for part in parts if part.kind == kind]
        if known and role not in holders:
            holders[role] = min(known)[3]
    roles: dict[str, set[Role]] = {part.name: set() for part in parts}
    for role, name in holders.items():
        roles[name].add(role)
    for part in parts:
        if part.is_worker and not roles[part.name]:
            roles[part.name].add("worker")
    return {name: frozenset(mine) for name, mine in roles.items()}


def _words(name: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", name.lower())


def _image_words(image: str) -> frozenset[str]:
    """Words of the last part of an image's repository: `grafana/loki` is not Grafana.

    Jaeger's images are told by their organisation: `jaegertracing/all-in-one`.
    """
    repository, _, last = image.partition("@")[0].rpartition("/")
    words = set(_words(last.partition(":")[0]))
    if "jaegertracing" in repository.split("/"):
        words.add("jaegertracing")
    return frozenset(words)
