"""Lines that containers print when they fail, and what they mean. Data; the first match wins."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from ktrdr_sandbox import own_commands

FREE_SPACE: Final = "docker system df"
FREE_MEMORY: Final = "docker stats --no-stream"

DISK_FULL: Final = "no space is left on a disk or volume that it writes to"

NextCommand = str | Callable[[str], str]
"""What to type next. Where that is about the instance, it is made from the instance's name."""


def remove_volumes(name: str) -> str:
    """For what is in a volume and wrong: `up` makes a new one, and the data is lost."""
    return own_commands.on(name, "down", "--volumes")


def rebuild(name: str) -> str:
    """For what is in an image and wrong."""
    return own_commands.on(name, "up", "--build")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """A likely cause for people, and the command to type next when there is a particular one.

    `of_an_end`: the line is also in the log of services that are well, so it counts only for one
    that has ended.
    """

    text: str
    next_command: NextCommand | None = None
    of_an_end: bool = False

    def command_for(self, name: str) -> str | None:
        """What to type next when this befell the instance of that name."""
        return self.next_command(name) if callable(self.next_command) else self.next_command


Table = tuple[tuple[re.Pattern[str], Cause], ...]


def _row(
    pattern: str, text: str, next_command: NextCommand | None = None, *, of_an_end: bool = False
) -> tuple[re.Pattern[str], Cause]:
    cause = Cause(text=text, next_command=next_command, of_an_end=of_an_end)
    return re.compile(pattern, re.IGNORECASE), cause


KNOWN: Final[Table] = (
    _row(
        r"no space left on device|disk quota exceeded",
        DISK_FULL,
        FREE_SPACE,
    ),
    _row(
        r"password authentication failed",
        "the database's volume was made with another password",
        remove_volumes,
    ),
    _row(
        r"was initialized by PostgreSQL version|database files are incompatible",
        "the database's volume was made by another version of PostgreSQL",
        remove_volumes,
    ),
    _row(
        r'database "[^"]*" does not exist|role "[^"]*" does not exist',
        "the database's volume was made with another database or user name",
        remove_volumes,
    ),
    _row(
        r"Unable to configure handler 'file'",
        "logs/ cannot be written by the container's user",
        "sudo chmod -R a+rwX logs",
    ),
    _row(
        r"port is already allocated|ports are not available|failed to bind host port",
        "another program or container holds a host port of this stack",
        "docker ps",
    ),
    _row(
        r"address already in use",
        "two programs in one container want the same port",
    ),
    _row(
        r"ModuleNotFoundError|No module named|ImportError",
        "the code needs a Python module that the image does not have",
        rebuild,
    ),
    _row(
        r"SyntaxError|IndentationError",
        "the branch's code does not parse",
    ),
    _row(
        r"exec format error",
        "the image is for another kind of processor",
        rebuild,
    ),
    _row(
        r"executable file not found|exec: .*: not found",
        "the image lacks the command that the service starts",
        rebuild,
    ),
    _row(
        r"cannot allocate memory|MemoryError|out of memory",
        "there is not enough memory",
        FREE_MEMORY,
    ),
    _row(
        r"PermissionError|permission denied",
        "the container's user may not use a file or folder",
    ),
    _row(
        r"could not translate host name|name or service not known|"
        r"temporary failure in name resolution",
        "a service looks for another one that is not in this stack or does not run",
    ),
    # Last, because a backend without its tables says so and works all the same (no migration).
    _row(
        r'relation "[^"]*" does not exist',
        "the database has no tables yet: nothing has migrated it",
        of_an_end=True,
    ),
)

EXITS: Final = {
    126: Cause(text="the command that the service starts cannot be executed"),
    127: Cause(text="the image lacks the command that the service starts", next_command=rebuild),
    132: Cause(text="it used an instruction that this processor does not have"),
    134: Cause(text="it crashed (aborted)"),
    137: Cause(
        text="something killed it; the machine may be out of memory", next_command=FREE_MEMORY
    ),
    139: Cause(text="it crashed (segmentation fault)"),
    143: Cause(text="something stopped it (SIGTERM)"),
}
"""Exit statuses that mean something by themselves: the shell's, and 128 and a signal's number."""

MIGRATING: Final[Table] = (
    _row(
        r"this image has no alembic",
        "the image was built without alembic",
        rebuild,
    ),
    _row(
        r"Can't locate revision identified by",
        "the database is at a revision that this branch does not have",
        remove_volumes,
    ),
    _row(
        r"Multiple head revisions are present",
        "the branch has several heads of its revisions; alembic merge heads joins them",
    ),
    _row(
        r'relation "[^"]*" already exists|column "[^"]*" of relation "[^"]*" already exists',
        "what a migration makes is there already: something other than alembic made it",
        remove_volumes,
    ),
    _row(
        r'relation "[^"]*" does not exist|column "[^"]*" (?:of relation "[^"]*" )?does not exist',
        "a migration of this branch needs what no earlier one makes",
    ),
    *KNOWN,
)
"""The same for the output of a schema migration, where some lines mean something else."""


def likely_cause(lines: Iterable[str], *, among: Table = KNOWN, ended: bool = True) -> Cause | None:
    """The first known cause, in the table's order, that any line shows. `ended`: so has what
    printed them."""
    text = "\n".join(lines)
    for pattern, cause in among:
        if (ended or not cause.of_an_end) and pattern.search(text):
            return cause
    return None


def cause_of_exit(status: int, *, has_lines: bool) -> Cause:
    """What is left to say of a program that ended where its lines show no known cause."""
    told = "its last lines say why" if has_lines else "it printed nothing"
    return EXITS.get(status, Cause(text=f"its program ended by itself: {told}"))
