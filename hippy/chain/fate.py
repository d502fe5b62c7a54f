"""What became of a transaction that nobody heard of again.

A transaction of ours can be included for ``ERA_BLOCKS`` blocks. Until then, sending it again could do it twice; so one
looks whether what it does has been done, block by block, until it can no longer happen.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from hippy.chain.subtensor import ERA_BLOCKS, Subtensor
from hippy.clock import Clock
from hippy.errors import TemporaryError

LOOKUP_BLOCKS: Final = ERA_BLOCKS + 8
"""Blocks after which a transaction that left no trace was not included: its era, and room for finality."""

LOOKS_MAX: Final = 2 * LOOKUP_BLOCKS
"""Looks, one per block's time; a chain that cannot be reached as long as this leaves the fate open."""

PAUSE_SECONDS: Final = 12.0
"""Between two looks while the chain does not even say how long its blocks take."""


async def look_up(
    what: str, subtensor: Subtensor, sent_at: int, is_done: Callable[[], Awaitable[bool]], clock: Clock
) -> None:
    """Return once a transaction sent at block ``sent_at`` turns out to have been done.

    Raises TemporaryError when it was not, or when nobody can say.
    """
    pause_seconds = PAUSE_SECONDS
    for _ in range(LOOKS_MAX):
        with suppress(TemporaryError):  # the chain is away; it may come back
            pause_seconds = await subtensor.block_seconds()
            block = await subtensor.block_number()
            if await is_done():
                return
            if block > sent_at + LOOKUP_BLOCKS:
                break
        await clock.sleep(pause_seconds)
    else:
        raise TemporaryError(f"{what}: the chain cannot be reached, so nobody can say whether it was done")
    raise TemporaryError(f"{what}: the chain did not include the transaction", hint="try again")
