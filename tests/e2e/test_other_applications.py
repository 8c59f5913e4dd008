"""The Compose file of an application that is not KTRDR: workers that register nowhere, a debugger
on a worker's port, and services that no container stands for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.repositories import repository
from tests.support.stacks import Sandbox, Stack, sample_images, sandbox

pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(300),
]

COMPOSE = """
x-service: &service
  image: {image}
  command: ["sleep", "infinity"]
  stop_grace_period: 1s

services:
  api:
    <<: *service
    # Its front page is a listing, its health an empty file, and anything else 404.
    command: ["sh", "-c", "mkdir /tmp/www && touch /tmp/www/health && cd /tmp/www &&
      exec python3 -m http.server 8000"]
    ports: ["8000:8000"]
    depends_on:
      database: {{condition: service_healthy}}
      cache: {{condition: service_healthy}}
  celery-worker: *service
  orders:
    <<: *service
    ports: ["8081:8080", "5006:5005"]
  cache:
    <<: *service
    scale: 0
  database:
    provider: {{type: managed-database}}
"""

PROVIDER = """#!/bin/sh
case "$*" in *" up "*) echo '{"type": "setenv", "message": "URL=db://elsewhere"}' ;; esac
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    provider = tmp_path / "bin" / "managed-database"
    provider.parent.mkdir()
    provider.write_text(PROVIDER, encoding="utf-8")
    provider.chmod(0o755)
    monkeypatch.setenv("PATH", f"{provider.parent}{os.pathsep}{os.environ['PATH']}")
    with sandbox(tmp_path / "place") as made:
        image = sample_images()["python:3.12-slim"]
        files = {"docker-compose.yml": COMPOSE.format(image=image)}
        repository(made.repository).commit(files)
        yield made


def addresses(stack: Stack, service: str) -> dict[str, str]:
    bindings = stack.container(service)["HostConfig"]["PortBindings"]
    return {inside: ports[0]["HostPort"] for inside, ports in bindings.items()}


def test_an_application_with_workers_of_its_own(place: Sandbox, mark: str) -> None:
    stack = place.create(f"{mark}-other")
    place.run("up", stack.name, "--no-wait").expect(0)
    assert set(stack.services()) == {"api", "celery-worker", "orders"}
    first = 20000 + stack.slot * 100
    assert addresses(stack, "orders") == {"5005/tcp": str(first), "8080/tcp": str(first + 1)}

    passed = place.up(stack).expect(0)
    assert [one["name"] for one in passed.data["gate"]["checks"]] == ["containers", "backend"]
    note = {
        "service": "api",
        "text": (
            f"it keeps no list of workers (GET http://localhost:{8000 + stack.slot}/api/v1/workers "
            "returned 404), so celery-worker need not register"
        ),
    }
    assert passed.data["notices"] == [note]
    waited = place.run("wait", stack.name, "--for", "workers").expect(0)
    assert f"note: api: {note['text']}" in waited.stderr.splitlines()
    assert place.run("status", stack.name, "--json").expect(0).data["status"] == "running"
