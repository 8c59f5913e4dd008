"""The sample has the shape of the older revision of the real checkout."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.unit.compose.sample_processes import SAMPLE

COMPOSE_FILE = SAMPLE / "deploy/environments/local/docker-compose.yml"
BUILT = (
    "backend",
    "backtest-worker-1",
    "backtest-worker-2",
    "training-worker-1",
    "training-worker-2",
    "mcp-local",
    "mcp-preprod",
)


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    model = YAML(typ="safe").load(COMPOSE_FILE)
    services: dict[str, Any] = model["services"]
    return services


def packaged_files() -> list[Path]:
    return [x.relative_to(SAMPLE) for x in SAMPLE.rglob("*") if "__pycache__" not in x.parts]


def test_tree_holds_nothing_that_a_wheel_loses() -> None:
    names = [str(path) for path in packaged_files() if path.name.startswith(".")]
    links = [str(path) for path in packaged_files() if (SAMPLE / path).is_symlink()]
    assert (names, links) == ([], [])


def test_manifest_names_files_that_exist() -> None:
    manifest = tomllib.loads((SAMPLE / "MANIFEST.toml").read_text(encoding="utf-8"))
    assert manifest["symlinks"] == {
        "docker-compose.yml": COMPOSE_FILE.relative_to(SAMPLE).as_posix()
    }
    assert [name for name in manifest["renames"] if not (SAMPLE / name).is_file()] == []


def test_folders_of_a_running_stack_are_ignored_and_absent() -> None:
    ignored = (SAMPLE / "gitignore").read_text(encoding="utf-8").splitlines()
    made = ["data", "logs", "models", "output", "research_agents", "training_analytics"]
    assert [name for name in made if f"/{name}/" in ignored] == made
    assert [name for name in made if (SAMPLE / name).exists()] == []


def test_services_have_the_names_and_ports_of_the_real_stack(services: dict[str, Any]) -> None:
    assert {name: service.get("ports", []) for name, service in services.items()} == {
        "db": ["5432:5432"],
        "backend": ["8000:8000"],
        "jaeger": ["16686:16686", "4317:4317", "4318:4318"],
        "prometheus": ["9090:9090"],
        "grafana": ["3000:3000"],
        "backtest-worker-1": ["5003:5003"],
        "backtest-worker-2": ["5004:5004"],
        "training-worker-1": ["5005:5005"],
        "training-worker-2": ["5006:5006"],
        "mcp-local": [],
        "mcp-preprod": [],
    }
    assert {x["container_name"] for x in services.values()} == {f"ktrdr-{x}" for x in services}


def test_all_that_build_share_one_tag(services: dict[str, Any]) -> None:
    built = {name: service["image"] for name, service in services.items() if "build" in service}
    assert built == dict.fromkeys(BUILT, "ktrdr-backend:dev")


def test_mcp_servers_reach_out_of_the_checkout(services: dict[str, Any]) -> None:
    for name in ("mcp-local", "mcp-preprod"):
        assert {x.split(":")[0][:9] for x in services[name]["volumes"]} == {"../../../"}


@pytest.mark.parametrize(
    ("file", "image"),
    [
        (COMPOSE_FILE, "timescale/timescaledb:latest-pg16"),
        (COMPOSE_FILE, "jaegertracing/all-in-one:1.53"),
        (COMPOSE_FILE, "prom/prometheus:latest"),
        (COMPOSE_FILE, "grafana/grafana:latest"),
        (SAMPLE / "docker/backend/Dockerfile.dev", "python:3.12-slim"),
    ],
)
def test_image_can_be_replaced_in_the_text(file: Path, image: str) -> None:
    assert file.read_text(encoding="utf-8").count(image) == 1
