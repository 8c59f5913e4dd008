"""What init-shared did and what the shared folder holds, as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:  # the records only: `status` needs nothing of what makes them
    from ktrdr_sandbox.shared.inventory import Inventory
    from ktrdr_sandbox.shared.results import InitSharedResult, Kept

_LISTED: Final = 10
"""Names shown of a long list; --json has them all."""
_REASONS: Final = {
    "changed": "changed in the shared folder",
    "other-source": "from another source",
    "in-the-way": "in the way",
    "appeared": "written meanwhile by something else",
}


def size_text(size: float) -> str:
    """Write `1.2 GB`: decimal units, as disks and downloads are counted."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 999.5 or unit == "TB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" or size >= 99.5 else f"{size:.1f} {unit}"


def path_text(path: str) -> str:
    """Write a name as one line of text: what is no printable sign is escaped."""
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in path)


def counted(number: int, what: str) -> str:
    """Write `1 file`, `2 files`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def inventory_text(held: Inventory) -> str:
    """Write `12 symbols (1h, 1d), 3 models, 2 strategies, 1.2 GB, newest 2026-01-01`."""
    if not held.files:
        return "empty"
    strategies = len(held.strategies)
    timeframes = f" ({', '.join(held.timeframes)})" if held.timeframes else ""
    parts = [
        counted(len(held.symbols), "symbol") + timeframes,
        counted(len(held.models), "model"),
        f"{strategies:,} strateg{'y' if strategies == 1 else 'ies'}",
        size_text(held.bytes),
    ]
    return ", ".join([*parts, f"newest {held.updated[:10]}"] if held.updated else parts)


def init_shared_text(result: InitSharedResult) -> str:
    """Tell what was done, what was left as it was and why, and what there is now."""
    lines = [_headline(result)]
    if result.kept:
        lines.append(f"{counted(len(result.kept), 'file')} of the shared folder kept:")
        lines += _listed([f"{path_text(one.path)}  ({_reason(one)})" for one in result.kept])
        if any(one.reason in ("changed", "other-source") for one in result.kept):
            lines.append("To take the source's instead: --overwrite")
    if result.left_out:
        lines.append("Not copied:")
        reasons = [f"{path_text(one.path)}  {path_text(one.reason)}" for one in result.left_out]
        lines += _listed(reasons)
    if result.ignored:
        lines.append(f"{counted(result.ignored, 'file')} beside the shared folders were ignored.")
    if result.sha256 is not None:
        lines.append(f"SHA-256 of the pack: {result.sha256}")
    if result.shared is not None:
        held = inventory_text(result.shared)
        lines.append(f"Shared folder {path_text(result.shared.path)}: {held}")
    return "\n".join(lines)


def _headline(result: InitSharedResult) -> str:
    source, copied = path_text(result.source), result.copied
    if result.linked:
        names = ", ".join(f"{kind} -> {path_text(goal)}" for kind, goal in result.linked.items())
        return f"{'Would link' if result.dry_run else 'Linked'} {names}"
    replaced = f", {copied.replaced:,} of them anew" if copied.replaced else ""
    files = f"{counted(copied.files, 'file')} ({size_text(copied.bytes)}{replaced})"
    done = [files] if copied.files else []
    done += [counted(copied.links, "link")] if copied.links else []
    done += [counted(copied.folders, "folder")] if copied.folders else []
    were = "was" if result.unchanged == 1 else "were"
    same = f"{counted(result.unchanged, 'file')} {were} there already"
    if not done:
        return f"Nothing to copy from {source}: {same}."
    verb = "Would copy" if result.dry_run else "Copied"
    took = "" if result.dry_run else f" in {result.seconds:.1f} s"
    rest = f"; {same}" if result.unchanged else ""
    return f"{verb} {', '.join(done)} from {source}{took}{rest}."


def _reason(one: Kept) -> str:
    text = _REASONS[one.reason]
    if one.reason == "in-the-way":
        return f"{one.detail} is {text}" if one.detail.startswith("a ") else f"is {one.detail}"
    return f"{text}, {path_text(one.detail)}" if one.detail else text


def _listed(names: Sequence[str]) -> list[str]:
    lines = [f"  {name}" for name in names[:_LISTED]]
    more = len(names) - _LISTED
    return [*lines, f"  ... and {more:,} more (--json lists them)"] if more > 0 else lines
