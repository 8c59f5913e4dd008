"""Lines that containers print when they fail, and what they mean. The first match wins."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from ktrdr_sandbox import own_commands

FREE_SPACE: Final = "docker system df"
FREE_MEMORY: Final = "docker stats --no-stream"
DISK_FULL: Final = "no space is left on a disk or volume that it writes to"

# For what is in a volume and wrong: `up` makes a new one, and the data is lost; and in an image.
REMOVE_VOLUMES: Final = own_commands.on("{name}", "down", "--volumes")
REBUILD: Final = own_commands.on("{name}", "up", "--build")


@dataclass(frozen=True, slots=True)
class Cause:
    """A likely cause for people, and the command to type next when there is a particular one.

    `{name}` in the command stands for the instance's. `of_an_end`: the line is also in the log of
    services that are well, so it counts only for one that has ended.
    """

    text: str
    next_command: str | None = None
    of_an_end: bool = False


Table = Mapping[str, Cause]

_NO_COMMAND: Final = Cause("the image lacks the command that the service starts", REBUILD)
_OTHER: Final = "the database's volume was made "

KNOWN: Final[Table] = {
    r"no space left on device|disk quota exceeded": Cause(DISK_FULL, FREE_SPACE),
    r"password authentication failed": Cause(f"{_OTHER}with another password", REMOVE_VOLUMES),
    r"was initialized by PostgreSQL version|database files are incompatible": Cause(
        f"{_OTHER}by another version of PostgreSQL", REMOVE_VOLUMES
    ),
    r'database "[^"]*" does not exist|role "[^"]*" does not exist': Cause(
        f"{_OTHER}with another database or user name", REMOVE_VOLUMES
    ),
    r"Unable to configure handler 'file'": Cause(
        "logs/ cannot be written by the container's user", "sudo chmod -R a+rwX logs"
    ),
    r"port is already allocated|ports are not available|failed to bind host port": Cause(
        "another program or container holds a host port of this stack", "docker ps"
    ),
    r"address already in use": Cause("two programs in one container want the same port"),
    r"ModuleNotFoundError|No module named|ImportError": Cause(
        "the code needs a Python module that the image does not have", REBUILD
    ),
    r"SyntaxError|IndentationError": Cause("the branch's code does not parse"),
    r"exec format error": Cause("the image is for another kind of processor", REBUILD),
    r"executable file not found|exec: .*: not found": _NO_COMMAND,
    r"cannot allocate memory|MemoryError|out of memory": Cause(
        "there is not enough memory", FREE_MEMORY
    ),
    r"PermissionError|permission denied": Cause(
        "the container's user may not use a file or folder"
    ),
    r"could not translate host name|name or service not known|failure in name resolution": Cause(
        "a service looks for another one that is not in this stack or does not run"
    ),
    # Last, because a backend without its tables says so and works all the same (no migration).
    r'relation "[^"]*" does not exist': Cause(
        "the database has no tables yet: nothing has migrated it", of_an_end=True
    ),
}

# Exit statuses that mean something by themselves: the shell's, and 128 and a signal's number.
EXITS: Final = {
    126: Cause("the command that the service starts cannot be executed"),
    127: _NO_COMMAND,
    132: Cause("it used an instruction that this processor does not have"),
    134: Cause("it crashed (aborted)"),
    137: Cause("something killed it; the machine may be out of memory", FREE_MEMORY),
    139: Cause("it crashed (segmentation fault)"),
    143: Cause("something stopped it (SIGTERM)"),
}

# For the output of a schema migration, where some lines mean something else.
MIGRATING: Final[Table] = {
    r"this image has no alembic": Cause("the image was built without alembic", REBUILD),
    r"Can't locate revision identified by": Cause(
        "the database is at a revision that this branch does not have", REMOVE_VOLUMES
    ),
    r"Multiple head revisions are present": Cause(
        "the branch has several heads of its revisions; alembic merge heads joins them"
    ),
    r'(relation|column "[^"]*" of relation) "[^"]*" already exists': Cause(
        "what a migration makes is there already: something other than alembic made it",
        REMOVE_VOLUMES,
    ),
    r'(relation|column) "[^"]*" (of relation "[^"]*" )?does not exist': Cause(
        "a migration of this branch needs what no earlier one makes"
    ),
    **KNOWN,
}


def likely_cause(lines: Iterable[str], *, among: Table = KNOWN, ended: bool = True) -> Cause | None:
    """Find the first known cause, in the table's order, that any line shows. `ended`: so has what
    printed them."""
    text = "\n".join(lines)
    for pattern, cause in among.items():
        if (ended or not cause.of_an_end) and re.search(pattern, text, re.IGNORECASE):
            return cause
    return None


def cause_of_exit(status: int, *, has_lines: bool) -> Cause:
    """Tell what is left to say of a program that ended where its lines show no known cause."""
    told = "its last lines say why" if has_lines else "it printed nothing"
    return EXITS.get(status, Cause(f"its program ended by itself: {told}"))
