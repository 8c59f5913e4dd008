"""Health commands, slow starts and what can never come, as people have reported them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cases.repositories import case
from tests.support.stacks import docker

pytestmark = [
    pytest.mark.engine,
    pytest.mark.xdist_group("engine, cases"),
    pytest.mark.timeout(300),
]

WRITING_PROBE = r"""
services:
  queue:
    image: tiny:1
    command:
      - sh
      - -c
      - |
        sleep 3
        if [ -e /tmp/cookie ]; then echo "cookie: eacces, somebody else made it" >&2; exit 1; fi
        echo server > /tmp/cookie; mkdir /www; echo ok > /www/index.html
        exec httpd -f -p 5672 -h /www
    stop_grace_period: 1s
    healthcheck:
      test:
        - CMD-SHELL
        - |
          [ -e /tmp/cookie ] || echo probe > /tmp/cookie
          wget -q -O /dev/null http://127.0.0.1:5672/
      interval: 6s
      start_period: 30s
  consumer:
    image: tiny:1
    command: ["sleep", "infinity"]
    stop_grace_period: 1s
    depends_on:
      queue: {condition: service_healthy}
"""


def test_a_health_command_that_writes_runs_when_docker_runs_it(tmp_path: Path) -> None:
    with case(tmp_path, WRITING_PROBE) as found:
        found.up().expect(0)
        assert found.state("queue")["RestartCount"] == 0


TEMPORARY_SERVER = r"""
services:
  store:
    image: tiny:1
    command:
      - sh
      - -c
      - |
        mkdir -p /www; echo ok > /www/index.html
        sleep 1; touch /tmp/socket; sleep 2; rm /tmp/socket   # the temporary server
        sleep 2; touch /tmp/socket; exec httpd -f -p 5000 -h /www
    stop_grace_period: 1s
    healthcheck: {test: ["CMD", "test", "-e", "/tmp/socket"], interval: 6s}
  migrate:
    image: tiny:1
    command: ["wget", "-q", "-O", "-", "http://store:5000/"]
    depends_on:
      store: {condition: service_healthy}
  app:
    image: tiny:1
    command: ["sleep", "infinity"]
    stop_grace_period: 1s
    depends_on:
      migrate: {condition: service_completed_successfully}
"""


def test_a_success_that_lasts_a_moment_releases_nobody(tmp_path: Path) -> None:
    with case(tmp_path, TEMPORARY_SERVER) as found:
        found.up().expect(0)
        assert found.state("migrate")["ExitCode"] == 0


TEMPORARY_POSTGRES = r"""
services:
  db:
    image: pg:1
    environment: {POSTGRES_USER: app, POSTGRES_PASSWORD: app, POSTGRES_DB: app}
    volumes: ["./initdb:/docker-entrypoint-initdb.d:ro"]
    healthcheck: {test: ["CMD-SHELL", "pg_isready -U app"], interval: 10s}
  migrate:
    image: pg:1
    entrypoint: ["pg_isready", "-h", "db", "-t", "1"]
    depends_on:
      db: {condition: service_healthy}
  app:
    image: tiny:1
    command: ["sleep", "infinity"]
    stop_grace_period: 1s
    depends_on:
      migrate: {condition: service_completed_successfully}
"""


@pytest.mark.parametrize("options", [(), ("--no-wait",)], ids=["gate", "no-wait"])
def test_postgres_is_ready_when_it_listens(tmp_path: Path, options: tuple[str, ...]) -> None:
    files = {"initdb/10-slow.sh": "sleep 5\n"}
    with case(tmp_path, TEMPORARY_POSTGRES, files=files) as found:
        found.up(*options).expect(0)
        assert found.state("migrate")["ExitCode"] == 0


NO_HEALTH_PAGE = r"""
services:
  web:
    image: tiny:1
    command: ["sh", "-c", "mkdir /www; echo hello > /www/index.html; exec httpd -f -p 8000 -h /www"]
    stop_grace_period: 1s
    ports: ["8000:8000"]
    healthcheck:
      test: ["CMD", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8000/"]
      interval: 2s
"""


def test_a_backend_without_a_health_page_is_believed_by_its_own_test(tmp_path: Path) -> None:
    with case(tmp_path, NO_HEALTH_PAGE) as found:
        done = found.up().expect(0)
        assert done.data["gate"]["seconds"] < 30
        assert "health_paths" in found.check(done, "backend")["facts"][0]


RENAMED_OWNER = r"""
services:
  db:
    image: pg:1
    environment:
      POSTGRES_USER: ${OWNER:-old}
      POSTGRES_DB: ${NAME:-old}
      POSTGRES_HOST_AUTH_METHOD: trust
    volumes: ["data:/var/lib/postgresql/data"]
volumes:
  data:
"""


def test_a_volume_made_for_another_user_or_database_is_told_at_once(tmp_path: Path) -> None:
    with case(tmp_path, RENAMED_OWNER) as found:
        found.up().expect(0)
        for setting, what in (("OWNER=new", "another user"), ("NAME=new", "another database name")):
            (found.stack.path / ".env").write_text(f"{setting}\n", encoding="utf-8")
            failed = found.up().expect(2)
            database = found.check(failed, "database")
            assert failed.data["gate"]["seconds"] < 60
            assert database["final"]
            assert database["cause"].endswith(f"was made with {what}")
            command = f"ktrdr-sandbox down {found.stack.name} --volumes"
            assert database["next_command"] == command


SLOW_WORKER = r"""
services:
  backend:
    image: python:1
    command: ["python3", "-u", "/srv/app.py", "backend", "0"]
    volumes: ["./srv:/srv"]
    ports: ["8000:8000"]
    healthcheck:
      test: ["CMD", "curl", "-fs", "http://localhost:8000/api/v1/health"]
      interval: 30s
      start_period: 30s
  training-worker-1:
    image: python:1
    command: ["python3", "-u", "/srv/app.py", "worker", "40"]
    volumes: ["./srv:/srv"]
    environment: {WORKER_TYPE: training}
    ports: ["5005:5005"]
    depends_on: {backend: {condition: service_started}}
    healthcheck:
      test: ["CMD", "curl", "-fs", "http://localhost:5005/health"]
      interval: 30s
      start_period: 30s
"""

WORKER_PROGRAM = r"""
import http.server, json, os, signal, sys, threading, time, urllib.request
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
role, slow, workers = sys.argv[1], float(sys.argv[2]), []
time.sleep(slow)  # importing
class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, value, status=200):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        unknown = self.path == "/health" and role == "backend"
        listing = workers if self.path.endswith("/workers") else {"status": "ok"}
        self.answer(listing, 404 if unknown else 200)
    def do_POST(self):
        workers.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self.answer({})
server = http.server.ThreadingHTTPServer(("", 8000 if role == "backend" else 5005), Handler)
def register():
    worker = {"worker_id": "training-worker-" + os.uname()[1], "worker_type": "training",
              "endpoint_url": "http://training-worker-1:5005", "status": "available"}
    address = "http://backend:8000/api/v1/workers/register"
    for _ in range(5):
        try:
            return urllib.request.urlopen(address, json.dumps(worker).encode(), timeout=5)
        except OSError:
            time.sleep(2)
if role == "worker":
    threading.Thread(target=register, daemon=True).start()
server.serve_forever()
"""


def test_a_worker_that_does_not_listen_yet_is_starting_and_not_lost(tmp_path: Path) -> None:
    files = {"srv/app.py": WORKER_PROGRAM}
    with case(tmp_path, SLOW_WORKER, files=files) as found:
        done = found.up().expect(0)
        assert done.data["gate"]["healed"] == []
        assert found.state("training-worker-1")["RestartCount"] == 0


NEVER_HEALTHY = r"""
services:
  cache:
    image: tiny:1
    command: ["sleep", "infinity"]
    stop_grace_period: 1s
    healthcheck: {test: ["CMD", "redis-cli", "ping"], interval: 30s}
  app:
    image: tiny:1
    command: ["sleep", "infinity"]
    stop_grace_period: 1s
    depends_on:
      cache: {condition: service_healthy}
"""


def test_a_health_command_that_is_not_there_is_told_at_once(tmp_path: Path) -> None:
    with case(tmp_path, NEVER_HEALTHY) as found:
        failed = found.up().expect(2)
        assert failed.data["gate"]["seconds"] < 30
        containers = found.check(failed, "containers")
        assert containers["final"]
        assert containers["cause"] == "the image lacks the command of the health test"


DYING = r"""
services:
  app:
    image: tiny:1
    command: ["sh", "-c", "sleep 1; echo no database >&2; exit 1"]
    stop_grace_period: 1s
"""


def test_what_is_about_to_die_never_passes(tmp_path: Path) -> None:
    with case(tmp_path, DYING) as found:
        failed = found.up().expect(2)
        assert found.check(failed, "containers")["facts"] == ["app exited (1)"]


OTHER_PORT = r"""
services:
  db:
    image: pg:1
    command: ["postgres", "-p", "5544"]
    environment: {POSTGRES_USER: app, POSTGRES_PASSWORD: app, POSTGRES_DB: app}
    ports: ["5432:5432"]
"""


def test_postgres_on_another_port_than_the_published_one_is_told(tmp_path: Path) -> None:
    with case(tmp_path, OTHER_PORT) as found:
        done = found.up().expect(0)
        fact = found.check(done, "database")["facts"][0]
        assert fact.startswith("PostgreSQL in db listens on 5544, and the Compose file publishes")


SILENT = r"""
services:
  silent:
    image: python:1
    command:
      - python3
      - -c
      - import socket, time; held = socket.create_server(("", 80)); time.sleep(600)
    stop_grace_period: 1s
    healthcheck:
      test: ["CMD", "curl", "-f", "http://127.0.0.1:80/"]
      timeout: 1s
      interval: 60s
  app:
    image: tiny:1
    command: ["sleep", "infinity"]
    stop_grace_period: 1s
    depends_on:
      silent: {condition: service_healthy}
"""


def test_a_health_command_that_hangs_is_ended_in_its_container(tmp_path: Path) -> None:
    with case(tmp_path, SILENT) as found:
        failed = found.up("--timeout", "8").expect(2)
        assert "took longer than 1 s" in str(found.check(failed, "containers")["facts"])
        running = docker("top", found.stack.container("silent")["Id"], "-eo", "pid,args")
        assert running.count("curl") <= 1
