"""The gate's report, as text and as JSON-ready values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from ktrdr_sandbox.gate.result import GateResult, ServiceLog


def report_lines(result: GateResult) -> list[str]:
    """Give the text form. A log that several checks share is printed once."""
    lines = [f"Startability Gate: {'PASSED' if result.passed else 'FAILED'}", ""]
    printed: set[ServiceLog] = set()
    for check in result.checks:
        lines.append(f"{'✓' if check.passed else '✗'} {check.title}")
        lines += [f"  → {fact}" for fact in check.facts]
        if check.passed:
            continue
        for log in check.logs:
            if log not in printed:
                printed.add(log)
                of, count = f" of {log.service}" if len(check.logs) > 1 else "", len(log.lines)
                heading = f"Last {count} log lines{of}:" if count > 1 else f"Last log line{of}:"
                lines.append(f"  → {heading if count else f'No log lines{of}'}")
                lines += [f"    {line}" for line in log.lines]
        if check.cause:
            lines.append(f"  → Likely cause: {check.cause}")
        if check.next_command:
            lines.append(f"  → Next: {check.next_command}")
    return lines


def as_json(result: GateResult) -> dict[str, Any]:
    """Give every fact of the result, in plain dictionaries, lists and numbers (seconds)."""
    document = asdict(result, dict_factory=_plain)
    del document["not_applicable"]
    return document


def _plain(fields: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    plain = {tuple: list, float: lambda seconds: round(seconds, 3)}
    return {name: plain.get(type(value), lambda same: same)(value) for name, value in fields}
