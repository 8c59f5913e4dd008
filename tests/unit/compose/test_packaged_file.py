"""The packaged Compose file, as text: nothing in it keeps two stacks from running at once."""

from __future__ import annotations

from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.unit.compose.sample_processes import SAMPLE

COMPOSE_FILE = SAMPLE.parent / "docker-compose.yml"
ADDRESS = "${KTRDR_BIND_ADDRESS:-127.0.0.1}"


@pytest.fixture(scope="module")
def model() -> dict[str, Any]:
    loaded: dict[str, Any] = YAML(typ="safe").load(COMPOSE_FILE)
    return loaded


def test_every_port_is_a_variable_with_the_value_it_used_to_have(model: dict[str, Any]) -> None:
    services = model["services"]
    assert {name: services[name]["ports"] for name in services} == {
        "db": [ADDRESS + ":${KTRDR_DB_PORT:-5432}:5432"],
        "backend": [ADDRESS + ":${KTRDR_API_PORT:-8000}:8000"],
        "backtest-worker": [ADDRESS + ":${KTRDR_BACKTEST_WORKER_PORTS:-5003-5004}:5003"],
        "training-worker": [ADDRESS + ":${KTRDR_TRAINING_WORKER_PORTS:-5005-5006}:5005"],
        "jaeger": [
            ADDRESS + ":${KTRDR_JAEGER_UI_PORT:-16686}:16686",
            ADDRESS + ":${KTRDR_JAEGER_OTLP_PORT:-4317}:4317",
            ADDRESS + ":${KTRDR_JAEGER_OTLP_HTTP_PORT:-4318}:4318",
        ],
        "prometheus": [ADDRESS + ":${KTRDR_PROMETHEUS_PORT:-9090}:9090"],
        "grafana": [ADDRESS + ":${KTRDR_GRAFANA_PORT:-3000}:3000"],
    }


def test_no_name_is_fixed(model: dict[str, Any]) -> None:
    assert "name" not in model
    assert [x for x in model["services"].values() if "container_name" in x] == []
    assert {name: value for name, value in model["volumes"].items() if value} == {}
    assert model["networks"] == {"ktrdr-network": {"driver": "bridge"}}


def test_built_image_belongs_to_the_project(model: dict[str, Any]) -> None:
    built = {x["image"] for x in model["services"].values() if "build" in x}
    assert built == {"${COMPOSE_PROJECT_NAME}-backend:dev"}


def test_shared_folders_are_the_documented_ones(model: dict[str, Any]) -> None:
    shared = "${KTRDR_SHARED_DIR:-~/.ktrdr/shared}"
    expected = [f"{shared}/{name}:/app/{name}" for name in ("data", "models", "strategies")]
    for name in ("backend", "backtest-worker", "training-worker"):
        assert model["services"][name]["volumes"][:3] == expected


def test_every_service_tells_its_instance(model: dict[str, Any]) -> None:
    services = model["services"]
    assert {x["labels"]["ktrdr.instance"] for x in services.values()} == {"${INSTANCE_ID:-ktrdr}"}
    for name in ("backend", "backtest-worker", "training-worker"):
        environment = services[name]["environment"]
        assert environment["INSTANCE_ID"] == "${INSTANCE_ID:-ktrdr}"
        assert "ktrdr.instance=${INSTANCE_ID:-ktrdr}" in environment["OTEL_RESOURCE_ATTRIBUTES"]
