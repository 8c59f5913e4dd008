"""One command on every instance, as lines that begin with the instance, and as data."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ktrdr_sandbox.commands.parallel_runs import FleetReport, Report

_DONE = {"up": "up", "down": "down", "destroy": "destroyed"}


def ended(command: str, report: Report) -> list[str]:
    """One line for a success; for a failure what it said, each line with the instance's name."""
    if report.ok:
        return _named(report, [_success(command, report)])
    return _named(report, ["not begun."] if report.exit_code is None else _failure(report))


def messages(report: Report, *, but: Collection[str]) -> list[str]:
    """What it told on the way, in lines with the instance's name, but for what was told already."""
    return _named(report, [one for one in report.messages if one not in but])


def _named(report: Report, texts: Iterable[str]) -> list[str]:
    return [f"{report.instance.name}: {line}" for text in texts for line in text.splitlines()]


def _success(command: str, report: Report) -> str:
    if command == "up":
        seconds = report.data.get("seconds", 0.0)
        if report.data.get("gate") is None:
            return f"started (not checked) after {seconds:.1f} s."
        return f"ready after {seconds:.1f} s, {_api(report)}."
    if command == "down":
        removed = report.data.get("removed") or ()
        return "down." if removed else "was not running."
    return f"destroyed; slot {report.instance.slot} is free."


def _api(report: Report) -> str:
    for port in report.data.get("ports", ()):
        if port["role"] == "backend":
            return f"http://localhost:{port['published']}"
    return "without an API"


def _failure(report: Report) -> list[str]:
    error = report.error or {"message": "", "hints": []}
    gate = report.data.get("gate") or {"checks": []}
    checks = [
        line
        for check in gate["checks"]
        if not check["passed"]
        for line in (f"✗ {check['title']}", *(f"  → {fact}" for fact in check["facts"]))
    ]
    return [f"error: {error['message']}", *checks, *(f"hint: {hint}" for hint in error["hints"])]


def summary(command: str, found: FleetReport) -> str:
    """The last line."""
    count, done = len(found.reports), len(found.reports) - len(found.failed)
    if not count:
        return "There is no instance."
    of = f"{count} instance{'' if count == 1 else 's'}"
    if not found.failed:
        return f"{of}: all {_DONE[command]}." if count > 1 else f"{of}: {_DONE[command]}."
    names = ", ".join(report.instance.name for report in found.failed)
    return f"{of}: {done} {_DONE[command]}, {len(found.failed)} not ({names})."


def data(found: FleetReport) -> dict[str, Any]:
    """What every instance's own envelope would say, one after the other."""
    return {
        "instances": [
            {
                "instance": report.instance.id,
                "ok": report.ok,
                "exit_code": report.exit_code,
                "data": report.data,
                "messages": list(report.messages),
                "error": report.error,
            }
            for report in found.reports
        ],
        "succeeded": len(found.reports) - len(found.failed),
        "failed": len(found.failed),
    }
