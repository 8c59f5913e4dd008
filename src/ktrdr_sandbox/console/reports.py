"""What is not about one instance, as text: doctor, gc, config, versions, and runs on all."""

from __future__ import annotations

import json
from collections.abc import Collection as Texts
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from ktrdr_sandbox.console.shared import inventory_text
from ktrdr_sandbox.console.text import counted, table

if TYPE_CHECKING:  # the records only
    from ktrdr_sandbox.commands.configuration import Request, Setting
    from ktrdr_sandbox.commands.doctor import Examination
    from ktrdr_sandbox.commands.doctor_checks import Finding
    from ktrdr_sandbox.commands.gc import Collection, Item
    from ktrdr_sandbox.commands.parallel_runs import AllRuns, Run
    from ktrdr_sandbox.commands.tool_versions import ToolVersions

_SIGNS: Final = {"ok": "✓", "note": "·", "problem": "✗"}
_DONE: Final = {"up": "up", "down": "down", "destroy": "destroyed"}


def examination(result: Examination) -> str:
    """One line a finding, its fix below; then how many problems remain."""
    lines = [line for finding in result.findings for line in _finding(finding)]
    lines.append(f"✓ shared folder: {inventory_text(result.shared)} ({result.shared.path})")
    if not result.shared.files:
        lines.append("  → ktrdr-sandbox init-shared --minimal")
    problems = sum(1 for one in result.findings if one.level == "problem" and not one.repaired)
    notes = sum(1 for one in result.findings if one.level == "note")
    left = counted((problems, "problem")) or "No problems"
    noted = f" {counted((notes, 'note'))}." if notes else ""
    return "\n".join([*lines, "", f"{left}.{noted}"])


def _finding(finding: Finding) -> list[str]:
    if finding.repaired:
        return [f"✓ {finding.check}: {finding.text} (repaired)"]
    line = f"{_SIGNS[finding.level]} {finding.check}: {finding.text}"
    return [line, f"  → {finding.fix}"] if finding.fix else [line]


def collection(result: Collection, *, yes: bool) -> str:
    """Exactly what would go, or what went."""
    if not result.items:
        return "Nothing to end."
    heading = "Ended:" if yes else "Would end (nothing is touched without --yes):"
    return "\n".join([heading, *(line for item in result.items for line in _item(item))])


def _item(item: Item) -> list[str]:
    lines = [f"  {item.kind} {item.name}: {item.reason}"]
    lines += [f"    {part}" for part in item.parts]
    return [*lines, f"    ✗ stays: {item.trouble}"] if item.trouble else lines


def settings(shown: Sequence[Setting]) -> str:
    """A table of settings."""
    if not shown:
        return "Every setting has its default."
    rows = [[one.name, _as_written(one.value), str(one.origin)] for one in shown]
    return "\n".join(table([["SETTING", "VALUE", "FROM"], *rows]))


def _as_written(value: Any) -> str:
    """A value as a settings file would have it; `-` for none."""
    if value is None:
        return "-"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, ensure_ascii=False)


def approval_request(wanted: Request) -> str:
    """Exactly what would be approved, in signs that no terminal takes for commands."""
    if wanted.asked is None:
        return f"{wanted.checkout} asks for nothing that needs approval."
    lines = [f"{wanted.asked.path} sets what a checkout may not set by itself:"]
    for key, value in sorted(wanted.asked.values.items()):
        if key.startswith("hooks."):
            lines.append(f"  {key} runs on this machine:")
            lines += [f"    {json.dumps(command)}" for command in value]
        else:
            lines.append(f"  {key} = {json.dumps(value)}")
    return "\n".join(lines)


def versions(tools: ToolVersions) -> str:
    """One line a tool."""
    silent = f"not answering at {tools.engine_address}" if tools.docker_client else "missing"
    return "\n".join(
        [
            f"Python {tools.python}",
            f"git {tools.git or 'missing'}",
            f"Docker client {tools.docker_client or 'missing'}",
            f"Docker Engine {tools.docker_engine or silent}",
            f"Docker Compose {tools.compose or 'missing'}",
        ]
    )


# -- one command on every instance -----------------------------------------------------------------


def run_end(command: str, run: Run) -> list[str]:
    """One line for a success; for a failure what it said, each line with the instance's name."""
    if run.ok:
        return _named(run, [_success(command, run)])
    return _named(run, ["not begun."] if run.exit_code is None else _failure(run))


def run_messages(run: Run, *, but: Texts[str]) -> list[str]:
    """What it told on the way, in lines with the instance's name, but for what was told already."""
    return _named(run, [message for message in run.messages if message not in but])


def run_summary(command: str, found: AllRuns) -> str:
    """The last line."""
    count, failed, done = len(found.runs), len(found.failed), _DONE[command]
    if not count:
        return "There is no instance."
    every = counted((count, "instance"))
    if not failed:
        return f"{every}: all {done}." if count > 1 else f"{every}: {done}."
    names = ", ".join(run.instance.name for run in found.failed)
    return f"{every}: {count - failed} {done}, {failed} not ({names})."


def _named(run: Run, texts: Iterable[str]) -> list[str]:
    return [f"{run.instance.name}: {line}" for text in texts for line in text.splitlines()]


def _success(command: str, run: Run) -> str:
    if command == "down":
        return "down." if run.data.get("removed") else "was not running."
    if command == "destroy":
        return f"destroyed; slot {run.instance.slot} is free."
    after = f"after {run.data.get('seconds', 0.0):.1f} s"
    if run.data.get("gate") is None:
        return f"started (not checked) {after}."
    ports = [port["published"] for port in run.data.get("ports", ()) if port["role"] == "backend"]
    return f"ready {after}, {f'http://localhost:{ports[0]}' if ports else 'without an API'}."


def _failure(run: Run) -> list[str]:
    error = run.error or {"message": "", "hints": []}
    gate = run.data.get("gate") or {"checks": []}
    lines = [f"error: {error['message']}"]
    for check in gate["checks"]:
        if not check["passed"]:
            lines += [f"✗ {check['title']}", *(f"  → {fact}" for fact in check["facts"])]
    return [*lines, *(f"hint: {hint}" for hint in error["hints"])]
