"""Notices miners that left the subnet, and has their pieces marked lost.

A loss is irrevocable and the newest blocks are not, so both ways to notice wait CERTAIN_BLOCKS:

- a miner is gone when metagraphs that far apart do not show it, and none between them did;
- a miner left and came back, perhaps between two looks, when the metagraph shows it registered in a later block than
  before, that far back. Registration blocks are kept in the database; the first one seen is taken as it is.

What a miner that came back was given before its departure is recorded is lost too: the log knows an order and no
blocks. A metagraph that does not show ourselves proves nothing, nor does one older than the last.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from hippy.chain.protocol import Metagraph, Neuron
from hippy.hashing import u64
from hippy.identity import ss58_encode
from hippy.ids import PublicKey
from hippy.kv import Database, Reader, Transaction
from hippy.validator.holdings import depart, holders, mark_lost
from hippy.validator.log import Home
from hippy.validator.tables import SINCE, put_count

log = logging.getLogger("hippy.validator")

CERTAIN_BLOCKS: Final = 32
"""Blocks after which what a metagraph says stays so: finality is a handful of blocks behind the newest one, and the
rest (6 minutes in all) bridges a chain node that restarts and catches up."""

PIECES_PER_TURN: Final = 1_024
"""Pieces marked in one transaction, some 10 ms; other writers wait no longer."""


class Departures:
    """What one validator has seen of miners that hold pieces and are no longer there."""

    def __init__(self, home: Home, database: Database) -> None:
        self._home = home
        self._database = database
        self._missing_since: dict[PublicKey, int] = {}
        self._block = 0

    async def look(self, metagraph: Metagraph, now: int) -> None:
        """Compare a metagraph with what is known of miners, and record who is gone."""
        await self._mark()  # what is still being worked off would hide a second departure
        if metagraph.block <= self._block or metagraph.by_hotkey(self._home.hotkey) is None:
            return
        self._block = metagraph.block
        known = await self._database.read(_known)
        self._note_missing(metagraph, known)
        for hotkey in sorted(self._missing_since):
            if metagraph.block - self._missing_since[hotkey] >= CERTAIN_BLOCKS:
                await self._depart(hotkey, None, metagraph.block, now)
                del self._missing_since[hotkey]
        await self._look_at_registrations(metagraph, known, now)
        await self._mark()

    def _note_missing(self, metagraph: Metagraph, known: dict[PublicKey, int | None]) -> None:
        """Keep since which block each known miner is missing from all metagraphs."""
        missing = known.keys() - {neuron.hotkey for neuron in metagraph.neurons}
        self._missing_since = {hotkey: self._missing_since.get(hotkey, metagraph.block) for hotkey in missing}

    async def _look_at_registrations(self, metagraph: Metagraph, known: dict[PublicKey, int | None], now: int) -> None:
        """Note registrations seen for the first time, and have those depart that were registered anew."""
        fresh: list[Neuron] = []
        for neuron in metagraph.neurons:
            before, since = known.get(neuron.hotkey), neuron.registered_block
            if before is None:
                fresh.append(neuron)
            elif since <= before or since + CERTAIN_BLOCKS > metagraph.block:
                continue  # nothing new, a chain node that is behind, or not certain yet
            elif since - before < CERTAIN_BLOCKS:
                fresh.append(neuron)  # one registration, whose first block was taken back
            else:
                await self._depart(neuron.hotkey, since, metagraph.block, now)
        if fresh:
            await self._database.transact(lambda txn: _note_registrations(txn, fresh))

    async def _depart(self, hotkey: PublicKey, since: int | None, block: int, now: int) -> None:
        """Record a departure if the miner held anything, and since which block it is back; None: it is not."""

        def work(txn: Transaction) -> bool:
            if since is None:
                txn.delete(SINCE + hotkey)
            else:
                put_count(txn, SINCE + hotkey, since)
            return depart(txn, self._home, hotkey, block, now)

        if await self._database.transact(work):
            left = "left the subnet" if since is None else "left the subnet and is back"
            log.warning("miner %s %s; the pieces it held are lost", ss58_encode(hotkey), left)

    async def _mark(self) -> None:
        while await self._database.transact(lambda txn: mark_lost(txn, PIECES_PER_TURN)) == PIECES_PER_TURN:
            pass


def _known(reader: Reader) -> dict[PublicKey, int | None]:
    """Return who holds pieces or was ever seen, and the block of the registration under which it was last seen."""
    known: dict[PublicKey, int | None] = dict.fromkeys(holders(reader))
    for key, value in reader.scan(SINCE):
        known[PublicKey(key[len(SINCE) :])] = int.from_bytes(value, "little")
    return known


def _note_registrations(txn: Transaction, neurons: Sequence[Neuron]) -> None:
    for neuron in neurons:
        txn.put(SINCE + neuron.hotkey, u64(neuron.registered_block))
