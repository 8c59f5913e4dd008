"""The report, compared whole."""

from __future__ import annotations

import json
from dataclasses import replace

from ktrdr_sandbox.gate.result import CheckResult, GateResult, ServiceLog, as_json, report_lines

LOG = ServiceLog(service="backend", lines=tuple(f"line {number}" for number in range(1, 11)))
DATABASE = CheckResult(name="database", title="Database ready", passed=True, seconds=2.34567)
BACKEND = CheckResult(
    name="backend",
    title="Backend health check failed",
    passed=False,
    facts=("GET http://localhost:8002/health returned 500",),
    services=("backend",),
    seconds=120.0,
    cause="the code needs a Python module that the image does not have",
    next_command="ktrdr-sandbox up feat-x --build",
    logs=(LOG,),
)
WORKERS = CheckResult(
    name="workers",
    title="Workers not registered",
    passed=False,
    facts=(
        "Expected 4 workers, found 0",
        "Worker containers are running but not registering",
    ),
    seconds=120.0,
)
FAILED = GateResult(passed=False, checks=(DATABASE, BACKEND, WORKERS), seconds=120.1)


def test_a_failure_in_the_documents_form() -> None:
    assert report_lines(FAILED) == [
        "Startability Gate: FAILED",
        "",
        "✓ Database ready",
        "✗ Backend health check failed",
        "  → GET http://localhost:8002/health returned 500",
        "  → Last 10 log lines:",
        *(f"    line {number}" for number in range(1, 11)),
        "  → Likely cause: the code needs a Python module that the image does not have",
        "  → Next: ktrdr-sandbox up feat-x --build",
        "✗ Workers not registered",
        "  → Expected 4 workers, found 0",
        "  → Worker containers are running but not registering",
    ]


def test_a_pass_with_what_is_worth_knowing() -> None:
    fact = "Restarted training-worker-1: running but not registering"
    workers = CheckResult(
        name="workers", title="Workers registered", passed=True, facts=(fact,), seconds=9.0
    )
    result = GateResult(passed=True, checks=(DATABASE, workers), seconds=9.1, healed=("x",))
    assert report_lines(result) == [
        "Startability Gate: PASSED",
        "",
        "✓ Database ready",
        "✓ Workers registered",
        f"  → {fact}",
    ]


def test_logs_of_several_services_are_named_and_no_log_is_printed_twice() -> None:
    one = ServiceLog(service="training-worker-1", lines=("boom",))
    none = ServiceLog(service="training-worker-2", lines=())
    workers = replace(WORKERS, facts=(), logs=(LOG, one, none))
    lines = report_lines(replace(FAILED, checks=(BACKEND, workers)))
    assert lines[lines.index("✗ Workers not registered") + 1 :] == [
        "  → Last log line of training-worker-1:",
        "    boom",
        "  → No log lines of training-worker-2",
    ]


def test_json_carries_the_same_facts() -> None:
    found = as_json(FAILED)
    assert json.loads(json.dumps(found)) == found
    assert {key: found[key] for key in ("passed", "seconds", "healed")} == {
        "passed": False,
        "seconds": 120.1,
        "healed": [],
    }
    assert found["checks"][1] == {
        "name": "backend",
        "title": "Backend health check failed",
        "passed": False,
        "final": False,
        "facts": ["GET http://localhost:8002/health returned 500"],
        "services": ["backend"],
        "seconds": 120.0,
        "cause": "the code needs a Python module that the image does not have",
        "next_command": "ktrdr-sandbox up feat-x --build",
        "logs": [{"service": "backend", "lines": [f"line {number}" for number in range(1, 11)]}],
    }
    assert found["checks"][0]["seconds"] == 2.346
