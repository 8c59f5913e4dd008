"""Every exit status of the program, in one table (product contract, section 2).

A failure has the status of its code, unless the architecture document gives it another in the
command at hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from ktrdr_sandbox.errors import ErrorCode

SUCCESS: Final = 0
FAILED: Final = 1
USAGE: Final = 64
NO_INSTANCE: Final = 66
UNAVAILABLE: Final = 69
INTERNAL: Final = 70
CANNOT_WRITE: Final = 73
LOCKED: Final = 75
WOULD_LOSE_WORK: Final = 77
BAD_SETTINGS: Final = 78
HOOK_FAILED: Final = 79
NOT_EXECUTABLE: Final = 126
NOT_FOUND: Final = 127
INTERRUPTED: Final = 130

MEANING: Final[Mapping[int, str]] = {
    SUCCESS: "success",
    USAGE: "wrong usage",
    NO_INSTANCE: "no such instance, or not in an instance directory",
    UNAVAILABLE: "Docker, Compose, git, the ktrdr CLI or a service is missing or does not answer",
    INTERNAL: "a defect in this program; a report file is named",
    CANNOT_WRITE: "cannot write where it must",
    LOCKED: "another process held the lock too long",
    WOULD_LOSE_WORK: "refused because it would lose work",
    BAD_SETTINGS: "bad settings",
    HOOK_FAILED: "a hook failed; create and up have done their work all the same",
    NOT_EXECUTABLE: "run: the command cannot be executed",
    NOT_FOUND: "run: there is no such command",
    INTERRUPTED: "interrupted",
}

_EVERYWHERE: Final[Mapping[ErrorCode, int]] = {
    "usage": USAGE,
    "confirmation-needed": USAGE,
    "no-such-instance": NO_INSTANCE,
    "not-in-instance": NO_INSTANCE,
    "docker-missing": UNAVAILABLE,
    "docker-not-answering": UNAVAILABLE,
    "compose-missing": UNAVAILABLE,
    "compose-too-old": UNAVAILABLE,
    "git-missing": UNAVAILABLE,
    "ktrdr-missing": UNAVAILABLE,
    "service-not-running": UNAVAILABLE,
    "internal": INTERNAL,
    "cannot-write": CANNOT_WRITE,
    "file-exists": CANNOT_WRITE,
    "lock-timeout": LOCKED,
    "would-lose-work": WOULD_LOSE_WORK,
    "bad-settings": BAD_SETTINGS,
    "command-not-executable": NOT_EXECUTABLE,
    "command-not-found": NOT_FOUND,
    "hook-failed": HOOK_FAILED,
    "interrupted": INTERRUPTED,
}

BY_COMMAND: Final[Mapping[str, Mapping[ErrorCode, int]]] = {
    # create: 1 slot unavailable or port conflict, 2 worktree failed, 3 directory exists
    "create": {
        "slots-exhausted": 1,
        "slot-taken": 1,
        "port-conflict": 1,
        "worktree-conflict": 2,
        "worktree-failed": 2,
        "not-a-repository": 2,
        "git-failed": 2,
        "directory-exists": 3,
        "instance-exists": 3,
    },
    # init: 1 already initialized, 2 not a ktrdr repository, 3 port conflict on allocated slot
    "init": {
        "already-initialised": 1,
        "not-a-repository": 2,
        "git-failed": 2,
        "slots-exhausted": 3,
        "slot-taken": 3,
        "port-conflict": 3,
    },
    # up: 1 compose up failed, 2 gate failed, 3 port conflict
    "up": {"gate-failed": 2, "port-conflict": 3},
    "wait": {"gate-failed": 2},
    # 1 is the status of many a command that these two run, so it cannot be ours
    "run": {"env-file-damaged": BAD_SETTINGS},
    "exec": {
        "env-file-damaged": BAD_SETTINGS,
        "no-such-service": USAGE,
        "engine-failed": UNAVAILABLE,
    },
    "ktrdr": {"env-file-damaged": BAD_SETTINGS},
    "open": {"no-such-service": USAGE},
    "demo": {"gate-failed": 2, "port-conflict": 3},
    # init-shared: 1 some of it could not be copied, 2 the source is of no use, 3 download failed
    "init-shared": {
        "source-missing": 2,
        "source-unusable": 2,
        "archive-unsafe": 2,
        "archive-damaged": 2,
        "checksum-mismatch": 2,
        "download-failed": 3,
    },
}


_WORST_FIRST: Final = (
    *(INTERRUPTED, INTERNAL, UNAVAILABLE, CANNOT_WRITE, BAD_SETTINGS, LOCKED),
    *(3, 2, FAILED, WOULD_LOSE_WORK, NO_INSTANCE, USAGE),
)
"""Of several instances: first what concerns the whole machine, then what one of them needs."""


def worst(statuses: Sequence[int]) -> int:
    """The one status for a command on several instances of which some failed; 1 without any."""
    return next((one for one in _WORST_FIRST if one in statuses), FAILED)


def exit_code(command: str, code: ErrorCode) -> int:
    """The exit status of a failure in a command; 1 where no table names it."""
    return BY_COMMAND.get(command, {}).get(code, _EVERYWHERE.get(code, FAILED))
