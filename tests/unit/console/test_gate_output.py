"""The gate's report passes through redaction in both forms of output, whatever printed the line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ktrdr_sandbox.commands.up import GateFailedError, Startup
from ktrdr_sandbox.console import results, text
from ktrdr_sandbox.console.output import Output
from ktrdr_sandbox.gate.result import CheckResult, GateResult, ServiceLog
from ktrdr_sandbox.models import Instance, Stack

PLANTED = "planted-4711"
LINES = (
    f"DB_PASSWORD={PLANTED}",
    f'config: {{"jwt_secret": "{PLANTED}"}}',
    f"could not connect to postgresql://ktrdr:{PLANTED}@db:5432/ktrdr",
    f"Authorization: Bearer {PLANTED}",
)
INSTANCE = Instance(
    id="ktrdr--feat-x",
    uuid="u",
    slot=1,
    path=Path("/work/ktrdr--feat-x"),
    created_at="2026-01-01T00:00:00Z",
    is_worktree=True,
    parent_repo=None,
    state="created",
    created_by="create",
)
CHECK = CheckResult(
    name="backend",
    title="Backend health check failed",
    passed=False,
    facts=(f"its token={PLANTED} was refused",),
    seconds=1.0,
    logs=(ServiceLog(service="backend", lines=LINES),),
)
FAILED = Startup(
    instance=INSTANCE,
    stack=Stack(services=(), ports=()),
    gate=GateResult(passed=False, checks=(CHECK,), seconds=1.0),
    notices=(),
    seconds=1.0,
)


def test_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    Output(command="up").result(text.startup(FAILED), {})
    shown = capsys.readouterr().out
    assert PLANTED not in shown
    assert "    DB_PASSWORD=***\n" in shown
    assert "postgresql://ktrdr:***@db:5432/ktrdr" in shown


def test_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output(command="up", json_mode=True)
    output.failure(GateFailedError(FAILED), data=results.startup(FAILED))
    shown = capsys.readouterr().out
    assert PLANTED not in shown
    (check,) = json.loads(shown)["data"]["gate"]["checks"]
    assert check["logs"][0]["lines"][0] == "DB_PASSWORD=***"
    assert check["facts"] == ["its token=*** was refused"]
