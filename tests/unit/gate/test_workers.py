"""Workers: all registered, by type; lost ones restarted once, exactly those."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pytest

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


def test_a_registered_worker_that_ails_is_counted_and_mentioned() -> None:
    with GateStack() as world:
        world.registered[0].update(worker_id="backtest-1", status="temporarily_unavailable")
        found = workers(world, timeout=PATIENT)
    assert found.passed
    assert found.facts == ("backtest-1 is registered as temporarily_unavailable",)
