"""Turns: the line is bounded in length and time, and what was waited elsewhere counts."""

from __future__ import annotations

import asyncio

import pytest

from hippy.errors import RateLimitedError
from hippy.transport.turns import Turns


async def test_line_for_turns_is_bounded_in_length_and_time() -> None:
    turns = Turns(1, "reads", waiting_max=1, wait_seconds=0.01)
    async with turns.turn():
        waiting = asyncio.create_task(enter(turns))
        await asyncio.sleep(0)
        with pytest.raises(RateLimitedError):
            await enter(turns)
        with pytest.raises(RateLimitedError):
            await waiting
    assert await enter(turns) == "in"


async def test_turn_passes_to_who_waits() -> None:
    turns = Turns(1, "reads", waiting_max=1, wait_seconds=10)
    async with turns.turn():
        waiting = asyncio.create_task(enter(turns))
        await asyncio.sleep(0)
        assert not waiting.done()
    assert await waiting == "in"


async def enter(turns: Turns) -> str:
    async with turns.turn():
        return "in"


async def test_time_in_another_line_counts() -> None:
    turns = Turns(1, "reads", waiting_max=1, wait_seconds=10)
    async with turns.turn():
        async with asyncio.timeout(5):
            with pytest.raises(RateLimitedError):
                async with turns.turn(waited_seconds=9.99):
                    pass
    assert await enter(turns) == "in"


async def test_turn_that_fails_comes_back() -> None:
    turns = Turns(1, "reads", waiting_max=1, wait_seconds=10)
    for _ in range(2):
        with pytest.raises(ValueError, match="broken"):
            async with turns.turn():
                raise ValueError("broken")
