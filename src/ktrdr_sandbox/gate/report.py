"""The gate's report, as text and as JSON-ready values. Pure."""

from __future__ import annotations

from typing import Any

from ktrdr_sandbox.gate.result import CheckResult, GateResult, ServiceLog


def report_lines(result: GateResult) -> list[str]:
    """The architecture document's text form. A log that several checks share is printed once."""
    lines = [f"Startability Gate: {'PASSED' if result.passed else 'FAILED'}", ""]
    printed: set[ServiceLog] = set()
    for check in result.checks:
        lines += _check_lines(check, printed)
    return lines


def _check_lines(check: CheckResult, printed: set[ServiceLog]) -> list[str]:
    lines = [f"{'✓' if check.passed else '✗'} {check.title}"]
    lines += [f"  → {fact}" for fact in check.facts]
    if check.passed:
        return lines
    for log in check.logs:
        if log in printed:
            continue
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
    """Every fact of the result, in plain dictionaries, lists and numbers (seconds)."""
    return {
        "passed": result.passed,
        "seconds": round(result.seconds, 3),
        "healed": list(result.healed),
        "checks": [_check_json(check) for check in result.checks],
    }


def _check_json(check: CheckResult) -> dict[str, Any]:
    return {
        "name": check.name,
        "title": check.title,
        "passed": check.passed,
        "final": check.final,
        "facts": list(check.facts),
        "services": list(check.services),
        "seconds": round(check.seconds, 3),
        "cause": check.cause,
        "next_command": check.next_command,
        "logs": [{"service": log.service, "lines": list(log.lines)} for log in check.logs],
    }
