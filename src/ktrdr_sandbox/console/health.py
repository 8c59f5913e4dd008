"""What doctor found and gc ended, as text and as data."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

from ktrdr_sandbox.commands.doctor import Examination
from ktrdr_sandbox.commands.doctor_checks import Finding
from ktrdr_sandbox.commands.gc import Collection, Item
from ktrdr_sandbox.console.shared import inventory_text

_SIGNS: Final = {"ok": "✓", "note": "·", "problem": "✗"}


def examination(result: Examination) -> str:
    """One line a finding, its fix below; then how many problems remain."""
    lines = [line for finding in result.findings for line in _finding(finding)]
    held = inventory_text(result.shared)
    lines.append(f"{_SIGNS['ok']} shared folder: {held} ({result.shared.path})")
    if not result.shared.files:
        lines.append("  → ktrdr-sandbox init-shared --minimal")
    left = sum(1 for one in result.findings if one.level == "problem" and not one.repaired)
    notes = sum(1 for one in result.findings if one.level == "note")
    lines += ["", "No problems." if not left else _counted(left, "problem") + "."]
    if notes:
        lines[-1] += f" {_counted(notes, 'note')}."
    return "\n".join(lines)


def _finding(finding: Finding) -> list[str]:
    sign = "✓" if finding.repaired else _SIGNS[finding.level]
    ending = " (repaired)" if finding.repaired else ""
    lines = [f"{sign} {finding.check}: {finding.text}{ending}"]
    if finding.fix and not finding.repaired:
        lines.append(f"  → {finding.fix}")
    return lines


def _counted(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def examination_data(result: Examination) -> dict[str, Any]:
    return {
        "healthy": result.healthy,
        "shared": asdict(result.shared),
        "findings": [
            {
                "check": one.check,
                "level": one.level,
                "text": one.text,
                "fix": one.fix or None,
                "instance": one.instance or None,
                "repaired": one.repaired,
            }
            for one in result.findings
        ],
    }


def collection(result: Collection, *, yes: bool) -> str:
    """Exactly what would go, or what went."""
    if not result.items:
        return "Nothing to end."
    heading = "Ended:" if yes else "Would end (nothing is touched without --yes):"
    return "\n".join([heading, *(line for item in result.items for line in _item(item))])


def _item(item: Item) -> list[str]:
    lines = [f"  {item.kind} {item.name}: {item.reason}"]
    lines += [f"    {part}" for part in item.parts]
    if item.trouble:
        lines.append(f"    ✗ stays: {item.trouble}")
    return lines


def collection_data(result: Collection) -> dict[str, Any]:
    return {
        "items": [
            {
                "kind": one.kind,
                "name": one.name,
                "reason": one.reason,
                "parts": list(one.parts),
                "done": one.done,
                "trouble": one.trouble or None,
            }
            for one in result.items
        ]
    }
