"""Error codes, as text and as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ktrdr_sandbox.console.text import table


class Entry(Protocol):
    """One code. `elsewhere` are exit statuses of commands in which it is another."""

    @property
    def code(self) -> str: ...
    @property
    def meaning(self) -> str: ...
    @property
    def remedy(self) -> str: ...
    @property
    def exit_status(self) -> int: ...
    @property
    def elsewhere(self) -> Mapping[str, int]: ...


def statuses(entry: Entry) -> str:
    """`1; create 2, init 3`."""
    others = ", ".join(f"{command} {status}" for command, status in entry.elsewhere.items())
    return f"{entry.exit_status}; {others}" if others else str(entry.exit_status)


def text(entries: Sequence[Entry], *, whole: bool) -> str:
    """One code in full, or a line for each."""
    if not whole:
        rows = [["CODE", "EXIT STATUS", "MEANING"]]
        rows += [[one.code, statuses(one), one.meaning] for one in entries]
        return "\n".join(table(rows))
    return "\n".join(
        f"{one.code}: {one.meaning}\n  What to do   {one.remedy}\n  Exit status  {statuses(one)}"
        for one in entries
    )


def data(entries: Sequence[Entry]) -> dict[str, Any]:
    return {
        "codes": [
            {
                "code": one.code,
                "meaning": one.meaning,
                "remedy": one.remedy,
                "exit_status": one.exit_status,
                "exit_status_of": dict(one.elsewhere),
            }
            for one in entries
        ]
    }
