"""Questions that are asked while others are, so that a command waits for the slowest alone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def asked(question: Callable[[], T]) -> Future[T]:
    """Ask now, in a thread of its own; `result()` waits for the answer or raises the failure.

    No pool: a pool is joined when it is left and again at the end of the program, so that Ctrl-C
    would have to wait for an engine that does not answer.
    """
    answer: Future[T] = Future()

    def ask() -> None:
        try:
            answer.set_result(question())
        except BaseException as error:  # noqa: BLE001  raised where it is waited for
            answer.set_exception(error)

    threading.Thread(target=ask, name="question", daemon=True).start()
    return answer
