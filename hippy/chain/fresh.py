"""Whether the chain was read lately: what a node's readiness asks of it.

A chain that is away for a moment is no reason to turn clients away, since nodes have an older answer (chain/cached.py);
one that nobody reached for FRESH_SECONDS is, and one whose beacon was never seen: nothing could be placed or audited.

Example::

    reads = ChainReads(chain, clock)
    await reads.check()     # None: fine
"""

from __future__ import annotations

from typing import Final

from hippy.chain.protocol import BeaconNotYet, Chain
from hippy.clock import Clock
from hippy.errors import HippyError

FRESH_SECONDS: Final = 300.0
"""Twenty-five blocks of Bittensor: longer than a provider's hiccup, shorter than anybody should wait to be told."""


class ChainReads:
    """Reads the newest block when asked and remembers when that last worked."""

    def __init__(self, chain: Chain, clock: Clock) -> None:
        self._chain = chain
        self._clock = clock
        self._read_time: float | None = None
        self._has_beacon = False

    async def check(self) -> str | None:
        """Return why the chain keeps us from serving, None when it does not."""
        failure = await self._read()
        now = self._clock.now()
        if failure is None:
            self._read_time = now
        if self._read_time is None:
            return f"the chain was not read yet: {failure}"
        age = now - self._read_time
        if age > FRESH_SECONDS:
            return f"the chain was last read {age:.0f} s ago: {failure}"
        return None if self._has_beacon else "no beacon was seen yet"

    async def _read(self) -> str | None:
        try:
            await self._chain.current_block()
            if not self._has_beacon:
                await self._chain.beacon(await self._chain.beacon_round())
                self._has_beacon = True
        except BeaconNotYet:
            return None
        except HippyError as error:
            return error.message
        return None
