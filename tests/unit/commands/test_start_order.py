from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from ktrdr_sandbox.commands.start_order import CannotStartError, Starter
from ktrdr_sandbox.docker.engine import ComposeCall, LineSink
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.gate.watch import StackWatch
from ktrdr_sandbox.models import Stack, StackService
from tests.support.fake_engine import FakeEngine
from tests.support.gate_engine import service as stack_service
from tests.unit.commands.scenes import FOREVER, Scene

HEALTHY = "service_healthy"
STARTED = "service_started"
COMPLETED = "service_completed_successfully"
TESTED = {"healthcheck": {"test": ["CMD", "some-test"]}}
"""Only the engine runs such a test."""
ENDS = {"command": ["sh", "-c", "exit 0"]}
BREAKS = {"command": ["sh", "-c", "exit 3"]}


def service(
    name: str, needs: dict[str, str] | None = None, *, replicas: int = 1, active: bool = True
) -> StackService:
    return stack_service(name, depends_on=needs, replicas=replicas, active=active)


class StartEngine(FakeEngine):
    """Sees the containers of another. What is in `healthy` is so once it is started; starting what
    is `held_back` takes until `go_on`, and then fails with `refusal` if there is one."""

    def __init__(self, engine: FakeEngine) -> None:
        super().__init__()
        self.held = engine.held
        self.healthy: set[str] = set()
        self.held_back: set[str] = set()
        self.go_on = threading.Event()
        self.refusal: SandboxError | None = None
        self.calls_made: list[list[str]] = []

    def compose_start(
        self, call: ComposeCall, services: Sequence[str], *, progress: LineSink
    ) -> None:
        self.calls_made.append(list(services))
        if self.held_back & set(services):
            self.go_on.wait()
            if self.refusal is not None:
                raise self.refusal
        super().compose_start(call, services, progress=progress)
        for one in list(self.held.values()):
            if one.detail.service in self.healthy & set(services):
                self.change(one.detail.name, health="healthy")


class Start:
    """A created stack and its starter; `order` lists the services as they were started."""

    def __init__(self, scene: Scene, *services: StackService, **bodies: Mapping[str, Any]) -> None:
        instance = scene.instance()
        every = {one.name: bodies.get(one.name, {"command": FOREVER}) for one in services}
        self.call = scene.stack(instance, every, start=False)
        self.stack = Stack(services=services, ports=())
        self.engine = StartEngine(scene.engine)
        self.uuid = instance.uuid

    @property
    def order(self) -> list[str]:
        started = [one.detail for one in self.engine.held.values() if one.detail.state != "created"]
        return [detail.service for detail in sorted(started, key=lambda d: d.started_at)]

    def starter(self, watch: StackWatch) -> Starter:
        return Starter(watch=watch, call=self.call, stack=self.stack, progress=lambda line: None)

    async def begin(self) -> None:
        async with StackWatch(self.engine, self.stack, self.uuid) as watch:
            await self.starter(watch).run()

    def run(self) -> list[str]:
        """Start everything; gives the order."""
        asyncio.run(self.begin())
        return self.order

    def fail(self) -> str:
        with pytest.raises(CannotStartError) as caught:
            self.run()
        return str(caught.value)


def test_without_dependencies_one_call_starts_all(scene: Scene) -> None:
    start = Start(scene, service("a"), service("b"), service("c"))
    start.run()
    assert start.engine.calls_made == [["a", "b", "c"]]


def test_what_runs_already_is_not_started_again(scene: Scene) -> None:
    start = Start(scene, service("a", replicas=2), service("b"), a={"scale": 2})
    start.run()
    start.run()
    assert start.engine.calls_made == [["a", "b"]]
    start.engine.change("ktrdr--feat-x-a-2", state="exited")
    start.run()
    assert start.engine.calls_made[1:] == [["a"]]


def test_dependencies_come_first(scene: Scene) -> None:
    start = Start(
        scene,
        service("worker", {"backend": HEALTHY}),
        service("backend", {"db": HEALTHY, "jaeger": STARTED}),
        service("db"),
        service("jaeger"),
        backend=TESTED,
        db=TESTED,
    )
    start.engine.healthy = {"backend", "db"}
    start.run()
    assert start.engine.calls_made == [["db", "jaeger"], ["backend"], ["worker"]]


def test_a_service_waits_until_each_replica_is_healthy(scene: Scene) -> None:
    db = {**TESTED, "scale": 2}
    start = Start(scene, service("app", {"db": HEALTHY}), service("db", replicas=2), db=db)

    async def watch() -> None:
        running = asyncio.create_task(start.begin())
        while start.order != ["db", "db"]:  # noqa: ASYNC110  threads make the calls
            await asyncio.sleep(0.01)
        start.engine.change("ktrdr--feat-x-db-1", health="healthy")
        await asyncio.sleep(0.4)
        assert "app" not in start.order
        start.engine.change("ktrdr--feat-x-db-2", health="healthy")
        await running

    asyncio.run(watch())
    assert start.order[-1] == "app"


def test_a_job_has_to_end_well_first(scene: Scene) -> None:
    needs = {"migrate": COMPLETED}
    start = Start(scene, service("app", needs), service("migrate"), migrate=ENDS)
    assert start.run() == ["migrate", "app"]


@pytest.mark.parametrize(
    ("condition", "body", "told"),
    [
        (COMPLETED, BREAKS, "app waits for db, which failed with exit status 3"),
        (HEALTHY, {**BREAKS, **TESTED}, "app waits for db, which ended with exit status 3"),
    ],
)
def test_what_can_not_come_true_any_more_ends_the_start(
    scene: Scene, condition: str, body: Mapping[str, Any], told: str
) -> None:
    start = Start(scene, service("app", {"db": condition}), service("db"), db=body)
    assert start.fail() == told
    assert start.order == ["db"]


def test_a_health_test_that_is_not_there_ends_the_start(scene: Scene) -> None:
    start = Start(scene, service("app", {"db": HEALTHY}), service("db"), db=TESTED)
    said = 'exec: "some-test": executable file not found in $PATH'
    start.engine.change("ktrdr--feat-x-db-1", health_exits=(-1,), health_log=said)
    assert start.fail() == (
        f"app waits for db, which is not healthy: its health test cannot be run: {said}"
    )


def test_an_optional_dependency_does_not_stop_it(scene: Scene) -> None:
    app = service("app", {"extra": HEALTHY})
    object.__setattr__(app, "optional_dependencies", frozenset({"extra"}))
    start = Start(scene, app, service("extra"), extra={**BREAKS, **TESTED})
    assert start.run() == ["extra", "app"]


@pytest.mark.parametrize("condition", [STARTED, HEALTHY, COMPLETED])
@pytest.mark.parametrize("absent", [{"replicas": 0}, {"active": False}])
def test_a_dependency_without_containers_is_not_waited_for(
    scene: Scene, condition: str, absent: dict[str, Any]
) -> None:
    """Scaled to nothing, a provider's, or of no enabled profile: Compose passes over them."""
    start = Start(
        scene, service("app", {"db": condition}), service("db", **absent), db={"scale": 0}
    )
    assert start.run() == ["app"]


def test_a_dependency_whose_container_is_removed_meanwhile(scene: Scene) -> None:
    start = Start(scene, service("app", {"db": HEALTHY}), service("db"), db=TESTED)

    async def remove() -> None:
        running = asyncio.create_task(start.begin())
        while start.order != ["db"]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        start.engine.held.clear()
        await running

    with pytest.raises(CannotStartError) as caught:
        asyncio.run(remove())
    assert str(caught.value) == "app waits for db, which has no container"


def test_waiting_for_the_health_of_a_service_without_a_check(scene: Scene) -> None:
    start = Start(scene, service("app", {"db": HEALTHY}), service("db"))
    with pytest.raises(SandboxError) as caught:
        start.run()
    assert caught.value.code == "compose-file-invalid"
    assert "waits for db to be healthy" in caught.value.message


def test_no_call_waits_for_one_that_it_has_nothing_to_do_with(scene: Scene) -> None:
    start = Start(scene, service("slow"), service("a"), service("b", {"a": STARTED}))
    start.engine.held_back = {"slow"}
    start.engine.change("ktrdr--feat-x-a-1", state="running")

    async def watch() -> None:
        running = asyncio.create_task(start.begin())
        while start.engine.calls_made != [["b", "slow"]]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        start.engine.go_on.set()
        await running

    asyncio.run(watch())


@pytest.mark.parametrize("refused", [True, False])
def test_giving_up_lets_the_call_under_way_end_and_begins_no_other(
    scene: Scene, refused: bool
) -> None:
    start = Start(scene, service("a"), service("b", {"a": STARTED}))
    start.engine.held_back = {"a"}
    if refused:
        start.engine.refusal = SandboxError("port-conflict", "Port 8001 is already in use.")

    async def given_up() -> None:
        async with StackWatch(start.engine, start.stack, start.uuid) as watch:
            starter = start.starter(watch)
            running = asyncio.create_task(starter.run())
            while not start.engine.calls_made:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await starter.finish(within=0.0)
            start.engine.go_on.set()
            try:
                await starter.finish(within=60)
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

    if refused:
        with pytest.raises(SandboxError):
            asyncio.run(given_up())
    else:
        asyncio.run(given_up())
    assert start.engine.calls_made == [["a"]]


def test_what_a_failed_hook_printed_is_told(scene: Scene) -> None:
    start = Start(scene, service("a"))
    kept = start.engine.named("ktrdr--feat-x-a-1").detail.id
    start.engine.named("ktrdr--feat-x-a-1").log += ["no ok file"]
    start.engine.held_back = {"a"}
    start.engine.go_on.set()
    told = f"pre_start[0] exited with code 3 (hook container {kept} retained for inspection)"
    start.engine.refusal = SandboxError("compose-failed", told)
    with pytest.raises(SandboxError) as caught:
        start.run()
    assert caught.value.message == f"{told}\n  no ok file"
