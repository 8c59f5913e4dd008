"""The journal: what a command is about to do to an instance, so that a kill leaves no riddle.

One file an instance, `$KTRDR_HOME/sandbox/journal/<id>.jsonl`, for the one command that changes it:
a line with the operation and its plan, then one line before each step. The file goes when the
command ends, in whatever way it ends by itself. So a file whose instance nobody holds the lock of
tells of a command that was killed, and `commands/recover` ends what it began.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, get_args

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.files import cannot_write, follow_owner, make_folder, private_mode, sync_folder
from ktrdr_sandbox.paths import Home
from ktrdr_sandbox.state.values import to_json

VERSION: Final = 2  # version 1 had "facts" of its own instead of the plan

Operation = Literal["create", "init", "up", "down", "move", "destroy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A command that has not ended. `begun` are the steps it set out on, the last perhaps undone.

    `plan` is what recovery needs to end it, as JSON of journal version `version`.
    """

    instance_id: str
    operation: Operation
    version: int
    pid: int
    since: str
    plan: Mapping[str, Any]
    begun: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        """The instance's directory where the plan tells it, else ""."""
        return str((self.plan.get("instance") or self.plan).get("path", ""))

    @property
    def last_step(self) -> str:
        """The step it was at, for people."""
        return self.begun[-1] if self.begun else "its beginning"


class Journal:
    """The open journal of one command, which holds the instance's lock.

    `owing` is whether something would be left to end if the command stopped now, so that the
    journal must stay when it fails.
    """

    def __init__(self, path: Path) -> None:
        self.owing = False
        self._path = path
        self._begun: list[str] = []

    def begin(self, name: str) -> None:
        """Note, durably, that a step begins. Raises `cannot-write`."""
        self._begun.append(name)
        _append(self._path, {"step": name, "event": "begun"})

    @contextmanager
    def undoing(self, undo: Callable[[str], None]) -> Iterator[None]:
        """When the block fails, undo the steps begun in it, last first.

        `undo` must be right whether its step ran wholly, in part or not at all.
        """
        try:
            yield
        except BaseException as failure:
            self.owing = True
            try:
                for name in reversed(self._begun):
                    undo(name)
            except SandboxError as another:
                if isinstance(failure, SandboxError):
                    hint = (
                        f"Not all of it could be taken back yet: {another.message} The next "
                        "command on the instance tries again."
                    )
                    failure.hints = (*failure.hints, hint)
                raise failure from None
            self.owing = False
            raise


def _path_of(home: Home, instance_id: str) -> Path:
    return home.sandbox / "journal" / f"{instance_id}.jsonl"


@contextmanager
def operation(home: Home, instance_id: str, name: Operation, plan: Any) -> Iterator[Journal]:
    """The journal of a command for the block. Needs the instance's lock. Raises `cannot-write`.

    `plan` is a dataclass or a mapping. The file goes when the block ends, and stays when an
    exception leaves something owing.
    """
    path = _path_of(home, instance_id)
    make_folder(path.parent)
    path.unlink(missing_ok=True)
    head = {
        "version": VERSION,
        "operation": name,
        "pid": os.getpid(),
        "since": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "plan": to_json(plan),
    }
    _append(path, head)
    sync_folder(path.parent)
    journal = Journal(path)
    try:
        yield journal
    except BaseException:
        if not journal.owing:
            discard(home, instance_id)
        raise
    discard(home, instance_id)


def load(home: Home, instance_id: str) -> Pending | None:
    """What is noted for an instance, or None. A last line cut off by a kill counts as not written.

    A file without a readable first line tells nothing: its command was killed before its first
    step, and changed nothing.
    """
    lines: list[dict[str, Any]] = []
    with contextlib.suppress(OSError, UnicodeDecodeError):
        for line in _path_of(home, instance_id).read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError):
                lines += [parsed] if isinstance(parsed := json.loads(line), dict) else []
    head = lines[0] if lines else {}
    if head.get("operation") not in get_args(Operation):
        return None
    return Pending(
        instance_id=instance_id,
        operation=head["operation"],
        version=int(head.get("version", 1)),
        pid=int(head.get("pid", 0)),
        since=str(head.get("since", "")),
        plan=head.get("plan") or head.get("facts") or {},
        begun=tuple(str(line["step"]) for line in lines[1:] if line.get("event") == "begun"),
    )


def exists(home: Home, instance_id: str) -> bool:
    """Whether a command on the instance is under way or was killed; one look at the disk."""
    # A home that may not be read is told by whoever needs it; here it has no journal.
    return os.path.exists(_path_of(home, instance_id))  # noqa: PTH110


def pending(home: Home) -> tuple[Pending, ...]:
    """All commands that are under way or were killed, by instance id."""
    files = sorted((home.sandbox / "journal").glob("*.jsonl"))
    found = (load(home, path.name.removesuffix(".jsonl")) for path in files)
    return tuple(entry for entry in found if entry is not None)


def discard(home: Home, instance_id: str) -> None:
    """Take an instance's journal away: nothing of it is pending any more. Raises `cannot-write`."""
    path = _path_of(home, instance_id)
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error


def _append(path: Path, entry: Mapping[str, Any]) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        try:
            os.fchmod(handle, private_mode(path.parent))
            follow_owner(path)
            os.write(handle, (json.dumps(entry) + "\n").encode())
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise cannot_write(path, error) from error
