"""What miners hold as of the current epoch's header, kept in memory while the epoch lasts.

An epoch asks a miner four times or more, and reads it some times besides; its inventory is read from the registry
once. Bounded: what was not used for longest is forgotten and read again.
"""

from __future__ import annotations

from random import Random
from typing import Final

from hippy.ids import PublicKey
from hippy.kv import Database
from hippy.proofs.inventory import Inventory
from hippy.proofs.tree import LEAF_BYTES
from hippy.validator.auditing.reading import Piece
from hippy.validator.holdings import holders_at, holdings_of, inventory_at
from hippy.validator.scoring import required_bps
from hippy.wire.score import ScoreRules

STREAM_BPS: Final = 31_250_000
"""What one stream shows of a distant miner, pieces of 2 MiB and one lost packet in a hundred included (hippy.sim)."""

STREAMS_MAX: Final = 8
"""Connections to one node at once (hippy.transport.limits)."""

PIECES_MAX: Final = 4_000_000
"""Pieces of all inventories in memory, 48 bytes each."""


class Inventories:
    """What miners hold as of one record of the log, for auditor and prober."""

    def __init__(self, database: Database, rules: ScoreRules) -> None:
        self._database = database
        self._rules = rules
        self._seq = 0
        self._miners: tuple[PublicKey, ...] = ()
        self._kept: dict[PublicKey, Inventory] = {}

    async def begin(self, seq: int) -> tuple[PublicKey, ...]:
        """Take holdings as of this record from now on, and return who holds anything."""
        self._miners = await self._database.read(lambda reader: tuple(holders_at(reader, seq)))
        self._seq, self._kept = seq, {}
        return self._miners

    def audited(self) -> tuple[PublicKey, ...]:
        """Return the miners that hold anything, in order."""
        return self._miners

    async def of(self, miner: PublicKey) -> Inventory:
        """Return what a miner held when the epoch began."""
        known = self._kept.pop(miner, None)
        seq = self._seq
        if known is None:
            known = await self._database.read(lambda reader: inventory_at(reader, miner, seq))
        if seq == self._seq:
            self._kept[miner] = known  # last in line to be forgotten
            while sum(map(len, self._kept.values())) > PIECES_MAX and len(self._kept) > 1:
                del self._kept[next(iter(self._kept))]
        return known

    async def draw_pieces(self, miner: PublicKey, rng: Random) -> list[Piece]:
        """Return distinct pieces that the miner holds now, drawn by leaves among those it held when the epoch began.

        As many as it takes to measure what is required of a miner with so many bytes (PROTOCOL §5.5).
        """
        inventory = await self.of(miner)
        if not inventory.total_leaves:
            return []
        wanted = pieces_at_once(inventory.total_leaves, self._rules)
        drawn = {inventory.locate(rng.randrange(inventory.total_leaves)).root for _ in range(wanted)}
        held = await self._database.read(lambda reader: [root for root in drawn if holdings_of(reader, miner, root)])
        return [Piece(root, inventory[root]) for root in sorted(held)]


def pieces_at_once(total_leaves: int, rules: ScoreRules) -> int:
    """Return how many pieces a read takes at once from a miner with so many leaves, to show what is required of it."""
    return min(max(1, -(-required_bps(total_leaves * LEAF_BYTES, rules) // STREAM_BPS)), STREAMS_MAX)
