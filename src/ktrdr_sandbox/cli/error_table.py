"""Exit statuses and error codes: `errors.toml` says of each code what it means and which status.

A failure has the status of its code, unless that is another in the command at hand.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

from ktrdr_sandbox.errors import ErrorCode

SUCCESS: Final = 0
FAILED: Final = 1
USAGE: Final = 64
INTERNAL: Final = 70
INTERRUPTED: Final = 130

# The statuses that mean the same in every command; 1 to 3 are each command's own.
MEANING: Final[Mapping[int, str]] = {
    SUCCESS: "success",
    USAGE: "wrong usage",
    66: "no such instance, or not in an instance directory",
    69: "Docker, Compose, git, the ktrdr CLI or a service is missing or does not answer",
    INTERNAL: "a defect in this program; a report file is named",
    73: "cannot write where it must",
    75: "another process held the lock too long",
    77: "refused because it would lose work",
    78: "bad settings",
    79: "a hook failed; create and up have done their work all the same",
    126: "run: the command cannot be executed",
    127: "run: there is no such command",
    INTERRUPTED: "interrupted",
}
# Of several instances: first what concerns the whole machine, then what one of them needs.
_WORST_FIRST: Final = (INTERRUPTED, INTERNAL, 69, 73, 78, 75, 3, 2, FAILED, 77, 66, USAGE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One error code. `status_of` has the commands that say a status of their own."""

    code: ErrorCode
    meaning: str
    remedy: str
    status: int = FAILED
    status_of: Mapping[str, int] = field(default_factory=dict)

    @property
    def elsewhere(self) -> dict[str, int]:
        """The exit statuses of commands in which it is another than usual."""
        return {name: own for name, own in self.status_of.items() if own != self.status}

    @property
    def statuses(self) -> str:
        """`1; create 2, init 3`."""
        others = ", ".join(f"{command} {status}" for command, status in self.elsewhere.items())
        return f"{self.status}; {others}" if others else str(self.status)


@functools.cache
def entries() -> Mapping[ErrorCode, Entry]:
    """Read every code, in the order of the documentation."""
    import tomllib  # for a failure, and no part of a start

    text = Path(__file__).with_name("errors.toml").read_text(encoding="utf-8")
    found = cast("dict[ErrorCode, Any]", tomllib.loads(text))
    return {code: Entry(code=code, **facts) for code, facts in found.items()}


def exit_code(command: str, code: ErrorCode) -> int:
    """Return the exit status of a failure in a command."""
    entry = entries()[code]
    return entry.status_of.get(command, entry.status)


def worst(statuses: Sequence[int]) -> int:
    """Return the one status for a command on several instances of which some failed."""
    return next((status for status in _WORST_FIRST if status in statuses), FAILED)
