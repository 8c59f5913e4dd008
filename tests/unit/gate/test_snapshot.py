"""Judging one container from what inspect tells of it."""

from __future__ import annotations

from typing import Any

import pytest

from ktrdr_sandbox.docker.engine import ContainerDetail
from ktrdr_sandbox.gate.snapshot import (
    is_job,
    judge,
    label,
    loop_after,
    one_shots,
)
from ktrdr_sandbox.models import Stack
from tests.support.gate_engine import service

RESTARTING = "exited (1) and is being restarted"


def detail(**fields: Any) -> ContainerDetail:
    given: dict[str, Any] = {
        "id": "3f2a",
        "name": "x-api-1",
        "service": "api",
        "replica": 1,
        "state": "running",
        "health": "none",
        "exit_code": 0,
        "oom_killed": False,
        "restart_count": 0,
        "error": "",
        "started_at": "now",
        "finished_at": "",
    }
    return ContainerDetail(**{**given, **fields})


@pytest.mark.parametrize(
    ("fields", "known", "condition", "reason"),
    [
        ({}, {}, "running", ""),
        ({}, {"restarts": 1}, "running", ""),
        ({}, {"restarts": 2}, "running", ""),
        ({}, {"restarts": 3}, "failed", "restarts again and again (3 times)"),
        ({"oom_killed": True}, {}, "running", ""),
        ({"oom_killed": True}, {"restarts": 1}, "failed", "was killed: out of memory"),
        ({"state": "created"}, {}, "waiting", "is not started yet"),
        ({"state": "created"}, {"starts_over": True}, "failed", "was created and never started"),
        ({"state": "created", "error": "no"}, {}, "failed", "could not be started: no"),
        ({"state": "created", "error": "no"}, {"left_over": True}, "waiting", "is not started yet"),
        (
            {"state": "restarting", "exit_code": 1},
            {"restarts": 1},
            "waiting",
            RESTARTING,
        ),
        (
            {"state": "restarting", "exit_code": 1},
            {"restarts": 2},
            "failed",
            "restarts again and again (2 times, last exit status 1)",
        ),
        (
            {"state": "restarting", "exit_code": 1},
            {"restarts": 4, "loop_after": 6},
            "waiting",
            RESTARTING,
        ),
        ({}, {"restarts": 5, "loop_after": 6}, "running", ""),
        ({}, {"restarts": 6, "loop_after": 6}, "failed", "restarts again and again (6 times)"),
        ({"state": "exited", "exit_code": 1}, {}, "failed", "exited (1)"),
        ({"state": "exited", "exit_code": 1}, {"excused": True}, "waiting", "is being restarted"),
        (
            {"state": "exited", "exit_code": 137},
            {"left_over": True},
            "waiting",
            "is not started yet",
        ),
        (
            {"state": "exited", "exit_code": 137},
            {"left_over": True, "starts_over": True},
            "failed",
            "exited (137)",
        ),
        ({"state": "exited"}, {"one_shot": True}, "completed", ""),
        ({"state": "exited", "exit_code": 1}, {"one_shot": True}, "failed", "exited (1)"),
        ({"state": "exited"}, {"may_end": True}, "completed", ""),
        ({}, {"may_end": True}, "running", ""),
        ({"state": "exited", "exit_code": 1}, {"may_end": True}, "failed", "exited (1)"),
        ({}, {"one_shot": True}, "waiting", "has not completed yet"),
        ({"state": "paused"}, {}, "waiting", "is paused"),
        ({"state": "paused"}, {"lasting": True}, "failed", "is paused"),
        ({"state": "paused"}, {"lasting": True, "left_over": True}, "failed", "is paused"),
        ({"state": "removing"}, {}, "waiting", "is removing"),
        ({"state": "dead", "exit_code": 1}, {"one_shot": True}, "failed", "exited (1)"),
    ],
)
def test_judgements(
    fields: dict[str, Any], known: dict[str, Any], condition: str, reason: str
) -> None:
    assert judge(detail(**fields), **known)[:2] == (condition, reason)


def test_one_shots_are_awaited_to_their_end_and_never_restarted() -> None:
    done = "service_completed_successfully"
    stack = Stack(
        services=(
            service("migrate", restart="no"),
            service("seed", restart="always"),
            service("tool", restart="no"),
            service("api", depends_on={"migrate": done, "seed": done, "tool": "service_started"}),
        ),
        ports=(),
    )
    assert one_shots(stack) == {"migrate"}


def test_replicas_are_told_apart_by_number() -> None:
    assert label(service("api"), 1) == "api"
    assert label(service("api", replicas=2), 2) == "api #2"


@pytest.mark.parametrize("policy", ["no", "", "on-failure", "on-failure:3"])
def test_a_job_may_end_whether_or_not_it_is_tried_again(policy: str) -> None:
    assert is_job(service("seed", restart=policy))


@pytest.mark.parametrize("policy", ["always", "unless-stopped"])
def test_what_is_always_restarted_is_no_job(policy: str) -> None:
    assert not is_job(service("seed", restart=policy))


def test_a_job_that_is_tried_again_gets_more_tries_than_a_service() -> None:
    tried = [loop_after(service("seed", restart=policy)) for policy in ("on-failure", "always")]
    assert tried == [6, 3]
    assert loop_after(service("backend", "backend", restart="on-failure")) == 3
