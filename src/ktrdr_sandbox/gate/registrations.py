"""Which worker containers have registered with the backend."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from ktrdr_sandbox.gate.snapshot import ContainerStatus
from ktrdr_sandbox.models import StackService

_SHORT_ID: Final = 12  # digits of a container's id that are its host name by default
_BAD_STATUS: Final = ("unhealthy", "unavailable", "offline", "error", "failed", "dead")


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """One worker as the backend lists it.

    `host` is the first part of where it is reached: a service, a container, or its short id.
    """

    worker_id: str
    worker_type: str
    host: str
    endpoint: str
    status: str

    @property
    def unhealthy(self) -> bool:
        return any(word in self.status.lower() for word in _BAD_STATUS)


def parse(body: bytes) -> tuple[Registration, ...] | None:
    """Read the workers of an answer: a bare array, or one under `workers`; None without either."""
    try:
        listing = json.loads(body)
    except ValueError:
        return None
    if isinstance(listing, dict):
        listing = listing.get("workers")
    if not isinstance(listing, list):
        return None
    return tuple(_registration(entry) for entry in listing if isinstance(entry, dict))


def _registration(entry: Mapping[str, object]) -> Registration:
    keys = ("worker_id", "worker_type", "endpoint_url", "status")
    worker_id, worker_type, endpoint, status = (str(entry.get(key) or "") for key in keys)
    try:
        host = (urlsplit(endpoint).hostname or "").partition(".")[0]
    except ValueError:
        host = ""
    return Registration(
        worker_id=worker_id, worker_type=worker_type, host=host, endpoint=endpoint, status=status
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationDiff:
    """Registrations held against the containers that should have made them.

    `missing` are the containers known not to have registered; `unsure` those of which that cannot
    be told, because registrations do not say which replica they are of.
    """

    expected: int
    found: int
    expected_by_type: Mapping[str, int]
    found_by_type: Mapping[str, int]
    missing: tuple[ContainerStatus, ...]
    unsure: tuple[ContainerStatus, ...]
    unhealthy: tuple[Registration, ...]

    @property
    def complete(self) -> bool:
        return self.found >= self.expected and not self.short_types

    @property
    def short_types(self) -> tuple[str, ...]:
        wanted = self.expected_by_type.items()
        return tuple(kind for kind, count in wanted if self.found_by_type.get(kind, 0) < count)


Loose = Mapping[tuple[str, str], Registration]  # by service ("" where unsaid) and worker


def reconcile(
    services: Sequence[StackService],
    containers: Sequence[ContainerStatus],
    registrations: Iterable[Registration],
) -> RegistrationDiff:
    """Count each worker once, and find the containers that no registration is of."""
    known: dict[str, Registration] = {}
    loose: dict[tuple[str, str], Registration] = {}
    names = {service.name for service in services}
    listed = tuple(registrations)
    for one in listed:
        container = _container(one, containers)
        if container is not None:
            known.setdefault(container, one)
        else:
            service = one.host if one.host in names else ""
            loose.setdefault((service, one.worker_id or one.endpoint), one)
    # The loose registrations of a service are no more than it has containers left to make them.
    room = Counter({service.name: service.replicas for service in services})
    room.subtract(one.service for one in containers if one.label in known)
    counted = list(known.values())
    for (service, _), one in loose.items():
        if not service or room[service] > 0:
            room[service] -= 1
            counted.append(one)
    absent = [one for one in containers if one.label not in known]
    doubtful = {one.label for one in absent if _doubtful(one, services, loose)}
    return RegistrationDiff(
        expected=sum(service.replicas for service in services),
        found=len(counted),
        expected_by_type=Counter(
            one.worker_type for one in services if one.worker_type for _ in range(one.replicas)
        ),
        found_by_type=Counter(one.worker_type for one in counted),
        missing=tuple(one for one in absent if one.label not in doubtful),
        unsure=tuple(one for one in absent if one.label in doubtful),
        unhealthy=tuple(one for one in listed if one.unhealthy),
    )


def _container(registration: Registration, containers: Sequence[ContainerStatus]) -> str | None:
    """The label of the container that a registration is certainly of."""
    host, worker = registration.host, registration.worker_id
    for container in containers:
        if container.label == container.service and container.service in (host, worker):
            return container.label  # the only one of its service
        detail = container.detail
        if detail is not None:
            short = detail.id[:_SHORT_ID]
            if host in (detail.name.lower(), short) or short in worker:
                return container.label
    return None


def _doubtful(container: ContainerStatus, services: Sequence[StackService], loose: Loose) -> bool:
    """Whether one of the loose registrations could be this container's."""
    own_type = next(one.worker_type for one in services if one.name == container.service)
    known = {service.worker_type for service in services} - {None}
    return any(
        service == container.service
        or (not service and (own_type in (None, one.worker_type) or one.worker_type not in known))
        for (service, _), one in loose.items()
    )
