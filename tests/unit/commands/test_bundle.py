"""The archive for a report: what is in it, what is not, and where it may be written."""

from __future__ import annotations

import gzip
import json
import os
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ktrdr_sandbox.commands.bundle import LOG_LINES, offer_bundle, refuse_target, write_bundle
from ktrdr_sandbox.commands.compose_project import compose, write_down
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.gate.result import CheckResult, GateResult, ServiceLog
from ktrdr_sandbox.models import Instance
from ktrdr_sandbox.process import CommandError, Outcome
from tests.unit.commands.scenes import FOREVER, IMAGE, Scene

SHELL = "from-the-shell-4711"
DOTENV = "from $dotenv 'quoted'; 4712"
OWN = "from-env-sandbox-4713"
MODEL = "from-the-model@4714"
ADDRESS = "from-an-address-4715"
SECRET_FILE = "from-a-secret-file-4716"
BUILD = "from-a-build-argument-4717"
PLANTED = (SHELL, DOTENV, OWN, MODEL, ADDRESS, SECRET_FILE, BUILD)

GATE = GateResult(
    passed=False,
    checks=(
        CheckResult(
            name="backend",
            title="Backend health check failed",
            passed=False,
            facts=(f"it said {MODEL}",),
            seconds=1.0,
            logs=(ServiceLog(service="backend", lines=(f"connecting with {DOTENV}",)),),
        ),
    ),
    seconds=2.0,
)


@pytest.fixture
def instance(scene: Scene) -> Instance:
    """One whose stack runs, with a secret in every place that can have one."""
    made = scene.instance()
    (made.path / ".env").write_text(f'ANTHROPIC_API_KEY="{DOTENV}"\n', encoding="utf-8")
    text = made.env_file.read_text(encoding="utf-8")
    password = f"DB_PASSWORD=sandbox-{made.id}"
    made.env_file.write_text(text.replace(password, f"DB_PASSWORD={OWN}"), encoding="utf-8")
    (made.path / "secret.txt").write_text(f"{SECRET_FILE}\n", encoding="utf-8")
    environment = {
        "JWT_SECRET": MODEL,
        "DATABASE_URL": f"postgresql://me:{ADDRESS}@db:5432/ktrdr",
        "MODE": "development",
    }
    model: dict[str, Any] = {
        "services": {
            "backend": {"image": IMAGE, "command": FOREVER, "environment": environment},
            "worker-1": {
                "image": "built:1",
                "command": FOREVER,
                "build": {"context": ".", "args": {"PIP_TOKEN": BUILD}},
            },
        },
        "secrets": {"tls": {"file": str(made.path / "secret.txt")}},
    }
    (made.path / "docker-compose.yml").write_text(json.dumps(model), encoding="utf-8")
    scene.context = replace(
        scene.context, environment={**scene.context.environment, "GITHUB_TOKEN": SHELL}
    )
    found = compose(scene.context, made, scene.engine)
    write_down(scene.context, found)
    scene.engine.compose_create(found.call, build=(), progress=lambda _: None)
    scene.engine.compose_start(found.call, ["backend", "worker-1"], progress=lambda _: None)
    return made


def written(scene: Scene, instance: Instance, **outcome: Any) -> Path:
    path = scene.folder / "report.tar.gz"
    write_bundle(scene.context, instance, path, **outcome)
    return path


def files(path: Path) -> dict[str, str]:
    """Names below the archive's one folder, with what they hold."""
    with tarfile.open(path) as archive:
        return {
            member.name.partition("/")[2]: _content(archive, member)
            for member in archive.getmembers()
        }


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    opened = archive.extractfile(member)
    assert opened is not None
    return opened.read().decode()


def test_everything_a_report_needs(scene: Scene, instance: Instance) -> None:
    scene.engine.named(f"{instance.id}-backend-1").log += ["listening"]
    found = files(written(scene, instance, gate=GATE, logs={"migration": ["Running upgrade"]}))
    assert sorted(found) == [
        ".env.sandbox",
        "compose/model.json",
        "compose/override.yml",
        "compose/with-override.json",
        "gate.json",
        "gate.txt",
        "inspect.json",
        f"logs/{instance.id}-backend-1.log",
        f"logs/{instance.id}-worker-1-1.log",
        "logs/migration.log",
        "manifest.json",
        "registry.json",
        "settings.json",
        "versions.json",
    ]
    manifest = json.loads(found["manifest.json"])
    assert (manifest["schema"], manifest["instance"]) == ("ktrdr-sandbox-bundle/1", instance.id)
    assert manifest["files"] == sorted(name for name in found if name != "manifest.json")
    assert manifest["missing"] == {}
    assert found["gate.txt"].startswith("Startability Gate: FAILED")
    assert json.loads(found["gate.json"])["checks"][0]["name"] == "backend"
    assert found[f"logs/{instance.id}-backend-1.log"] == "listening\n"
    assert found["logs/migration.log"] == "Running upgrade\n"
    model = json.loads(found["compose/model.json"])
    assert model["services"]["backend"]["environment"]["MODE"] == "development"
    assert json.loads(found["versions.json"])["docker"]["engine"] == "28.0.0"
    assert json.loads(found["versions.json"])["git"].startswith("git version")
    assert json.loads(found["registry.json"])[instance.id]["slot"] == instance.slot
    assert json.loads(found["settings.json"])["migrate"] == "auto"
    inspected = json.loads(found["inspect.json"])
    assert {one["Name"] for one in inspected} == {
        f"/{instance.id}-backend-1",
        f"/{instance.id}-worker-1-1",
    }


def test_no_secret_is_anywhere_in_it(scene: Scene, instance: Instance) -> None:
    log = [f"plain {one}, {json.dumps({'x': one})} and {one!r}" for one in PLANTED]
    scene.engine.named(f"{instance.id}-backend-1").log += log
    argv = ("docker", "login", "--password", SHELL)
    error = CommandError(
        "compose-failed",
        f"failed with {MODEL}",
        Outcome(argv=argv, exit_code=1, stdout="", stderr=f"denied: {OWN}"),
        hints=(f"try {SECRET_FILE}",),
        details={"output": BUILD},
    )
    path = written(scene, instance, gate=GATE, error=error, logs={"migration": log})
    whole = gzip.decompress(path.read_bytes())
    assert [one for one in PLANTED if one.encode() in whole] == []
    assert [one for one in PLANTED if json.dumps(one)[1:-1].encode() in whole] == []
    found = files(path)
    assert "DB_PASSWORD=***\n" in found[".env.sandbox"]
    assert (
        found[f"logs/{instance.id}-backend-1.log"].splitlines()[0]
        == 'plain ***, {"x": "***"} and \'***\''
    )
    assert json.loads(found["error.json"])["stderr"] == "denied: ***"
    assert found["gate.txt"].splitlines()[3] == "  → it said ***"
    assert "DB_NAME=ktrdr" in found[".env.sandbox"], "what is no secret stays"


def test_only_its_owner_may_read_it(scene: Scene, instance: Instance) -> None:
    path = written(scene, instance)
    assert path.stat().st_mode & 0o777 == 0o600
    with tarfile.open(path) as archive:
        assert {member.mode for member in archive.getmembers()} == {0o600}
    assert [one.name for one in path.parent.iterdir() if "report" in one.name] == [path.name]


def test_an_engine_that_does_not_answer_leaves_an_archive_that_says_so(
    scene: Scene, instance: Instance
) -> None:
    scene.engine.failing = SandboxError("docker-not-answering", "Docker does not answer.")
    found = files(written(scene, instance, error=scene.engine.failing))
    assert {".env.sandbox", "error.json", "compose/override.yml", "registry.json"} <= set(found)
    missing = json.loads(found["manifest.json"])["missing"]
    names = ("inspect.json", "compose/model.json")
    assert missing == dict.fromkeys(names, "Docker does not answer.")
    assert [one for one in PLANTED[:3] if any(one in text for text in found.values())] == []


def test_a_worktree_that_is_gone_is_one_missing_part(scene: Scene, instance: Instance) -> None:
    gone = replace(instance, path=instance.path / "gone")
    missing = json.loads(files(written(scene, gone))["manifest.json"])["missing"]
    assert set(missing) == {".env.sandbox", "compose/model.json", "version of git"}


def test_before_the_first_up_there_is_no_override(scene: Scene) -> None:
    made = scene.instance("fresh")
    (made.path / "docker-compose.yml").write_text(
        json.dumps({"services": {"backend": {"image": IMAGE}}}), encoding="utf-8"
    )
    found = files(written(scene, made))
    assert "compose/model.json" in found
    assert set(json.loads(found["manifest.json"])["missing"]) == {
        "compose/override.yml",
        "compose/with-override.json",
    }


def test_long_logs_are_cut_at_their_beginning(scene: Scene, instance: Instance) -> None:
    container = scene.engine.named(f"{instance.id}-backend-1")
    container.log += [f"line {number}" for number in range(LOG_LINES + 5)]
    scene.engine.named(f"{instance.id}-worker-1-1").log += ["x" * 3_000_000, "the end"]
    found = files(written(scene, instance))
    lines = found[f"logs/{instance.id}-backend-1.log"].splitlines()
    assert (len(lines), lines[0]) == (LOG_LINES, "line 5")
    long = found[f"logs/{instance.id}-worker-1-1.log"]
    assert len(long) <= 2_000_001
    assert long.endswith("x\nthe end\n")


# -- where it may be written ---------------------------------------------------------------------


def test_what_is_there_is_not_overwritten(scene: Scene, instance: Instance) -> None:
    path = scene.folder / "report.tar.gz"
    path.write_text("mine", encoding="utf-8")
    with pytest.raises(SandboxError) as before:
        refuse_target(path)
    with pytest.raises(SandboxError) as after:
        written(scene, instance)
    assert (before.value.code, after.value.code) == ("file-exists", "file-exists")
    assert path.read_text(encoding="utf-8") == "mine"
    assert not list(scene.folder.glob(".report*"))


def test_a_link_to_nowhere_is_there_too(tmp_path: Path) -> None:
    link = tmp_path / "report.tar.gz"
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SandboxError) as caught:
        refuse_target(link)
    assert caught.value.code == "file-exists"


@pytest.mark.parametrize("name", ["", "no-such-folder/report.tar.gz", "file/report.tar.gz"])
def test_a_place_that_takes_no_file_is_told_before(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(SandboxError) as caught:
        refuse_target(tmp_path / name)
    assert caught.value.code == "cannot-write"
    assert str(tmp_path / name) in caught.value.message


def test_a_good_place_is_left_as_it_was(tmp_path: Path) -> None:
    refuse_target(tmp_path / "report.tar.gz")
    assert os.listdir(tmp_path) == []  # noqa: PTH208  also what is hidden


def test_beside_a_failure_one_more_is_only_mentioned(scene: Scene, instance: Instance) -> None:
    path = scene.folder / "no-such-folder" / "report.tar.gz"
    scene.told.clear()
    offer_bundle(scene.context, instance, path, gate=GATE)
    assert scene.told == [f"There is no bundle: Cannot write {path}: No such file or directory."]
    offer_bundle(scene.context, instance, scene.folder / "report.tar.gz", gate=GATE)
    assert scene.told[1:] == [f"Bundle: {scene.folder / 'report.tar.gz'}"]
