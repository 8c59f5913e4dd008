"""Polling: fast while things move, and never much later than the wait was long."""

from __future__ import annotations

import asyncio

import pytest

from ktrdr_sandbox.gate.polling import GROWTH, Pace, Signal


def pace() -> Pace:
    return Pace(first=0.1, longest=1.0, now=0.0)


@pytest.mark.parametrize(
    ("now", "pause"), [(0.0, 0.1), (5.0, 0.1), (12.5, 0.25), (30.0, 0.6), (50.0, 1.0), (500.0, 1.0)]
)
def test_the_pause_is_a_share_of_the_wait_between_its_bounds(now: float, pause: float) -> None:
    assert pace().pause(now, probe_seconds=0.0) == pytest.approx(pause)


def test_a_whole_wait_takes_few_probes_and_lags_little() -> None:
    poller, now, probes = pace(), 0.0, 0
    while now < 60.0:
        pause = poller.pause(now, probe_seconds=0.0)
        assert pause <= max(0.1, GROWTH * now) + 1e-9
        now += pause
        probes += 1
    assert probes < 200


def test_a_change_makes_it_fast_again() -> None:
    poller = pace()
    poller.changed(100.0)
    assert poller.pause(100.0, probe_seconds=0.0) == pytest.approx(0.1)


def test_a_probe_that_is_slow_itself_is_not_repeated_at_once() -> None:
    assert pace().pause(0.0, probe_seconds=0.4) == pytest.approx(0.4)
    assert pace().pause(0.0, probe_seconds=10.0) == pytest.approx(1.0)


def test_a_signal_wakes_all_who_wait_and_none_who_come_later() -> None:
    async def scene() -> tuple[list[bool], bool]:
        signal = Signal()
        waiting = [asyncio.create_task(signal.wait(None)) for _ in range(3)]
        await asyncio.sleep(0)
        signal.fire()
        return [await one for one in waiting], await signal.wait(0.01)

    assert asyncio.run(scene()) == ([True, True, True], False)


def test_a_cancellation_that_meets_the_signal_is_not_lost() -> None:
    async def scene() -> bool:
        signal = Signal()
        waiting = asyncio.create_task(signal.wait(5))
        await asyncio.sleep(0)
        signal.fire()
        waiting.cancel()
        await asyncio.wait({waiting})
        return waiting.cancelled()

    assert asyncio.run(scene())
