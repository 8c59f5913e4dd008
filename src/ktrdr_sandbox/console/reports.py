"""Longer reports as text: doctor, gc, config, versions, isolation, demo, and runs on all."""

from __future__ import annotations

import json
import shlex
from collections.abc import Collection as Texts
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from ktrdr_sandbox import own_commands
from ktrdr_sandbox.console.shared import inventory_text
from ktrdr_sandbox.console.text import counted, facts, links_of, table

if TYPE_CHECKING:  # the records only
    from ktrdr_sandbox.commands.compose_project import Composition
    from ktrdr_sandbox.commands.demo import Cleanup, Demonstration
    from ktrdr_sandbox.commands.doctor import Examination
    from ktrdr_sandbox.commands.doctor_checks import Finding
    from ktrdr_sandbox.commands.gc import Collection, Item
    from ktrdr_sandbox.commands.parallel_runs import AllRuns, Run
    from ktrdr_sandbox.commands.tool_versions import ToolVersions
    from ktrdr_sandbox.isolation.request import Change, IsolatedStack
    from ktrdr_sandbox.settings_sources import Resolution, Setting

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


def approval_request(wanted: Resolution) -> str:
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


def isolation(found: Composition) -> str:
    """What the override changes and why, service by service."""
    result = found.isolation
    files = ", ".join(str(path) for path in found.call.files[:-1])
    lines = [f"Laid over {files}", f"written at 'up' to {found.call.files[-1]}", ""]
    lines += facts(_isolation_summary(result))
    by_service: dict[str, list[Change]] = {}
    for change in result.changes:
        by_service.setdefault(change.service or "(top level)", []).append(change)
    for service, changes in by_service.items():
        lines += ["", service]
        for change in changes:
            arrow = f"{change.before or '(nothing)'} -> {change.after or '(removed)'}"
            lines += [f"  {change.key}: {arrow}", f"      {change.reason}"]
    lines += ["", *(f"note: {n.service or 'file'}: {n.text}" for n in result.notices)]
    lines += [
        f"refused: {r.service or 'file'}: {r.key}: {r.reason} (token {r.setting})"
        for r in result.refusals
    ]
    if result.refusals:
        lines.append(f"To run it all the same: KTRDR_SANDBOX_ALLOW='{json.dumps(result.tokens)}'")
    return "\n".join(lines).rstrip()


def _isolation_summary(result: IsolatedStack) -> list[tuple[str, str]]:
    stack = result.stack
    own = {
        section: ", ".join(result.override.get(section, {})) for section in ("volumes", "networks")
    }
    moved = [change for change in result.changes if change.key.startswith("volumes./")]
    rows = [
        ("starts", ", ".join(service.name for service in stack.startable)),
        ("off", ", ".join(service.name for service in stack.services if not service.active)),
        ("ports", ", ".join(f"{port.service} {port.published}" for port in stack.ports)),
        ("own volumes", own["volumes"]),
        ("own networks", own["networks"]),
        ("joins", ", ".join(sorted({member.network for member in result.memberships}))),
        ("own images", ", ".join(result.images)),
        ("folders", ", ".join(dict.fromkeys(change.after for change in moved))),
        ("to know", f"{len(result.notices)} notes and {len(result.refusals)} refusals, at the end"),
    ]
    return [(name, value) for name, value in rows if value]


def demonstration(result: Demonstration) -> str:
    """Both stacks in one table, and how to look around."""
    ports = [links_of(startup.stack.ports) for startup in result.startups]
    heads = ["", *(startup.instance.id for startup in result.startups)]
    slots = ["Slot", *(str(startup.instance.slot) for startup in result.startups)]
    ready = ["Ready after", *(f"{startup.seconds:.1f} s" for startup in result.startups)]
    rows = [heads, slots, ready]
    for index, (name, _) in enumerate(ports[0]):
        rows.append([name, *(links[index][1] for links in ports)])
    first = result.startups[0].instance
    second = result.startups[1].instance
    api = dict(ports[0])["API"]
    edited = shlex.quote(str(second.path / "ktrdr" / "version.py"))  # to be copied into a shell
    return "\n".join(
        [
            "Two complete stacks are up, each from its own branch:",
            "",
            *table(rows),
            "",
            "Look around:",
            "  ktrdr-sandbox list",
            f"  {own_commands.on(first.name, 'status')}",
            f"  curl {api}/api/v1/info        # greets from its branch",
            f"  curl {dict(ports[1])['API']}/api/v1/info        # and the other from its own",
            f"  $EDITOR {edited}   # only that stack changes",
            "  ktrdr-sandbox demo --clean     # removes everything again",
        ]
    )


def cleanup(result: Cleanup) -> str:
    """What `demo --clean` removed."""
    names = ", ".join(instance.id for instance in result.destroyed)
    parts = ([f"Destroyed {names}."] if names else []) + (
        [f"Removed {result.folder}."] if result.folder is not None else []
    )
    return " ".join(parts) or "There was nothing of a demo to remove."


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
