"""One other home, followed: ask for its records, check them, store them, say so with the next question (PROTOCOL §5.7).

The home itself is asked, by a long poll; while it is away, others that follow it may have records that we lack. Where
we stopped is in the database, so a follower goes on there after any crash. What does not continue what we have, signed
by the home, is kept as proof, and that log is followed no further; what we have of it we still answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

from hippy.clock import Clock
from hippy.errors import HippyError, IntegrityError, TemporaryError
from hippy.identity import ss58_encode
from hippy.ids import PublicKey
from hippy.kv import Database, Reader
from hippy.points import reached
from hippy.transport.client import Call, Http, Peer
from hippy.validator.following.checking import CheckedPage, EquivocationError, check_page
from hippy.validator.following.equivocations import equivocation_of, note_equivocation
from hippy.validator.following.peers import Validators
from hippy.validator.following.replica import (
    Progress,
    lacks_manifests,
    portions,
    prefix_of,
    progress,
    reader_of,
    record_id,
    take_over,
)
from hippy.validator.following.views import DatabaseBelow
from hippy.validator.holdings import mark_lost
from hippy.validator.log import BEGINNING, TERM, Home, Position
from hippy.wire.copies import FollowerAck
from hippy.wire.follow import FOLLOW_ANSWER_BYTES_MAX, FollowPage, FollowRequest
from hippy.wire.pace import Pace
from hippy.wire.parts import parse_parts

log = logging.getLogger("hippy.validator")

T = TypeVar("T")

WAIT_SECONDS: Final = 2
"""A question waits for so long; the next one tells the home again that we are there. It takes 5 s of silence for
absence."""

EMPTY_TURN_SECONDS: Final = 1.0
"""A question that was to wait and brought nothing took so long, or is made to."""

RETRY_SECONDS: Final = 1.0
RETRY_SECONDS_MAX: Final = 30.0
"""Between two tries at a home that is away; doubled from RETRY_SECONDS on."""

AWAY_FAILURES: Final = 2
"""Tries in a row that failed before others are asked for its log."""

INLINE_BYTES_MAX: Final = 16 * 1024
"""A shorter page is checked at once, some 3 ms; a longer one in a thread."""

PIECES_PER_TURN: Final = 1_024
"""Pieces marked lost in one transaction, some 10 ms."""


@dataclass(frozen=True, slots=True)
class FollowParts:
    """What following needs: ``http`` signs as us, ``database`` is our own, with everything that we follow."""

    home: Home
    database: Database
    http: Http
    validators: Validators
    clock: Clock
    pace: Pace


class Follower:
    """Follows the log of one home, until cancelled."""

    def __init__(self, parts: FollowParts, home: PublicKey) -> None:
        self._parts = parts
        self.home = home
        self.progress = Progress(BEGINNING, 0)
        """How far we are."""

        self.known_seq = 0
        """The newest record that anybody told us of."""

        self.equivocates = False
        self.failures = 0
        """Tries in a row that failed."""

        self._greeted: Peer | None = None
        self._is_current = False

    async def run(self) -> None:
        """Follow for ever."""
        self.progress = await self._read(progress)
        self.known_seq = max(self.known_seq, self.progress.at.seq)
        self.equivocates = (
            await self._parts.database.read(lambda reader: equivocation_of(reader, self.home)) is not None
        )
        await self._mark_lost()  # what a crash left undone
        while not self.equivocates:
            try:
                await self._turn()
            except EquivocationError as error:
                self.equivocates = True
                log.critical("%s signed two logs: %s; it is followed no further", self._name, error)
            except Exception:  # the top of a supervised task: whatever one home sends must not end it
                log.exception("unexpected error while following %s", self._name)
                await self._pause()

    async def _turn(self) -> None:
        """Ask the home once; where it fails, others once in a while, and then wait."""
        try:
            await self._ask_home()
        except EquivocationError:
            raise
        except HippyError as error:
            self._greeted = None
            level = logging.INFO if self.failures else logging.WARNING
            log.log(level, "cannot follow %s now: %s", self._name, error)
            if self.failures >= AWAY_FAILURES:
                await self._ask_others()
            await self._pause()

    async def _pause(self) -> None:
        seconds = min(RETRY_SECONDS_MAX, RETRY_SECONDS * 2 ** min(self.failures, 16))
        self.failures += 1
        await self._parts.clock.sleep(seconds)

    async def _ask_home(self) -> None:
        peer = self._parts.validators.peer(self.home)
        if peer is None:
            raise TemporaryError("it is no validator with an endpoint")
        if peer != self._greeted:
            await self._parts.validators.greet(peer)
            self._greeted = peer
        began, was_current = self._parts.clock.now(), self._is_current
        page = await self._ask(peer, self._ack(), wait_seconds=WAIT_SECONDS if was_current else 0)
        self._parts.validators.saw(peer)
        if not page.entries:
            await self._at_end(page)
        self._is_current = not page.entries  # by what it gave, not by what it says that it has
        self.failures = 0
        if was_current and self._is_current:  # whoever does not wait as asked is not asked again at once
            await self._parts.clock.sleep(max(0.0, began + EMPTY_TURN_SECONDS - self._parts.clock.now()))

    async def _ask_others(self) -> None:
        """Take what others have of the home's log and we have not."""
        for peer in self._parts.validators.others():
            if peer.hotkey == self.home or not self._parts.validators.is_live(peer.hotkey):
                continue
            try:
                while (await self._ask(peer, None, wait_seconds=0)).entries:
                    pass
            except EquivocationError:
                raise
            except HippyError as error:
                log.info("%s cannot tell of the log of %s: %s", peer, self._name, error)

    async def _ask(self, peer: Peer, ack: FollowerAck | None, *, wait_seconds: int) -> CheckedPage:
        """Ask somebody for what follows, and store it."""
        after = self.progress.at
        request = FollowRequest(home=self.home, after=after.seq, wait_seconds=wait_seconds, ack=ack)
        call = Call("POST", "/v1/follow", request.encode(), answer_bytes_max=FOLLOW_ANSWER_BYTES_MAX)
        body = await self._parts.http.bytes(peer, call)
        try:
            page, newest_seq = await _off_loop(body, lambda: self._checked(body, after))
        except EquivocationError as error:
            await self._keep_proof(error)
            raise
        if page.entries:
            await self._store(page)
        told_seq = newest_seq if peer.hotkey == self.home else 0  # it signs no such number, and nobody knows better
        self.known_seq = max(self.progress.at.seq, told_seq, 0 if page.head is None else page.head.seq)
        return page

    def _checked(self, body: bytes, after: Position) -> tuple[CheckedPage, int]:
        page, blobs = parse_parts(FollowPage, body)
        return check_page(page, blobs, self.home, after, self._parts.home), page.newest_seq

    async def _store(self, page: CheckedPage) -> None:
        """Take over a page that was checked, durably."""
        database, network, pace = self._parts.database, self._parts.home.network, self._parts.pace
        replica = DatabaseBelow(database, prefix_of(self.home))
        reached("validator.before_follow")
        for portion in portions(page):
            now = int(self._parts.clock.now())
            work = partial(take_over, page=page, portion=portion, network=network, pace=pace, now=now)
            self.progress = Progress(await replica.transact(work), now)
        reached("validator.followed")
        if any(entry.departure is not None for entry in page.entries):
            await self._mark_lost()

    async def _mark_lost(self) -> None:
        replica = DatabaseBelow(self._parts.database, prefix_of(self.home))
        while await replica.transact(lambda txn: mark_lost(txn, PIECES_PER_TURN)) == PIECES_PER_TURN:
            pass

    async def _at_end(self, page: CheckedPage) -> None:
        """Judge the home's word that it has nothing behind what we have.

        Raises IntegrityError where a manifest is missing, EquivocationError for a head beside what we have,
        TemporaryError for a home that was set back.
        """
        at, head = self.progress.at, page.head
        if head is not None and head.seq < at.seq:
            ours = await self._read(lambda reader: record_id(reader, head.seq, self._parts.home.network))
            if ours != head.head:
                error = EquivocationError(f"record {head.seq} is another than it was shown before", head)
                await self._keep_proof(error)
                raise error
            raise TemporaryError(f"it has {head.seq} of the {at.seq} records that it showed before: an old copy of it")
        if await self._read(lacks_manifests):
            raise IntegrityError("it does not show the manifest of a row that is current")

    async def _keep_proof(self, error: EquivocationError) -> None:
        now, network = int(self._parts.clock.now()), self._parts.home.network
        proof = await self._parts.database.transact(
            lambda txn: note_equivocation(txn, self.home, error.head, network, now)
        )
        if proof is None:
            raise IntegrityError("the page does not continue what we have, and proves nothing") from None

    def _ack(self) -> FollowerAck | None:
        """Return our word of what we have, None before the first record."""
        at, us = self.progress.at, self._parts.home
        if at.seq == 0:
            return None
        unsigned = FollowerAck(
            follower=us.hotkey,
            home=self.home,
            netuid=us.netuid,
            term=TERM,
            seq=at.seq,
            head=at.head,
            time=int(self._parts.clock.now()),
        )
        return unsigned.signed(us.identity, us.network)

    async def _read(self, work: Callable[[Reader], T]) -> T:
        return await self._parts.database.read(lambda reader: work(reader_of(reader, self.home)))

    @property
    def _name(self) -> str:
        return ss58_encode(self.home)


async def _off_loop(body: bytes, work: Callable[[], T]) -> T:
    return work() if len(body) <= INLINE_BYTES_MAX else await asyncio.to_thread(work)
