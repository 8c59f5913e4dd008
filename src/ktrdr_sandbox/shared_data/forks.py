"""Copies of this process that work off a list of jobs: Python runs in one thread at a time.

A copy has all that its parent has at that moment, so that jobs are told by their number; what it
found out comes back through a pipe. It hears no signals: it stops when its parent says so, and
when it has no parent any more.
"""

from __future__ import annotations

import contextlib
import errno
import marshal
import mmap
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Final, Generic, TypeVar

from ktrdr_sandbox.shared_data.tallying import BEAT, StoppedError

Job = TypeVar("Job")

_MOST: Final = 4
"""More wait for one another, and for the disk, longer than they gain."""
_AHEAD: Final = 2
"""Jobs that one copy has: it never waits for the next."""
_NUMBER: Final = 4
"""Bytes of a number in a pipe."""
_DEAF: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def fitting() -> int:
    """How many copies are of use; 0 where this process should not copy itself.

    Not on macOS, whose own libraries may not survive it, and not beside other threads, which may
    hold what the copy then waits for.
    """
    if sys.platform != "linux":
        return 0
    try:
        with os.scandir("/proc/self/task") as tasks:
            threads = sum(1 for _ in tasks)  # those of no Python's making, too
    except OSError:
        return 0
    if threads > 1:
        return 0
    count = len(os.sched_getaffinity(0))
    return min(_MOST, count) if count > 1 else 0


class SharedTally:
    """What one copy has done so far. Written by it alone, read by its parent."""

    __slots__ = ("_at", "_board", "_parent")

    def __init__(self, board: memoryview, at: int, parent: int) -> None:
        self._board = board
        self._at = at
        self._parent = parent

    @property
    def stopped(self) -> bool:
        """Whether the parent wants no more, or is gone."""
        return bool(self._board[0]) or os.getppid() != self._parent

    def tick(self, size: int) -> None:
        """Count bytes. Raises StoppedError."""
        self._board[self._at] += size
        if self.stopped:
            raise StoppedError

    def finish_file(self) -> None:
        self._board[self._at + 1] += 1


class _Copy:
    """One copy, as its parent knows it."""

    __slots__ = ("jobs", "owing", "pid", "results")

    def __init__(self, pid: int, jobs: int, results: int) -> None:
        self.pid = pid
        self.jobs = jobs
        self.results = results
        self.owing = 0


class Forks(Generic[Job]):
    """Works jobs off with `count` copies of this process.

    `work` does one job in a copy and gives what `marshal` can carry; `collect` gets it in this
    process; `observe` gets bytes and files done, about ten times a second.
    """

    def __init__(
        self,
        work: Callable[[Job, SharedTally], Any],
        *,
        collect: Callable[[Any], None],
        observe: Callable[[int, int], None],
        count: int,
    ) -> None:
        self._work = work
        self._collect = collect
        self._observe = observe
        self._count = count
        self._jobs: Sequence[Job] = ()
        self._next = 0
        self._copies: list[_Copy] = []

    def run(self, jobs: Sequence[Job]) -> bool:
        """Work off all jobs; False when no copy could be made, and nothing was done.

        Raises ChildProcessError when somebody else has ended a copy.
        """
        self._jobs = jobs
        with mmap.mmap(-1, mmap.PAGESIZE) as shared, memoryview(shared).cast("Q") as board:
            with self._started(board):
                self._wait(board)
            if self._copies:
                self._tell(board)
        return bool(self._copies)

    @contextmanager
    def _started(self, board: memoryview) -> Iterator[None]:
        """The copies for the block. An interrupt, too, waits for the files they are at."""
        try:
            with contextlib.suppress(OSError):  # no more processes: those that are there do it
                for number in range(min(self._count, len(self._jobs))):
                    with _deaf():  # none that is not among them
                        self._start(board, 1 + 2 * number)
            yield
        finally:
            board[0] = 1
            try:
                self._drain()
            finally:
                for copy in self._copies:
                    os.close(copy.jobs)
                    os.close(copy.results)
                    os.waitpid(copy.pid, 0)

    def _start(self, board: memoryview, at: int) -> None:
        tally = SharedTally(board, at, os.getpid())
        with ExitStack() as kept, ExitStack() as given:
            jobs, give = pipe(given, kept)
            back, results = pipe(kept, given)
            # A pipe ends when nobody holds its other end any more.
            others = [give, back, *(fd for one in self._copies for fd in (one.jobs, one.results))]
            pid = _fork(lambda: self._serve(jobs, results, others, tally))
            self._copies.append(_Copy(pid, give, back))
            kept.pop_all()

    def _serve(self, jobs: int, results: int, others: Sequence[int], tally: SharedTally) -> None:
        """What a copy does, until there are no more jobs."""
        for fd in others:
            os.close(fd)
        while number := os.read(jobs, _NUMBER):
            job = self._jobs[int.from_bytes(number, "little")]
            try:
                done = (None if tally.stopped else self._work(job, tally), "")
            except Exception:  # noqa: BLE001  carried to the parent, which raises it
                import traceback

                done = (None, traceback.format_exc())
            send(results, done)

    def _wait(self, board: memoryview) -> None:
        told = time.monotonic()
        waiting = select.poll()
        by_pipe = {copy.results: copy for copy in self._copies}
        for copy in self._copies:
            waiting.register(copy.results, select.POLLIN)
            with _deaf():
                self._feed(copy)
        while any(copy.owing for copy in self._copies):
            for fd, _ in waiting.poll(BEAT * 1000):
                with _deaf():  # a result that is half read would be lost, and all after it
                    self._take(by_pipe[fd])
                    self._feed(by_pipe[fd])
            if time.monotonic() - told >= BEAT:
                self._tell(board)
                told = time.monotonic()

    def _feed(self, copy: _Copy) -> None:
        while copy.owing < _AHEAD and self._next < len(self._jobs):
            try:
                os.write(copy.jobs, self._next.to_bytes(_NUMBER, "little"))
            except BrokenPipeError:
                raise _ended() from None
            self._next += 1
            copy.owing += 1

    def _take(self, copy: _Copy) -> None:
        result, defect = receive(copy.results)
        copy.owing -= 1
        if defect:
            raise RuntimeError(defect)
        if result is not None:
            self._collect(result)

    def _drain(self) -> None:
        """What was finished after somebody said stop is finished all the same."""
        for copy in self._copies:
            waiting = select.poll()
            waiting.register(copy.results, select.POLLIN)
            with contextlib.suppress(ChildProcessError):  # told already, or not worth it
                while copy.owing:
                    waiting.poll()  # a second interrupt is heard while the copy is at it
                    with _deaf():
                        self._take(copy)

    def _tell(self, board: memoryview) -> None:
        done = board.tolist()
        self._observe(sum(done[1::2]), sum(done[2::2]))


@contextmanager
def started(work: Callable[[], None]) -> Iterator[None]:
    """A copy that works beside the block; when the block ends nobody wants it, and it is ended."""
    pid = _fork(work)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def pipe(reading: ExitStack, writing: ExitStack) -> tuple[int, int]:
    """A pipe, each end of it open until its stack ends."""
    out, into = os.pipe()
    reading.callback(os.close, out)
    writing.callback(os.close, into)
    return out, into


@contextmanager
def _deaf() -> Iterator[None]:
    """Signals that end the program are heard after the block."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, _DEAF)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _fork(work: Callable[[], None]) -> int:
    """Do `work` in a copy, which ends with it; gives its process id."""
    with _deaf():  # and so the copy stays
        pid = os.fork()
        if pid:
            return pid
        try:
            work()
        finally:
            os._exit(0)  # the parent's files, locks and messages are the parent's


def message(thing: Any) -> bytes:
    """What `receive` makes the thing of again."""
    text = marshal.dumps(thing)
    return len(text).to_bytes(_NUMBER, "little") + text


def send(fd: int, thing: Any) -> None:
    """Write what `receive` gives at the other end of a pipe."""
    rest = memoryview(message(thing))
    while rest:
        rest = rest[os.write(fd, rest) :]


def receive(fd: int) -> Any:
    """The next message. Raises ChildProcessError when there comes none any more."""
    size = int.from_bytes(_read(fd, _NUMBER), "little")
    return marshal.loads(_read(fd, size))  # noqa: S302  this program's own, of this moment


def _read(fd: int, size: int) -> bytes:
    parts = []
    while size:
        part = os.read(fd, size)
        if not part:
            raise _ended()
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _ended() -> ChildProcessError:
    return ChildProcessError(errno.ECHILD, "one of its own processes was ended")
