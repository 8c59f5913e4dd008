"""What Compose files say, read as plain Compose reads them, and names that run together."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cases.repositories import case
from tests.support.stacks import docker, tiny_image

pytestmark = [
    pytest.mark.engine,
    pytest.mark.xdist_group("engine, cases"),
    pytest.mark.timeout(300),
]

HEAD = """
x-tiny: &tiny
  image: tiny:1
  command: ["sleep", "infinity"]
  stop_grace_period: 1s
services:
"""


def sleepers(**services: str) -> str:
    """A Compose file of services that sleep, each with more keys in flow style."""
    return HEAD + "".join(f"  {name}: {{<<: *tiny{more}}}\n" for name, more in services.items())


def environment_of(container: dict[str, dict[str, list[str]]]) -> dict[str, str]:
    pairs = (entry.partition("=") for entry in container["Config"]["Env"])
    return {key: value for key, _, value in pairs}


def test_files_of_a_service_are_found_from_anywhere(tmp_path: Path) -> None:
    files = {
        "deploy/app.vars": "GREETING=hello\n",
        "deploy/part/compose.yml": sleepers(part=", env_file: [part.vars]").replace(
            "tiny:1", tiny_image()
        ),
        "deploy/part/part.vars": "GREETING=part\n",
        ".ktrdr-sandbox.toml": 'compose_file = "deploy/compose.yml"\n',
    }
    text = sleepers(app=", env_file: [app.vars]", off=", env_file: [gone], profiles: [off]")
    text += "include: [part/compose.yml]\n"
    with case(tmp_path, text, files=files, compose_name="deploy/compose.yml") as found:
        found.place.run("up", found.stack.name, cwd=Path("/")).expect(0)
        found.place.run("up", cwd=found.stack.path / "deploy" / "part").expect(0)
        for service, greeting in (("app", "hello"), ("part", "part")):
            assert environment_of(found.stack.container(service))["GREETING"] == greeting
        assert "off" not in found.stack.services()


def test_profiles_may_share_a_container_name(tmp_path: Path) -> None:
    text = sleepers(
        app="",
        cpu=", container_name: runner, profiles: [cpu]",
        gpu=", container_name: runner, profiles: [gpu]",
    )
    with case(tmp_path, text) as found:
        found.up().expect(0)
        assert set(found.stack.services()) == {"app"}
        (found.stack.path / ".env").write_text("COMPOSE_PROFILES=cpu\n")
        found.up().expect(0)
        assert set(found.stack.services()) == {"app", "cpu"}
        container = found.stack.container("app")["Id"]
        docker("exec", container, "ping", "-c1", "-W2", "runner")


def test_profiles_and_env_files_are_settings_and_variables_of_compose_are_told(
    tmp_path: Path,
) -> None:
    text = sleepers(
        app=", environment: {TOKEN: '${TOKEN:?set TOKEN}'}, ports: ['${APP_PORT}:80']",
        extra=", profiles: [extra]",
    )
    files = {"config/dev.env": "TOKEN=abc\nAPP_PORT=8088\n"}
    with case(tmp_path, text, files=files) as found:
        shell = {"COMPOSE_ENV_FILES": "config/dev.env", "COMPOSE_PROFILES": "extra"}
        failed = found.place.run("up", found.stack.name, environment=shell).expect(1)
        assert "COMPOSE_ENV_FILES (the setting env_files does that)" in failed.stderr
        assert "COMPOSE_PROFILES (the setting profiles does that)" in failed.stderr
        (found.stack.path / ".ktrdr-sandbox.toml").write_text(
            'env_files = ["config/dev.env"]\nprofiles = ["extra"]\n'
        )
        passed = found.place.run("up", found.stack.name, environment=shell).expect(0)
        assert "not passed on" not in passed.stderr
        assert environment_of(found.stack.container("app"))["TOKEN"] == "abc"
        assert set(found.stack.services()) == {"app", "extra"}


def test_a_container_gets_what_plain_compose_gives_it(tmp_path: Path) -> None:
    """The address of the database for programs on this machine is none for containers."""
    text = sleepers(
        app=", environment: {DB_HOST: '${DB_HOST:-db}', URL: 'db:${DB_PORT:-5432}/x'}",
    )
    with case(tmp_path, text) as found:
        found.up().expect(0)
        values = environment_of(found.stack.container("app"))
        assert (values["DB_HOST"], values["URL"]) == ("db", "db:5432/x")
        assert "DB_HOST=localhost\n" in (found.stack.path / ".env.sandbox").read_text()
        shown = found.place.run("isolate", found.stack.name).expect(0).stdout
        assert "DB_HOST and DB_PORT of .env.sandbox" in shown


@pytest.mark.parametrize(
    ("variable", "ours"), [("DB_PASSWORD", True), ("KTRDR_DB_PASSWORD", False)]
)
def test_the_env_file_tells_the_databases_real_password(
    tmp_path: Path, variable: str, *, ours: bool
) -> None:
    """And each service that takes it by the other name gets the same."""
    password = f"POSTGRES_PASSWORD: '${{{variable}:-localdev}}'"
    text = sleepers(
        db=f", environment: {{POSTGRES_DB: trade, {password}}}",
        app=", environment: {A: '${DB_PASSWORD:-localdev}', B: '${KTRDR_DB_PASSWORD:-localdev}'}",
    )
    with case(tmp_path, text) as found:
        password = f"sandbox-{found.stack.id}" if ours else "localdev"
        for _ in range(2):
            found.up("--no-wait").expect(0)
            lines = set((found.stack.path / ".env.sandbox").read_text().splitlines())
            for prefix in ("DB", "KTRDR_DB"):
                assert {
                    f"{prefix}_PASSWORD={password}",
                    f"{prefix}_NAME=trade",
                    f"{prefix}_USER=postgres",
                } <= lines
            values = environment_of(found.stack.container("app"))
            assert values["A"] == values["B"] == password


def test_names_that_run_together(tmp_path: Path) -> None:
    with case(tmp_path, sleepers(web="", **{"test-web": ""})) as found:
        other = found.place.create(f"{found.stack.name}-test")
        for order in ((found.stack, other), (other, found.stack)):
            for stack in order:
                found.place.up(stack).expect(0)
                assert set(stack.services()) == {"web", "test-web"}
            for stack in order:
                found.place.run("down", stack.name).expect(0)


def test_what_shares_a_lost_network_heals_at_once(tmp_path: Path) -> None:
    with case(tmp_path, sleepers(web="", side=", network_mode: 'service:web'")) as found:
        found.up().expect(0)
        for container in found.stack.containers():
            docker("stop", container["Id"])
        docker("network", "rm", f"{found.stack.id}_default")
        found.up().expect(0)
        assert all(one["State"]["Running"] for one in found.stack.containers())
