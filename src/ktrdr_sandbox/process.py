"""The one place that starts other programs: argument lists only, output kept, nothing left behind.

A command that has to end early is interrupted, then terminated, then killed, with all it started.
"""

from __future__ import annotations

import contextlib
import os
import shlex
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
from typing import IO, TYPE_CHECKING, Any, Final, TypeVar

from ktrdr_sandbox.background import BackgroundThread, run_in_background
from ktrdr_sandbox.errors import ErrorCode, SandboxError
from ktrdr_sandbox.redaction import redact_all

if TYPE_CHECKING:
    import psutil

T = TypeVar("T")
LineSink = Callable[[str], None]
"""Receives the output of a command, one whole line at a time, without line end."""

KEPT_LINES: Final = 400  # last lines of a long command's output, kept for its error

Patience = tuple[float, float]
"""Seconds between interrupt and terminate, and between terminate and kill."""
HANG_UP: Final[Patience] = (0.4, 0.1)
"""For a question: somebody waits for the prompt, and there is nothing to undo."""
PUT_AWAY: Final[Patience] = (5.0, 3.0)
"""For a command that may have something to take back."""

_LAST_WORDS: Final = 1.0
"""Seconds for what a command has left behind in the background to close its output."""


# -- observation -----------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class Outcome:
    """How one command ended, or was given up: then without an exit status. Times in seconds."""

    argv: tuple[str, ...]
    exit_code: int | None = None
    stdout: str = ""
    stderr: str = ""
    cwd: Path | None = None
    seconds: float = 0.0

    @property
    def text(self) -> str:
        """What the command said, error stream first choice."""
        return self.stderr.strip() or self.stdout.strip()

    @property
    def line(self) -> str:
        """`ran in /src/ktrdr (exit status 0, 0.02 s): git status`, without secrets."""
        where = f" in {self.cwd}" if self.cwd else ""
        how = "no exit status" if self.exit_code is None else f"exit status {self.exit_code}"
        command = shlex.join(redact_all(self.argv))
        # A script given as an argument has lines of its own.
        command = command.replace("\r", "\\r").replace("\n", "\\n")
        return f"ran{where} ({how}, {self.seconds:.2f} s): {command}"


Listener = Callable[[Outcome], None]

# Not one for each thread or context: commands are started by threads of other people's making.
_listeners: Final[list[Listener]] = []


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Give `listener` every command that ends meanwhile, in whatever thread it was started."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


@contextmanager
def observed(argv: Sequence[str], *, cwd: Path | None = None) -> Iterator[Outcome]:
    """Around the life of one command. The block puts its exit status in."""
    outcome = Outcome(argv=tuple(argv), cwd=cwd)
    began = time.monotonic()
    try:
        yield outcome
    finally:
        outcome.seconds = time.monotonic() - began
        for listener in tuple(_listeners):
            listener(outcome)


# -- running ---------------------------------------------------------------------------------


class CommandError(SandboxError):
    """An external command failed. Keeps all of it; display goes through redaction."""

    def __init__(self, code: ErrorCode, message: str, outcome: Outcome, **more: Any) -> None:
        super().__init__(code, message, **more)
        self.outcome = outcome


def run(
    argv: Sequence[str],
    *,
    environment: Mapping[str, str],
    cwd: Path | None = None,
    stdin: str = "",
    timeout: float | None = None,
    patience: Patience = HANG_UP,
    own_group: bool = False,
    errors: str = "replace",
) -> Outcome:
    """Run to the end and capture both streams. `timeout` in seconds.

    With `own_group` it has a process group to itself, which ends with it when it has to; without,
    what it started is looked up. `errors` is for output that is not UTF-8. Raises OSError when it
    cannot be started.
    """

    def work() -> Outcome:
        with _started(
            *(argv, environment, cwd, patience, own_group),
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            errors=errors,
        ) as (child, outcome):
            try:
                said = child.process.communicate(stdin or None, timeout=timeout)
                outcome.exit_code = child.process.returncode
            except subprocess.TimeoutExpired:
                said = child.end()
            outcome.stdout, outcome.stderr = said
        return outcome

    return run_interruptibly(work)


def stream(
    argv: Sequence[str],
    *,
    environment: Mapping[str, str],
    sink: LineSink,
    cwd: Path | None = None,
    timeout: float | None = None,
    patience: Patience = HANG_UP,
    own_group: bool = False,
    keep: int = KEPT_LINES,
) -> Outcome:
    """Run to the end, giving each line of both streams to `sink`; `stderr` has the last `keep`.

    `sink` is called in another thread. What the command leaves in the background when it ends by
    itself is not waited for. Raises OSError.
    """
    kept: deque[str] = deque(maxlen=keep)

    def read(child: _Child, output: IO[str]) -> None:
        try:
            with output:
                for line in output:
                    kept.append(line.rstrip("\r\n"))
                    sink(kept[-1])
        except BaseException:
            child.end()
            raise

    def work() -> Outcome:
        with _started(argv, environment, cwd, patience, own_group) as (child, outcome):
            output, child.process.stdout = child.process.stdout, None  # the reader's, who closes it
            reading = run_in_background(lambda: read(child, output))
            with contextlib.suppress(subprocess.TimeoutExpired):
                outcome.exit_code = child.process.wait(timeout)
            if outcome.exit_code is None:
                child.end()
            with contextlib.suppress(TimeoutError):
                reading.result(_LAST_WORDS)
        outcome.stderr = "\n".join(kept)
        return outcome

    return run_interruptibly(work)


def run_interruptibly(work: Callable[[], T]) -> T:
    """Call what starts commands, so that an interrupt ends them all.

    Only the main thread is met by an interrupt: there it could come while a command is being
    started, which then nobody knows of, or right before a wait, and be heard only after it.
    """
    if threading.current_thread() is not threading.main_thread():
        return work()
    future = None
    try:
        future = run_in_background(work)
        return future.result()
    finally:
        if future is None or not future.done():
            end_all()


def lines(argv: Sequence[str], *, environment: Mapping[str, str]) -> Iterator[str]:
    """Each line of both streams as it comes. Who leaves early ends the command."""
    with _started(argv, environment) as (child, outcome):
        for line in child.process.stdout:
            yield line.rstrip("\r\n")
        outcome.exit_code = child.process.wait()


def run_attached(argv: Sequence[str], *, environment: Mapping[str, str]) -> int:
    """Run with this program's own streams and give back the exit status. Raises OSError.

    An interrupt from the terminal reaches the child as well; it is given time to end by itself.
    """
    own = _started(argv, environment, patience=PUT_AWAY, stdin=None, stdout=None, stderr=None)
    with own as (child, outcome):
        status: int = child.process.wait()
        outcome.exit_code = status
    return status


# -- this process's own environment ------------------------------------------------------------

_replacing: Final = threading.Condition()
_replaced: Final[list[dict[str, str]]] = []
"""What `os.environ`, one for all threads, is replaced by, once for each block that wants it."""
_before: Final[dict[str, str]] = {}


def current_environment() -> dict[str, str]:
    """The variables that this program was started with, whatever a library is given meanwhile."""
    with _replacing:
        return dict(_before if _replaced else os.environ)


@contextmanager
def environment_replaced(environment: Mapping[str, str]) -> Iterator[None]:
    """For libraries that pass on `os.environ` and take no other.

    Blocks that want the same share it; one that wants another waits for them.
    """
    wanted = dict(environment)
    with _replacing:
        _replacing.wait_for(lambda: not _replaced or _replaced[0] == wanted)
        if not _replaced:
            _before.clear()
            _before.update(os.environ)
            _replace_environment(wanted)
        _replaced.append(wanted)
    try:
        yield
    finally:
        with _replacing:
            _replaced.pop()
            if not _replaced:
                _replace_environment(_before)
                _replacing.notify_all()


def _replace_environment(wanted: Mapping[str, str]) -> None:
    """Never empty in between, for the sake of other threads."""
    for name in os.environ.keys() - wanted.keys():
        del os.environ[name]
    os.environ.update(wanted)


# -- children --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Child:
    """A command under way: a Popen of ours or, where `foreign`, a library's as psutil sees it."""

    process: Any
    patience: Patience = HANG_UP
    own_group: bool = False
    foreign: bool = False

    def signal(self, number: signal.Signals) -> None:
        import psutil  # only what ends early needs it

        with contextlib.suppress(ProcessLookupError, PermissionError, psutil.Error):
            if self.own_group:  # it has the number of its first process while any of it lives
                os.killpg(self.process.pid, number)
            else:
                self.process.send_signal(number)

    def has_ended(self) -> bool:
        if not self.foreign:
            return self.process.poll() is not None
        import psutil

        # Without waiting for it, which would take its exit status from the library.
        with contextlib.suppress(psutil.Error):
            return bool(self.process.status() == psutil.STATUS_ZOMBIE)
        return True

    def family(self) -> list[psutil.Process]:
        """What it has started. Compose is a child of the docker command and would outlive it."""
        import psutil

        with contextlib.suppress(psutil.Error):
            if not self.own_group:
                return psutil.Process(self.process.pid).children(recursive=True)
        return []

    def end(self) -> tuple[str, str]:
        """End it if it still runs. Gives what was still in its pipes."""
        if not self.has_ended():
            _end([self])
            with contextlib.suppress(subprocess.TimeoutExpired, ValueError):  # or read to its end
                out, err = self.process.communicate(timeout=_LAST_WORDS)
                return out or "", err or ""
        return "", ""


_running: Final[set[_Child]] = set()
_library_programs: Final[list[str]] = []
_stopped: Final[weakref.WeakSet[threading.Thread]] = weakref.WeakSet()
_starting: Final = threading.Lock()
"""Guards what runs, and the threads that may start nothing more."""


@contextmanager
def _started(
    argv: Sequence[str],
    environment: Mapping[str, str],
    cwd: Path | None = None,
    patience: Patience = HANG_UP,
    own_group: bool = False,
    *,
    errors: str = "replace",
    stdin: int | None = subprocess.DEVNULL,
    stdout: int | None = subprocess.PIPE,
    stderr: int | None = subprocess.STDOUT,
) -> Iterator[tuple[_Child, Outcome]]:
    with observed(argv, cwd=cwd) as outcome:
        with _starting:
            _refuse_if_stopped()
            process = subprocess.Popen(
                list(argv),
                cwd=cwd,
                env=dict(environment),
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                encoding="utf-8",
                errors=errors,
                start_new_session=own_group,
            )
            child = _Child(process, patience, own_group)
            _running.add(child)
        try:
            yield child, outcome
        finally:
            child.end()  # where its user was interrupted, failed or left early
            _running.discard(child)
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()


def _refuse_if_stopped() -> None:
    thread = threading.current_thread()
    starters = thread.starters if isinstance(thread, BackgroundThread) else ()
    if not _stopped.isdisjoint((thread, *starters)):
        raise SandboxError("interrupted", "Interrupted.")


@contextmanager
def started_by_library(argv: Sequence[str]) -> Iterator[Outcome]:
    """Around a call of a library that starts a command itself: observed, and ended with the rest.

    Raises `interrupted` where nothing more may be started.
    """
    program = Path(argv[0]).name
    with _starting:
        _refuse_if_stopped()
        _library_programs.append(program)
    try:
        with observed(argv) as outcome:
            yield outcome
    except SandboxError:  # it has ended, and how is told
        raise
    except BaseException:
        _end(_started_by_libraries())
        raise
    finally:
        _library_programs.remove(program)


def end_all(*, at_once: bool = False) -> None:
    """End every command that runs, each with what it has started, within its patience.

    `at_once` kills without asking first, which questions can bear.

    For an interrupt: one thread gets it, and the commands of all others would go on. What those
    threads would start after this fails with `interrupted`.
    """
    with _starting:
        running = [*_running, *_started_by_libraries()]
        _stopped.update(set(threading.enumerate()) - {threading.current_thread()})
    _end(running, at_once=at_once)
    _end(_started_by_libraries(), at_once=True)  # begun at the very moment


def _started_by_libraries() -> list[_Child]:
    if not _library_programs:
        return []
    import psutil

    known = {child.process.pid for child in _running}
    found: list[_Child] = []
    for process in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            names = {Path(part).name for part in process.cmdline()[:2]}  # or a script in its place
            if process.pid not in known and not names.isdisjoint(_library_programs):
                found.append(_Child(process, foreign=True))
    return found


def _end(children: Sequence[_Child], *, at_once: bool = False) -> None:
    """Interrupt, then terminate, then kill; and kill what is left of all they started."""
    children = [child for child in children if not child.has_ended()]
    if not children:
        return
    family = [process for child in children for process in child.family()]
    try:
        for step, number in enumerate(() if at_once else (signal.SIGINT, signal.SIGTERM)):
            for child in children:
                child.signal(number)
            if _have_ended(children, within=max(child.patience[step] for child in children)):
                break
    finally:
        for child in children:
            child.signal(signal.SIGKILL)
        _kill(family)
        _have_ended(children, within=1.0)


def _have_ended(children: Iterable[_Child], *, within: float) -> bool:
    deadline = time.monotonic() + within
    while not all(child.has_ended() for child in children):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def _kill(family: Iterable[psutil.Process]) -> None:
    for process in family:
        # Compares starting times first, so that nobody who got the number later is hit.
        with contextlib.suppress(Exception):
            process.kill()


# -- what a killed command of ours left --------------------------------------------------------


def end_left_over(is_left_over: Callable[[psutil.Process], bool], *, patience: float) -> int:
    """End every process of which it is true; how many there were. `patience` in seconds.

    For commands whose starter was killed, and that go on without it.
    """
    import psutil  # only needed after a kill

    left = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and is_left_over(process):
                left.append(process)
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    _, still = psutil.wait_procs(left, timeout=patience)
    _kill(still)
    psutil.wait_procs(still, timeout=5.0)
    return len(left)


def end_marked(variables: Mapping[str, str]) -> int:
    """End every process whose environment has these; how many there were."""
    return end_left_over(lambda it: variables.items() <= it.environ().items(), patience=2.0)
