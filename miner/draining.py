"""Leaving: the miner's word to everybody it owes pieces to, and how much of it is left there (PROTOCOL §7, Leaving).

The wish stands in the index (hippy.miner.drains). Every validator that issued a live ticket is told of it after a
handshake, and answers with what the miner still holds there; it is asked again once a day, when the miner starts, and
every half a minute while somebody looks (:meth:`Draining.state`). One that is away is tried again with growing pauses.
A wish that is taken back is told to the same validators until each has answered.

Who the validators are is read off the obligations, all of them, a portion at a time: at the start of a drain, when the
miner starts, and once a day, for uploads that were under way come after it.

Example::

    async with background(draining.run()):
        await draining.wish("start")
        state = await draining.state()
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Any, Final

from hippy.clock import Clock
from hippy.errors import HippyError
from hippy.identity import Identity, ss58_encode
from hippy.ids import NetworkId, PublicKey
from hippy.miner.background import complain
from hippy.miner.drains import Action, DrainIndex, Wish
from hippy.miner.issuers import Issuers
from hippy.miner.releases import key_of
from hippy.miner.store import PieceStore
from hippy.transport.client import Call, Http
from hippy.wire.pace import DAY, scaled
from hippy.wire.repair import Drain, DrainAnswer

log = logging.getLogger("hippy.miner")

PORTION: Final = 1_024
"""Obligations read at once, a megabyte."""

VALIDATORS_AT_ONCE: Final = 8
WATCHED_SECONDS: Final = 30.0
"""Between two questions of one validator while somebody looks, on a subnet."""

PAUSE_SECONDS_MIN: Final = 5.0
PAUSE_SECONDS_MAX: Final = 600.0
"""Between two tries at a validator that is away, on a subnet."""


@dataclass(slots=True)
class Issuer:
    """A validator that is owed something, as far as is known."""

    validator: PublicKey
    owed_pieces: int = 0
    owed_bytes: int = 0
    """By our own index, when it was read last: obligations that it has not released."""

    left: DrainAnswer | None = None
    """What it said of the newest wish: what we still hold by its log."""

    left_time: float = 0.0
    error: str | None = None
    """Why it did not answer last; None where it did."""

    asked_time: float | None = None
    pause_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class State:
    """How far a drain is; of the validators as they are known now."""

    wish: Wish
    issuers: tuple[Issuer, ...]
    is_complete: bool
    """Whether the issuers are all there are."""

    @property
    def is_done(self) -> bool:
        """Whether every validator has said that this miner holds nothing any more."""
        if self.wish.action == "stop" or not self.is_complete:
            return False
        return all(issuer.left is not None and not issuer.left.pieces for issuer in self.issuers)


class Draining:
    """Tells one miner's wish to leave, or to stay after all."""

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
        self._reach = issuers.reach
        self._http = http
        self._identity = identity
        self._clock = clock
        self._network = network
        self._round_seconds = scaled(DAY, epoch_seconds)
        self._watched_seconds = scaled(WATCHED_SECONDS, epoch_seconds)
        self._pause_seconds_min = scaled(PAUSE_SECONDS_MIN, epoch_seconds)
        self._pause_seconds_max = scaled(PAUSE_SECONDS_MAX, epoch_seconds)
        self._issuers: dict[PublicKey, Issuer] = {}
        self._read_time: float | None = None
        """When the obligations were read last; None: not since the wish, or the start."""
        self._looked_time = float("-inf")
        self._news = asyncio.Event()

    @property
    def _drains(self) -> DrainIndex:
        return self._store.drains

    async def wish(self, action: Action) -> None:
        """Leave, or stay after all; durable when this returns. Raises TemporaryError."""
        before = self._drains.newest.action
        await self._drains.wish(Wish(action, int(self._clock.now())))
        if before != action:
            log.warning("this miner is leaving" if action == "start" else "this miner stays after all")
            self._issuers, self._read_time = {}, None
            self._figure()
            self._news.set()

    async def state(self) -> State:
        """Return how far it is; validators are asked more often for a while, because somebody looks."""
        self._looked_time = self._clock.now()
        self._news.set()
        issuers = tuple(self._issuers[validator] for validator in sorted(self._issuers))
        return State(self._drains.newest, issuers, self._read_time is not None)

    async def run(self) -> None:
        """Tell whoever is to know, until cancelled."""
        self._figure()
        while True:
            self._news.clear()  # before looking: what comes in between is looked at again
            try:
                await self._tell_due()
            except Exception as error:  # noqa: BLE001 - the top of a supervised task: it tries again for ever
                complain(error, "the wish to leave was not told")
                await self._pause(self._pause_seconds_min)
                continue
            await self._pause(self._seconds_to_wait())

    async def _tell_due(self) -> None:
        """Tell every validator whose time has come. Raises TemporaryError when the index does not answer."""
        await self._find_issuers()
        turns, now = asyncio.Semaphore(VALIDATORS_AT_ONCE), self._clock.now()
        async with asyncio.TaskGroup() as tasks:
            for issuer in list(self._issuers.values()):
                if self._due_time(issuer) <= now:
                    tasks.create_task(self._tell(issuer, turns))
        self._figure()

    async def _find_issuers(self) -> None:
        """Find out who is to know, once a day. Raises TemporaryError."""
        now = self._clock.now()
        if self._read_time is not None and 0 <= now - self._read_time < self._round_seconds:
            return
        wish = self._drains.newest
        owed = await self._owed() if wish.action == "start" else {}
        await self._drains.add(owed.keys())
        for validator in await self._drains.validators():
            issuer = self._issuers.setdefault(validator, Issuer(validator))
            issuer.owed_pieces, issuer.owed_bytes = owed.get(validator, (0, 0))
        if wish == self._drains.newest:
            self._read_time = now

    async def _owed(self) -> dict[PublicKey, tuple[int, int]]:
        """Return the pieces and bytes of all obligations, by who issued them."""
        owed: dict[PublicKey, tuple[int, int]] = {}
        after = None
        while page := await self._store.releases.page(after, PORTION):
            for ticket in (obligation.ticket for obligation in page):
                pieces, size = owed.get(ticket.validator, (0, 0))
                owed[ticket.validator] = pieces + 1, size + ticket.piece_length
            after = key_of(page[-1])
        return owed

    async def _tell(self, issuer: Issuer, turns: asyncio.Semaphore) -> None:
        """Tell one validator what is wished now, and note what it says."""
        async with turns:
            action, issuer.asked_time = self._drains.newest.action, self._clock.now()
            try:
                issuer.left = await self._ask(issuer.validator, action)
                if action == "stop" and not self._drains.is_on:
                    await self._drains.forget(issuer.validator)
                    if self._issuers.get(issuer.validator) is issuer:
                        del self._issuers[issuer.validator]
            except HippyError as error:
                log.warning(
                    "%s was not told that this miner %s: %s", ss58_encode(issuer.validator), _does(action), error
                )
                issuer.error = error.message
                longer = max(self._pause_seconds_min, 2 * issuer.pause_seconds)
                issuer.pause_seconds = min(longer, self._pause_seconds_max)
                return
            issuer.left_time, issuer.error, issuer.pause_seconds = self._clock.now(), None, 0.0

    async def _ask(self, validator: PublicKey, action: Action) -> DrainAnswer:
        peer = await self._reach(validator)
        told = Drain(
            miner=self._identity.public_key, validator=validator, action=action, time=int(self._clock.now())
        ).signed(self._identity, self._network)
        return await self._http.message(peer, Call("POST", "/v1/drain", body=told.encode()), DrainAnswer)

    def _due_time(self, issuer: Issuer) -> float:
        """Return when a validator is to be asked again: at once, where the clock was set back since it was asked."""
        if issuer.asked_time is None or issuer.asked_time > self._clock.now():
            return float("-inf")
        wait_seconds = self._round_seconds if issuer.error is None else issuer.pause_seconds
        if self._is_watched:
            wait_seconds = min(wait_seconds, self._watched_seconds)
        return issuer.asked_time + wait_seconds

    @property
    def _is_watched(self) -> bool:
        return self._clock.now() <= self._looked_time + 2 * self._watched_seconds

    def _seconds_to_wait(self) -> float | None:
        """Return how long there is nothing to do; None: until there are news."""
        times = [self._due_time(issuer) for issuer in self._issuers.values()]
        if self._drains.is_on and self._read_time is not None:
            times.append(self._read_time + self._round_seconds)
        return min(times) - self._clock.now() if times else None

    async def _pause(self, seconds: float | None) -> None:
        """Wait for news, but no longer than so many seconds."""
        waiting: set[asyncio.Task[Any]] = {asyncio.create_task(self._news.wait())}
        if seconds is not None:
            waiting.add(asyncio.create_task(self._clock.sleep(max(seconds, 0))))
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    def _figure(self) -> None:
        """Show what is known to whoever watches."""
        figures, answers = self._store.figures, [issuer.left for issuer in self._issuers.values()]
        figures.is_draining = self._drains.is_on
        known = [answer for answer in answers if answer is not None]
        is_known = figures.is_draining and self._read_time is not None and len(known) == len(answers)
        figures.drain_pieces = sum(answer.pieces for answer in known) if is_known else None
        figures.drain_bytes = sum(answer.bytes for answer in known) if is_known else None


def _does(action: Action) -> str:
    return "leaves" if action == "start" else "stays"
