"""The gate's report, as text and as JSON-ready values."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ktrdr_sandbox.gate.result import CheckResult, GateResult, ServiceLog


def report_lines(result: GateResult) -> list[str]:
    """Give the text form. A log that several checks share is printed once."""
    lines = [f"Startability Gate: {'PASSED' if result.passed else 'FAILED'}", ""]
    printed: set[ServiceLog] = set()
    for check in result.checks:
        lines.append(f"{'✓' if check.passed else '✗'} {check.title}")
        lines += [f"  → {fact}" for fact in check.facts]
        if not check.passed:
            lines += _failure_lines(check, printed)
    return lines


def _failure_lines(check: CheckResult, printed: set[ServiceLog]) -> list[str]:
    lines = []
    for log in check.logs:
        if log not in printed:
            printed.add(log)
            lines += _log_lines(log, named=len(check.logs) > 1)
    if check.cause:
        lines.append(f"  → Likely cause: {check.cause}")
    if check.next_command:
        lines.append(f"  → Next: {check.next_command}")
    return lines


def _log_lines(log: ServiceLog, *, named: bool) -> list[str]:
    of = f" of {log.service}" if named else ""
    if not log.lines:
        return [f"  → No log lines{of}"]
    count = len(log.lines)
    heading = f"  → Last {count} log lines{of}:" if count > 1 else f"  → Last log line{of}:"
    return [heading, *(f"    {line}" for line in log.lines)]


def as_json(result: GateResult) -> dict[str, Any]:
    """Give every fact of the result, in plain dictionaries, lists and numbers (seconds)."""
    return {
        "passed": result.passed,
        "seconds": round(result.seconds, 3),
        "healed": list(result.healed),
        "checks": [
            {
                **asdict(check),
                "facts": list(check.facts),
                "services": list(check.services),
                "seconds": round(check.seconds, 3),
                "logs": [{"service": log.service, "lines": list(log.lines)} for log in check.logs],
            }
            for check in result.checks
        ],
    }
