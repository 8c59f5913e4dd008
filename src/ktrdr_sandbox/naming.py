"""Instance names: what is allowed, and the id and directory made of one.

The id is used as Compose project name (lower-case letters, digits, - and _, by Compose's rule), as
a path component of image references (no separator twice or at the end, by the distribution
reference grammar) and as a directory name, so a name must satisfy all three.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.models import ID_PREFIX

LONGEST_NAME: Final = 48
_NAME = re.compile(r"[a-z0-9]+(?:(?:-{1,2}|_{1,2})[a-z0-9]+)*")


def checked_name(text: str) -> str:
    """The name without prefix. Raises `usage` with what is wrong and a name that would do."""
    name = text.removeprefix(ID_PREFIX)
    if len(name) > LONGEST_NAME:
        reason = f"it has {len(name)} characters, {LONGEST_NAME} are allowed"
    elif not name:
        reason = "it is empty"
    elif not _NAME.fullmatch(name):
        reason = "only a-z, 0-9 and single - or _ between them are allowed"
    else:
        return name
    shown = text if len(text) <= 60 else text[:57] + "..."
    suggestion = _slug(name)
    hints = [f"Try '{suggestion}'."] if suggestion else ["Try a name like 'feat-x'."]
    if "/" in text and suggestion:
        hints.append(f"For the branch of that name: create {suggestion} --branch {text}")
    raise SandboxError(
        "usage",
        f"'{shown}' cannot be an instance name: {reason}.",
        hints=hints,
        details={"name": text, "reason": reason},
    )


def instance_id(text: str) -> str:
    """The id (`ktrdr--feat-x`) for a name given with or without its prefix. Raises `usage`."""
    return ID_PREFIX + checked_name(text)


def derive_instance_id(path: Path) -> str:
    """The id for an existing directory, from its own name: `ktrdr--x` as is, `Ktrdr 2` slugged."""
    return ID_PREFIX + (_slug(path.name.removeprefix(ID_PREFIX)) or "checkout")


def alternatives(identity: str) -> Iterator[str]:
    """The id itself, then with -2, -3, ... behind it, for directories that are called the same.

    Each is an id that is allowed: a long name is cut to make room.
    """
    yield identity
    name = checked_name(identity)
    for number in itertools.count(2):
        suffix = f"-{number}"
        yield ID_PREFIX + name[: LONGEST_NAME - len(suffix)].rstrip("-_") + suffix


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:LONGEST_NAME].strip("-")


def printable(text: str) -> str:
    """A line fit for a terminal: a file's name may hold anything, commands to a terminal too."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
