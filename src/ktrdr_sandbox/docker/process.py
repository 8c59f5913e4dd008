"""The one place that starts Docker. Argument lists only; output kept; secrets never in the list."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ktrdr_sandbox.background import AskedThread, asked
from ktrdr_sandbox.docker.engine import LineSink
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.process import observed

if TYPE_CHECKING:
    import psutil


KEPT_LINES: Final = 400
"""Last lines of a long command's output that are kept for its error."""

_PATIENCE: Final = (0.4, 0.1)
"""Seconds between interrupt and terminate, and between terminate and kill.

Short, because somebody waits for the prompt. Docker's commands need them to hang up, not to undo.
"""

_OWN_PATIENCE: Final = (5.0, 3.0)
"""The same for a command that has the terminal to itself and may have something to put away."""

_running: Final[set[subprocess.Popen[str]]] = set()
_stopped: Final[weakref.WeakSet[threading.Thread]] = weakref.WeakSet()
_starting: Final = threading.Lock()
"""Guards both: what runs, and the threads that may start nothing more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    argv: tuple[str, ...]
    exit_code: int | None
    """None when time ran out."""
    stdout: str
    stderr: str

    @property
    def text(self) -> str:
        """What the command said, error stream first choice."""
        return self.stderr.strip() or self.stdout.strip()


def run(
    argv: Sequence[str],
    *,
    environment: Mapping[str, str],
    timeout: float | None = None,
    cwd: Path | None = None,
) -> Outcome:
    """Run to the end and capture both streams. `timeout` in seconds. Raises `docker-missing`."""
    return _off_the_main_thread(lambda: _run(argv, environment, timeout, cwd))


def stream(
    argv: Sequence[str],
    *,
    environment: Mapping[str, str],
    sink: LineSink,
    keep: int = KEPT_LINES,
) -> Outcome:
    """Run to the end, giving each line of both streams to `sink`; the last `keep` are kept.

    `sink` is called in another thread. Raises `docker-missing`.
    """
    return _off_the_main_thread(lambda: _stream(argv, environment, sink, keep))


def _off_the_main_thread(work: Callable[[], Outcome]) -> Outcome:
    """Only the main thread is met by an interrupt: there it could come while a command is being
    started, which then nobody knows of, or right before a wait, and be heard only after it."""
    if threading.current_thread() is not threading.main_thread():
        return work()
    answer = asked(work)
    try:
        return answer.result()
    finally:
        if not answer.is_known:  # an interrupt came
            end_all()


def _run(
    argv: Sequence[str],
    environment: Mapping[str, str],
    timeout: float | None,
    cwd: Path | None,
) -> Outcome:
    with (
        observed(argv) as seen,
        _started(argv, environment, stderr=subprocess.PIPE, cwd=cwd) as child,
    ):
        try:
            stdout, stderr = child.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            stdout, stderr = _end(child)
            return Outcome(argv=tuple(argv), exit_code=None, stdout=stdout, stderr=stderr)
        seen.exit_code = child.returncode
    return Outcome(argv=tuple(argv), exit_code=child.returncode, stdout=stdout, stderr=stderr)


def _stream(
    argv: Sequence[str], environment: Mapping[str, str], sink: LineSink, keep: int
) -> Outcome:
    kept: deque[str] = deque(maxlen=keep)
    with (
        observed(argv) as seen,
        _started(argv, environment, stderr=subprocess.STDOUT) as child,
    ):
        for line in child.stdout or ():
            text = line.rstrip("\r\n")
            kept.append(text)
            sink(text)
        child.wait()
        seen.exit_code = child.returncode
    return Outcome(argv=tuple(argv), exit_code=child.returncode, stdout="", stderr="\n".join(kept))


def lines(argv: Sequence[str], *, environment: Mapping[str, str]) -> Iterator[str]:
    """Each line of both streams as it comes. Who leaves early ends the command."""
    with (
        observed(argv) as seen,
        _started(argv, environment, stderr=subprocess.STDOUT) as child,
    ):
        for line in child.stdout or ():
            yield line.rstrip("\r\n")
        seen.exit_code = child.wait()


def hand_over(argv: Sequence[str], *, environment: Mapping[str, str]) -> int:
    """Run with this program's own streams and give back the exit status.

    An interrupt from the terminal reaches the child as well; it is given time to end by itself.
    """
    with observed(argv) as seen:
        try:
            child = subprocess.Popen(list(argv), env=dict(environment))
        except FileNotFoundError as error:
            raise docker_missing() from error
        try:
            seen.exit_code = child.wait()
        finally:
            if child.poll() is None:  # an interrupt came before its end
                _end(child, patience=_OWN_PATIENCE)
    return seen.exit_code


def end_all(*, at_once: bool = False) -> None:
    """End every command that runs, each with what it has started, in half a second at most.

    `at_once` kills without asking first, which questions can bear.

    For an interrupt: one thread gets it, and the commands of all others would go on. What those
    threads would start after this fails with `interrupted`.
    """
    with _starting:
        running = tuple(_running)
        others = set(threading.enumerate()) - {threading.current_thread()}
        _stopped.update(others)
    family = [one for child in running for one in _descendants(child)]
    try:
        polite = () if at_once else zip((signal.SIGINT, signal.SIGTERM), _PATIENCE, strict=True)
        for number, patience in polite:
            _signal(running, number)
            if _have_ended(running, within=patience):
                return
    finally:
        _signal(running, signal.SIGKILL)
        _kill(family)


def _signal(children: Iterable[subprocess.Popen[str]], number: signal.Signals) -> None:
    for child in children:
        if child.poll() is None:
            child.send_signal(number)


def _have_ended(children: Iterable[subprocess.Popen[str]], *, within: float) -> bool:
    deadline = time.monotonic() + within
    try:
        for child in children:
            child.wait(timeout=max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return False
    return True


@contextmanager
def _started(
    argv: Sequence[str], environment: Mapping[str, str], *, stderr: int, cwd: Path | None = None
) -> Iterator[subprocess.Popen[str]]:
    child = _start(argv, environment, stderr=stderr, cwd=cwd)
    try:
        yield child
    finally:
        if child.poll() is None:  # who uses it was interrupted, failed or left early
            _end(child)
        _running.discard(child)
        for pipe in (child.stdout, child.stderr):
            if pipe is not None:
                pipe.close()


def _start(
    argv: Sequence[str], environment: Mapping[str, str], *, stderr: int, cwd: Path | None
) -> subprocess.Popen[str]:
    with _starting:
        if _is_stopped(threading.current_thread()):
            raise SandboxError("interrupted", "Interrupted.")
        try:
            child = subprocess.Popen(
                list(argv),
                env=dict(environment),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                encoding="utf-8",
                errors="replace",
            )
        except FileNotFoundError as error:
            raise docker_missing() from error
        _running.add(child)
        return child


def _is_stopped(thread: threading.Thread) -> bool:
    askers = thread.askers if isinstance(thread, AskedThread) else ()
    return not _stopped.isdisjoint((thread, *askers))


def _end(
    child: subprocess.Popen[Any], *, patience: tuple[float, float] = _PATIENCE
) -> tuple[str, str]:
    """Interrupt, then terminate, then kill. Returns what was still in the pipes."""
    family = _descendants(child)
    try:
        for number, seconds in zip((signal.SIGINT, signal.SIGTERM), patience, strict=True):
            child.send_signal(number)
            try:
                out, err = child.communicate(timeout=seconds)
            except subprocess.TimeoutExpired:
                continue
            except ValueError:  # a stream was read to its end already
                return "", ""
            return out or "", err or ""
        child.kill()
        child.wait()
        return "", ""
    finally:
        _kill(family)


def _descendants(child: subprocess.Popen[Any]) -> list[psutil.Process]:
    """What a command has started. Compose is a child of the docker command and would outlive it."""
    import psutil  # only an interrupt needs it

    try:
        return psutil.Process(child.pid).children(recursive=True)
    except psutil.Error:
        return []


def _kill(family: Iterable[psutil.Process]) -> None:
    import psutil

    for process in family:
        # Compares starting times first, so that nobody who got the number later is hit.
        with contextlib.suppress(psutil.Error):
            process.kill()


def docker_missing() -> SandboxError:
    return SandboxError(
        "docker-missing",
        "The docker command was not found on PATH.",
        hints=("Install Docker: https://docs.docker.com/engine/install/",),
    )


def inherited() -> dict[str, str]:
    """This process's environment, as it is now."""
    return dict(os.environ)


__all__ = [
    "Outcome",
    "docker_missing",
    "end_all",
    "hand_over",
    "inherited",
    "lines",
    "run",
    "stream",
]
