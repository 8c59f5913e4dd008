"""Results of init-shared, and what the shared folder holds: as text, and as JSON-ready values."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the records only
    from ktrdr_sandbox.shared_data.holdings import Inventory
    from ktrdr_sandbox.shared_data.remarks import Kept, LeftOut
    from ktrdr_sandbox.shared_data.results import Filling

_LISTED = 10
"""Names shown of a long list; --json has them all."""
_UNITS = ("B", "kB", "MB", "GB", "TB")


def size_text(size: float) -> str:
    """`1.2 GB`: decimal units, as disks and downloads are counted."""
    unit = 0
    while size >= 999.5 and unit < len(_UNITS) - 1:
        size /= 1000
        unit += 1
    return (
        f"{size:.0f} {_UNITS[unit]}" if unit == 0 or size >= 99.5 else f"{size:.1f} {_UNITS[unit]}"
    )


def path_text(path: str) -> str:
    """A name as one line of text: what is no printable sign is escaped."""
    if path.isprintable():
        return path
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in path)


def counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


# -- init-shared ----------------------------------------------------------------------------------


def filling(result: Filling, held: Inventory | None) -> str:
    """What init-shared did, what it left as it was and why, and what there is now.

    `held` is None where nothing has changed: looking through it would take as long as the run.
    """
    lines = [_headline(result)]
    lines += _kept(result)
    lines += _left_out(result.left_out)
    if result.ignored:
        lines.append(f"{counted(result.ignored, 'file')} beside the shared folders were ignored.")
    if result.sha256 is not None:
        lines.append(f"SHA-256 of the pack: {result.sha256}")
    if held is not None:
        lines.append(f"Shared folder {path_text(held.root)}: {holdings(held)}")
    return "\n".join(lines)


def _headline(result: Filling) -> str:
    source = path_text(result.source)
    if result.linked:
        names = ", ".join(f"{kind} -> {path_text(goal)}" for kind, goal in result.linked)
        return f"{'Would link' if result.dry_run else 'Linked'} {names}"
    done = [
        part
        for part in (
            _files(result),
            counted(result.links, "link") if result.links else "",
            counted(result.folders, "folder") if result.folders else "",
        )
        if part
    ]
    same = f"{counted(result.unchanged, 'file')} {_were(result.unchanged)} there already"
    if not done:
        return f"Nothing to copy from {source}: {same}."
    verb = "Would copy" if result.dry_run else "Copied"
    took = "" if result.dry_run else f" in {result.seconds:.1f} s"
    rest = f"; {same}" if result.unchanged else ""
    return f"{verb} {', '.join(done)} from {source}{took}{rest}."


def _files(result: Filling) -> str:
    number = result.new + result.replaced
    if not number:
        return ""
    replaced = f", {result.replaced:,} of them anew" if result.replaced else ""
    return f"{counted(number, 'file')} ({size_text(result.size)}{replaced})"


def _were(number: int) -> str:
    return "was" if number == 1 else "were"


_REASONS = {
    "changed": "changed in the shared folder",
    "other-source": "from another source",
    "in-the-way": "in the way",
    "appeared": "written meanwhile by something else",
}


def _kept(result: Filling) -> list[str]:
    if not result.kept:
        return []
    lines = [f"{counted(len(result.kept), 'file')} of the shared folder kept:"]
    lines += [f"  {path_text(one.path)}  ({_reason(one)})" for one in result.kept[:_LISTED]]
    lines += _more(len(result.kept))
    if any(one.reason in ("changed", "other-source") for one in result.kept):
        lines.append("To take the source's instead: --overwrite")
    return lines


def _reason(one: Kept) -> str:
    text = _REASONS[one.reason]
    if one.reason == "in-the-way":
        return f"{one.detail} is {text}" if one.detail.startswith("a ") else f"is {one.detail}"
    return f"{text}, {path_text(one.detail)}" if one.detail else text


def _left_out(left_out: Sequence[LeftOut]) -> list[str]:
    if not left_out:
        return []
    lines = ["Not copied:"]
    lines += [f"  {path_text(one.path)}  {path_text(one.reason)}" for one in left_out[:_LISTED]]
    return lines + _more(len(left_out))


def _more(number: int) -> list[str]:
    return [f"  ... and {number - _LISTED:,} more (--json lists them)"] if number > _LISTED else []


def filling_data(result: Filling, held: Inventory | None) -> dict[str, Any]:
    return {
        "source": result.source,
        "destination": result.destination,
        "dry_run": result.dry_run,
        "copied": {
            "files": result.new + result.replaced,
            "new": result.new,
            "replaced": result.replaced,
            "bytes": result.size,
            "links": result.links,
            "folders": result.folders,
        },
        "unchanged": result.unchanged,
        "kept": [
            {"path": one.path, "reason": one.reason, "detail": one.detail} for one in result.kept
        ],
        "left_out": [
            {"path": one.path, "reason": one.reason, "failed": one.failed}
            for one in result.left_out
        ],
        "linked": dict(result.linked),
        "ignored": result.ignored,
        "sha256": result.sha256,
        "seconds": round(result.seconds, 3),
        "shared": None if held is None else holdings_data(held),
    }


# -- what there is --------------------------------------------------------------------------------


def holdings(held: Inventory) -> str:
    """One line: `12 symbols (1h, 1d), 3 models, 2 strategies, 1.2 GB, newest 2026-01-01`."""
    if not held.files:
        return "empty"
    times = f" ({', '.join(held.timeframes)})" if held.timeframes else ""
    strategies = len(held.strategies)
    parts = [
        counted(len(held.series), "symbol") + times,
        counted(len(held.models), "model"),
        f"{strategies:,} strateg{'y' if strategies == 1 else 'ies'}",
        size_text(held.size),
    ]
    if held.updated is not None:
        parts.append(f"newest {_time_text(held.updated, '%Y-%m-%d')}")
    return ", ".join(parts)


def holdings_data(held: Inventory) -> dict[str, Any]:
    return {
        "path": held.root,
        "files": held.files,
        "bytes": held.size,
        "folders": {
            kind: {"files": one.files, "bytes": one.size, "linked_to": one.linked_to}
            for kind, one in held.holdings.items()
        },
        "symbols": {one.symbol: list(one.timeframes) for one in held.series},
        "models": list(held.models),
        "strategies": list(held.strategies),
        "updated": None if held.updated is None else _time_text(held.updated, "%Y-%m-%dT%H:%M:%SZ"),
    }


def _time_text(seconds: float, form: str) -> str:
    """A time since the epoch, in UTC."""
    return time.strftime(form, time.gmtime(seconds))
