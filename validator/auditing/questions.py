"""The request of a batch: drawn when it is first asked, the same leaves whenever it is asked again."""

from __future__ import annotations

from dataclasses import replace

from hippy.chain.protocol import Chain
from hippy.errors import UsageError
from hippy.kv import Database
from hippy.proofs.challenge import draw_request
from hippy.proofs.request import parse_request
from hippy.validator.audit.batch import OpenBatch
from hippy.validator.auditing.closing import Closing
from hippy.validator.auditing.epochs import get_owed
from hippy.validator.auditing.inventories import Inventories
from hippy.validator.auditing.outcomes import Question
from hippy.validator.placement import epoch_secret


class Questions:
    """Draws requests, or recalls them."""

    def __init__(self, closing: Closing, database: Database, chain: Chain, inventories: Inventories) -> None:
        self._closing = closing
        self._database = database
        self._chain = chain
        self._inventories = inventories

    async def of(self, batch: OpenBatch) -> Question:
        """Return a batch with its request.

        Raises TemporaryError or BeaconNotYet when the chain does not tell the beacon, UsageError for a batch that was
        asked and whose request was not kept.
        """
        return await self._recalled(batch) if batch.attempt else await self._drawn(batch)

    async def _recalled(self, batch: OpenBatch) -> Question:
        kept = await self._database.read(lambda reader: get_owed(reader, batch.key))
        if kept is None:
            raise UsageError("the request of this batch was not kept")
        body, lengths = kept
        return Question(batch, replace(parse_request(body), attempt=batch.attempt), lengths)

    async def _drawn(self, batch: OpenBatch) -> Question:
        key, home = batch.key, self._closing.home
        inventory = await self._inventories.of(key.miner)
        request = draw_request(
            epoch_secret(self._closing.secret, key.epoch),
            await self._chain.beacon(batch.round),
            validator=home.hotkey,
            miner=key.miner,
            epoch=key.epoch,
            batch=key.number,
            beacon_round=batch.round,
            attempt=0,
            inventory=inventory,
            count=self._closing.rules.batch_leaves,
        )
        return Question(batch, request, tuple(inventory[entry.root] for entry in request.entries))
