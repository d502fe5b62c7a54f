"""Telling validators what was lost, before they ask: then it costs the bytes and not the reputation (PROTOCOL §5.5).

Every validator that issued an obligation for a lost piece gets a signed report of its own, at most 256 roots each. It
is found through the metagraph and told only after a handshake. A validator that is away is tried again and again with
growing pauses, each for itself; serving goes on meanwhile. What was answered is not told again, what was not is told
after a restart too: both stand in the index (hippy.miner.losses). One exception: a piece that was lost between storing
and commit is nothing its validator knows of yet. It answers that it recorded less than it was told of, and is told
once more when the piece can be committed no longer.

Example::

    async with background(LossReporter(store.losses, issuers, http, identity, network, clock).run()):
        ...
"""

from __future__ import annotations

import asyncio
import logging
import math
from typing import Final

from hippy.clock import Clock
from hippy.identity import Identity, ss58_encode
from hippy.ids import NetworkId, PublicKey
from hippy.miner.background import complain
from hippy.miner.issuers import Issuers
from hippy.miner.losses import Losses
from hippy.transport.client import Call, Http
from hippy.wire.audit import LostAnswer, LostReport

log = logging.getLogger("hippy.miner")

PAUSE_SECONDS_MIN: Final = 5.0
"""Less than a beacon round: only batches of later rounds than the report's are excused."""

PAUSE_SECONDS_MAX: Final = 600.0
"""A validator that was away for long hears of it within ten minutes of its return."""

LOOK_AGAIN_SECONDS: Final = 60.0
"""Between two looks at pieces that could not be looked at, and at most between those at what is to be told again."""


class LossReporter:
    """Tells the losses of one miner to those who are owed the pieces."""

    def __init__(
        self, losses: Losses, issuers: Issuers, http: Http, identity: Identity, network: NetworkId, clock: Clock
    ) -> None:
        self._losses = losses
        self._issuers = issuers
        self._http = http
        self._identity = identity
        self._network = network
        self._clock = clock
        self._news: dict[PublicKey, asyncio.Event] = {}
        self._answered = asyncio.Event()

    async def run(self) -> None:
        """Look at what is noted and tell it, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._repeat(tasks))
            while True:
                if await self._settle(tasks):
                    await self._losses.wait()
                else:
                    await self._clock.sleep(LOOK_AGAIN_SECONDS)

    async def _settle(self, tasks: asyncio.TaskGroup) -> bool:
        """Look at all that is noted, start a task for each new validator to tell, and return whether that is all."""
        try:
            is_done = await self._losses.settle()
            await self._wake(tasks)
        except Exception as error:  # noqa: BLE001 - the top of a supervised task: serving must go on without it
            complain(error, "lost pieces could not be looked at")
            return False
        return is_done

    async def _repeat(self, tasks: asyncio.TaskGroup) -> None:
        """Have told again what was told too early, when its time has come, until cancelled."""
        while True:
            self._answered.clear()  # before looking: what comes in between is looked for again
            try:
                due = await self._losses.fall_due(self._clock.now())
                await self._wake(tasks)
            except Exception as error:  # noqa: BLE001 - the top of a supervised task: it tries again for ever
                complain(error, "what is to be told again could not be looked up")
                due = math.inf
            if due is None:
                await self._answered.wait()
            else:
                await self._clock.sleep(min(max(due - self._clock.now(), 0), LOOK_AGAIN_SECONDS))

    async def _wake(self, tasks: asyncio.TaskGroup) -> None:
        """Have told what there is to tell; each new validator gets a task."""
        for validator in await self._losses.validators():
            if validator not in self._news:
                self._news[validator] = asyncio.Event()
                tasks.create_task(self._tell(validator))
            self._news[validator].set()

    async def _tell(self, validator: PublicKey) -> None:
        """Tell one validator all there is and will be to tell it, however often that takes."""
        news, pause_seconds = self._news[validator], PAUSE_SECONDS_MIN
        while True:
            news.clear()  # before looking: what comes in between is looked for again
            try:
                is_told_all = not await self._tell_next(validator)
            except Exception as error:  # noqa: BLE001 - the top of a supervised task: it tries again for ever
                complain(error, f"{ss58_encode(validator)} was not told of lost pieces")
                await self._clock.sleep(pause_seconds)
                pause_seconds = min(2 * pause_seconds, PAUSE_SECONDS_MAX)
                continue
            pause_seconds = PAUSE_SECONDS_MIN
            if is_told_all:
                await news.wait()

    async def _tell_next(self, validator: PublicKey) -> bool:
        """Send one report and return whether there was anything to tell.

        Raises HippyError when it was not answered as it should be.
        """
        roots = await self._losses.to_tell(validator)
        if not roots:
            return False
        peer = await self._issuers.reach(validator)
        report = LostReport(
            miner=self._identity.public_key, validator=validator, roots=tuple(roots), time=int(self._clock.now())
        ).signed(self._identity, self._network)
        answer = await self._http.message(peer, Call("POST", "/v1/lost", body=report.encode()), LostAnswer)
        await self._losses.told(validator, roots, recorded=answer.recorded, now=self._clock.now())
        self._answered.set()
        log.warning(
            "%s was told of %d lost pieces and recorded %d", ss58_encode(validator), len(roots), answer.recorded
        )
        return True
