"""Work beside the one who needs it, so that a command waits for the slowest part alone."""

from __future__ import annotations

import concurrent.futures
import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

T = TypeVar("T")


class Future(concurrent.futures.Future[T]):
    """A future whose waiting thread notices an interrupt at whatever moment it comes."""

    def result(self, timeout: float | None = None) -> T:
        """Wait at most `timeout` seconds. Raises the work's own failure, and TimeoutError."""
        until = math.inf if timeout is None else time.monotonic() + timeout
        # In short waits: a signal in the moment before one begins is only seen when it ends.
        while not self.done() and (left := until - time.monotonic()) > 0:
            with contextlib.suppress(TimeoutError):
                return super().result(min(0.2, left))
        return super().result(0)


def run_in_background(function: Callable[[], T]) -> Future[T]:
    """Run a function in a daemon thread of its own; `result()` waits for it.

    No pool: a pool is joined when it is left and again at the end of the program, so that Ctrl-C
    would have to wait for an engine that does not answer.
    """
    future: Future[T] = Future()

    def work() -> None:
        future.set_running_or_notify_cancel()
        try:
            future.set_result(function())
        except BaseException as error:  # noqa: BLE001  raised where it is waited for
            future.set_exception(error)

    BackgroundThread(target=work, name="background", daemon=True).start()
    return future


async def in_background(function: Callable[[], T]) -> T:
    """Await a blocking function. Whoever gives up leaves it behind, with its late outcome."""
    import asyncio  # the gate's alone, and slow to load

    return await asyncio.wrap_future(run_in_background(function))


class BackgroundThread(threading.Thread):
    """A thread that knows who started it: whoever stops that one stops this one, too."""

    def start(self) -> None:
        self._starter = threading.current_thread()
        super().start()

    @property
    def starters(self) -> Iterator[threading.Thread]:
        """The thread that started this, the one that started that, and so on."""
        yield self._starter
        if isinstance(self._starter, BackgroundThread):
            yield from self._starter.starters
