"""Whether a stack's schema is migrated, by what, and that nothing of it stays behind."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ktrdr_sandbox.commands.compose_project import Composition, compose, write_down
from ktrdr_sandbox.commands.migrate import (
    END_SCRIPT,
    RUN_SCRIPT,
    VERSION_SCRIPT,
    SchemaMigration,
    end_left_over,
    plan_migration,
)
from ktrdr_sandbox.docker.engine import Container, Resources
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.gate.migrations import NO_ALEMBIC
from ktrdr_sandbox.isolation.request import Notice
from ktrdr_sandbox.models import Instance
from tests.unit.commands.scenes import FOREVER, IMAGE, Scene

Services = Mapping[str, Mapping[str, Any]]
DATABASE = {"environment": {"POSTGRES_DB": "ktrdr", "POSTGRES_USER": "ktrdr"}}
BACKEND = {"environment": {"DB_HOST": "db", "DB_NAME": "ktrdr", "DB_USER": "ktrdr"}}


@pytest.fixture
def instance(scene: Scene) -> Instance:
    """One whose checkout has a migration."""
    made = scene.instance()
    versions = made.path / "alembic" / "versions"
    versions.mkdir(parents=True)
    (versions / "1.py").write_text('revision = "a1"\ndown_revision = None\n', encoding="utf-8")
    (made.path / "alembic" / "env.py").write_text("run()\n", encoding="utf-8")
    (made.path / "alembic.ini").write_text(
        "[alembic]\nscript_location = alembic\n", encoding="utf-8"
    )
    return made


def composed(scene: Scene, instance: Instance, services: Services | None = None) -> Composition:
    """The instance's stack, its containers created."""
    bodies = services or {"db": DATABASE, "backend": BACKEND}
    model = {
        "services": {
            name: {"image": IMAGE, "command": FOREVER, **body} for name, body in bodies.items()
        }
    }
    (instance.path / "docker-compose.yml").write_text(json.dumps(model), encoding="utf-8")
    found = compose(scene.context, instance, scene.engine)
    write_down(scene.context, found)
    scene.engine.compose_create(found.call, build=(), progress=lambda _: None)
    return found


def planned(
    scene: Scene, instance: Instance, services: Services | None = None
) -> tuple[SchemaMigration | None, tuple[Notice, ...]]:
    return plan_migration(scene.context, composed(scene, instance, services), scene.engine)


def migration(
    scene: Scene, instance: Instance, services: Services | None = None
) -> SchemaMigration:
    found, notices = planned(scene, instance, services)
    assert found is not None
    assert notices == ()
    return found


def one_offs(scene: Scene, instance: Instance) -> list[Container]:
    return [one for one in scene.engine.containers(uuid=instance.uuid) if one.oneoff]


def setting(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("KTRDR_SANDBOX_MIGRATE", value)


# -- whether -------------------------------------------------------------------------------------


def test_the_backend_migrates_what_nothing_else_does(scene: Scene, instance: Instance) -> None:
    found = migration(scene, instance)
    assert (found.service, found.required, found.head) == ("backend", False, "a1")


def test_a_checkout_without_alembic_is_left_alone(scene: Scene) -> None:
    assert planned(scene, scene.instance()) == (None, ())


def test_never_means_never(
    scene: Scene, instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting(monkeypatch, "never")
    assert planned(scene, instance) == (None, ())


ITSELF: dict[str, Services] = {
    "the backend's command": {
        "db": DATABASE,
        "backend": {**BACKEND, "command": ["sh", "-c", "alembic upgrade head; sleep 600"]},
    },
    "a job": {
        "db": DATABASE,
        "backend": BACKEND,
        "migrate": {"command": ["python", "-m", "alembic", "upgrade", "head"]},
    },
    "a hook": {
        "db": DATABASE,
        "backend": {**BACKEND, "post_start": [{"command": ["alembic", "upgrade", "head"]}]},
    },
}


@pytest.mark.parametrize("way", list(ITSELF))
def test_a_stack_that_migrates_itself_is_left_alone(
    scene: Scene, instance: Instance, way: str
) -> None:
    assert planned(scene, instance, ITSELF[way]) == (None, ())


def test_a_job_that_no_profile_enables_migrates_nothing(scene: Scene, instance: Instance) -> None:
    job = {"command": ["alembic", "upgrade", "head"], "profiles": ["tools"]}
    services: Services = {"db": DATABASE, "backend": BACKEND, "migrate": job}
    assert migration(scene, instance, services).service == "backend"


@pytest.mark.parametrize("option", ["--reload-exclude=alembic", "--reload-exclude alembic/*"])
def test_a_program_that_only_looks_away_from_the_folder_migrates_nothing(
    scene: Scene, instance: Instance, option: str
) -> None:
    backend = {**BACKEND, "command": ["sh", "-c", f"uvicorn ktrdr.api.main:app {option}; sleep 1"]}
    assert migration(scene, instance, {"db": DATABASE, "backend": backend}).head == "a1"


@pytest.mark.parametrize("way", list(ITSELF))
def test_always_means_always(
    scene: Scene, instance: Instance, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting(monkeypatch, "always")
    found = migration(scene, instance, ITSELF[way])
    assert (found.required, found.head) == (True, None)


def test_a_database_of_somebody_else_is_not_migrated_unasked(
    scene: Scene, instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = {"environment": {"DB_HOST": "db", "KTRDR_DB_HOST": "prod.example.org"}}
    services = {"db": DATABASE, "backend": backend}
    text = (
        "its database is prod.example.org, not this stack's: not migrated "
        '(setting migrate = "always" does it)'
    )
    assert planned(scene, instance, services) == (None, (Notice(service="backend", text=text),))
    setting(monkeypatch, "always")
    assert migration(scene, instance, services).required


def test_a_stack_without_a_database_is_not_migrated_unasked(
    scene: Scene, instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, (notice,) = planned(scene, instance, {"backend": BACKEND})
    assert found is None
    assert notice.text.startswith("the stack has no database of its own")
    setting(monkeypatch, "always")
    assert migration(scene, instance, {"backend": BACKEND}).database is None


def test_a_stack_without_a_backend_says_that_nothing_is_applied(
    scene: Scene, instance: Instance
) -> None:
    found, (notice,) = planned(scene, instance, {"db": DATABASE})
    assert (found, notice.text) == (None, "alembic.ini is not applied: there is no backend")


@pytest.mark.parametrize(
    ("database", "backend", "certain"),
    [
        (DATABASE, BACKEND, True),
        (DATABASE, {"environment": {"DB_HOST": "db"}}, False),
        (DATABASE, {"environment": {"DB_NAME": "other"}}, False),
        (DATABASE, {"environment": {"DB_NAME": "ktrdr", "DB_USER": "else"}}, False),
        (DATABASE, {"environment": {"DATABASE_URL": "postgresql://ktrdr:x@db/ktrdr"}}, True),
        ({"environment": {"POSTGRES_USER": "ktrdr"}}, BACKEND, True),
        ({"environment": {"POSTGRES_DB_FILE": "/run/name"}}, BACKEND, False),
        ({}, BACKEND, False),
    ],
)
def test_the_head_counts_only_where_both_mean_the_same_database(
    scene: Scene,
    instance: Instance,
    database: Mapping[str, Any],
    backend: Mapping[str, Any],
    *,
    certain: bool,
) -> None:
    found = migration(scene, instance, {"db": database, "backend": backend})
    assert (found.head == "a1") is certain


# -- how -----------------------------------------------------------------------------------------


def test_the_migrations_are_mounted_where_the_backend_works(
    scene: Scene, instance: Instance
) -> None:
    found = migration(
        scene, instance, {"db": DATABASE, "backend": {**BACKEND, "working_dir": "/srv/app"}}
    )
    laid_over = json.loads(found.call.files[-1].read_text(encoding="utf-8"))
    volumes = laid_over["services"]["backend"]["volumes"]
    assert {one["source"]: one["target"] for one in volumes} == {
        str(instance.path / "alembic.ini"): "/srv/app/alembic.ini",
        str(instance.path / "alembic"): "/srv/app/alembic",
    }
    assert all(one["read_only"] for one in volumes)
    assert found.call.files[-1].stat().st_mode & 0o777 == 0o600
    assert found.call.files[:-1] == composed(scene, instance).call.files


def test_its_container_is_of_the_instance_and_goes_at_the_end(
    scene: Scene, instance: Instance
) -> None:
    found = migration(scene, instance)
    made = found.start()
    (one_off,) = one_offs(scene, instance)
    assert (one_off.id, one_off.name) == (made, f"{instance.id}-migration")
    scene.engine.held[made].log += ["Running upgrade -> a1"]
    assert found.end() == ("Running upgrade -> a1",)
    assert one_offs(scene, instance) == []
    assert len(scene.engine.containers(uuid=instance.uuid)) == 2


def test_the_end_of_one_that_never_began_asks_nothing(scene: Scene, instance: Instance) -> None:
    found = migration(scene, instance)
    scene.engine.calls.clear()
    assert found.end() == ()
    assert scene.engine.calls == []


def test_an_engine_that_fails_at_the_end_hides_nothing_of_what_led_there(
    scene: Scene, instance: Instance
) -> None:
    found = migration(scene, instance)
    found.start()
    scene.engine.failing = SandboxError("docker-not-answering", "gone")
    assert found.end() == ()
    scene.engine.failing = None
    assert len(one_offs(scene, instance)) == 1


def test_a_start_under_way_is_waited_for_and_a_later_one_refused(
    scene: Scene, instance: Instance
) -> None:
    found = migration(scene, instance)
    with scene.engine.lock:  # keeps the start waiting in the engine
        starting = threading.Thread(target=found.start)
        starting.start()
        while not found._begun:
            threading.Event().wait(0.01)
        ended: list[tuple[str, ...]] = []
        ending = threading.Thread(target=lambda: ended.append(found.end()))
        ending.start()
    starting.join()
    ending.join()
    assert ended == [()]
    assert one_offs(scene, instance) == []
    with pytest.raises(SandboxError) as caught:
        found.start()
    assert caught.value.code == "interrupted"


def test_what_a_killed_start_left_is_removed_and_nothing_else(
    scene: Scene, instance: Instance
) -> None:
    composition = composed(scene, instance)
    found, _ = plan_migration(scene.context, composition, scene.engine)
    assert found is not None
    found.start()
    foreign = scene.engine.compose_run(found.call, "backend", ["sh", "-c", "echo"], name="task")
    containers = scene.engine.containers()
    end_left_over(scene.engine, instance, containers, composition.isolation.stack)
    assert [one.id for one in one_offs(scene, instance)] == [foreign]
    assert len(scene.engine.containers(uuid=instance.uuid)) == 3
    scene.engine.remove(Resources(containers=tuple(one_offs(scene, instance))), grace=0)


# -- the scripts, on a real shell ----------------------------------------------------------------


def program(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)


def run(script: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", "-c", script],
        cwd=folder,
        env={"PATH": str(folder / "bin"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"bin/alembic": "echo path $*"}, "path upgrade head"),
        ({".venv/bin/alembic": "echo own $*"}, "own upgrade head"),
        (
            {"bin/python": "[ $1 = -c ] || echo module $*"},
            "module -m alembic upgrade head",
        ),
        (
            {"bin/python3": "exit 1", "bin/python": "[ $1 = -c ] || echo second $*"},
            "second -m alembic upgrade head",
        ),
        ({"bin/alembic": "echo path $*", ".venv/bin/alembic": "echo own"}, "path upgrade head"),
    ],
)
def test_alembic_is_found_wherever_it_is(tmp_path: Path, files: dict[str, str], said: str) -> None:
    for name, text in files.items():
        program(tmp_path, name, text)
    done = run(RUN_SCRIPT, tmp_path)
    assert (done.returncode, done.stdout.strip()) == (0, said)


def test_an_image_without_alembic_ends_with_a_status_of_its_own(tmp_path: Path) -> None:
    program(tmp_path, "bin/python3", "exit 1")
    done = run(RUN_SCRIPT, tmp_path)
    assert (done.returncode, done.stderr) == (NO_ALEMBIC, "this image has no alembic\n")


def test_the_status_of_alembic_is_the_migrations(tmp_path: Path) -> None:
    program(tmp_path, "bin/alembic", "exit 3")
    assert run(RUN_SCRIPT, tmp_path).returncode == 3


def test_the_version_is_asked_with_the_containers_own_account(tmp_path: Path) -> None:
    program(tmp_path, "bin/psql", 'echo "$PGPASSWORD" "$@"')
    program(tmp_path, "bin/hostname", "echo 3f2a")
    account = {"POSTGRES_USER": "me", "POSTGRES_DB": "mine", "POSTGRES_PASSWORD": "hush"}
    done = run(VERSION_SCRIPT, tmp_path, **account)
    assert done.returncode == 0
    asked = "hush -XqtAw -h 3f2a -U me -d mine -c SELECT version_num FROM alembic_version\n"
    assert done.stdout == asked
    assert os.environ.get("POSTGRES_PASSWORD") is None


def test_sessions_are_ended_by_the_address_they_come_from(tmp_path: Path) -> None:
    program(tmp_path, "bin/psql", 'for last; do :; done; echo "$last"')
    program(tmp_path, "bin/hostname", "echo 3f2a")
    done = subprocess.run(
        ["/bin/sh", "-c", END_SCRIPT, "sh", "172.18.0.4,fd00::4"],
        env={"PATH": str(tmp_path / "bin")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE client_addr = "
        "ANY (string_to_array('172.18.0.4,fd00::4', ',')::inet[])\n"
    )
