"""Notices miners that left the subnet, and has their pieces marked lost.

A miner counts as gone when two metagraphs of different blocks do not show it: the newest block can still be taken
back, and what is marked lost stays so. A metagraph that does not show ourselves proves nothing.
"""

from __future__ import annotations

import logging
from typing import Final

from hippy.chain.protocol import Metagraph
from hippy.identity import ss58_encode
from hippy.ids import PublicKey
from hippy.kv import Database, Reader, Transaction
from hippy.validator.holdings import depart, holders, mark_lost
from hippy.validator.log import Home

log = logging.getLogger("hippy.validator")

PIECES_PER_TURN: Final = 1_024
"""Pieces marked in one transaction, some 10 ms; other writers wait no longer."""


class Departures:
    """What one validator has seen of miners that hold pieces and are no longer there."""

    def __init__(self, home: Home, database: Database) -> None:
        self._home = home
        self._database = database
        self._missing: frozenset[PublicKey] = frozenset()
        self._block = 0

    async def look(self, metagraph: Metagraph, now: int) -> None:
        """Compare a metagraph with who holds pieces, and record who is gone."""
        if metagraph.block > self._block and metagraph.by_hotkey(self._home.hotkey) is not None:
            gone = self._missing & await self._missing_from(metagraph)
            for hotkey in sorted(gone):
                await self._depart(hotkey, metagraph.block, now)
        while await self._database.transact(lambda txn: mark_lost(txn, PIECES_PER_TURN)) == PIECES_PER_TURN:
            pass

    async def _missing_from(self, metagraph: Metagraph) -> frozenset[PublicKey]:
        registered = {neuron.hotkey for neuron in metagraph.neurons}

        def missing(reader: Reader) -> frozenset[PublicKey]:
            return frozenset(miner for miner in holders(reader) if miner not in registered)

        self._missing, self._block = await self._database.read(missing), metagraph.block
        return self._missing

    async def _depart(self, hotkey: PublicKey, block: int, now: int) -> None:
        def work(txn: Transaction) -> None:
            depart(txn, self._home, hotkey, block, now)

        log.warning("miner %s left the subnet; its pieces are lost", ss58_encode(hotkey))
        await self._database.transact(work)
