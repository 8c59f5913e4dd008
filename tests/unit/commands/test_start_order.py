from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from ktrdr_sandbox.commands.start_order import CannotStartError, Starter
from ktrdr_sandbox.docker.engine import ComposeCall, LineSink
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.models import Instance, Stack, StackService
from tests.support.fake_engine import FakeEngine
from tests.unit.commands.scenes import FOREVER, Scene

HEALTHY = "service_healthy"
STARTED = "service_started"
COMPLETED = "service_completed_successfully"
PASSES = {"healthcheck": {"test": ["CMD-SHELL", "exit 0"]}}
FAILS = {"healthcheck": {"test": ["CMD-SHELL", "exit 1"]}}
ENDS = {"command": ["sh", "-c", "exit 0"]}
BREAKS = {"command": ["sh", "-c", "exit 3"]}


def service(
    name: str,
    needs: Mapping[str, str] | None = None,
    *,
    optional: tuple[str, ...] = (),
    active: bool = True,
    replicas: int = 1,
) -> StackService:
    return StackService(
        name=name,
        replicas=replicas,
        active=active,
        roles=frozenset(),
        image=None,
        builds=False,
        depends_on=dict(needs or {}),
        optional_dependencies=frozenset(optional),
    )


class SlowEngine(FakeEngine):
    """Sees the containers of another. Starting a service that is `held_back` takes until
    `go_on`, and then fails with `refusal` if there is one."""

    def __init__(self, engine: FakeEngine) -> None:
        super().__init__()
        self.held = engine.held
        self.held_back: set[str] = set()
        self.go_on = threading.Event()
        self.refusal: SandboxError | None = None

    def compose_start(
        self, call: ComposeCall, services: Sequence[str], *, progress: LineSink
    ) -> None:
        if self.held_back & set(services):
            self.go_on.wait()
            if self.refusal is not None:
                raise self.refusal
        super().compose_start(call, services, progress=progress)


class Start:
    """A created stack and its starter; `order` lists the services as they were started."""

    def __init__(
        self,
        scene: Scene,
        instance: Instance,
        services: tuple[StackService, ...],
        bodies: Mapping[str, Any],
    ) -> None:
        self.engine = scene.engine
        self.slow = SlowEngine(scene.engine)
        self.lines: list[str] = []
        every = {one.name: bodies.get(one.name, {"command": FOREVER}) for one in services}
        call = scene.stack(instance, every, start=False)
        self.engine.calls.clear()
        self.starter = functools.partial(
            Starter,
            engine=scene.engine,
            call=call,
            stack=Stack(services=services, ports=()),
            uuid=instance.uuid,
            progress=self.lines.append,
        )

    @property
    def order(self) -> list[str]:
        started = [one.detail for one in self.engine.held.values() if one.detail.state != "created"]
        return [detail.service for detail in sorted(started, key=lambda d: d.started_at)]

    async def run(self) -> None:
        """Each time a new start of the same stack."""
        await self.starter().run()

    async def probed(self, *, times: int) -> None:
        """Wait until so many health commands have run."""
        while self.engine.calls.count("execute") < times:  # noqa: ASYNC110  threads make the calls
            await asyncio.sleep(0.01)


def prepared(scene: Scene, *services: StackService, **bodies: Mapping[str, Any]) -> Start:
    return Start(scene, scene.instance(), services, bodies)


def cannot_start(start: Start) -> CannotStartError:
    with pytest.raises(CannotStartError) as caught:
        asyncio.run(start.run())
    return caught.value


def test_without_dependencies_one_call_starts_all(scene: Scene) -> None:
    start = prepared(scene, service("a"), service("b"), service("c"))
    asyncio.run(start.run())
    assert sorted(start.order) == ["a", "b", "c"]
    assert start.engine.calls.count("compose_start") == 1
    assert len(start.lines) == 3


def test_what_runs_already_is_not_started_again(scene: Scene) -> None:
    start = prepared(scene, service("a"), service("b", {"a": HEALTHY}), a=PASSES)
    asyncio.run(start.run())
    start.engine.calls.clear()
    asyncio.run(start.run())
    assert start.engine.calls == ["containers"]


def test_a_replica_that_is_down_is_started(scene: Scene) -> None:
    start = prepared(scene, service("a"), a={"scale": 2})
    asyncio.run(start.run())
    start.engine.change("ktrdr--feat-x-a-2", state="exited")
    asyncio.run(start.run())
    assert start.engine.named("ktrdr--feat-x-a-2").detail.state == "running"


def test_services_that_no_profile_enables_stay(scene: Scene) -> None:
    start = prepared(scene, service("a"), service("off", active=False))
    asyncio.run(start.run())
    assert start.order == ["a"]


def test_dependencies_come_first(scene: Scene) -> None:
    start = prepared(
        scene,
        service("worker", {"backend": HEALTHY}),
        service("backend", {"db": HEALTHY, "jaeger": STARTED}),
        service("db"),
        service("jaeger"),
        backend=PASSES,
        db=PASSES,
    )
    asyncio.run(start.run())
    assert start.order[2:] == ["backend", "worker"]
    assert sorted(start.order[:2]) == ["db", "jaeger"]


def test_a_service_waits_until_the_health_command_passes(scene: Scene) -> None:
    start = prepared(scene, service("app", {"db": HEALTHY}), service("db"), db=FAILS)
    name = "ktrdr--feat-x-db-1"

    async def watch() -> None:
        running = asyncio.create_task(start.run())
        await start.probed(times=3)
        assert start.order == ["db"]
        start.engine.change(name, health_test=("CMD-SHELL", "exit 0"))
        await running

    asyncio.run(watch())
    assert start.order == ["db", "app"]


def test_the_engines_own_verdict_counts_as_well(scene: Scene) -> None:
    start = prepared(scene, service("app", {"db": HEALTHY}), service("db"), db=FAILS)
    name = "ktrdr--feat-x-db-1"

    async def watch() -> None:
        running = asyncio.create_task(start.run())
        await start.probed(times=1)
        start.engine.change(name, health="healthy")
        await running

    asyncio.run(watch())
    assert start.order == ["db", "app"]


def test_two_that_wait_for_the_same_thing_share_its_polling(scene: Scene) -> None:
    start = prepared(
        scene,
        service("a", {"db": HEALTHY}),
        service("b", {"db": HEALTHY}),
        service("db"),
        db=PASSES,
    )
    asyncio.run(start.run())
    assert start.engine.calls.count("execute") == 1
    assert start.engine.calls.count("compose_start") == 2


def test_a_job_has_to_end_well_first(scene: Scene) -> None:
    start = prepared(
        scene, service("app", {"migrate": COMPLETED}), service("migrate"), migrate=ENDS
    )
    asyncio.run(start.run())
    assert start.order == ["migrate", "app"]


def test_a_job_that_fails_stops_what_waits_for_it(scene: Scene) -> None:
    start = prepared(
        scene, service("app", {"migrate": COMPLETED}), service("migrate"), migrate=BREAKS
    )
    error = cannot_start(start)
    assert (error.service, error.dependency) == ("app", "migrate")
    assert str(error) == "app waits for migrate, which failed with exit status 3"
    assert start.order == ["migrate"]


def test_a_dependency_that_ended_can_never_be_healthy(scene: Scene) -> None:
    start = prepared(scene, service("app", {"db": HEALTHY}), service("db"), db={**BREAKS, **PASSES})
    error = cannot_start(start)
    assert str(error) == "app waits for db, which ended with exit status 3"


def test_an_optional_dependency_does_not_stop_it(scene: Scene) -> None:
    start = prepared(
        scene,
        service("app", {"extra": HEALTHY}, optional=("extra",)),
        service("extra"),
        extra={**BREAKS, **PASSES},
    )
    asyncio.run(start.run())
    assert start.order == ["extra", "app"]


def test_a_dependency_that_no_profile_enables_is_not_waited_for(scene: Scene) -> None:
    start = prepared(scene, service("app", {"off": HEALTHY}), service("off", active=False))
    asyncio.run(start.run())
    assert start.order == ["app"]


@pytest.mark.parametrize("condition", [STARTED, HEALTHY, COMPLETED])
def test_a_dependency_without_containers_is_not_waited_for(scene: Scene, condition: str) -> None:
    """Scaled to nothing, or a provider's: Compose passes over both."""
    nobody = service("db", replicas=0)
    start = prepared(scene, service("app", {"db": condition}), nobody, db={"scale": 0})
    asyncio.run(start.run())
    assert start.order == ["app"]
    assert start.engine.calls.count("compose_start") == 1


def test_a_container_of_a_service_that_is_to_have_none_is_let_be(scene: Scene) -> None:
    start = prepared(scene, service("app", {"db": HEALTHY}), service("db", replicas=0), db=FAILS)
    asyncio.run(start.run())
    assert start.order == ["app"]


def test_a_dependency_whose_container_is_removed_meanwhile(scene: Scene) -> None:
    start = prepared(scene, service("app", {"db": HEALTHY}), service("db"), db=FAILS)

    async def remove() -> None:
        running = asyncio.create_task(start.run())
        await start.probed(times=1)
        start.engine.held.clear()
        await running

    with pytest.raises(CannotStartError) as caught:
        asyncio.run(remove())
    assert str(caught.value) == "app waits for db, which has no container"


def test_waiting_for_the_health_of_a_service_without_a_check(scene: Scene) -> None:
    start = prepared(scene, service("app", {"db": HEALTHY}), service("db"))
    with pytest.raises(SandboxError) as caught:
        asyncio.run(start.run())
    assert caught.value.code == "compose-file-invalid"
    assert "waits for db to be healthy" in caught.value.message


def test_a_failure_of_compose_ends_the_start(scene: Scene) -> None:
    start = prepared(scene, service("a"))
    start.engine.failing = SandboxError("port-conflict", "Port 8001 is already in use.")
    with pytest.raises(SandboxError) as caught:
        asyncio.run(start.run())
    assert caught.value.code == "port-conflict"


def test_no_call_waits_for_one_that_it_has_nothing_to_do_with(scene: Scene) -> None:
    start = prepared(scene, service("slow"), service("a"), service("b", {"a": HEALTHY}), a=PASSES)
    # Its call has begun by then: what is started in the same moment goes in one.
    start.slow.held_back = {"slow"}
    start.engine.change("ktrdr--feat-x-a-1", state="running")

    async def watch() -> None:
        running = asyncio.create_task(start.starter(engine=start.slow).run())
        while start.order != ["a", "b"]:  # noqa: ASYNC110  threads make the calls
            await asyncio.sleep(0.01)
        assert not running.done()
        start.slow.go_on.set()
        await running

    asyncio.run(watch())
    assert sorted(start.order) == ["a", "b", "slow"]


async def given_up(start: Start, *, within: float) -> None:
    """Begin, and give up while the first call is under way; it goes on a moment later."""
    starter = start.starter(engine=start.slow)
    running = asyncio.create_task(starter.run())
    while not starter.under_way:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    asyncio.get_running_loop().call_later(0.05, start.slow.go_on.set)
    try:
        await starter.finish(within=within)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def test_giving_up_lets_the_call_under_way_end_and_begins_no_other(scene: Scene) -> None:
    start = prepared(scene, service("a"), service("b", {"a": STARTED}))
    start.slow.held_back = {"a"}
    asyncio.run(given_up(start, within=60))
    assert start.order == ["a"]


def test_giving_up_tells_how_the_call_under_way_failed(scene: Scene) -> None:
    start = prepared(scene, service("a"))
    start.slow.held_back = {"a"}
    start.slow.refusal = SandboxError("port-conflict", "Port 8001 is already in use.")
    with pytest.raises(SandboxError) as caught:
        asyncio.run(given_up(start, within=60))
    assert caught.value.code == "port-conflict"


def test_giving_up_does_not_wait_for_ever(scene: Scene) -> None:
    start = prepared(scene, service("a"))
    start.slow.held_back = {"a"}
    asyncio.run(given_up(start, within=0.0))
    start.slow.go_on.set()


def test_a_cancelled_start_leaves_no_polling(scene: Scene) -> None:
    start = prepared(scene, service("app", {"db": HEALTHY}), service("db"), db=FAILS)

    async def watch() -> None:
        running = asyncio.create_task(start.run())
        await start.probed(times=1)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*left, return_exceptions=True)
        assert all(task.cancelled() for task in left)

    asyncio.run(watch())
    assert start.order == ["db"]


def test_each_replica_has_to_be_healthy(scene: Scene) -> None:
    db = {**PASSES, "scale": 2}
    start = prepared(scene, service("app", {"db": HEALTHY}), service("db"), db=db)
    start.engine.change("ktrdr--feat-x-db-2", health_test=("CMD", "false"))

    async def watch() -> None:
        running = asyncio.create_task(start.run())
        await start.probed(times=4)
        assert "app" not in start.order
        start.engine.change("ktrdr--feat-x-db-2", health_test=("CMD", "true"))
        await running

    asyncio.run(watch())
    assert start.order[-1] == "app"
