"""A simulated loop: time that jumps, threads that are turns, processes that can be killed, one run for a seed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from typing import Any

import pytest

from hippy.testing.clock import START_SECONDS
from hippy.testing.crash import MachineDown
from hippy.testing.loop import OUTSIDE, Killed, LoopClock, Process, SimulatedLoop, current_process, run_simulated


def run(work: Coroutine[Any, Any, Any], seed: int = 1) -> Any:
    return run_simulated(work, seed=seed)


def loop() -> SimulatedLoop:
    running = asyncio.get_running_loop()
    assert isinstance(running, SimulatedLoop)
    return running


def test_time_jumps_to_the_next_timer() -> None:
    async def nap() -> float:
        await LoopClock().sleep(3 * 86_400)
        return LoopClock().now() - START_SECONDS

    assert run(nap()) == 3 * 86_400


def test_sleepers_wake_in_the_order_of_their_times() -> None:
    async def naps() -> list[int]:
        woken: list[int] = []

        async def nap(seconds: int) -> None:
            await asyncio.sleep(seconds)
            woken.append(seconds)

        await asyncio.gather(*map(nap, (3, 1, 2)))
        return woken

    assert run(naps()) == [1, 2, 3]


def test_a_deadline_passes_without_waiting_for_it() -> None:
    async def stuck() -> None:
        async with asyncio.timeout(1_000):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        run(stuck())


def test_a_wait_that_nothing_ends_is_an_error() -> None:
    async def stuck() -> None:
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="nothing will ever happen"):
        run(stuck())


def test_work_in_threads_gives_its_result_and_its_error() -> None:
    async def work() -> int:
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 // 0)
        return await asyncio.to_thread(lambda: 7)

    assert run(work()) == 7


async def _race() -> list[int]:
    ended: list[int] = []
    await asyncio.gather(*(asyncio.to_thread(ended.append, number) for number in range(8)))
    return ended


def test_threads_end_in_an_order_that_the_seed_draws() -> None:
    assert run(_race(), 1) == run(_race(), 1)
    assert len({tuple(run(_race(), seed)) for seed in range(5)}) > 1


def test_sets_of_tasks_are_walked_in_the_order_of_their_beginning() -> None:
    async def walk() -> bool:
        tasks = [asyncio.create_task(asyncio.sleep(0)) for _ in range(50)]
        shuffled = random.Random(3).sample(tasks, 50)
        return sorted(set(shuffled), key=hash) == tasks

    assert run(walk())


def test_tasks_and_threads_belong_to_the_process_that_began_them() -> None:
    async def look() -> tuple[Process, Process]:
        async def inner() -> Process:
            return await asyncio.to_thread(current_process)

        return await inner(), await asyncio.create_task(inner())

    async def main() -> None:
        process = Process("node")
        assert await loop().start(process, look()) == (process, process)
        assert await look() == (OUTSIDE, OUTSIDE)

    run(main())


def test_a_killed_process_does_nothing_more() -> None:
    done: list[str] = []

    async def node() -> None:
        done.append("began")
        await asyncio.to_thread(done.append, "in a thread")
        await asyncio.sleep(10)
        done.append("never")

    async def main() -> None:
        process = Process("node")
        task = loop().start(process, node())
        await asyncio.sleep(5)
        loop().kill(process)
        loop().kill(process)
        await asyncio.wait([task])
        await asyncio.sleep(10)
        assert not process.is_alive

    run(main())
    assert done == ["began", "in a thread"]


def test_work_that_a_thread_had_not_begun_is_never_done() -> None:
    done: list[str] = []

    async def node() -> None:
        await asyncio.to_thread(done.append, "never")

    async def main() -> None:
        process = Process("node")
        task = loop().start(process, node())
        await asyncio.sleep(0)
        loop().kill(process)
        await asyncio.wait([task])
        await asyncio.sleep(1)

    run(main())
    assert done == []


@pytest.mark.parametrize("death", [Killed(), MachineDown("gone"), BaseExceptionGroup("some", [Killed()])])
def test_the_death_of_a_process_is_no_error_that_nobody_caught(death: BaseException) -> None:
    async def main() -> list[str]:
        loop().call_exception_handler({"message": "a task ended", "exception": death})
        return loop().errors

    assert run(main()) == []


def test_an_error_that_nobody_caught_is_noted() -> None:
    async def main() -> list[str]:
        loop().call_soon(lambda: 1 // 0)
        await asyncio.sleep(1)
        return loop().errors

    (error,) = run(main())
    assert "ZeroDivisionError" in error


def test_what_is_left_running_is_ended() -> None:
    ended: list[str] = []

    async def left() -> None:
        try:
            await asyncio.sleep(10)
        finally:
            ended.append("cleaned up")

    async def main() -> None:
        loop().start(OUTSIDE, left())
        await asyncio.sleep(0)

    run(main())
    assert ended == ["cleaned up"]
