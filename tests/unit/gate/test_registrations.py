"""Registrations held against the containers that should have made them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest

from ktrdr_sandbox.gate.registrations import Registration, RegistrationDiff, parse, reconcile
from ktrdr_sandbox.gate.snapshot import ContainerStatus, label
from ktrdr_sandbox.models import Stack, StackService
from tests.support.gate_engine import GateEngine, service
from tests.support.gate_stack import registration

SINGLE = (
    service("backtest-worker-1", "worker", worker_type="backtesting"),
    service("training-worker-1", "worker", worker_type="training"),
)
REPLICATED = (service("training-worker", "worker", worker_type="training", replicas=2),)


def standings(services: tuple[StackService, ...]) -> tuple[ContainerStatus, ...]:
    engine = GateEngine(Stack(services=services, ports=()))
    by_name = {one.name: one for one in services}
    return tuple(
        ContainerStatus(
            service=one.service,
            label=label(by_name[one.service], one.replica),
            condition="running",
            detail=one,
        )
        for one in engine.details.values()
    )


def listed(entries: Iterable[dict[str, Any]]) -> tuple[Registration, ...]:
    found = parse(json.dumps(list(entries)).encode())
    assert found is not None
    return found


def diff(services: tuple[StackService, ...], *entries: dict[str, Any]) -> RegistrationDiff:
    return reconcile(services, standings(services), listed(entries))


def missing(found: RegistrationDiff) -> tuple[str, ...]:
    return tuple(one.label for one in found.missing)


def unsure(found: RegistrationDiff) -> tuple[str, ...]:
    return tuple(one.label for one in found.unsure)


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b'{"workers": 3}', b'"x"', b"\xff"])
def test_what_is_no_list_of_workers(body: bytes) -> None:
    assert parse(body) is None


def test_entries_that_lack_fields_or_have_odd_ones_do_no_harm() -> None:
    found = parse(b'[{}, 3, null, {"endpoint_url": "http://[bad", "worker_id": 7}]')
    assert found is not None
    assert [(one.worker_id, one.host) for one in found] == [("", ""), ("7", "")]


def test_a_worker_listed_twice_counts_once() -> None:
    """It restarted, and its earlier registration is not forgotten yet."""
    found = diff(
        SINGLE,
        registration("training-worker-1"),
        registration("training-worker-1", worker_id="training-worker-new"),
    )
    assert (found.found, found.complete, missing(found)) == (1, False, ("backtest-worker-1",))


def test_replicas_are_known_by_their_containers_host_names() -> None:
    first, second = standings(REPLICATED)
    assert first.detail is not None
    found = diff(REPLICATED, registration(first.detail.id[:12]))
    assert (found.found, missing(found), unsure(found)) == (1, (second.label,), ())
    by_name = diff(REPLICATED, registration(first.detail.name))
    assert missing(by_name) == (second.label,)
    by_worker_id = diff(REPLICATED, registration("10.0.0.7", worker_id=f"w-{first.detail.id[:12]}"))
    assert missing(by_worker_id) == (second.label,)


def test_replicas_that_share_an_address_are_counted_and_not_told_apart() -> None:
    one = registration("training-worker", worker_id="training-worker-a")
    two = registration("training-worker", worker_id="training-worker-b")
    short = diff(REPLICATED, one)
    assert (short.found, missing(short)) == (1, ())
    assert unsure(short) == ("training-worker #1", "training-worker #2")
    assert diff(REPLICATED, one, two).complete


def test_a_service_counts_no_oftener_than_it_has_containers() -> None:
    shared = [registration("training-worker", worker_id=f"t-{number}") for number in range(5)]
    assert diff(REPLICATED, *shared).found == 2


def test_a_registration_by_address_leaves_workers_of_its_type_in_doubt_only() -> None:
    found = diff(SINGLE, registration("172.18.0.9", worker_type="training"))
    assert (found.found, missing(found)) == (1, ("backtest-worker-1",))
    assert unsure(found) == ("training-worker-1",)


def test_workers_of_unknown_type_count_in_the_total_only() -> None:
    services = (service("helper", "worker"), *SINGLE)
    found = diff(
        services,
        registration("helper", worker_type="other"),
        registration("training-worker-1"),
        registration("backtest-worker-1", worker_type="backtesting"),
    )
    assert (found.expected, found.complete) == (3, True)
    assert found.expected_by_type == {"backtesting": 1, "training": 1}
