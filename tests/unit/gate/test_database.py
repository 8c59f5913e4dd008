"""Database: a real query, made inside the container with the container's own password."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from ktrdr_sandbox.docker.engine import ContainerDetail, ExecResult
from ktrdr_sandbox.gate.database import QUERY_SCRIPT
from ktrdr_sandbox.gate.result import CheckResult
from tests.support.gate_stack import PATIENT, GateStack, check

BAD_PASSWORD = (
    'psql: error: connection to server at "3f2a" (172.18.0.2), port 5432 failed: '
    'FATAL:  password authentication failed for user "ktrdr"'
)
ONLY = frozenset({"database"})


def answering(exit_code: int | None, output: str = "") -> Callable[..., ExecResult]:
    return lambda detail, argv: ExecResult(exit_code=exit_code, output=output)


def database(world: GateStack, *, timeout: float = 0.8) -> CheckResult:
    return check(world.gate(timeout=timeout, only=ONLY), "database")


def test_no_secret_is_on_the_command_line() -> None:
    with GateStack() as world:
        world.engine.change("db", environment={"POSTGRES_PASSWORD": "hush-hush"})
        assert database(world, timeout=PATIENT).passed
    assert world.engine.executed == [("db", ("/bin/sh", "-c", QUERY_SCRIPT))]


@pytest.mark.parametrize(
    ("said", "what"),
    [
        (BAD_PASSWORD, "another password"),
        ('psql: FATAL:  role "new" does not exist', "another user"),
        ('psql: FATAL:  database "new" does not exist', "another database name"),
    ],
)
def test_a_volume_made_with_something_else_is_final_and_named(said: str, what: str) -> None:
    with GateStack() as world:
        world.engine.change("db", volumes=("ktrdr--feat-x_postgres_data", "a" * 64))
        world.engine.executor = answering(1, said + "\n")
        found = database(world, timeout=PATIENT)
    assert found.final
    assert found.facts == (f"SELECT 1 in db failed: {said}",)
    assert found.cause == f"the volume ktrdr--feat-x_postgres_data was made with {what}"
    assert found.next_command == "ktrdr-sandbox down feat-x --volumes"


def test_one_refused_password_is_not_believed_yet() -> None:
    with GateStack() as world:

        def settling(detail: ContainerDetail, argv: Sequence[str]) -> ExecResult:
            if len(world.engine.executed) == 1:
                return ExecResult(exit_code=1, output=BAD_PASSWORD)
            return ExecResult(exit_code=0, output="")

        world.engine.executor = settling
        assert database(world, timeout=PATIENT).passed


def test_a_full_disk_is_final() -> None:
    with GateStack() as world:
        world.engine.executor = answering(1, "FATAL: could not write: No space left on device")
        found = database(world, timeout=PATIENT)
    assert found.final
    assert found.cause == "no space is left on a disk or volume that it writes to"


def test_a_query_that_takes_for_ever_says_so() -> None:
    with GateStack() as world:
        world.engine.executor = answering(None)
        assert database(world).facts == ("SELECT 1 in db took longer than 10 s",)


def test_without_psql_pg_isready_speaks_and_the_report_says_so() -> None:
    with GateStack() as world:
        world.engine.executor = answering(98)
        found = database(world, timeout=PATIENT)
    assert found.passed
    assert found.facts == ("db has no psql: pg_isready was asked instead of SELECT 1",)


@pytest.mark.parametrize("exit_code", [97, 126, 127])
def test_without_any_client_the_containers_health_test_speaks(exit_code: int) -> None:
    with GateStack() as world:

        def no_client(detail: ContainerDetail, argv: Sequence[str]) -> ExecResult:
            return ExecResult(exit_code=0 if argv[0] == "redis-cli" else exit_code, output="")

        world.engine.change("db", health="starting", health_test=("CMD", "redis-cli", "ping"))
        world.engine.executor = no_client
        found = database(world, timeout=PATIENT)
    assert found.passed
    assert found.facts == ("db has no psql: its own health test was taken for an answer",)


class Image:
    """A folder of commands in place of an image's, to run the script for real."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.command("hostname", "echo db-container")
        for name in ("cat", "sleep", "sed"):
            (folder / name).symlink_to(f"/bin/{name}")

    def command(self, name: str, body: str) -> None:
        path = self.folder / name
        path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
        path.chmod(0o755)

    def query(self, **environment: str) -> tuple[int, str]:
        done = subprocess.run(
            ["/bin/sh", "-c", QUERY_SCRIPT],
            env={"PATH": str(self.folder), **environment},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
def image(tmp_path: Path) -> Image:
    return Image(tmp_path)


def test_the_script_takes_address_user_database_and_password_as_the_image_does(
    image: Image, tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    image.command("psql", f'echo "$PGPASSWORD|$*" > {seen}; echo 1')
    environment = {"POSTGRES_USER": "ktrdr", "POSTGRES_DB": "prices", "POSTGRES_PASSWORD": "a b'$c"}
    assert image.query(**environment) == (0, "port 5432\n")
    password, arguments = seen.read_text(encoding="utf-8").strip().split("|")
    assert password == "a b'$c"
    assert arguments == "-XqtAw -h db-container -U ktrdr -d prices -c SELECT 1"


def test_the_script_reads_secret_files_and_has_the_images_defaults(
    image: Image, tmp_path: Path
) -> None:
    seen, secret = tmp_path / "seen", tmp_path / "secret"
    secret.write_text("from-file\n", encoding="utf-8")
    image.command("psql", f'echo "$PGPASSWORD|$*" > {seen}; echo 1')
    assert image.query(POSTGRES_PASSWORD_FILE=str(secret)) == (0, "port 5432\n")
    assert seen.read_text(encoding="utf-8").strip() == (
        "from-file|-XqtAw -h db-container -U postgres -d postgres -c SELECT 1"
    )


def test_the_script_knocks_again_while_the_server_starts(image: Image, tmp_path: Path) -> None:
    count = tmp_path / "count"
    image.command(
        "psql",
        f'echo x >> {count}; [ "$(cat {count})" = "x\nx\nx" ] && echo 1 || '
        "{ echo 'FATAL: the database system is starting up' >&2; exit 2; }",
    )
    assert image.query() == (0, "port 5432\n")


def test_the_script_gives_up_at_once_on_a_refused_password(image: Image, tmp_path: Path) -> None:
    count = tmp_path / "count"
    image.command("psql", f"echo x >> {count}; echo '{BAD_PASSWORD}' >&2; exit 2")
    assert image.query() == (1, BAD_PASSWORD + "\n")
    assert count.read_text(encoding="utf-8") == "x\n"


def test_the_script_falls_back_to_pg_isready(image: Image) -> None:
    image.command("pg_isready", '[ "$*" = "-h db-container" ]')
    assert image.query() == (98, "")
    image.command("pg_isready", "echo 'db-container:5432 - no response'; exit 2")
    assert image.query() == (1, "db-container:5432 - no response\n")
