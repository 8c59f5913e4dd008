"""Workers: all registered, by type; lost ones restarted once, exactly those."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pytest

from ktrdr_sandbox.docker.engine import ContainerDetail, ExecResult
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.gate.result import CheckResult
from tests.support.gate_engine import service
from tests.support.gate_stack import PATIENT, WORKERS, GateStack, check, registration
from tests.support.http_server import Reply, reply_json

ONLY = frozenset({"workers"})
CELERY = service("celery-worker", "worker")
MAIL = service("mail-worker", "worker")


def workers(world: GateStack, *, timeout: float = 0.8, **changes: Any) -> CheckResult:
    return check(world.gate(timeout=timeout, only=ONLY, **changes), "workers")


def test_the_wrapped_list_of_some_revisions_is_understood() -> None:
    with GateStack() as world:
        world.backend.replies["/api/v1/workers"] = reply_json({"workers": world.registered})
        assert workers(world, timeout=PATIENT).passed


def test_none_registered_is_reported_in_the_documents_words() -> None:
    with GateStack() as world:
        world.registered = []
        found = workers(world, heal_workers=False)
    assert found.title == "Workers not registered"
    assert found.facts == (
        "Expected 4 workers, found 0",
        "Worker containers are running but not registering",
    )
    assert found.services == tuple(WORKERS)
    assert found.cause == "a worker that finds no backend gives up after five tries"


def test_a_missing_type_is_named() -> None:
    with GateStack() as world:
        world.registered = world.registered[:3]
        found = workers(world, heal_workers=False)
    assert found.facts == (
        "Expected 4 workers, found 3",
        "Expected 2 training workers, found 1",
        "Not registered: training-worker-2",
        "Worker containers are running but not registering",
    )


def test_enough_workers_of_the_wrong_type_are_not_enough() -> None:
    with GateStack() as world:
        for entry in world.registered:
            entry["worker_type"] = "training"
        found = workers(world, heal_workers=False)
    assert "Expected 2 backtesting workers, found 0" in found.facts


def test_workers_that_come_one_by_one_are_waited_for_and_not_restarted() -> None:
    with GateStack() as world:
        every = world.registered

        def growing() -> Reply:
            asked = world.backend.asked.count("/api/v1/workers")
            return reply_json(every[: asked // 4])

        world.backend.replies["/api/v1/workers"] = growing
        found = workers(world, timeout=PATIENT, lost_after=5)
    assert found.passed
    assert world.engine.restarted == []


def test_lost_workers_are_restarted_once_exactly_they_and_it_is_told() -> None:
    with GateStack() as world:
        lost = ("backtest-worker-2", "training-worker-1")
        world.registered = [registration(name) for name in WORKERS if name not in lost]

        def register_again(ids: Sequence[str]) -> None:
            world.registered = [registration(name) for name in WORKERS]

        world.engine.on_restart = register_again
        result = world.gate(timeout=PATIENT)
    assert result.passed
    assert sorted(world.engine.restarted) == [f"ktrdr--feat-x-{name}-1" for name in lost]
    assert result.healed == lost
    assert check(result, "workers").facts == (
        "Restarted backtest-worker-2, training-worker-1: running but not registering",
    )


def test_workers_that_never_register_fail_after_the_one_restart() -> None:
    with GateStack() as world:
        world.registered = []
        result = world.gate(timeout=PATIENT, only=ONLY, lost_after=0.1)
    assert sorted(world.engine.restarted) == [f"ktrdr--feat-x-{name}-1" for name in WORKERS]
    assert result.healed == tuple(WORKERS)
    found = check(result, "workers")
    assert found.final, "all tries are over, so nobody waits for the time limit"
    assert found.cause == "registering fails even after a restart"
    assert found.facts == (
        "Expected 4 workers, found 0",
        "Worker containers are running but not registering",
        f"Restarted {', '.join(WORKERS)}: running but not registering",
    )


def test_healing_can_be_turned_off() -> None:
    with GateStack() as world:
        world.registered = []
        result = world.gate(timeout=1.2, only=ONLY, heal_workers=False)
    assert (result.healed, world.engine.restarted) == ((), [])


def test_a_worker_whose_program_does_not_answer_yet_is_starting_and_not_lost() -> None:
    with GateStack() as world:
        world.worker.everywhere = Reply(drop=True)
        world.registered = []
        workers(world, timeout=1.2)
    assert world.engine.restarted == []


def test_a_worker_is_never_asked_for_its_health() -> None:
    """It would take that for the backend's visit, and stay lost."""
    with GateStack() as world:
        world.registered = []

        def register_again(ids: Sequence[str]) -> None:
            world.registered = [registration(name) for name in WORKERS]

        world.engine.on_restart = register_again
        assert workers(world, timeout=PATIENT).passed
    assert set(world.worker.asked) == {"/"}


def test_while_a_worker_container_is_not_running_none_is_restarted() -> None:
    with GateStack() as world:
        world.registered = []
        world.engine.change("training-worker-2", state="created", started_at="")
        found = workers(world, timeout=1.2)
    assert world.engine.restarted == []
    assert "Worker containers running: 3 of 4" in found.facts


def test_a_worker_down_for_its_restart_is_no_failed_container() -> None:
    with GateStack() as world:
        world.registered = []

        def slow_restart(ids: Sequence[str]) -> None:
            for one in ids:
                name = world.engine.details[one].service
                world.engine.change(name, state="exited", exit_code=137)
            asked = world.engine.inspections
            while world.engine.inspections < asked + 3:
                time.sleep(0.005)
            for one in ids:
                world.engine.start(world.engine.details[one].service, when="healed")
            world.registered = [registration(name) for name in WORKERS]

        world.engine.on_restart = slow_restart
        result = world.gate(timeout=PATIENT)
    assert result.passed
    assert result.healed == tuple(WORKERS)


def test_a_restart_that_the_engine_refuses_is_a_fact() -> None:
    def refuse(ids: Sequence[str]) -> None:
        raise SandboxError("engine-failed", "no")

    with GateStack() as world:
        world.registered = []
        world.engine.on_restart = refuse
        found = workers(world, timeout=1.2)
    assert [fact for fact in found.facts if fact.startswith("Could not")] == [
        f"Could not restart {name}: no" for name in WORKERS
    ]


def test_an_unknown_address_is_not_no_workers() -> None:
    with GateStack() as world:
        del world.backend.replies["/api/v1/workers"]
        found = workers(world, timeout=1.0)
    assert found.facts == (f"GET {world.url('/api/v1/workers')} returned 404",)
    assert found.cause == "this backend has no /api/v1/workers"
    assert world.engine.restarted == []


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Reply(status=404), "returned 404"),
        (Reply(status=401), "returned 401"),
        (Reply(status=302), "returned 302"),
        (Reply(body=b"<html>"), "gave no list of workers"),
    ],
)
def test_workers_of_no_known_type_need_no_list(answer: Reply, said: str) -> None:
    """As Celery's, which register nowhere."""
    with GateStack(without=tuple(WORKERS), also=(CELERY, MAIL)) as world:
        world.backend.replies["/api/v1/workers"] = answer
        result = world.gate(timeout=PATIENT)
        url = world.url("/api/v1/workers")
    assert result.passed
    assert "workers" not in {one.name for one in result.checks}
    [(who, why)] = result.not_applicable
    assert who == "backend"
    assert why.startswith(f"it keeps no list of workers (GET {url} {said})")
    assert why.endswith(", so celery-worker, mail-worker need not register")
    assert result.seconds >= 0.2, "an answer of the first moment is not believed"
    assert (result.healed, world.engine.restarted) == ((), [])


@pytest.mark.parametrize("answer", [Reply(status=500), Reply(drop=True)])
def test_an_error_does_not_say_that_there_is_no_list(answer: Reply) -> None:
    with GateStack(without=tuple(WORKERS), also=(CELERY,)) as world:
        world.backend.replies["/api/v1/workers"] = answer
        assert not workers(world).passed


def test_workers_of_no_known_type_are_counted_where_there_is_a_list() -> None:
    with GateStack(without=tuple(WORKERS), also=(CELERY,)) as world:
        world.registered = []
        found = workers(world, heal_workers=False)
        world.registered = [registration("celery-worker")]
        assert workers(world, timeout=PATIENT).passed
    assert found.facts[0] == "Expected 1 workers, found 0"


def test_one_worker_of_a_known_type_has_all_of_them_need_a_list() -> None:
    """Though that one is not to be started."""
    absent = service("training-worker", "worker", worker_type="training", active=False)
    with GateStack(without=tuple(WORKERS), also=(CELERY, absent)) as world:
        del world.backend.replies["/api/v1/workers"]
        found = workers(world)
    assert (found.passed, found.cause) == (False, "this backend has no /api/v1/workers")


def test_workers_that_need_not_register_have_to_run() -> None:
    with GateStack(without=tuple(WORKERS), also=(CELERY,)) as world:
        del world.backend.replies["/api/v1/workers"]
        world.engine.change("celery-worker", state="created", started_at="")
        late = workers(world)
        world.engine.change("celery-worker", state="exited", exit_code=1)
        ended = workers(world, timeout=PATIENT)
    assert (late.passed, late.facts) == (False, ("celery-worker is not started yet",))
    assert (ended.final, ended.facts) == (True, ("celery-worker exited (1)",))


def test_workers_that_need_not_register_pass_their_own_health_test() -> None:
    with GateStack(without=tuple(WORKERS), also=(CELERY,)) as world:
        del world.backend.replies["/api/v1/workers"]
        world.engine.change(
            "celery-worker", health="starting", health_test=("CMD", "redis-cli", "ping")
        )

        def no_answer(detail: ContainerDetail, argv: Sequence[str]) -> ExecResult:
            failed = detail.service == "celery-worker"
            return ExecResult(exit_code=int(failed), output="No nodes replied" if failed else "")

        world.engine.executor = no_answer
        result = world.gate()
    assert check(result, "containers").facts == (
        "celery-worker: its health test failed: No nodes replied",
    )


def test_an_answer_that_is_no_list_is_said_to_be_none() -> None:
    with GateStack() as world:
        world.backend.replies["/api/v1/workers"] = Reply(body=b"<html>")
        found = workers(world)
    assert found.facts == (f"GET {world.url('/api/v1/workers')} gave no list of workers",)


def test_a_worker_container_that_ended_is_final() -> None:
    with GateStack() as world:
        world.engine.change("training-worker-2", state="exited", exit_code=1)
        found = workers(world, timeout=PATIENT)
    assert (found.final, found.facts) == (True, ("training-worker-2 exited (1)",))


def test_a_registered_worker_that_ails_is_counted_and_mentioned() -> None:
    with GateStack() as world:
        world.registered[0].update(worker_id="backtest-1", status="temporarily_unavailable")
        found = workers(world, timeout=PATIENT)
    assert found.passed
    assert found.facts == ("backtest-1 is registered as temporarily_unavailable",)
