"""A few threads that work off a list of jobs, an observer beside them, and a clean way out."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Iterable
from typing import Final, Generic, TypeVar

from ktrdr_sandbox.shared_data.tallying import BEAT, StoppedError

Job = TypeVar("Job")
Done = TypeVar("Done")

_MOST: Final = 4
"""More threads wait for one another, and for the disk, longer than they gain."""


class Tally:
    """What one worker has done so far. Written by it alone, read by the observer."""

    __slots__ = ("files", "size", "stopping")

    def __init__(self, stopping: threading.Event) -> None:
        self.files = 0
        self.size = 0
        self.stopping = stopping

    def tick(self, size: int) -> None:
        """Count bytes. Raises StoppedError."""
        self.size += size
        if self.stopping.is_set():
            raise StoppedError

    def finish_file(self) -> None:
        self.files += 1


class Crew(Generic[Job, Done]):
    """Works jobs off with as many threads as the processors call for.

    `work` does one job and gives its result; `collect` gets each result, in the caller's thread;
    `observe` gets bytes and files done, about ten times a second.
    """

    def __init__(
        self,
        work: Callable[[Job, Tally], Done],
        *,
        collect: Callable[[Done], None],
        observe: Callable[[int, int], None],
        threads: int | None = None,
    ) -> None:
        self._work = work
        self._collect = collect
        self._observe = observe
        self._threads = threads or min(_MOST, max(2, os.cpu_count() or 2))
        self._stopping = threading.Event()
        self._tallies: list[Tally] = []
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[Done | BaseException | None] = queue.SimpleQueue()

    def run(self, jobs: Iterable[Job]) -> None:
        """Work off all jobs. Raises what a worker raised, when all have stopped."""
        count = 0
        for job in jobs:
            self._jobs.put(job)
            count += 1
        self._tallies = [Tally(self._stopping) for _ in range(min(self._threads, count))]
        workers = [threading.Thread(target=self._loop, args=(one,)) for one in self._tallies]
        for worker in workers:
            worker.start()
        try:
            self._wait(len(workers))
        finally:
            # An interrupt, too, waits until each worker has finished the file it is at.
            self._stopping.set()
            for worker in workers:
                worker.join()
            self._drain()
        self._tell()

    def _wait(self, working: int) -> None:
        told = time.monotonic()
        while working:
            if time.monotonic() - told >= BEAT:
                self._tell()
                told = time.monotonic()
            try:
                result = self._results.get(timeout=BEAT)
            except queue.Empty:
                continue
            if result is None:
                working -= 1
            elif isinstance(result, BaseException):
                raise result
            else:
                self._collect(result)

    def _drain(self) -> None:
        """What was finished after somebody said stop is finished all the same."""
        while not self._results.empty():
            result = self._results.get()
            if result is not None and not isinstance(result, BaseException):
                self._collect(result)

    def _tell(self) -> None:
        self._observe(sum(t.size for t in self._tallies), sum(t.files for t in self._tallies))

    def _loop(self, tally: Tally) -> None:
        try:
            while not self._stopping.is_set():
                try:
                    job = self._jobs.get_nowait()
                except queue.Empty:
                    break
                self._results.put(self._work(job, tally))
        except StoppedError:
            pass
        except BaseException as error:  # noqa: BLE001  carried to the caller's thread
            self._results.put(error)
            return
        self._results.put(None)
