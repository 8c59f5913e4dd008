from __future__ import annotations

from typing import Any

import pytest

from ktrdr_sandbox.isolation.roles import kind_of, worker_type
from tests.unit.isolation.requests import isolated, port


def roles(services: dict[str, Any], **changes: Any) -> dict[str, set[str]]:
    stack = isolated(services, **changes).stack
    return {service.name: set(service.roles) for service in stack.services if service.roles}


@pytest.mark.parametrize(
    ("name", "image", "kind"),
    [
        ("backend", "", "backend"),
        ("rest-api", "", "backend"),
        ("db", "mariadb", "db"),
        ("anything", "timescale/timescaledb:latest-pg16", "db"),
        ("anything", "registry.example.com:5000/team/postgres@sha256:00", "db"),
        ("anything", "grafana/grafana-oss", "grafana"),
        ("logs", "grafana/loki", None),
        ("anything", "jaegertracing/all-in-one:1.53", "jaeger"),
        ("anything", "prom/prometheus", "prometheus"),
        ("anything", "prom/alertmanager", None),
        ("backend-db", "", "db"),
        ("db-api", "", "backend"),
        ("api-worker", "", "worker"),
        ("backtestworkers", "", "worker"),
        ("postgres-exporter", "prometheuscommunity/postgres-exporter", None),
        ("db-init", "postgres", None),
        ("pgadmin", "dpage/pgadmin4", None),
        ("mcp-local", "ktrdr-backend:dev", None),
        ("web", "nginx", None),
    ],
)
def test_services_are_known_by_image_or_name(name: str, image: str, kind: str | None) -> None:
    assert kind_of(name, image) == kind


def test_a_port_alone_is_enough_when_nobody_is_known() -> None:
    assert roles(
        {
            "server": {"build": {}, "ports": [port(8000, 1)]},
            "collector": {"image": "otel/collector", "ports": [port(4317, 2)]},
        }
    ) == {"server": {"backend"}, "collector": {"jaeger_otlp"}}


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("trainer", {}),
        ("number-one", {"environment": {"WORKER_TYPE": "backtesting"}}),
        ("number-one", {"command": ["uvicorn", "ktrdr.training.training_worker:app"]}),
    ],
)
def test_a_workers_port_is_enough_where_its_type_is_known(name: str, more: dict[str, Any]) -> None:
    assert roles({name: {"build": {}, "ports": [port(5003, 1)], **more}}) == {name: {"worker"}}
    assert roles({name: {"build": {}, "ports": [port(8080, 1)], **more}}) == {}


def test_who_is_known_goes_before_who_has_the_port() -> None:
    found = roles(
        {
            "a-server": {"build": {}, "ports": [port(8000, 1)]},
            "backend": {"build": {}, "ports": [port(8000, 2)]},
        }
    )
    assert found == {"backend": {"backend"}}


def test_of_two_profiles_the_enabled_one_plays_the_role() -> None:
    services = {
        "backend": {"profiles": ["cpu"], "ports": [port(8000, 1)]},
        "backend-gpu": {"profiles": ["gpu"], "ports": [port(8000, 1)]},
    }
    assert roles(services, active=frozenset({"backend-gpu"})) == {"backend-gpu": {"backend"}}
    assert roles(services, active=frozenset({"backend"})) == {"backend": {"backend"}}
    assert roles(services, active=frozenset()) == {"backend": {"backend"}}


def test_known_service_on_an_odd_port() -> None:
    isolation = isolated({"db": {"image": "postgres", "ports": [port(6432, 6432)]}})
    assert isolation.stack.port("db") is not None
    assert isolation.stack.ports[0].published == 5434


def test_a_front_end_on_port_3000_is_not_grafana() -> None:
    isolation = isolated({"frontend": {"image": "node", "ports": [port(3000, 3000)]}})
    assert isolation.stack.service("frontend").roles == frozenset()
    assert isolation.env == {"KTRDR_PORT_FRONTEND_3000": "20200"}


def test_roles_of_services_that_publish_nothing() -> None:
    found = roles(
        {
            "backend": {"build": {}},
            "store": {"image": "postgres"},
            "mcp": {"build": {}, "image": "ktrdr-backend:dev"},
            "training-worker": {"build": {}},
        }
    )
    assert found == {"backend": {"backend"}, "store": {"db"}, "training-worker": {"worker"}}


def test_a_publisher_goes_before_one_that_is_only_known() -> None:
    found = roles(
        {"db": {"image": "postgres"}, "pgbouncer": {"image": "x", "ports": [port(5432, 1)]}}
    )
    assert found == {"pgbouncer": {"db"}}


@pytest.mark.parametrize(
    ("name", "service", "expected"),
    [
        ("backtest-worker-1", {}, "backtesting"),
        ("training-worker-2", {}, "training"),
        ("trainer", {}, "training"),
        ("worker", {}, None),
        ("worker", {"environment": {"WORKER_TYPE": "training"}}, "training"),
        ("worker", {"environment": ["WORKER_TYPE=backtesting"]}, "backtesting"),
        ("worker", {"environment": {"WORKER_TYPE": None}}, None),
        ("worker", {"environment": {"WORKER_TYPE": "email"}}, None),
        ("worker", {"command": ["uvicorn", "ktrdr.training.training_worker:app"]}, "training"),
        ("worker", {"command": "python -m ktrdr.backtesting.backtest_worker"}, "backtesting"),
        ("worker", {"command": ["celery", "-A", "training", "worker"]}, None),
        ("training-worker", {"environment": {"WORKER_TYPE": "backtesting"}}, "training"),
    ],
)
def test_worker_types(name: str, service: dict[str, Any], expected: str | None) -> None:
    assert worker_type(name, service) == expected


def test_a_stack_with_workers_of_known_types_has_ktrdr_workers() -> None:
    worker = {"ports": [port(5003, 1)]}
    training = {"profiles": ["gpu"], "scale": 0, "environment": {"WORKER_TYPE": "training"}}
    assert isolated({"worker": worker, "a-worker": training}).stack.has_ktrdr_workers
    assert not isolated({"worker": worker, "training-api": {}}).stack.has_ktrdr_workers
