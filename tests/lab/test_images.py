"""The stand-ins answer where the images they stand for answer, and stop as quickly."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.engine

QUICK = 3.0  # seconds a stop may take; an unhandled signal takes 10
LIMIT = 30.0  # seconds for anything to become true


def docker(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=check)


def image(setting: str) -> str:
    name = os.environ.get(setting, "")
    if not name.startswith("ktrdr-lab/"):
        pytest.skip(f"{setting} is not an image of the lab")
    return name


@contextmanager
def container(setting: str, *options: str, command: tuple[str, ...] = ()) -> Iterator[str]:
    created = docker("create", *options, image(setting), *command).stdout.strip()
    try:
        docker("start", created)
        yield created
    finally:
        docker("rm", "--force", "--volumes", created)


def eventually(question: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT
    while not question():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def inside(name: str, *command: str) -> subprocess.CompletedProcess[str]:
    return docker("exec", name, *command, check=False)


def answers(name: str, *command: str) -> bool:
    return inside(name, *command).returncode == 0


def stops_at_once(name: str) -> bool:
    begin = time.monotonic()
    docker("stop", name)
    code = docker("inspect", "--format", "{{.State.ExitCode}}", name).stdout.strip()
    return time.monotonic() - begin < QUICK and code == "0"


def query(name: str, sql: str, user: str = "ktrdr", database: str = "ktrdr") -> str:
    done = inside(name, "psql", "-XAtq", "-U", user, "-d", database, "-c", sql)
    return done.stdout.strip() or done.stderr.strip()


DATABASE = "KTRDR_SANDBOX_DEMO_DATABASE_IMAGE"
PYTHON = "KTRDR_SANDBOX_DEMO_PYTHON_IMAGE"
ACCOUNT = (
    "-e",
    "POSTGRES_USER=ktrdr",
    "-e",
    "POSTGRES_PASSWORD=it's $1",
    "-e",
    "POSTGRES_DB=ktrdr",
)
CONNECT = """
import psycopg, sys
try:
    psycopg.connect(host=sys.argv[1], user="ktrdr", password=sys.argv[2], dbname="ktrdr")
except psycopg.OperationalError as error:
    sys.exit(str(error))
"""


def ready(name: str) -> Callable[[], bool]:
    return lambda: answers(name, "pg_isready", "-q", "-U", "ktrdr")


def test_database_keeps_its_rows_and_stops_at_once() -> None:
    with container(DATABASE, *ACCOUNT) as db:
        eventually(ready(db))
        query(db, "CREATE TABLE kept AS SELECT 1 AS one")
        assert stops_at_once(db)
        docker("start", db)
        eventually(ready(db))
        assert query(db, "SELECT one FROM kept") == "1"


def test_database_asks_other_hosts_for_the_password() -> None:
    with container(DATABASE, *ACCOUNT) as db:
        eventually(ready(db))
        address = docker("inspect", "--format", "{{.NetworkSettings.IPAddress}}", db).stdout.strip()
        run = ("run", "--rm", image(PYTHON), "python3", "-c", CONNECT, address)
        docker(*run, "it's $1")
        refused = docker(*run, "another", check=False)
        assert "password authentication failed" in refused.stderr


def test_database_takes_its_password_from_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("from a file\n")
    secret.chmod(0o644)
    options = ("-e", "POSTGRES_PASSWORD_FILE=/secret", "-v", f"{secret}:/secret:ro")
    with container(DATABASE, *options) as db:
        eventually(lambda: answers(db, "pg_isready", "-q"))
        assert query(db, "SELECT current_database()", "postgres", "postgres") == "postgres"


def test_database_without_a_password_says_so() -> None:
    with container(DATABASE) as db:
        assert docker("wait", db).stdout.strip() == "1"
        assert "POSTGRES_PASSWORD is empty" in docker("logs", db).stderr


def test_database_killed_while_it_is_set_up_starts_over(tmp_path: Path) -> None:
    setup = tmp_path / "setup"
    setup.mkdir()
    (setup / "1.sql").write_text("CREATE TABLE made (at int);\n")
    (setup / "2.sh").write_text("touch /tmp/half-way; sleep 60\n")
    with container(DATABASE, *ACCOUNT, "-v", f"{setup}:/docker-entrypoint-initdb.d:ro") as db:
        eventually(lambda: answers(db, "test", "-e", "/tmp/half-way"))
        assert not ready(db)()  # half a database is no database
        docker("kill", db)
        (setup / "2.sh").write_text('psql -c "INSERT INTO made VALUES (2)"\n')
        docker("start", db)
        eventually(ready(db))
        assert query(db, "SELECT * FROM made") == "2"


def test_database_takes_options_of_the_server() -> None:
    with container(DATABASE, *ACCOUNT, command=("-c", "max_connections=17")) as db:
        eventually(ready(db))
        assert query(db, "SHOW max_connections") == "17"


def test_prometheus_takes_its_own_flags_and_stops_at_once(tmp_path: Path) -> None:
    config = tmp_path / "own.yml"
    config.write_text("global:\n  scrape_interval: 7s\n")
    config.chmod(0o644)
    command = (
        "--config.file=/own.yml",
        "--storage.tsdb.path=/prometheus",
        "--web.enable-lifecycle",
    )
    options = ("-v", f"{config}:/own.yml:ro")
    with container("KTRDR_SANDBOX_DEMO_PROMETHEUS_IMAGE", *options, command=command) as prometheus:
        address = "http://localhost:9090"
        eventually(lambda: answers(prometheus, "wget", "--spider", "-q", f"{address}/-/healthy"))
        shown = inside(prometheus, "wget", "-qO-", f"{address}/api/v1/status/config").stdout
        assert "scrape_interval: 7s" in json.loads(shown)["data"]["yaml"]
        assert stops_at_once(prometheus)


def test_grafana_stand_in_is_healthy_and_says_what_it_is() -> None:
    with container("KTRDR_SANDBOX_DEMO_GRAFANA_IMAGE") as grafana:
        address = "localhost:3000"
        eventually(lambda: answers(grafana, "wget", "--spider", "-q", f"{address}/api/health"))
        health = inside(grafana, "wget", "-qO-", f"{address}/api/health").stdout
        assert json.loads(health)["database"] == "ok"
        assert "Grafana stand-in" in inside(grafana, "wget", "-qO-", address).stdout
        assert stops_at_once(grafana)


def test_jaeger_stand_in_takes_traces() -> None:
    with container("KTRDR_SANDBOX_DEMO_JAEGER_IMAGE") as jaeger:
        eventually(lambda: answers(jaeger, "wget", "--spider", "-q", "localhost:16686"))
        assert "Jaeger stand-in" in inside(jaeger, "wget", "-qO-", "localhost:16686").stdout
        sent = ("--post-data={}", "localhost:4318/v1/traces")
        assert answers(jaeger, "wget", "-qO-", *sent)
        connect = "import socket; socket.create_connection(('localhost', 4317)).send(b'PRI')"
        assert answers(jaeger, "python3", "-c", connect)
        assert stops_at_once(jaeger)


def test_python_has_curl_both_drivers_and_alembic_for_any_user() -> None:
    script = (
        "curl --version >/dev/null && alembic --version && python -c 'import psycopg, psycopg2'"
    )
    docker("run", "--rm", "--user", "1000", image(PYTHON), "sh", "-c", script)


def test_tiny_is_a_shell() -> None:
    said = docker("run", "--rm", image("KTRDR_LAB_TINY_IMAGE"), "sh", "-c", "echo $((6 * 7))")
    assert said.stdout == "42\n"
