"""`.env.sandbox`: the architecture document's schema, the same for all who read it."""

from __future__ import annotations

import json
import os
import shlex
import stat
import subprocess
from pathlib import Path

import pytest
from dotenv import dotenv_values

from ktrdr_sandbox import env_file
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.models import Instance
from ktrdr_sandbox.slots.port_map import get_ports

INSTANCE = Instance(
    id="ktrdr--feat-operation-metrics",
    uuid="6f1c0f3e-0000-4000-8000-000000000001",
    slot=2,
    path=Path("/code/ktrdr--feat-operation-metrics"),
    created_at="2024-01-15T10:30:00Z",
    is_worktree=True,
    parent_repo=Path("/code/ktrdr"),
    state="created",
    created_by="create",
)

# The document's sample for slot 2, with 4319 where its 4318 contradicts its own formula, and with
# the password expanded: of the four readers only some would expand a reference.
DOCUMENT = """\
# Instance Identity
INSTANCE_ID=ktrdr--feat-operation-metrics
COMPOSE_PROJECT_NAME=ktrdr--feat-operation-metrics
SLOT_NUMBER=2

# Ports (derived from slot)
KTRDR_API_PORT=8002
KTRDR_DB_PORT=5434
KTRDR_GRAFANA_PORT=3002
KTRDR_JAEGER_UI_PORT=16688
KTRDR_JAEGER_OTLP_PORT=4319
KTRDR_PROMETHEUS_PORT=9092
KTRDR_WORKER_BASE_PORT=5020

# Database
DB_HOST=localhost
DB_PORT=5434
DB_NAME=ktrdr
DB_USER=ktrdr
DB_PASSWORD=sandbox-ktrdr--feat-operation-metrics

# Workers
USE_STUB_WORKERS=false
WORKER_COUNT_BACKTEST=2
WORKER_COUNT_TRAINING=2

# Observability
OTLP_ENDPOINT=http://jaeger:4317

# Metadata
CREATED_AT=2024-01-15T10:30:00Z
SANDBOX_VERSION=1
SANDBOX_UUID=6f1c0f3e-0000-4000-8000-000000000001
CREATED_BY=create
"""


def written(folder: Path, *, extra: dict[str, str], paths: dict[str, str]) -> Path:
    path = folder / ".env.sandbox"
    env_file.write(path, INSTANCE, ports=get_ports(2), extra=extra, paths=paths)
    return path


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    return written(tmp_path, extra={}, paths={})


@pytest.fixture
def full(tmp_path: Path) -> Path:
    return written(
        tmp_path,
        extra={"KTRDR_WORKER_PORT_1": "5020", "KTRDR_PORT_WEB_8080": "20200"},
        paths={
            "KTRDR_SHARED_DIR": "/home/me/.ktrdr/shared",
            "KTRDR_DATA_DIR": "/odd/a+b,c@d%25:e=f/data",
        },
    )


def test_the_file_is_the_documents(plain: Path) -> None:
    assert plain.read_text(encoding="utf-8") == DOCUMENT


def test_extra_ports_and_paths_have_their_place(full: Path) -> None:
    text = full.read_text(encoding="utf-8")
    ports = "KTRDR_WORKER_BASE_PORT=5020\nKTRDR_WORKER_PORT_1=5020\nKTRDR_PORT_WEB_8080=20200\n"
    assert ports in text
    assert "# Shared data\nKTRDR_SHARED_DIR=/home/me/.ktrdr/shared\n" in text


def test_only_its_owner_can_read_it(plain: Path) -> None:
    assert stat.S_IMODE(plain.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "value", ["/a b", "/a$b", "/a#b", "/a'b", '/a"b', "/a\\b", "/é", "/a\nB=1"]
)
def test_a_path_that_not_all_readers_take_is_left_out(tmp_path: Path, value: str) -> None:
    path = written(tmp_path, extra={}, paths={"KTRDR_SHARED_DIR": value, "KTRDR_DATA_DIR": "/d"})
    values = env_file.read(path)
    assert "KTRDR_SHARED_DIR" not in values
    assert "B" not in values
    assert values["KTRDR_DATA_DIR"] == "/d"


# -- the four readers ----------------------------------------------------------------------------


def by_this_program(path: Path) -> dict[str, str]:
    return env_file.read(path)


def by_dotenv(path: Path) -> dict[str, str]:
    return {key: value for key, value in dotenv_values(path).items() if value is not None}


def by_shell(path: Path) -> dict[str, str]:
    script = f"set -a; . {shlex.quote(str(path))}; exec env -0"
    clean = {"PATH": os.environ["PATH"]}
    shown = output(["sh", "-c", script], path.parent, clean)
    before = output(["sh", "-c", "exec env -0"], path.parent, clean)
    pairs = set(shown.split("\0")) - set(before.split("\0")) - {""}
    return dict(pair.split("=", 1) for pair in pairs)


def by_make(path: Path) -> dict[str, str]:
    keys = " ".join(env_file.read(path))
    makefile = path.with_name("Makefile")
    makefile.write_text(
        f"include {path.name}\n$(foreach key,{keys},$(info $(key)=$($(key))))\nall: ;\n"
    )
    shown = output(["make", "--silent"], path.parent, {"PATH": os.environ["PATH"]})
    return dict(line.split("=", 1) for line in shown.splitlines())


def by_compose(path: Path) -> dict[str, str]:
    keys = env_file.read(path)
    model = {"services": {"a": {"image": "a", "environment": {key: f"${{{key}}}" for key in keys}}}}
    compose = path.with_name("compose.yaml")
    compose.write_text(json.dumps(model))
    argv = ["docker", "compose", "--env-file", path.name, "config", "--format", "json"]
    shown = json.loads(output(argv, path.parent, dict(os.environ)))
    return dict(shown["services"]["a"]["environment"])


def output(argv: list[str], cwd: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        argv, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


READERS = [by_this_program, by_dotenv, by_shell, by_make, by_compose]


@pytest.mark.parametrize("read", READERS)
def test_all_read_the_same(full: Path, read: object) -> None:
    assert callable(read)
    lines = full.read_text(encoding="utf-8").splitlines()
    pairs = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    found = read(full)
    assert found == pairs
    assert found["KTRDR_DATA_DIR"] == "/odd/a+b,c@d%25:e=f/data"
    assert found["DB_PASSWORD"] == "sandbox-ktrdr--feat-operation-metrics"


# -- reading and updating ------------------------------------------------------------------------


def test_nothing_is_expanded(tmp_path: Path) -> None:
    path = tmp_path / ".env.sandbox"
    path.write_text("A=${HOME}\nB='quoted'\nexport C=1\n# D=2\nE\nF=\n")
    assert env_file.read(path) == {"A": "${HOME}", "B": "quoted", "C": "1", "F": ""}


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_that_cannot_be_read(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / ".env.sandbox"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SandboxError) as caught:
        env_file.read(path)
    assert caught.value.code == "env-file-damaged"
    assert caught.value.details == {"path": str(path)}


def test_the_nearest_file_upwards_is_found(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    (inner / "c").mkdir(parents=True)
    for folder in (tmp_path, inner):
        (folder / ".env.sandbox").touch()
    assert env_file.find(inner / "c") == inner / ".env.sandbox"
    assert env_file.find(tmp_path / "a") == tmp_path / ".env.sandbox"


def test_a_directory_of_that_name_is_no_file(tmp_path: Path) -> None:
    (tmp_path / ".env.sandbox").touch()
    (tmp_path / "a" / ".env.sandbox").mkdir(parents=True)
    assert env_file.find(tmp_path / "a") == tmp_path / ".env.sandbox"


def test_an_update_leaves_every_other_line(plain: Path) -> None:
    mine = DOCUMENT.replace("# Database\n", "# Database: my own words\nMY_OWN='a b' # why\n")
    plain.write_text(mine)
    env_file.update(plain, {"KTRDR_API_PORT": "18002", "KTRDR_PORT_WEB_80": "20200"})
    expected = mine.replace("KTRDR_API_PORT=8002\n", "KTRDR_API_PORT=18002\n").replace(
        "KTRDR_WORKER_BASE_PORT=5020\n", "KTRDR_WORKER_BASE_PORT=5020\nKTRDR_PORT_WEB_80=20200\n"
    )
    assert plain.read_text() == expected


def test_an_update_makes_the_file_private_again(plain: Path) -> None:
    plain.chmod(0o644)
    env_file.update(plain, {"NEW": "1"})
    assert stat.S_IMODE(plain.stat().st_mode) == 0o600


def test_an_update_that_changes_nothing_writes_nothing(plain: Path) -> None:
    before = plain.stat().st_ino
    env_file.update(plain, {"KTRDR_API_PORT": "8002"})
    assert plain.stat().st_ino == before


def test_a_new_key_in_a_file_without_ports_goes_to_the_end(tmp_path: Path) -> None:
    path = tmp_path / ".env.sandbox"
    path.write_text("A=1")
    env_file.update(path, {"B": "2"})
    assert path.read_text() == "A=1\nB=2\n"
