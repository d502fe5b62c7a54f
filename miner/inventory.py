"""Asking the validators what has become of their tickets, once a day, so that no obligation outlives its end (§4.2).

The index is walked in the order of its keys, some tickets at a time, and each portion is asked about before the next is
read: memory does not grow with what is stored. Portions are spread evenly over the day, and how far the walk came is in
the index, so a miner that is restarted every hour asks about everything too. An issuer that is away, or answers
nonsense, is asked again about those tickets when their turn comes again: until then they are owed, as they were.

Example::

    async with background(Inventory(store, issuers, http, identity, clock, network, epoch_seconds).run()):
        ...
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from hippy.clock import Clock
from hippy.errors import HippyError
from hippy.identity import Identity, ss58_encode
from hippy.ids import NetworkId, PublicKey
from hippy.miner.background import complain
from hippy.miner.issuers import Issuers
from hippy.miner.obligations import Obligation
from hippy.miner.releases import Mark, Told, key_of, read_answer
from hippy.miner.store import PieceStore
from hippy.points import reached
from hippy.transport.client import Call, Http
from hippy.wire.pace import DAY, pace_of, scaled
from hippy.wire.release import INVENTORY_ANSWER_BYTES_MAX, INVENTORY_MAX, InventoryRequest, OwedTicket

log = logging.getLogger("hippy.miner")

PORTION: Final = 4 * INVENTORY_MAX
"""Tickets read at once, a megabyte: four full pages for one issuer, or a few tickets for each of many."""

ISSUERS_AT_ONCE: Final = 8
LOOK_AGAIN_SECONDS: Final = 600.0
"""How soon it is seen that there is more to ask about than there was, on a subnet."""

FORGET_SECONDS: Final = 30 * DAY
"""How long a release is kept after its bytes may be removed; a validator audits by what it knew a day ago at most."""


class Inventory:
    """Asks about the tickets of one miner."""

    def __init__(
        self,
        store: PieceStore,
        issuers: Issuers,
        http: Http,
        identity: Identity,
        clock: Clock,
        network: NetworkId,
        epoch_seconds: float,
    ) -> None:
        self._store = store
        self._issuers = issuers
        self._http = http
        self._identity = identity
        self._clock = clock
        self._network = network
        self._pace = pace_of(epoch_seconds)
        self._round_seconds = scaled(DAY, epoch_seconds)
        self._look_again_seconds = scaled(LOOK_AGAIN_SECONDS, epoch_seconds)
        self._keep_seconds = self._pace.trash_seconds + int(scaled(FORGET_SECONDS, epoch_seconds))

    async def run(self) -> None:
        """Ask, portion by portion, until cancelled."""
        while True:
            wait_seconds = self._look_again_seconds
            try:
                wait_seconds = await self._seconds_to_wait()
                if wait_seconds <= 0:
                    await self.ask_portion()
                    wait_seconds = await self._seconds_to_wait()
            except Exception as error:  # noqa: BLE001 - the top of a supervised task: it tries again for ever
                complain(error, "tickets were not asked about")
                wait_seconds = self._look_again_seconds
            await self._clock.sleep(min(max(wait_seconds, 0), self._look_again_seconds))

    async def ask_portion(self) -> None:
        """Ask about the next tickets, each issuer about its own, and remember that. Raises TemporaryError."""
        mark = await self._store.releases.mark()
        portion = await self._store.releases.page(mark.after, PORTION)
        by_issuer: dict[PublicKey, list[Obligation]] = {}
        for obligation in portion:
            by_issuer.setdefault(obligation.ticket.validator, []).append(obligation)
        turns = asyncio.Semaphore(ISSUERS_AT_ONCE)
        async with asyncio.TaskGroup() as tasks:
            for validator, owed in by_issuer.items():
                tasks.create_task(self._ask(validator, owed, turns))
        after = key_of(portion[-1]) if len(portion) == PORTION else None
        await self._store.releases.put_mark(Mark(int(self._clock.now()), after))

    async def _seconds_to_wait(self) -> float:
        """Return how long after the portion before the next is due: the day's share of it.

        A portion that was asked about at a time to come was so by a clock that was set back since: the next is due now.
        """
        mark, obligations = await self._store.releases.mark(), await self._store.releases.obligations()
        if mark.time > self._clock.now():
            return 0.0
        share = min(1.0, PORTION / obligations) if obligations else 1.0
        return mark.time + self._round_seconds * share - self._clock.now()

    async def _ask(self, validator: PublicKey, owed: Sequence[Obligation], turns: asyncio.Semaphore) -> None:
        """Ask one issuer, page by page, until it fails us."""
        outcomes = self._store.figures.releases
        async with turns:
            for start in range(0, len(owed), INVENTORY_MAX):
                page = owed[start : start + INVENTORY_MAX]
                try:
                    await self._take(validator, await self._ask_page(validator, page))
                except HippyError as error:
                    outcomes["unanswered"] += len(owed) - start
                    log.warning("%s was not asked about its tickets: %s", ss58_encode(validator), error)
                    return

    async def _ask_page(self, validator: PublicKey, page: Sequence[Obligation]) -> Told:
        """Return what an issuer says of some tickets. Raises HippyError when it does not, or not as it should."""
        peer = await self._issuers.reach(validator)
        asked = InventoryRequest(
            miner=self._identity.public_key,
            tickets=tuple(
                OwedTicket(
                    ticket_id=one.receipt.ticket_id,
                    segment_id=one.ticket.segment_id,
                    index=one.ticket.index,
                    root=one.ticket.root,
                )
                for one in page
            ),
        )
        call = Call("POST", "/v1/inventory", body=asked.encode(), answer_bytes_max=INVENTORY_ANSWER_BYTES_MAX)
        raw = await self._http.bytes(peer, call)
        now = int(self._clock.now())
        told = await asyncio.to_thread(read_answer, page, raw, self._network, now, self._pace)
        await self._check_movers(told)
        return told

    async def _check_movers(self, told: Told) -> None:
        """Take away what says that a piece moved to a miner that is none of this subnet: anybody can sign a receipt.

        Raises TemporaryError when the chain does not answer.
        """
        believed = []
        for release in told.releases:
            if release.receipt is None or await self._issuers.is_registered(release.receipt.miner):
                believed.append(release)
            else:
                told.refuse(f"{ss58_encode(release.receipt.miner)}, which is to have the piece now, is not registered")
        told.releases = believed

    async def _take(self, validator: PublicKey, told: Told) -> None:
        """End what has ended, durably, and count the rest."""
        outcomes = self._store.figures.releases
        outcomes["live"] += told.live
        outcomes["unknown"] += told.unknown
        outcomes["refused"] += told.refused
        if told.refused:
            log.error("%s sent %d bad releases: %s", ss58_encode(validator), told.refused, told.reason)
        if not told.releases:
            return
        now = int(self._clock.now())
        ended = await self._store.releases.end(told.releases, now, now + self._keep_seconds)
        reached("miner.released")
        outcomes["released"] += ended.obligations
        self._store.recount(ended.totals)
        log.info(
            "%s released %d obligations; nobody is owed %d pieces any longer",
            ss58_encode(validator),
            ended.obligations,
            ended.pieces,
        )
