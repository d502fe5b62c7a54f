"""Whose tickets count: validators whose permit and stake the metagraph shows, asked for as seldom as a miner can
afford.

A permit alone is not enough: on a subnet with few validators the chain gives one to every miner that earned, and
whoever may issue tickets may fill disks.

An answer is believed for 30 s. A validator that is not in it may be new, so a miss asks again, but at most once
a second whatever strangers send; so does a failure. One question is under way at a time. On Bittensor's networks the
chain that is asked is a cached one, which learns of new validators once an epoch.
"""

from __future__ import annotations

import asyncio
from typing import Final

from hippy.chain.protocol import Chain
from hippy.clock import Clock
from hippy.errors import TemporaryError
from hippy.ids import PublicKey

FRESH_SECONDS: Final = 30.0
ASK_INTERVAL_SECONDS: Final = 1.0
CHAIN_SECONDS: Final = 10.0
"""A metagraph takes the chain SDK two seconds on a slow day."""


class Permits:
    """The hotkeys with a validator permit and at least ``stake_min_rao``, cached."""

    def __init__(self, chain: Chain, clock: Clock, *, stake_min_rao: int) -> None:
        self._chain = chain
        self._clock = clock
        self._stake_min_rao = stake_min_rao
        self._permitted: frozenset[PublicKey] = frozenset()
        self._fresh_until = float("-inf")
        self._ask_again = float("-inf")
        self._asking = asyncio.Lock()

    async def has(self, hotkey: PublicKey) -> bool:
        """Return whether ``hotkey`` holds a validator permit and enough stake.

        Raises TemporaryError when the chain does not answer and what we know is old.
        """
        if self._is_known(hotkey):
            return True
        async with self._asking:
            if not self._is_known(hotkey) and self._clock.now() >= self._ask_again:
                await self._ask()
        if self._clock.now() >= self._fresh_until:
            raise TemporaryError("the chain does not answer, so no ticket can be checked", hint="try again in a moment")
        return hotkey in self._permitted

    def _is_known(self, hotkey: PublicKey) -> bool:
        return hotkey in self._permitted and self._clock.now() < self._fresh_until

    async def _ask(self) -> None:
        self._ask_again = self._clock.now() + ASK_INTERVAL_SECONDS
        try:
            async with asyncio.timeout(CHAIN_SECONDS):
                metagraph = await self._chain.metagraph()
        except (TemporaryError, TimeoutError):
            return  # an answer that is still fresh serves on; without one the caller says so
        self._permitted = frozenset(
            neuron.hotkey
            for neuron in metagraph.neurons
            if neuron.validator_permit and neuron.stake_rao >= self._stake_min_rao
        )
        self._fresh_until = self._clock.now() + FRESH_SECONDS
