"""A bundle of a real failure, with secrets planted in every place that a stack has for them."""

from __future__ import annotations

import gzip
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.stacks import Sandbox, Stack, docker, docker_logs, sandbox

pytestmark = [
    pytest.mark.engine,
    pytest.mark.xdist_group(__name__),
    pytest.mark.timeout(300),
]

API_KEY = "sk-ant-planted-4711-abcdefgh"
PASSWORD = "pass-$word'4712"
SHELL = "of-the-shell-4713"
BEARER = "of-no-variable-at-all-4714"
PLANTED = (API_KEY, PASSWORD, SHELL, BEARER)

TELLTALE = """
import os
for key in ("DB_PASSWORD", "ANTHROPIC_API_KEY"):
    print("tells", os.environ.get(key), flush=True)
print("Authorization: Bearer %s", flush=True)
"""
BROKEN = """
import os
revision = "0002"
down_revision = "0001"


def upgrade():
    print("migrating as", os.environ["DB_PASSWORD"], flush=True)
    raise RuntimeError("no: " + os.environ["ANTHROPIC_API_KEY"])
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with sandbox(tmp_path_factory.mktemp("bundle") / "place") as made:
        made.make_repository(light=True)
        yield made


@pytest.fixture(scope="module")
def stack(place: Sandbox, mark: str) -> Stack:
    """Its backend prints its secrets, and its migration prints them and fails."""
    made = place.create(f"{mark}-bundle")
    (made.path / ".env").write_text(f"ANTHROPIC_API_KEY={API_KEY}\n", encoding="utf-8")
    password = PASSWORD.replace("'", "\\'")
    made.edit(".env.sandbox", f"DB_PASSWORD=sandbox-{made.id}", f"DB_PASSWORD='{password}'")
    version = made.path / "ktrdr" / "version.py"
    version.write_text(version.read_text(encoding="utf-8") + TELLTALE % BEARER, encoding="utf-8")
    compose = "deploy/environments/local/docker-compose.yml"
    address = "DB_ADDRESS: postgresql://ktrdr:${DB_PASSWORD}@db:5432/ktrdr"
    made.edit(compose, "      DB_HOST: db\n", f"      DB_HOST: db\n      {address}\n")
    broken = made.path / "alembic" / "versions" / "0002_broken.py"
    broken.write_text(BROKEN, encoding="utf-8")
    return made


def unpacked(path: Path) -> dict[str, str]:
    with tarfile.open(path) as archive:
        found = {}
        for member in archive.getmembers():
            opened = archive.extractfile(member)
            assert opened is not None
            found[member.name.partition("/")[2]] = opened.read().decode()
    return found


def shown_in(text: str) -> list[str]:
    return [one for one in PLANTED if one in text or json.dumps(one)[1:-1] in text]


def test_a_failure_is_told_and_bundled_without_a_secret(
    place: Sandbox, stack: Stack, tmp_path: Path
) -> None:
    path = tmp_path / "bundle.tar.gz"
    shell = {"GITHUB_TOKEN": SHELL}
    failed = place.run("up", stack.name, "--json", "--bundle", str(path), environment=shell)
    failed.expect(2)
    assert failed.document["messages"][-1] == f"Bundle: {path}"
    printed = "\n".join(docker_logs(stack.container("backend")["Id"]))
    assert API_KEY in printed, "there is something to hide"
    assert PASSWORD in printed

    whole = gzip.decompress(path.read_bytes()).decode(errors="replace")
    assert shown_in(whole) == []
    assert path.stat().st_mode & 0o777 == 0o600
    assert shown_in(failed.stdout) == []
    text = place.run("up", stack.name, environment=shell).expect(2)
    assert shown_in(text.stdout + text.stderr) == []
    assert "    migrating as ***" in text.stdout or "RuntimeError: no: ***" in text.stdout

    found = unpacked(path)
    assert "tells ***" in found[f"logs/{stack.id}-backend-1.log"]
    assert "migrating as ***" in found["logs/migration.log"]
    assert "✗ Schema migration failed" in found["gate.txt"]
    assert json.loads(found["gate.json"])["passed"] is False
    assert json.loads(found["manifest.json"])["missing"] == {}
    environment = environment_of(found, f"/{stack.id}-backend-1")
    assert environment["DB_PASSWORD"] == "***"
    assert environment["DB_ADDRESS"].endswith("@db:5432/ktrdr")
    assert environment["DB_NAME"] == "ktrdr"


def test_doctor_bundles_it_later(place: Sandbox, stack: Stack, tmp_path: Path) -> None:
    """The gate is asked anew: what it says is how things are by then."""
    place.run("up", stack.name, "--no-wait").expect(2)
    docker("kill", stack.container("backend")["Id"])
    path = tmp_path / "later.tar.gz"
    place.run("doctor", stack.name, "--bundle", str(path), "--json")
    found = unpacked(path)
    gate = json.loads(found["gate.json"])
    backend = next(check for check in gate["checks"] if check["name"] == "backend")
    assert (gate["passed"], backend["facts"]) == (False, ["backend exited (137)"])
    assert json.loads(found["doctor.json"])["findings"]
    assert json.loads(found["manifest.json"])["missing"] == {}
    assert shown_in("".join(found.values())) == []


def environment_of(found: dict[str, str], container: str) -> dict[str, str]:
    (described,) = [one for one in json.loads(found["inspect.json"]) if one["Name"] == container]
    pairs: list[Any] = [entry.partition("=") for entry in described["Config"]["Env"]]
    return {key: value for key, _, value in pairs}


def test_on_success_it_is_written_as_well(place: Sandbox, stack: Stack, tmp_path: Path) -> None:
    (stack.path / "alembic" / "versions" / "0002_broken.py").unlink()
    path = tmp_path / "bundle.tar.gz"
    place.run("up", stack.name, "--bundle", str(path)).expect(0)
    found = unpacked(path)
    assert json.loads(found["gate.json"])["passed"] is True
    assert shown_in("".join(found.values())) == []
    refused = place.run("up", stack.name, "--bundle", str(path), "--json").expect(73)
    assert refused.error["code"] == "file-exists"
