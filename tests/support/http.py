"""Questions to a stack over HTTP, and waiting for an answer to come true."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import httpx

T = TypeVar("T")

ANSWER_TIME = 20.0
"""Seconds for one answer: a busy machine is slow, not broken."""


def get_json(url: str) -> Any:
    """The document at an address. Raises for anything but success."""
    # No proxy of the environment: every address here is this host's own.
    answer = httpx.get(url, timeout=ANSWER_TIME, trust_env=False)
    answer.raise_for_status()
    return answer.json()


def post_json(url: str, body: Any) -> Any:
    """What an address answers to a document."""
    answer = httpx.post(url, json=body, timeout=ANSWER_TIME, trust_env=False)
    answer.raise_for_status()
    return answer.json()


def eventually(question: Callable[[], T], *, within: float = 90.0, every: float = 0.1) -> T:
    """Ask until the answer is true, and give it back. `within` and `every` in seconds.

    A failed connection is an answer that is not true yet. Raises AssertionError with the last one.
    """
    deadline = time.monotonic() + within
    while True:
        last: T | httpx.HTTPError
        try:
            last = question()
            if last:
                return last
        except httpx.HTTPError as error:
            last = error
        if time.monotonic() > deadline:
            raise AssertionError(f"not true within {within:.0f} s; the last answer was {last!r}")
        time.sleep(every)
