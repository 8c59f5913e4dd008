"""Runs a command of the user's own: in a process group, so that all it started ends with it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from ktrdr_sandbox.process import observed

if TYPE_CHECKING:
    from ktrdr_sandbox.docker.engine import LineSink


KEPT_LINES: Final = 40
"""Last lines of the output that are kept for an error."""

_INTERRUPTS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PATIENCE: Final = ((signal.SIGINT, 2.0), (signal.SIGTERM, 2.0))
"""What a command that is ended gets, and the seconds before the next; then it is killed."""

_LAST_WORDS: Final = 1.0
"""Seconds for what a command has left behind in the background to close its output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandOutcome:
    """How it ended. `exit_code` is None when time ran out, 126 or 127 when it could not be started,
    as in a shell; `lines` are the last of both its streams."""

    argv: tuple[str, ...]
    exit_code: int | None
    lines: tuple[str, ...]


def run_command(
    argv: Sequence[str],
    *,
    environment: Mapping[str, str],
    directory: Path,
    timeout: float,
    sink: LineSink,
) -> CommandOutcome:
    """Run to the end, giving each line of both streams to `sink`. `timeout` in seconds.

    What it leaves in the background when it ends by itself is left alone. An interrupt, or the end
    of its time, ends the whole group.
    """
    with observed(argv, cwd=directory) as seen:
        outcome = _run(argv, environment, directory, timeout, sink)
        seen.exit_code = outcome.exit_code
    return outcome


def _run(
    argv: Sequence[str],
    environment: Mapping[str, str],
    directory: Path,
    timeout: float,
    sink: LineSink,
) -> CommandOutcome:
    child: subprocess.Popen[str] | None = None
    kept: deque[str] = deque(maxlen=KEPT_LINES)
    exit_code: int | None = None
    try:
        with _heard_afterwards():
            child = _started(argv, environment, directory)
            reading = threading.Thread(target=_read, args=(child.stdout, kept, sink), daemon=True)
            reading.start()
        with contextlib.suppress(subprocess.TimeoutExpired):
            exit_code = child.wait(timeout=timeout)
    except _NotStartedError as error:
        return CommandOutcome(argv=tuple(argv), exit_code=error.exit_code, lines=(str(error),))
    finally:
        if child is not None and child.poll() is None:  # its time is up, or an interrupt came
            _end(child)
    reading.join(_LAST_WORDS)
    return CommandOutcome(argv=tuple(argv), exit_code=exit_code, lines=tuple(kept))


class _NotStartedError(Exception):
    def __init__(self, program: str, error: OSError | ValueError) -> None:
        super().__init__(f"{program}: {getattr(error, 'strerror', None) or error}")
        self.exit_code = 127 if isinstance(error, FileNotFoundError) else 126


def _started(
    argv: Sequence[str], environment: Mapping[str, str], directory: Path
) -> subprocess.Popen[str]:
    try:
        return subprocess.Popen(
            list(argv),
            cwd=directory,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise _NotStartedError(argv[0], error) from error


@contextmanager
def _heard_afterwards() -> Iterator[None]:
    """Signals that interrupt this program do so after the block, in which a child may run already
    that nobody knows yet. Their mask would not do: a child inherits it."""
    heard: list[int] = []
    handlers = {number: signal.getsignal(number) for number in _INTERRUPTS}
    ours = threading.current_thread() is threading.main_thread()
    deferred = [number for number in _INTERRUPTS if ours and callable(handlers[number])]
    for number in deferred:
        signal.signal(number, lambda got, _frame: heard.append(got))
    try:
        yield
    finally:
        for number in deferred:
            signal.signal(number, handlers[number])
    if heard:
        signal.raise_signal(heard[0])


def _read(stream: IO[str], kept: deque[str], sink: LineSink) -> None:
    with stream:
        for line in stream:
            text = line.rstrip("\r\n")
            kept.append(text)
            sink(text)


def _end(child: subprocess.Popen[Any]) -> None:
    """Interrupt, then terminate, then kill the group, whatever its first process does."""
    try:
        for number, seconds in _PATIENCE:
            _signal(child.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(timeout=seconds)
                return
    finally:
        _signal(child.pid, signal.SIGKILL)
        child.wait()


def _signal(group: int, number: signal.Signals) -> None:
    """The group has the number of its first process, and keeps it while any of it lives."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def end_marked(variables: Mapping[str, str]) -> int:
    """End every process whose environment has these; how many there were.

    For commands whose starter was killed: they would go on in a folder that is about to go.
    """
    import psutil  # only needed after a kill

    left = [one for one in psutil.process_iter() if _has(one, variables)]
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    _, still = psutil.wait_procs(left, timeout=2.0)
    for process in still:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(still, timeout=5.0)
    return len(left)


def _has(process: Any, variables: Mapping[str, str]) -> bool:
    import psutil

    try:
        if process.pid == os.getpid():
            return False
        environment = process.environ()
    except (psutil.Error, OSError):
        return False
    return all(environment.get(name) == value for name, value in variables.items())
