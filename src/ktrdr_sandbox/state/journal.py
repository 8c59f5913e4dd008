"""The journal: what a command is about to do to an instance, so that a kill leaves no riddle.

One file an instance, `$KTRDR_HOME/sandbox/journal/<id>.jsonl`, for the one command that changes it:
a line with the operation, then one line before each step and one after it. The file goes when the
command ends, in whatever way it ends by itself. So a file whose instance nobody holds the lock of
tells of a command that was killed, and `recovery` ends what it began.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, get_args

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.files import cannot_write, follow_owner, make_folder, private_mode, sync_folder
from ktrdr_sandbox.paths import Home

VERSION: Final = 1

Operation = Literal["create", "init", "up", "down", "move", "destroy"]
OPERATIONS: Final[tuple[Operation, ...]] = get_args(Operation)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A command that has not ended. `begun` are the steps it set out on, the last perhaps undone.

    `facts` is what `recovery` needs to end it. `pid` and `since` are for people.
    """

    instance_id: str
    operation: Operation
    pid: int
    since: str
    facts: Mapping[str, Any]
    begun: tuple[str, ...] = ()
    finished: frozenset[str] = field(default_factory=frozenset)

    @property
    def last_step(self) -> str:
        """The step it was at, for people."""
        return self.begun[-1] if self.begun else "its beginning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One change. `undo` must be right whether `do` ran wholly, in part or not at all."""

    name: str
    do: Callable[[], None]
    undo: Callable[[], None] = lambda: None


class Journal:
    """The open journal of one command, which holds the instance's lock.

    `owing` is whether something would be left to end if the command stopped now, so that the
    journal must stay when it fails.
    """

    def __init__(self, path: Path) -> None:
        self.owing = False
        self._path = path

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Note the intent, durably, and after the block its completion. Raises `cannot-write`."""
        _append(self._path, {"step": name, "event": "begun"}, sync=True)
        yield
        # Not synced: a step that is taken for unfinished is done or undone once more, in vain.
        _append(self._path, {"step": name, "event": "finished"}, sync=False)

    def run(self, steps: Sequence[Step]) -> None:
        """Do all steps in order; when one fails, undo it and those before it, last first."""
        begun: list[Step] = []
        try:
            for step in steps:
                begun.append(step)
                with self.step(step.name):
                    step.do()
        except BaseException as failure:
            self.owing = True
            try:
                undo(begun)
            except SandboxError as another:
                _add_hint(failure, another)
                raise failure from None
            self.owing = False
            raise

    def close(self) -> None:
        """The command has ended by itself, well or not, and nothing is pending. `cannot-write`."""
        remove(self._path)


def undo(steps: Sequence[Step]) -> None:
    """Undo steps, last first."""
    for step in reversed(steps):
        step.undo()


def _add_hint(failure: BaseException, another: SandboxError) -> None:
    if isinstance(failure, SandboxError):
        hint = (
            f"Not all of it could be taken back yet: {another.message} The next command on the "
            "instance tries again."
        )
        failure.hints = (*failure.hints, hint)


def path_of(home: Home, instance_id: str) -> Path:
    return home.sandbox / "journal" / f"{instance_id}.jsonl"


@contextmanager
def operation(
    home: Home, instance_id: str, name: Operation, facts: Mapping[str, Any]
) -> Iterator[Journal]:
    """The journal of a command for the block. Needs the instance's lock. Raises `cannot-write`.

    It goes when the block ends, and stays when an exception leaves something owing.
    """
    path = path_of(home, instance_id)
    make_folder(path.parent)
    head = {
        "version": VERSION,
        "operation": name,
        "pid": os.getpid(),
        "since": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "facts": dict(facts),
    }
    path.unlink(missing_ok=True)
    _append(path, head, sync=True)
    sync_folder(path.parent)
    journal = Journal(path)
    done = False
    try:
        yield journal
        done = True
    finally:
        if done or not journal.owing:
            journal.close()


def load(home: Home, instance_id: str) -> Pending | None:
    """What is noted for an instance, or None. A last line cut off by a kill counts as not written.

    A file without a readable first line tells nothing: its command was killed before its first
    step, and changed nothing.
    """
    try:
        text = path_of(home, instance_id).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError):
        text = ""
    lines = [parsed for line in text.splitlines() if (parsed := _parsed(line)) is not None]
    if not lines or lines[0].get("operation") not in OPERATIONS:
        return None
    return _pending(instance_id, lines[0], lines[1:])


def _pending(instance_id: str, head: Mapping[str, Any], events: list[dict[str, Any]]) -> Pending:
    return Pending(
        instance_id=instance_id,
        operation=head["operation"],
        pid=int(head.get("pid", 0)),
        since=str(head.get("since", "")),
        facts=head.get("facts") or {},
        begun=tuple(str(e["step"]) for e in events if e.get("event") == "begun"),
        finished=frozenset(str(e["step"]) for e in events if e.get("event") == "finished"),
    )


def exists(home: Home, instance_id: str) -> bool:
    """Whether a command on the instance is under way or was killed; one look at the disk."""
    # A home that may not be read is told by whoever needs it; here it has no journal.
    return os.path.exists(path_of(home, instance_id))  # noqa: PTH110


def pending(home: Home) -> tuple[Pending, ...]:
    """All commands that are under way or were killed, by instance id."""
    files = sorted((home.sandbox / "journal").glob("*.jsonl"))
    found = [load(home, path.name.removesuffix(".jsonl")) for path in files]
    return tuple(one for one in found if one is not None)


def discard(home: Home, instance_id: str) -> None:
    """Take an instance's journal away: what it told of has been ended. Raises `cannot-write`."""
    remove(path_of(home, instance_id))


def remove(path: Path) -> None:
    """Take a journal file away. Raises `cannot-write`."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error


def _parsed(line: str) -> dict[str, Any] | None:
    with contextlib.suppress(ValueError):
        found = json.loads(line)
        return found if isinstance(found, dict) else None
    return None


def _append(path: Path, entry: Mapping[str, Any], *, sync: bool) -> None:
    data = (json.dumps(entry) + "\n").encode()
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        try:
            if sync:
                os.fchmod(handle, private_mode(path.parent))
                follow_owner(path)
            os.write(handle, data)
            if sync:
                os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise cannot_write(path, error) from error
