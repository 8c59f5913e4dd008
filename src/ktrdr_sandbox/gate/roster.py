"""Which worker containers have registered with the backend. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from ktrdr_sandbox.gate.standing import Standing
from ktrdr_sandbox.models import StackService

_SHORT_ID: Final = 12
"""Digits of a container's id that are its host name by default."""

_BAD_STATUS: Final = ("unhealthy", "unavailable", "offline", "error", "failed", "dead")


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """One worker as the backend lists it. `host` is where the backend would reach it."""

    worker_id: str
    worker_type: str
    host: str
    endpoint: str
    status: str

    @property
    def ailing(self) -> bool:
        return any(word in self.status.lower() for word in _BAD_STATUS)


def parse(body: bytes) -> tuple[Registration, ...] | None:
    """The workers of an answer: a bare array, or one under `workers`. None when it is neither."""
    try:
        listing = json.loads(body)
    except ValueError:
        return None
    if isinstance(listing, dict):
        listing = listing.get("workers")
    if not isinstance(listing, list):
        return None
    return tuple(_registration(entry) for entry in listing if isinstance(entry, dict))


def _registration(entry: Mapping[str, Any]) -> Registration:
    endpoint = str(entry.get("endpoint_url") or "")
    return Registration(
        worker_id=str(entry.get("worker_id") or ""),
        worker_type=str(entry.get("worker_type") or ""),
        host=_host(endpoint),
        endpoint=endpoint,
        status=str(entry.get("status") or ""),
    )


def _host(endpoint: str) -> str:
    try:
        return urlsplit(endpoint).hostname or ""
    except ValueError:
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Roster:
    """Registrations held against the containers that should have made them.

    A worker that registered twice, before and after a restart, counts once. `missing` are the
    containers known not to have registered; `unsure` those of which that cannot be told, because
    registrations do not say which replica they are of.
    """

    expected: int
    found: int
    expected_by_type: Mapping[str, int]
    found_by_type: Mapping[str, int]
    missing: tuple[Standing, ...]
    unsure: tuple[Standing, ...]
    ailing: tuple[Registration, ...]

    @property
    def complete(self) -> bool:
        return self.found >= self.expected and not self.short_types

    @property
    def short_types(self) -> tuple[str, ...]:
        return tuple(
            kind
            for kind, wanted in self.expected_by_type.items()
            if self.found_by_type.get(kind, 0) < wanted
        )


def reconcile(
    services: Sequence[StackService],
    standings: Sequence[Standing],
    registrations: Iterable[Registration],
) -> Roster:
    """Count each worker once, and find the containers that no registration is of."""
    known: dict[str, Registration] = {}
    loose: dict[tuple[str, str], Registration] = {}
    listed = tuple(registrations)
    for registration in listed:
        container = _container(registration, standings)
        if container is not None:
            known.setdefault(container, registration)
        else:
            service = _service(registration, services)
            loose.setdefault(
                (service, registration.worker_id or registration.endpoint), registration
            )
    counted = [*known.values(), *_within_replicas(services, standings, known, loose)]
    absent = [one for one in standings if one.label not in known]
    doubtful = {one.label for one in absent if _doubtful(one, services, loose)}
    return Roster(
        expected=sum(service.replicas for service in services),
        found=len(counted),
        expected_by_type=_expected_by_type(services),
        found_by_type=Counter(one.worker_type for one in counted),
        missing=tuple(one for one in absent if one.label not in doubtful),
        unsure=tuple(one for one in absent if one.label in doubtful),
        ailing=tuple(one for one in listed if one.ailing),
    )


def _container(registration: Registration, standings: Sequence[Standing]) -> str | None:
    """The label of the container that a registration is certainly of."""
    host = registration.host.partition(".")[0]
    for standing in standings:
        alone = standing.label == standing.service
        if alone and standing.service in (host, registration.worker_id):
            return standing.label
        detail = standing.detail
        if detail is not None:
            short = detail.id[:_SHORT_ID]
            if host in (detail.name.lower(), short) or short in registration.worker_id:
                return standing.label
    return None


def _service(registration: Registration, services: Sequence[StackService]) -> str:
    """The replicated service that a registration is of, or "" when it does not say."""
    host = registration.host.partition(".")[0]
    return next((service.name for service in services if service.name == host), "")


def _within_replicas(
    services: Sequence[StackService],
    standings: Sequence[Standing],
    known: Mapping[str, Registration],
    loose: Mapping[tuple[str, str], Registration],
) -> list[Registration]:
    """The loose registrations, of no service more than it has containers left to make them."""
    room = {service.name: service.replicas for service in services}
    for standing in standings:
        if standing.label in known:
            room[standing.service] -= 1
    counted = []
    for (service, _), registration in loose.items():
        if not service:
            counted.append(registration)
        elif room[service] > 0:
            room[service] -= 1
            counted.append(registration)
    return counted


def _doubtful(
    standing: Standing,
    services: Sequence[StackService],
    loose: Mapping[tuple[str, str], Registration],
) -> bool:
    """Could one of the loose registrations be this container's?"""
    own_type = next(one.worker_type for one in services if one.name == standing.service)
    known_types = {service.worker_type for service in services} - {None}
    for (service, _), registration in loose.items():
        kind = registration.worker_type
        of_its_type = own_type in (None, kind) or kind not in known_types
        if service == standing.service or (not service and of_its_type):
            return True
    return False


def _expected_by_type(services: Sequence[StackService]) -> dict[str, int]:
    wanted: Counter[str] = Counter()
    for service in services:
        if service.worker_type:
            wanted[service.worker_type] += service.replicas
    return dict(wanted)
