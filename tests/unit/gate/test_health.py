"""Health commands: which are run early, and what it takes to believe one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest

from ktrdr_sandbox.docker.engine import ContainerDetail, ExecResult
from ktrdr_sandbox.gate.health import Health, HealthProbes, early_probe
from ktrdr_sandbox.gate.http import Http
from ktrdr_sandbox.models import Stack
from tests.support.gate_engine import GateEngine, service
from tests.support.http_server import HttpServer, Reply

STACK = Stack(services=(service("cache"),), ports=())


def engine(*test: str, **fields: Any) -> GateEngine:
    made = GateEngine(STACK)
    made.change("cache", **{"health": "starting", "health_test": test, **fields})
    return made


def detail(made: GateEngine) -> ContainerDetail:
    return made.details[made.identity("cache")]


def shell(text: str, **environment: str) -> tuple[str, ...] | None:
    given = replace(
        detail(engine("CMD-SHELL", text)), health_shell=("/bin/bash", "-c"), environment=environment
    )
    probe = early_probe(given)
    return None if probe is None else probe.argv


@pytest.mark.parametrize(
    "text",
    [
        "curl -f http://localhost:8000/health || exit 1",
        "curl -sSfm 3 -o /dev/null http://localhost/",
        "curl -fsS -H 'Accept: text/html' localhost:3000/a?b=1 >/dev/null 2>&1 || false",
        "curl --fail http://localhost:$PORT/health",
        "wget -qO- http://127.0.0.1:9/",
        "wget --spider -q http://localhost",
        "redis-cli -a secret --no-auth-warning PING",
        "nc -z localhost 5432",
        "mysqladmin ping -h 127.0.0.1 -psecret",
    ],
)
def test_what_only_reads_runs_early_and_as_it_is_written(text: str) -> None:
    assert shell(text, PORT="80") == ("/bin/bash", "-c", text)


@pytest.mark.parametrize(
    "text",
    [
        "curl -X POST http://localhost/",
        "curl -d x http://localhost/",
        "curl -fo /tmp/x http://localhost/",
        "curl -f http://localhost/ && touch /tmp/x",
        "curl -f $(cat /tmp/url)",
        "wget http://localhost/",
        "redis-cli flushall",
        "nc -l 80",
        "mysqladmin ping -h localhost",
        "mysqladmin shutdown -h 127.0.0.1",
        "pg_isready -h /var/run/postgresql",
        "rabbitmq-diagnostics -q ping",
        "[ -e /tmp/x ] || echo x > /tmp/x; wget -q --spider http://localhost/",
        "test -e /tmp/socket",
        "curl 'http://localhost/",
    ],
)
def test_anything_else_is_asked_by_the_engine_alone(text: str) -> None:
    assert shell(text) is None


def test_postgres_is_asked_over_tcp() -> None:
    """At its socket a temporary server answers, while the volume is made."""
    text = "pg_isready -U ktrdr"
    assert shell(text) == ("env", "PGHOST=127.0.0.1", "/bin/bash", "-c", text)


async def watched(
    made: GateEngine, until: Callable[[Health], bool], *, limit: float = 10.0
) -> tuple[Health, float]:
    """Ask again and again; gives the last answer and the seconds it took."""
    async with aclosing(Http(0.3)) as http:
        probes = HealthProbes(made, http)
        began = asyncio.get_running_loop().time()
        while True:
            found = probes.status(detail(made))
            took = asyncio.get_running_loop().time() - began
            if until(found) or took > limit:
                await probes.close()
                return found, took
            await asyncio.sleep(0.02)


def healthy(found: Health) -> bool:
    return found.healthy


def test_a_success_has_to_hold() -> None:
    made = engine("CMD", "redis-cli", "ping")
    found, took = asyncio.run(watched(made, healthy))
    assert found.healthy
    assert took >= 1.0
    assert [argv for _, argv in made.executed] == [("redis-cli", "ping")] * 2


def test_a_success_of_a_moment_is_none() -> None:
    made = engine("CMD", "redis-cli", "ping")
    made.executor = lambda *_: ExecResult(exit_code=len(made.executed) % 2 == 0, output="")
    found, _ = asyncio.run(watched(made, healthy, limit=2.5))
    assert not found.healthy


def test_a_published_port_is_asked_from_here_in_the_commands_words() -> None:
    with HttpServer({"/ready": Reply()}) as server:
        made = engine("CMD", "curl", "-f", "http://localhost:80/ready")
        made.change("cache", published=(("127.0.0.1", server.port, 80, "tcp"),))
        found, _ = asyncio.run(watched(made, healthy))
    assert found.healthy
    assert made.executed == []


def test_what_listens_inside_alone_is_asked_there_after_a_while() -> None:
    with HttpServer() as server:
        server.everywhere = Reply(drop=True)
        made = engine("CMD", "curl", "-f", "http://localhost:80/ready")
        made.change("cache", published=(("127.0.0.1", server.port, 80, "tcp"),))
        found, took = asyncio.run(watched(made, lambda one: bool(made.executed)))
    assert not found.healthy
    assert took >= 3.0


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"health": "healthy"}, Health(healthy=True)),
        ({}, Health(trouble="its health test is first run by Docker, in its own time")),
        (
            {"health_exits": (0, 1), "health_log": "not yet"},
            Health(trouble="its health test failed: not yet"),
        ),
        (
            {"health_exits": (127,), "health_log": "/bin/sh: 1: curl: not found"},
            Health(
                trouble="its health test cannot be run: /bin/sh: 1: curl: not found",
                hopeless=True,
                cause="the image lacks the command of the health test",
            ),
        ),
    ],
)
def test_the_engines_word_on_what_only_it_asks(fields: dict[str, Any], expected: Health) -> None:
    made = engine("CMD", "own-test", **fields)
    assert asyncio.run(watched(made, lambda _: True))[0] == expected
    assert made.executed == []


def test_postgres_healthy_at_its_socket_is_not_believed_at_once() -> None:
    made = engine("CMD", "pg_isready", health_exits=(1, 0))
    made.change("cache", health="healthy")
    made.executor = lambda *_: ExecResult(exit_code=2, output="no response")
    found, _ = asyncio.run(watched(made, lambda one: bool(one.trouble)))
    assert found == Health(trouble="its health test failed: no response")
    made.change("cache", health_exits=(0, 0, 0))
    assert asyncio.run(watched(made, healthy))[0].healthy


def test_a_command_that_is_given_up_says_so() -> None:
    made = engine("CMD", "redis-cli", "ping", health_timeout=2.5)
    timeouts: list[float] = []

    def hang(container_id: str, argv: Sequence[str], *, timeout: float) -> ExecResult:
        timeouts.append(timeout)
        return ExecResult(exit_code=None, output="")

    made.execute = hang  # type: ignore[method-assign]
    found, _ = asyncio.run(watched(made, lambda one: bool(one.trouble)))
    assert (found.trouble, timeouts[0]) == ("its health test took longer than 2.5 s", 2.5)
