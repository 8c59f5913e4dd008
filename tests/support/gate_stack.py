"""A KTRDR-shaped stack for the gate's tests: scripted containers, real HTTP answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Final, Self

import httpx  # noqa: F401  before the clock runs: the gate imports it when it first asks

from ktrdr_sandbox.gate.gate import GateRequest, run_gate
from ktrdr_sandbox.gate.result import CheckName, CheckResult, GateProgress, GateResult
from ktrdr_sandbox.models import Stack, StackService
from tests.support.gate_engine import INSTANCE, GateEngine, published, service
from tests.support.http_server import HttpServer, Reply, reply_json

WORKERS: Final = {
    "backtest-worker-1": "backtesting",
    "backtest-worker-2": "backtesting",
    "training-worker-1": "training",
    "training-worker-2": "training",
}

FAST: Final[dict[str, Any]] = {
    "timeout": 1.0,
    "poll_first": 0.02,
    "poll_max": 0.1,
    "probe_timeout": 0.3,
    "lost_after": 0.3,
    "start_grace": 0.2,
    "steady": 0.1,
}
PATIENT: Final = 20.0
"""Seconds for a gate that is to end by itself: reaching them is the failure."""


class GateStack:
    """db, backend, four workers, Prometheus, Grafana and Jaeger, all well until changed.

    `registered` is what the backend lists, `engine` what the containers are like. Services are
    left out with `without`, and added with `also`.
    """

    def __init__(
        self, *, without: tuple[str, ...] = (), also: tuple[StackService, ...] = ()
    ) -> None:
        self.backend = HttpServer()
        self.tools = HttpServer(
            {"/api/health": Reply(), "/-/healthy": Reply(), "/": Reply(body=b"<html>")}
        )
        self.worker = HttpServer({"/": Reply(status=404)})
        self.registered: list[dict[str, Any]] = [registration(name) for name in WORKERS]
        self.backend.replies = {
            "/api/v1/health": reply_json({"status": "ok"}),
            "/api/v1/workers": lambda: reply_json(self.registered),
        }
        self.stack = self._stack(without, also)
        self.engine = GateEngine(self.stack)
        self.seen: list[GateProgress] = []
        self._open = ExitStack()

    def _stack(self, without: tuple[str, ...], also: tuple[StackService, ...]) -> Stack:
        tools, workers = self.tools.port, self.worker.port
        services = (
            service("db", "db", image="timescale/timescaledb:latest-pg16"),
            service("backend", "backend"),
            service("prometheus", "prometheus", image="prom/prometheus:latest"),
            service("grafana", "grafana", image="grafana/grafana:latest"),
            service("jaeger", "jaeger_ui", "jaeger_otlp", image="jaegertracing/all-in-one:1.53"),
            *(service(name, "worker", worker_type=kind) for name, kind in WORKERS.items()),
            *also,
        )
        ports = (
            published("backend", 8000, self.backend.port, "backend"),
            published("prometheus", 9090, tools, "prometheus"),
            published("grafana", 3000, tools, "grafana"),
            published("jaeger", 16686, tools, "jaeger_ui"),
            *(published(name, 5003, workers, "worker") for name in WORKERS),
        )
        return Stack(
            services=tuple(one for one in services if one.name not in without),
            ports=tuple(one for one in ports if one.service not in without),
        )

    def __enter__(self) -> Self:
        for server in (self.backend, self.tools, self.worker):
            self._open.enter_context(server)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()

    def url(self, path: str) -> str:
        return f"http://localhost:{self.backend.port}{path}"

    def request(self, **changes: Any) -> GateRequest:
        return GateRequest(instance=INSTANCE, stack=self.stack, **{**FAST, **changes})

    def gate(self, **changes: Any) -> GateResult:
        """Run the gate to its end."""
        return asyncio.run(self.run(**changes))

    async def run(self, *, started: asyncio.Event | None = None, **changes: Any) -> GateResult:
        return await run_gate(
            self.engine, self.request(**changes), observe=self.seen.append, started=started
        )

    def on_progress(self, react: Callable[[GateProgress], None]) -> Callable[[GateProgress], None]:
        """An observer that remembers and reacts."""

        def observe(progress: GateProgress) -> None:
            self.seen.append(progress)
            react(progress)

        return observe


def registration(name: str, *, worker_type: str | None = None, **fields: Any) -> dict[str, Any]:
    """One item of the backend's list, as the application gives it."""
    kind = worker_type or WORKERS.get(name, "training")
    return {
        "worker_id": f"{kind}-worker-{abs(hash(name)) % 16**8:08x}",
        "worker_type": kind,
        "endpoint_url": f"http://{name}:5003",
        "status": "available",
        "current_operation_id": None,
        "capabilities": {"gpu": False},
        "last_health_check": "2026-11-23T08:21:57.473158",
        "health_check_failures": 0,
        "metadata": {},
        **fields,
    }


def check(result: GateResult, name: CheckName) -> CheckResult:
    return next(one for one in result.checks if one.name == name)


async def until(true: Callable[[], bool], *, limit: float = PATIENT) -> None:
    """Wait for something that other threads bring about. `limit` in seconds."""
    deadline = asyncio.get_running_loop().time() + limit
    while not true() and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    assert true()
