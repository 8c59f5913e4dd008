"""Questions that are asked while others are, so that a command waits for the slowest alone."""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final, Generic, TypeVar

T = TypeVar("T")


async def in_background(call: Callable[[], T]) -> T:
    """Run a blocking call in a thread of its own and wait for it.

    Not `asyncio.to_thread`: its pool is joined when the loop ends and again when the interpreter
    does, so that Ctrl-C would have to wait for a `docker exec` that hangs. A daemon thread is left
    behind, and its late outcome is dropped.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()

    def settle(value: T | None, error: BaseException | None) -> None:
        if outcome.done():
            return
        if error is not None:
            outcome.set_exception(error)
        else:
            outcome.set_result(value)  # type: ignore[arg-type]

    def run() -> None:
        value: T | None = None
        failure: BaseException | None = None
        try:
            value = call()
        except BaseException as error:  # noqa: BLE001  carried over, raised where it is awaited
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, value, failure)

    AskedThread(run).start()
    return await outcome


_ONE_WAIT: Final = 0.2
"""Seconds."""


class Answer(Generic[T]):
    """What comes of a question, whenever it comes.

    No future of the standard library: that brings logging along, and nothing else of it is needed.
    """

    def __init__(self) -> None:
        self._known = threading.Event()
        self._value: list[T] = []
        self._failure: BaseException | None = None

    def find(self, question: Callable[[], T]) -> None:
        """Answer the question; for the thread that does."""
        try:
            self._value.append(question())
        except BaseException as error:  # noqa: BLE001  raised where it is waited for
            self._failure = error
        finally:
            self._known.set()

    @property
    def is_known(self) -> bool:
        """Whether it is there, be it a failure."""
        return self._known.is_set()

    def result(self, timeout: float | None = None) -> T:
        """Wait for the answer, at most `timeout` seconds. Raises the failure, if it was one, and
        TimeoutError."""
        until = math.inf if timeout is None else time.monotonic() + timeout
        # In short waits: a signal in the moment before one begins is only seen when it ends.
        while not self._known.wait(max(0.0, min(_ONE_WAIT, until - time.monotonic()))):
            if time.monotonic() >= until:
                raise TimeoutError
        if self._failure is not None:
            raise self._failure
        return self._value[0]


def asked(question: Callable[[], T]) -> Answer[T]:
    """Ask now, in a thread of its own; `result()` waits for the answer or raises the failure.

    No pool: a pool is joined when it is left and again at the end of the program, so that Ctrl-C
    would have to wait for an engine that does not answer.
    """
    answer: Answer[T] = Answer()
    AskedThread(lambda: answer.find(question)).start()
    return answer


class AskedThread(threading.Thread):
    """Does some work beside the thread that asked for it, and may be left behind by it.

    Whoever stops a thread stops what it has asked for, too: `askers` tells whom that may be.
    """

    def __init__(self, work: Callable[[], None]) -> None:
        super().__init__(target=work, name="asked", daemon=True)
        self._asker = threading.current_thread()

    @property
    def askers(self) -> Iterator[threading.Thread]:
        """The thread that asked for this, the one that asked for that, and so on."""
        yield self._asker
        if isinstance(self._asker, AskedThread):
            yield from self._asker.askers
