"""A gate never passes for what something else answers: a stranger, or a container of yesterday."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import httpx
import pytest

from tests.support.stacks import Outcome, Sandbox, Stack, docker, git

pytestmark = [
    pytest.mark.engine,
    pytest.mark.xdist_group("shared stack"),
    pytest.mark.timeout(300),
]

COMPOSE = "deploy/environments/local/docker-compose.yml"
BACKEND = "    container_name: ktrdr-backend\n"

WORKERS: Final = [
    {
        "worker_id": f"training-worker-{number}",
        "worker_type": "training",
        "endpoint_url": f"http://training-worker-{number}:5005",
        "status": "available",
    }
    for number in range(1, 5)
]


class _Pretender(BaseHTTPRequestHandler):
    """Says 200 to everything, and has every worker that anyone could want."""

    def do_GET(self) -> None:
        body = json.dumps(WORKERS if self.path == "/api/v1/workers" else {"status": "ok"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base's name
        """Quiet."""


@contextmanager
def pretender(port: int) -> Iterator[None]:
    """Another program on the backend's port, which looks like a stack that is ready."""
    with ThreadingHTTPServer(("127.0.0.1", port), _Pretender) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            answer = httpx.get(f"http://127.0.0.1:{port}/api/v1/workers", trust_env=False)
            assert len(answer.json()) == len(WORKERS)
            yield
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def stack(place: Sandbox, created: Stack) -> Stack:
    """The instance of the group, up and with the files of its branch."""
    git("checkout", "--quiet", "--", ".", cwd=created.path)
    place.up(created).expect(0)
    return created


def failed(outcome: Outcome) -> dict[str, Any]:
    """The checks that failed, by name."""
    outcome.expect(2)
    gate = outcome.data["gate"]
    assert gate["passed"] is False
    return {check["name"]: check for check in gate["checks"] if not check["passed"]}


def wait(place: Sandbox, stack: Stack, *, timeout: float = 100) -> Outcome:
    return place.run("wait", stack.name, "--timeout", f"{timeout:g}", "--json")


def test_a_stranger_while_the_backend_is_down(place: Sandbox, stack: Stack) -> None:
    docker("kill", stack.container("backend")["Id"])
    with pretender(stack.ports["backend"]):
        found = failed(wait(place, stack))
        refused = place.up(stack).expect(3)
    assert found["backend"]["facts"] == ["backend exited (137)"]
    assert set(found) == {"containers", "backend", "workers"}
    assert refused.error["details"]["ports"][0]["port"] == stack.ports["backend"]


def test_a_stranger_where_the_stack_was_never_started(place: Sandbox, stack: Stack) -> None:
    place.run("down", stack.name, "--now").expect(0)
    port = stack.ports["backend"]
    with pretender(port):
        found = failed(wait(place, stack, timeout=2))
    (fact,) = found["backend"]["facts"]
    assert fact.startswith(f"Something answers on port {port}, but no container of backend in ")
    assert found["backend"]["cause"] == f"another program holds port {port}"
    assert found["backend"]["next_command"] == f"lsof -i :{port}"
    assert "workers" in found


def test_a_stranger_and_only_the_backend_asked_for(place: Sandbox, stack: Stack) -> None:
    docker("kill", stack.container("backend")["Id"])
    with pretender(stack.ports["backend"]):
        outcome = place.run("wait", stack.name, "--for", "backend,workers", "--json")
    assert set(failed(outcome)) == {"backend", "workers"}


def test_a_container_that_served_until_its_successor_came(place: Sandbox, stack: Stack) -> None:
    """The old one answers 200 up to the moment in which the new one, which is broken, follows."""
    old = stack.container("backend")["Id"]
    assert stack.get("/api/v1/health")["status"] == "ok"
    stack.edit(COMPOSE, BACKEND, BACKEND + '    command: ["sh", "-c", "exit 4"]\n')
    found = failed(place.up(stack))
    assert found["backend"]["facts"] == ["backend exited (4)"]
    assert stack.container("backend")["Id"] != old


def test_a_container_that_still_serves_when_its_successor_cannot_be_made(
    place: Sandbox, stack: Stack
) -> None:
    """What answers is not what the file says, so up has no success to tell."""
    old = stack.container("backend")["Id"]
    built = "    build: *backend-build\n    image: ktrdr-backend:dev\n"
    stack.edit(COMPOSE, built + BACKEND, "    image: localhost:1/no-such-image:9\n" + BACKEND)
    refused = place.up(stack).expect(1)
    assert refused.error["code"] == "image-missing"
    assert stack.container("backend")["Id"] == old
    assert stack.get("/api/v1/health")["status"] == "ok"


def test_an_old_container_that_serves_beside_a_new_one_that_never_came_up(
    place: Sandbox, stack: Stack
) -> None:
    """As a change of the stack leaves them that was cut off between the two."""
    old = stack.container("backend")
    kept = old["Config"]["Labels"] | {"com.docker.compose.config-hash": "another"}
    labels = [f"--label={name}={value}" for name, value in kept.items()]
    docker("create", f"--name=new_{old['Name'].strip('/')}", *labels, old["Config"]["Image"])
    assert stack.get("/api/v1/health")["status"] == "ok"
    found = failed(wait(place, stack))
    assert found["containers"]["facts"] == ["backend was created and never started"]
    place.up(stack).expect(0)
    assert len(stack.containers()) == 3


def test_workers_that_an_earlier_stack_registered_do_not_count(
    place: Sandbox, stack: Stack
) -> None:
    """Two workers fewer in the file: what the backend still lists is more than what runs."""
    docker("kill", stack.container("training-worker-1")["Id"])
    assert len(stack.get("/api/v1/workers")) == 1, "the backend has not noticed"
    found = failed(wait(place, stack))
    assert found["workers"]["facts"] == ["training-worker-1 exited (137)"]
