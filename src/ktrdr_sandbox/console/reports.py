"""Longer reports as text: doctor, gc, config, versions, isolation, demo, and runs on all."""

from __future__ import annotations

import json
import shlex
from collections.abc import Collection as Texts
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from ktrdr_sandbox import own_commands
from ktrdr_sandbox.console.shared import inventory_text
from ktrdr_sandbox.console.text import counted, facts, links_of, table

if TYPE_CHECKING:  # the records only
    from ktrdr_sandbox.commands.compose_project import Composition
    from ktrdr_sandbox.commands.demo import Cleanup, Demonstration
    from ktrdr_sandbox.commands.doctor import Examination
    from ktrdr_sandbox.commands.gc import Collection
    from ktrdr_sandbox.commands.parallel_runs import AllRuns, Run
    from ktrdr_sandbox.commands.tool_versions import ToolVersions
    from ktrdr_sandbox.isolation.request import Change, IsolatedStack
    from ktrdr_sandbox.settings_sources import Resolution, Setting

_SIGNS: Final = {"ok": "✓", "note": "·", "problem": "✗"}
_DONE: Final = {"up": "up", "down": "down", "destroy": "destroyed"}


def examination(result: Examination) -> str:
    """Write one line a finding, its fix below; then how many problems remain."""
    lines = []
    for one in result.findings:
        sign, after = ("✓", " (repaired)") if one.repaired else (_SIGNS[one.level], "")
        lines.append(f"{sign} {one.check}: {one.text}{after}")
        lines += [f"  → {one.fix}"] if one.fix and not one.repaired else []
    lines.append(f"✓ shared folder: {inventory_text(result.shared)} ({result.shared.path})")
    if not result.shared.files:
        lines.append("  → ktrdr-sandbox init-shared --minimal")
    problems = sum(one.level == "problem" and not one.repaired for one in result.findings)
    notes = counted((sum(one.level == "note" for one in result.findings), "note"))
    left = counted((problems, "problem")) or "No problems"
    return "\n".join([*lines, "", f"{left}.{f' {notes}.' if notes else ''}"])


def collection(result: Collection, *, yes: bool) -> str:
    """List exactly what would go, or what went."""
    if not result.items:
        return "Nothing to end."
    lines = ["Ended:" if yes else "Would end (nothing is touched without --yes):"]
    for item in result.items:
        lines.append(f"  {item.kind} {item.name}: {item.reason}")
        lines += [f"    {part}" for part in item.parts]
        lines += [f"    ✗ stays: {item.trouble}"] if item.trouble else []
    return "\n".join(lines)


def settings(shown: Sequence[Setting]) -> str:
    """Make a table of settings."""
    if not shown:
        return "Every setting has its default."
    rows = [[one.name, _as_written(one.value), str(one.origin)] for one in shown]
    return "\n".join(table([["SETTING", "VALUE", "FROM"], *rows]))


def _as_written(value: Any) -> str:
    """A value as a settings file would have it; `-` for none."""
    if value is None:
        return "-"
    whole = isinstance(value, float) and value.is_integer()
    return json.dumps(int(value) if whole else value, ensure_ascii=False)


def approval_request(wanted: Resolution) -> str:
    """Show exactly what would be approved, in signs that no terminal takes for commands."""
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
    """Write one line a tool."""
    silent = f"not answering at {tools.engine_address}" if tools.docker_client else "missing"
    lines = [
        f"Python {tools.python}",
        f"git {tools.git or 'missing'}",
        f"Docker client {tools.docker_client or 'missing'}",
        f"Docker Engine {tools.docker_engine or silent}",
        f"Docker Compose {tools.compose or 'missing'}",
    ]
    return "\n".join(lines)


def isolation(found: Composition) -> str:
    """Tell what the override changes and why, service by service."""
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
    stack, override = result.stack, result.override
    moved = [change.after for change in result.changes if change.key.startswith("volumes./")]
    rows = {
        "starts": [service.name for service in stack.startable],
        "off": [service.name for service in stack.services if not service.active],
        "ports": [f"{port.service} {port.published}" for port in stack.ports],
        "own volumes": override.get("volumes", {}),
        "own networks": override.get("networks", {}),
        "joins": sorted({member.network for member in result.memberships}),
        "own images": result.images,
        "folders": dict.fromkeys(moved),
    }
    told = f"{len(result.notices)} notes and {len(result.refusals)} refusals, at the end"
    return [*((name, ", ".join(row)) for name, row in rows.items() if row), ("to know", told)]


def demonstration(result: Demonstration) -> str:
    """Show both stacks in one table, and how to look around."""
    first, second = (startup.instance for startup in result.startups)
    ports = [links_of(startup.stack.ports) for startup in result.startups]
    rows = [
        ["", *(startup.instance.id for startup in result.startups)],
        ["Slot", *(str(startup.instance.slot) for startup in result.startups)],
        ["Ready after", *(f"{startup.seconds:.1f} s" for startup in result.startups)],
        *([name, here, there] for (name, here), (_, there) in zip(*ports, strict=False)),
    ]
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
            f"  curl {dict(ports[0])['API']}/api/v1/info        # greets from its branch",
            f"  curl {dict(ports[1])['API']}/api/v1/info        # and the other from its own",
            f"  $EDITOR {edited}   # only that stack changes",
            "  ktrdr-sandbox demo --clean     # removes everything again",
        ]
    )


def cleanup(result: Cleanup) -> str:
    """Tell what `demo --clean` removed."""
    names = ", ".join(instance.id for instance in result.destroyed)
    done = [f"Destroyed {names}."] if names else []
    done += [f"Removed {result.folder}."] if result.folder is not None else []
    return " ".join(done) or "There was nothing of a demo to remove."


# -- one command on every instance -----------------------------------------------------------------


def run_end(command: str, run: Run) -> list[str]:
    """Write one line for a success; for a failure what it said."""
    if run.ok:
        return _named(run, [_success(command, run)])
    if run.exit_code is None:
        return _named(run, ["not begun."])
    error = run.error or {"message": "", "hints": []}
    lines = [f"error: {error['message']}"]
    for check in (run.data.get("gate") or {"checks": []})["checks"]:
        if not check["passed"]:
            lines += [f"✗ {check['title']}", *(f"  → {fact}" for fact in check["facts"])]
    return _named(run, [*lines, *(f"hint: {hint}" for hint in error["hints"])])


def run_messages(run: Run, *, but: Texts[str]) -> list[str]:
    """Tell what it told on the way, but for what was told already."""
    return _named(run, [message for message in run.messages if message not in but])


def run_summary(command: str, found: AllRuns) -> str:
    """Write the last line."""
    count, failed, done = len(found.runs), len(found.failed), _DONE[command]
    if not count:
        return "There is no instance."
    every = counted((count, "instance"))
    if not failed:
        return f"{every}: all {done}." if count > 1 else f"{every}: {done}."
    names = ", ".join(run.instance.name for run in found.failed)
    return f"{every}: {count - failed} {done}, {failed} not ({names})."


def _named(run: Run, texts: list[str]) -> list[str]:
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
