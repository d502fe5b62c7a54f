"""VirtualClock: time passes when told, in one order."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hippy.clock import Clock
from hippy.testing.clock import START_SECONDS, VirtualClock


async def test_time_stands_still_until_advanced() -> None:
    clock: Clock = VirtualClock()
    await asyncio.sleep(0)
    assert clock.now() == START_SECONDS


async def test_sleeper_wakes_when_its_time_has_come_and_not_before() -> None:
    clock = VirtualClock(100.0)
    nap = asyncio.create_task(clock.sleep(5))
    await clock.advance(4.5)
    assert not nap.done()
    await clock.advance(0.5)
    assert nap.done()
    assert clock.now() == 105.0


async def test_each_sleeper_sees_its_own_wake_time() -> None:
    clock, seen = VirtualClock(0.0), list[float]()

    async def sleeper(seconds: float) -> None:
        await clock.sleep(seconds)
        seen.append(clock.now())

    async with asyncio.TaskGroup() as group:
        for seconds in (3, 1, 2):
            group.create_task(sleeper(seconds))
        await clock.advance(10)
    assert seen == [1, 2, 3]
    assert clock.now() == 10


async def test_sleepers_of_one_instant_wake_in_the_order_they_went_to_sleep() -> None:
    clock, order = VirtualClock(0.0), list[int]()

    async def sleeper(number: int) -> None:
        await clock.sleep(1)
        order.append(number)

    async with asyncio.TaskGroup() as group:
        for number in (2, 0, 1):
            group.create_task(sleeper(number))
        await clock.advance(1)
    assert order == [2, 0, 1]


async def test_loop_that_sleeps_again_runs_within_one_advance() -> None:
    clock, ticks = VirtualClock(0.0), list[float]()

    async def ticker() -> None:
        while True:
            await clock.sleep(10)
            ticks.append(clock.now())

    task = asyncio.create_task(ticker())
    await clock.advance(35)
    task.cancel()
    assert ticks == [10, 20, 30]


async def test_woken_tasks_pass_messages_before_time_moves_on() -> None:
    clock, queue, got = VirtualClock(0.0), asyncio.Queue[int](1), list[tuple[int, float]]()

    async def producer() -> None:
        await clock.sleep(1)
        for number in range(4):
            await queue.put(number)

    async def consumer() -> None:
        for _ in range(4):
            got.append((await queue.get(), clock.now()))

    async with asyncio.TaskGroup() as group:
        group.create_task(producer())
        group.create_task(consumer())
        group.create_task(clock.sleep(2))
        await clock.advance(2)
    assert got == [(number, 1.0) for number in range(4)]


async def test_cancelled_sleeper_is_left_out() -> None:
    clock = VirtualClock(0.0)
    cancelled, other = asyncio.create_task(clock.sleep(1)), asyncio.create_task(clock.sleep(2))
    await clock.advance(0)
    cancelled.cancel()
    await clock.advance(2)
    assert cancelled.cancelled()
    assert other.done()


@pytest.mark.parametrize("seconds", [0, -1.0])
async def test_sleep_of_no_length_yields_once_and_returns(seconds: float) -> None:
    clock, order = VirtualClock(), list[str]()

    async def neighbour() -> None:
        order.append("neighbour")

    task = asyncio.create_task(neighbour())
    await clock.sleep(seconds)
    order.append("sleeper")
    await task
    assert order == ["neighbour", "sleeper"]


async def test_time_does_not_run_backwards() -> None:
    clock = VirtualClock()
    with pytest.raises(AssertionError):
        await clock.advance(-1)


@given(st.lists(st.integers(0, 50), max_size=12), st.lists(st.integers(0, 20), max_size=8))
def test_sleepers_wake_in_time_order_however_time_is_advanced(naps: list[int], steps: list[int]) -> None:
    async def run() -> list[tuple[float, int]]:
        clock, woken = VirtualClock(0.0), list[tuple[float, int]]()

        async def sleeper(number: int, seconds: int) -> None:
            await clock.sleep(seconds)
            woken.append((clock.now(), number))

        tasks = [asyncio.create_task(sleeper(*nap)) for nap in enumerate(naps)]
        for step in [*steps, 50]:
            await clock.advance(step)
        await asyncio.gather(*tasks)
        return woken

    assert asyncio.run(run()) == sorted((float(seconds), number) for number, seconds in enumerate(naps))
