"""The beacon of a Bittensor chain: drand's pulses as the chain stores them, or hashes of finalized blocks.

One source per network, so that everybody draws from the same: chains that store pulses have a round every three
seconds, numbered as drand numbers them; the randomness of a round that the chain missed is that of the next one it
stored. Chains that store none (a development chain without an off-chain worker) have a round for every block, with
its number. A block's author can choose among a few hashes, so such a chain is for trying things out
(docs/adr/0008).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol

from hippy.chain.protocol import BeaconNotYet
from hippy.chain.scale import raw_bytes
from hippy.errors import ProtocolError, TemporaryError, UsageError
from hippy.hashing import HASH_BYTES, dk, keyed

MISSED_ROUNDS_MAX: Final = 200
"""Rounds looked through for the next stored one: ten minutes. A chain that missed more is broken, not late."""

PULSE_SECONDS: Final = 3.0
"""From one round of drand's quicknet to the next (PROTOCOL §3.5)."""

_BLOCK_KEY: Final = dk("block-beacon")


class Source(Protocol):
    """What a beacon asks a chain; hippy.chain.subtensor.Subtensor answers it."""

    async def query(self, pallet: str, item: str, params: Sequence[Any] = (), *, block: int | None = None) -> Any:
        """Return a storage item's value."""

    async def block_hash(self, block: int) -> bytes:
        """Return a block's hash."""

    async def finalized_block_number(self) -> int:
        """Return the newest block that cannot be taken back."""


class Beacon(Protocol):
    """Random bytes by round."""

    async def newest(self) -> int:
        """Return the newest round whose bytes are known."""

    async def at(self, round_number: int) -> bytes:
        """Return the 32 bytes of a round. Raises BeaconNotYet, UsageError for a negative one."""

    def rounds_in(self, blocks: int, block_seconds: float) -> int:
        """Return how many rounds there are, about, while this many blocks pass, ``block_seconds`` each."""


class PulseBeacon:
    """Rounds of drand's quicknet, from the pulses that the chain has verified and stored."""

    def __init__(self, source: Source) -> None:
        self._source = source

    async def newest(self) -> int:
        """Return the newest round that is stored."""
        return int(await self._source.query("Drand", "LastStoredRound"))

    async def at(self, round_number: int) -> bytes:
        """Return the randomness of a round, or of the next that is stored."""
        _check_round(round_number)
        newest = await self.newest()
        if round_number > newest:
            raise BeaconNotYet(f"round {round_number} of the beacon is not stored yet")
        if round_number < await self._oldest():
            raise TemporaryError(f"the chain no longer keeps round {round_number} of the beacon")
        for each in range(round_number, min(newest, round_number + MISSED_ROUNDS_MAX) + 1):
            pulse = await self._source.query("Drand", "Pulses", [each])
            if pulse is not None:
                return _randomness(pulse)
        raise TemporaryError(f"the chain keeps no beacon near round {round_number}")

    def rounds_in(self, blocks: int, block_seconds: float) -> int:
        """Return how many rounds drand has, about, while the blocks pass."""
        return int(blocks * block_seconds / PULSE_SECONDS)

    async def _oldest(self) -> int:
        """Return the oldest round that is stored; below it nobody can tell what was missed from what was deleted."""
        try:
            return int(await self._source.query("Drand", "OldestStoredRound") or 0)
        except NotImplementedError:
            return 0


class BlockBeacon:
    """One round per block: H(dk(block-beacon); hash of the finalized block)."""

    def __init__(self, source: Source) -> None:
        self._source = source

    async def newest(self) -> int:
        """Return the number of the newest finalized block."""
        return await self._source.finalized_block_number()

    async def at(self, round_number: int) -> bytes:
        """Return the bytes of a block's round."""
        _check_round(round_number)
        if round_number > await self.newest():
            raise BeaconNotYet(f"block {round_number} is not finalized yet")
        return keyed(_BLOCK_KEY, await self._source.block_hash(round_number))

    def rounds_in(self, blocks: int, block_seconds: float) -> int:
        """Return the number of blocks, each of which has a round."""
        return blocks


def _check_round(round_number: int) -> None:
    if round_number < 0:
        raise UsageError(f"the beacon has no round {round_number}")


def _randomness(pulse: Any) -> bytes:
    value = raw_bytes(pulse["randomness"])
    if len(value) != HASH_BYTES:
        raise ProtocolError(f"a pulse of the beacon has {HASH_BYTES} random bytes, not {len(value)}")
    return value
