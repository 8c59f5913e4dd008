from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from ktrdr_sandbox.env_file import reader, schema, writer
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.models import Instance
from ktrdr_sandbox.slots.port_map import get_ports

_CONFIG = ["config", "--format", "json"]

OF_THE_DOCUMENT = {
    "INSTANCE_ID": "ktrdr--feat-operation-metrics",
    "COMPOSE_PROJECT_NAME": "ktrdr--feat-operation-metrics",
    "SLOT_NUMBER": "2",
    "KTRDR_API_PORT": "8002",
    "KTRDR_DB_PORT": "5434",
    "KTRDR_GRAFANA_PORT": "3002",
    "KTRDR_JAEGER_UI_PORT": "16688",
    "KTRDR_JAEGER_OTLP_PORT": "4319",  # the document's sample says 4318: a slip, by the contract
    "KTRDR_PROMETHEUS_PORT": "9092",
    "KTRDR_WORKER_BASE_PORT": "5020",
    "DB_HOST": "localhost",
    "DB_PORT": "5434",
    "DB_NAME": "ktrdr",
    "DB_USER": "ktrdr",
    "DB_PASSWORD": "sandbox-ktrdr--feat-operation-metrics",
    "USE_STUB_WORKERS": "false",
    "WORKER_COUNT_BACKTEST": "2",
    "WORKER_COUNT_TRAINING": "2",
    "OTLP_ENDPOINT": "http://jaeger:4317",
    "CREATED_AT": "2024-01-15T10:30:00Z",
    "SANDBOX_VERSION": "1",
}


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    return Instance(
        id="ktrdr--feat-operation-metrics",
        uuid="5ba1",
        slot=2,
        path=tmp_path,
        created_at="2024-01-15T10:30:00Z",
        is_worktree=True,
        parent_repo=None,
        state="created",
        created_by="create",
    )


def written(instance: Instance, **paths: str) -> Path:
    sections = schema.sections(instance, ports=get_ports(2), extra={}, paths=paths)
    writer.write(instance.env_file, sections)
    return instance.env_file


def test_it_has_the_documents_schema(instance: Instance) -> None:
    values = reader.read(written(instance))
    assert {key: values.get(key) for key in OF_THE_DOCUMENT} == OF_THE_DOCUMENT
    assert values["SANDBOX_UUID"] == "5ba1"


def test_only_its_owner_can_read_it(instance: Instance) -> None:
    assert written(instance).stat().st_mode & 0o777 == 0o600


def test_a_shell_make_and_dotenv_read_the_same(instance: Instance) -> None:
    path = written(instance, KTRDR_SHARED_DIR="/home/you/.ktrdr/shared")
    values = reader.read(path)
    environment = {"PATH": os.environ["PATH"]}
    names = sorted(values)
    shell = subprocess.run(
        ["sh", "-c", 'set -a; . "$1"; env -0', "sh", str(path)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    by_shell = dict(entry.split("=", 1) for entry in shell.split("\0") if entry)
    assert {name: by_shell.get(name) for name in names} == values
    makefile = instance.path / "Makefile"
    recipes = "\n".join(f"\t@printf '%s\\n' '{name}=$({name})'" for name in names)
    makefile.write_text(f"include .env.sandbox\nshow:\n{recipes}\n", encoding="utf-8")
    shown = subprocess.run(
        ["make", "-s", "-C", str(instance.path), "--no-print-directory", "show"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert dict(line.split("=", 1) for line in shown.splitlines()) == values


@pytest.mark.engine
def test_compose_reads_the_same(instance: Instance) -> None:
    path = written(instance)
    values = reader.read(path)
    echo = {name: f"${{{name}}}" for name in values}
    compose = instance.path / "compose.json"
    services = {"services": {"s": {"image": "x", "environment": echo}}}
    compose.write_text(json.dumps(services), encoding="utf-8")
    done = subprocess.run(
        ["docker", "compose", "-f", str(compose), "--env-file", str(path), *_CONFIG],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["services"]["s"]["environment"] == values


@pytest.mark.parametrize("path", ["/home/a b/x", "/x/$HOME", "/x/'q'", "/x#y", "/ü", "/x\ny"])
def test_a_path_that_not_all_readers_take_is_left_out(instance: Instance, path: str) -> None:
    values = reader.read(written(instance, KTRDR_SHARED_DIR=path))
    assert "KTRDR_SHARED_DIR" not in values
    assert {key: values.get(key) for key in OF_THE_DOCUMENT} == OF_THE_DOCUMENT


def test_an_update_leaves_what_its_owner_wrote(instance: Instance) -> None:
    path = written(instance)
    text = path.read_text(encoding="utf-8").replace("DB_NAME=ktrdr", "DB_NAME=mine  # kept")
    path.write_text(text, encoding="utf-8")
    writer.update(path, {"KTRDR_PORT_WEB_80": "20200", "KTRDR_API_PORT": "8002"})
    after = path.read_text(encoding="utf-8").splitlines()
    assert "DB_NAME=mine  # kept" in after
    assert after.index("KTRDR_PORT_WEB_80=20200") == after.index("KTRDR_WORKER_BASE_PORT=5020") + 1
    writer.update(path, {"KTRDR_PORT_WEB_80": "20201"})
    assert path.read_text(encoding="utf-8").count("KTRDR_PORT_WEB_80") == 1
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_update_without_a_change_writes_nothing(instance: Instance) -> None:
    path = written(instance)
    before = path.stat()
    writer.update(path, {"KTRDR_API_PORT": "8002"})
    assert path.stat().st_ino == before.st_ino


def test_it_is_found_from_anywhere_below(tmp_path: Path) -> None:
    (tmp_path / ".env.sandbox").touch()
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert reader.find(below) == tmp_path / ".env.sandbox"


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    path = tmp_path / ".env.sandbox"
    path.write_bytes(b"\xff\xff")
    with pytest.raises(SandboxError) as caught:
        reader.read(path)
    assert caught.value.code == "env-file-damaged"
