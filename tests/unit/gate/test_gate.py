"""The gate as a whole: which checks there are, when it ends, and what it never takes for a pass."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from ktrdr_sandbox.docker.engine import Container, ContainerDetail, ExecResult
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.gate.gate import run_gate
from ktrdr_sandbox.gate.result import GateProgress, GateResult
from ktrdr_sandbox.models import Stack
from tests.support.gate_engine import GateEngine, service
from tests.support.gate_stack import PATIENT, WORKERS, GateStack, check, until
from tests.support.http_server import HANG, Reply


def test_a_stack_that_is_well_passes_every_check() -> None:
    with GateStack() as world:
        result = world.gate(timeout=PATIENT)
    assert result.passed
    assert [(one.name, one.title, one.facts) for one in result.checks] == [
        ("containers", "Containers running", ()),
        ("database", "Database ready", ()),
        ("backend", "Backend healthy", ()),
        ("workers", "Workers registered", ()),
        ("observability", "Observability ready", ()),
    ]
    assert result.healed == ()


def test_checks_come_from_the_stack_alone() -> None:
    with GateStack(without=("grafana", "prometheus", "jaeger", *WORKERS, "db")) as world:
        result = world.gate(timeout=PATIENT)
    assert [one.name for one in result.checks] == ["containers", "backend"]


def test_only_the_named_checks_are_reported() -> None:
    with GateStack() as world:
        world.engine.change("grafana", state="exited", exit_code=1)
        result = world.gate(timeout=PATIENT, only=frozenset({"workers"}))
    assert result.passed
    assert [one.name for one in result.checks] == ["workers"]
    assert {one.name for one in world.seen} == {"workers"}


def test_nothing_to_check_is_no_pass() -> None:
    with GateStack(without=("grafana", "prometheus", "jaeger")) as world:
        with pytest.raises(SandboxError) as caught:
            world.gate(only=frozenset({"observability"}))
        assert caught.value.code == "usage"
    stack = Stack(services=(service("db", "db", active=False),), ports=())
    with GateStack() as world:
        world.stack = stack
        with pytest.raises(SandboxError) as caught:
            world.gate()
    assert caught.value.code == "compose-file-invalid"


def test_nothing_is_expected_of_services_without_containers() -> None:
    """Scaled to nothing, or a provider's: what waits for them is not held up either."""
    nobody = service("database", "db", replicas=0)
    app = service("app", depends_on={"database": "service_healthy"})
    job = service("report", depends_on={"database": "service_completed_successfully"})
    with GateStack(without=("db",), also=(nobody, app, job)) as world:

        async def after_start() -> GateResult:
            started = asyncio.Event()
            started.set()
            return await world.run(started=started, timeout=PATIENT)

        result = asyncio.run(after_start())
    assert result.passed
    assert [one.name for one in result.checks] == [
        "containers",
        "backend",
        "workers",
        "observability",
    ]


def test_a_final_failure_ends_the_gate_long_before_its_time_limit() -> None:
    with GateStack() as world:
        world.engine.change("training-worker-1", state="exited", exit_code=3)
        world.backend.replies["/api/v1/health"] = Reply(status=503)
        result = world.gate(timeout=600)
    containers = check(result, "containers")
    assert (containers.passed, containers.final) == (False, True)
    assert containers.facts == ("training-worker-1 exited (3)",)
    assert check(result, "database").passed
    assert check(result, "backend").facts == (f"GET {world.url('/api/v1/health')} returned 503",)
    assert not check(result, "backend").final


def test_a_check_that_hangs_keeps_no_other_from_its_answer() -> None:
    with GateStack() as world:
        world.tools.everywhere = HANG
        result = world.gate(timeout=1.0)
    passed = {one.name: one.passed for one in result.checks}
    assert passed == {
        "containers": True,
        "database": True,
        "backend": True,
        "workers": True,
        "observability": False,
    }
    tool = check(result, "observability")
    assert tool.facts[0].endswith("accepted the connection and did not answer within 0.3 s")


def test_a_stack_that_starts_while_the_gate_runs_passes() -> None:
    with GateStack() as world:
        world.engine = GateEngine(world.stack, state="created")
        world.backend.replies["/api/v1/health"] = Reply(status=503)

        async def start_up(started: asyncio.Event) -> None:
            for one in world.stack.active:
                await asyncio.sleep(0.03)
                world.engine.start(one.name)
            started.set()
            await asyncio.sleep(0.3)
            world.backend.replies["/api/v1/health"] = Reply()

        async def both() -> bool:
            started = asyncio.Event()
            gate = asyncio.create_task(world.run(started=started, timeout=PATIENT))
            await start_up(started)
            return (await gate).passed

        assert asyncio.run(both())


def test_leftovers_of_an_earlier_run_are_not_failures_while_start_up_goes_on() -> None:
    with GateStack() as world:
        for name in WORKERS:
            world.engine.change(name, state="exited", exit_code=137)
        world.engine.change("db", state="created", error="port is already allocated")

        async def both() -> bool:
            started = asyncio.Event()
            gate = asyncio.create_task(world.run(started=started, timeout=PATIENT))
            await asyncio.sleep(0.3)
            assert not gate.done()
            for name in (*WORKERS, "db"):
                world.engine.start(name)
            started.set()
            return (await gate).passed

        assert asyncio.run(both())


def test_a_container_never_started_fails_once_all_starts_were_issued() -> None:
    with GateStack() as world:
        world.engine.change("grafana", state="created", started_at="")

        async def after_start() -> tuple[str, ...]:
            started = asyncio.Event()
            started.set()
            return check(await world.run(started=started, timeout=600), "containers").facts

        assert asyncio.run(after_start()) == ("grafana was created and never started",)


def test_a_backend_that_restarts_after_its_pass_has_to_prove_itself_again() -> None:
    """The checks pass at different moments; what counts is that all hold at the end."""
    with GateStack() as world:
        world.backend.replies["/api/v1/workers"] = Reply(status=503)

        def react(progress: GateProgress) -> None:
            if progress.name == "backend" and progress.passed:
                world.engine.change("backend", started_at="again", restart_count=1)
                world.backend.replies["/api/v1/health"] = Reply(status=500)
                world.backend.replies["/api/v1/workers"] = Reply(body=b"[{},{},{},{}]")

        world.engine = GateEngine(world.stack)
        observe = world.on_progress(react)
        result = asyncio.run(run_gate(world.engine, world.request(), observe=observe))
    assert not result.passed
    assert check(result, "backend").facts == (f"GET {world.url('/api/v1/health')} returned 500",)


def test_a_container_that_dies_after_the_containers_check_passed_is_noticed() -> None:
    with GateStack() as world:
        world.backend.replies["/api/v1/health"] = Reply(status=503)

        def react(progress: GateProgress) -> None:
            if progress.name == "containers" and progress.passed:
                world.backend.replies["/api/v1/health"] = Reply()
            if progress.name == "workers" and progress.passed:
                world.engine.change("grafana", state="exited", exit_code=2)

        observe = world.on_progress(react)
        request = world.request(timeout=PATIENT)
        result = asyncio.run(run_gate(world.engine, request, observe=observe))
    assert check(result, "containers").facts == ("grafana exited (2)",)


def test_the_engine_is_asked_in_one_call_a_period_not_once_a_container() -> None:
    with GateStack() as world:
        world.backend.replies["/api/v1/health"] = lambda: Reply(
            status=200 if len(world.backend.asked) > 30 else 503
        )
        result = world.gate(timeout=PATIENT, poll_first=0.2)
    assert result.passed
    assert world.engine.listings == 1
    assert world.engine.inspections <= result.seconds / 0.1 + 2


def test_an_engine_that_stumbles_once_is_asked_again() -> None:
    with GateStack() as world:
        world.engine.failing = SandboxError("engine-failed", "busy")

        async def recover() -> bool:
            gate = asyncio.create_task(world.run(timeout=PATIENT, poll_max=0.5))
            await until(lambda: world.engine.listings > 0)
            world.engine.failing = None
            return (await gate).passed

        assert asyncio.run(recover())


def test_cancelling_does_not_wait_for_the_engine() -> None:
    """Not even when the loop ends: the call's thread is nobody's to join."""
    with GateStack() as world:

        def hang(detail: ContainerDetail, argv: Any) -> ExecResult:
            time.sleep(30)
            return ExecResult(exit_code=0, output="")

        world.engine.executor = hang

        async def interrupted() -> None:
            gate = asyncio.create_task(world.run(timeout=600))
            await until(lambda: bool(world.engine.executed))
            gate.cancel()
            with pytest.raises(asyncio.CancelledError):
                await gate

        before = time.monotonic()
        asyncio.run(interrupted())
        assert time.monotonic() - before < 10


def test_progress_tells_each_change_once() -> None:
    with GateStack() as world:
        world.backend.replies["/api/v1/health"] = Reply(status=503)
        world.gate(timeout=0.8, probe_timeout=PATIENT)
    backend = [one for one in world.seen if one.name == "backend"]
    assert [(one.state, one.passed, one.failed) for one in backend] == [
        (f"waiting for HTTP 200 at {world.url('/api/v1/health')} (now 503)", False, False),
        (f"GET {world.url('/api/v1/health')} returned 503", False, True),
    ]
    database = [one for one in world.seen if one.name == "database"]
    assert (database[-1].state, database[-1].passed) == ("Database ready", True)


def test_failed_services_come_with_their_last_lines_cause_and_next_command() -> None:
    with GateStack() as world:
        world.engine.change("backend", state="exited", exit_code=1)
        lines = tuple(f"line {number}" for number in range(20))
        world.engine.log_lines["backend"] = (
            *lines,
            "ValueError: Unable to configure handler 'file'",
        )
        result = world.gate(timeout=PATIENT)
    backend = check(result, "backend")
    assert backend.final
    assert backend.cause == "logs/ cannot be written by the container's user"
    assert backend.next_command == "sudo chmod -R a+rwX logs"
    (log,) = backend.logs
    assert log.service == "backend"
    assert (len(log.lines), log.lines[0]) == (10, "line 11")
    workers = check(result, "workers")
    assert workers.final
    assert workers.facts == ("Backend is not answering, so its workers cannot be counted",)
    assert workers.next_command == "ktrdr-sandbox logs backend -i feat-x"


def test_other_instances_containers_do_not_count() -> None:
    """One more stack has all the services this one lacks."""
    with GateStack() as world:
        del world.engine.details[world.engine.identity("backend")]
        world.engine.foreign = [
            Container(
                id="f" * 64,
                name="ktrdr-backend-1",
                state="running",
                status="",
                image="",
                project="ktrdr",
                service="backend",
                oneoff=False,
                instance_id="",
                uuid="",
            )
        ]
        result = world.gate(timeout=0.8)
    assert not result.passed
    assert check(result, "containers").facts == ("backend has no container",)
    assert check(result, "backend").facts[0] == (
        f"Something answers on port {world.backend.port}, but no container of backend "
        "in this instance publishes it"
    )


def test_passes_that_the_engine_does_not_confirm_are_no_pass() -> None:
    with GateStack() as world:

        def react(progress: GateProgress) -> None:
            if progress.name == "workers" and progress.passed:
                world.engine.failing = SandboxError("docker-not-answering", "Gone.")

        observe = world.on_progress(react)
        request = world.request(timeout=PATIENT)
        with pytest.raises(SandboxError) as caught:
            asyncio.run(run_gate(world.engine, request, observe=observe))
    assert caught.value.code == "docker-not-answering"


def test_time_running_out_before_the_engine_confirms_is_no_pass() -> None:
    with GateStack(without=("db", *WORKERS, "grafana", "prometheus", "jaeger")) as world:

        def react(progress: GateProgress) -> None:
            if progress.name == "backend" and progress.passed:
                world.engine.failing = SandboxError("docker-not-answering", "Gone.")

        observe = world.on_progress(react)
        request = world.request(timeout=0.8, poll_max=10.0)
        result = asyncio.run(run_gate(world.engine, request, observe=observe))
    assert not result.passed
    assert check(result, "backend").facts == (
        "the Docker engine did not confirm that the containers still run",
    )


def test_a_container_that_dies_a_moment_after_its_start_never_passes() -> None:
    with GateStack(also=(service("app"),)) as world:

        async def dying() -> GateResult:
            gate = asyncio.create_task(world.run(timeout=PATIENT, steady=1.0))
            await asyncio.sleep(0.5)
            world.engine.change("app", state="exited", exit_code=1)
            return await gate

        result = asyncio.run(dying())
    assert check(result, "containers").facts == ("app exited (1)",)


@pytest.mark.parametrize("follow", [True, False])
def test_the_time_limit_follows_the_file(follow: bool) -> None:
    with GateStack() as world:
        world.engine.change("backend", start_period=2.0)
        world.backend.replies["/api/v1/health"] = Reply(status=503)
        result = world.gate(timeout=0.4, follow_file=follow)
    assert not result.passed
    assert (result.seconds >= 1.9) is follow
