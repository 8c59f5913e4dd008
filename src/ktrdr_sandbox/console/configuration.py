"""What the `config` commands print."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ktrdr_sandbox.console.text import table

if TYPE_CHECKING:  # the records only
    from ktrdr_sandbox.commands.configuration import Request, Setting, Survey


def survey(found: Survey, *, changed: bool) -> str:
    """A table of settings; with `changed` only those that are not the defaults."""
    shown = _shown(found, changed=changed)
    if not shown:
        return "Every setting has its default."
    rows = [["SETTING", "VALUE", "FROM"]]
    rows += [[one.name, as_written(one.value), str(one.origin)] for one in shown]
    return "\n".join(table(rows))


def survey_data(found: Survey, *, changed: bool) -> dict[str, Any]:
    return {
        "checkout": None if found.checkout is None else str(found.checkout),
        "settings": [
            {
                "name": one.name,
                "value": one.value,
                "source": one.origin.kind,
                "file": None if one.origin.path is None else str(one.origin.path),
                "line": one.origin.line,
                "variable": one.origin.variable,
            }
            for one in _shown(found, changed=changed)
        ],
        "unapproved": dict(found.withheld.values) if found.withheld is not None else {},
    }


def _shown(found: Survey, *, changed: bool) -> list[Setting]:
    return [one for one in found.settings if not changed or one.origin.kind != "default"]


def as_written(value: Any) -> str:
    """A value as a settings file would have it; `-` for none."""
    if value is None:
        return "-"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, ensure_ascii=False)


def files(paths: Sequence[Path]) -> str:
    """The settings files, strongest first."""
    return "\n".join(f"{path}{'' if path.exists() else ' (not there)'}" for path in paths)


def files_data(paths: Sequence[Path]) -> dict[str, Any]:
    return {"files": [{"path": str(path), "exists": path.exists()} for path in paths]}


def request(wanted: Request) -> str:
    """Exactly what would be approved, in signs that no terminal takes for commands."""
    if wanted.asked is None:
        return f"{wanted.checkout} asks for nothing that needs approval."
    lines = [f"{wanted.asked.path} sets what a checkout may not set by itself:"]
    for key, value in sorted(wanted.asked.values.items()):
        if key.startswith("hooks."):
            lines += [
                f"  {key} runs on this machine:",
                *(f"    {json.dumps(one)}" for one in value),
            ]
        else:
            lines.append(f"  {key} = {json.dumps(value)}")
    return "\n".join(lines)


def question(wanted: Request) -> str:
    return f"{request(wanted)}\nApprove exactly this for {wanted.repository}?"


def approval(wanted: Request) -> str:
    """What has been approved."""
    if wanted.asked is None:
        return request(wanted)
    done = "It was approved before" if wanted.approved else "Approved"
    return f"{request(wanted)}\n{done}, for {wanted.repository}."


def request_data(wanted: Request) -> dict[str, Any]:
    asked = wanted.asked
    return {
        "checkout": str(wanted.checkout),
        "repository": wanted.repository,
        "asked": {} if asked is None else dict(asked.values),
        "sha256": None if asked is None else asked.digest,
        "approved": wanted.approved,
    }
