"""Blocking calls off the loop: their outcome comes back, and nobody has to wait for them."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from ktrdr_sandbox.background import in_background
from ktrdr_sandbox.errors import SandboxError


def test_the_value_comes_back_from_another_thread() -> None:
    thread = asyncio.run(in_background(threading.get_ident))
    assert thread != threading.get_ident()


def test_the_error_comes_back_as_it_was_raised() -> None:
    error = SandboxError("engine-failed", "no")

    def fail() -> None:
        raise error

    with pytest.raises(SandboxError) as caught:
        asyncio.run(in_background(fail))
    assert caught.value is error


def test_a_call_that_outlives_its_loop_is_left_alone() -> None:
    release = threading.Event()
    ended = threading.Event()

    def call() -> None:
        release.wait(10)
        ended.set()

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await in_background(call)

    asyncio.run(give_up())
    assert not ended.is_set()
    release.set()
    assert ended.wait(5)


def test_the_loop_goes_on_meanwhile() -> None:
    async def both() -> int:
        turns = 0
        call = asyncio.create_task(in_background(lambda: time.sleep(0.1)))
        while not call.done():
            turns += 1
            await asyncio.sleep(0.01)
        return turns

    assert asyncio.run(both()) > 2
