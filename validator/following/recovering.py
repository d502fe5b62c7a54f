"""A home that finds that its followers have more of its own log than itself (PROTOCOL §5.7).

It was started from an old copy of its registry, or from none. What its followers show proves it, for it is signed by
itself; without that, what a follower says changes nothing. Before it serves, and whenever a follower claims to have
more, a home asks for its own log behind its newest record. What continues that is taken over by the fold that followers
use, under its own signature. What does not was written on beside the copy that the followers have: two logs are signed,
nothing can put them together again, and the home takes no more changes.

Not in any log, and so not recovered: what hippy.validator.following.fold lists.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from typing import Final

from hippy.errors import HippyError, TemporaryError
from hippy.identity import ss58_encode
from hippy.ids import PublicKey, SegmentId
from hippy.kv import Transaction
from hippy.transport.client import Call, Peer
from hippy.validator.accounts import refund
from hippy.validator.following.checking import CheckedPage, EquivocationError, check_page
from hippy.validator.following.fold import fold
from hippy.validator.following.follower import FollowParts
from hippy.validator.following.replica import portions
from hippy.validator.following.watch import Bell
from hippy.validator.log import Home, Position, position, store_entry
from hippy.validator.tables import ALLOCATION, HEAD, SERIAL, due_key, get_allocation, get_count, put_count
from hippy.wire.follow import FOLLOW_ANSWER_BYTES_MAX, FollowPage, FollowRequest
from hippy.wire.log import LogEntry, LogHead
from hippy.wire.pace import Pace
from hippy.wire.parts import parse_parts

log = logging.getLogger("hippy.validator")

SERIALS_SKIPPED: Final = 2**32
"""Serials of tickets that a lost registry may have given out: no ticket gets one of them again."""

IDLE_SECONDS: Final = 3_600.0
"""Claims ring a bell; looked at so often without one."""


class Lapse:
    """Keeps a home from writing beside its own log, and gets the missing part back."""

    def __init__(self, parts: FollowParts) -> None:
        self._parts = parts
        self._claims: set[PublicKey] = set()
        self._claimed = Bell(parts.clock)
        self.reason: str | None = None
        """Why no change can be taken, None while all is well."""

    def check(self) -> None:
        """Raises TemporaryError while no change can be taken."""
        if self.reason is not None:
            raise TemporaryError(
                self.reason,
                hint="its operator stops it and starts it on the newest registry that there is; "
                "accounts can move to another validator",
            )

    async def look_at(self, follower: PublicKey) -> None:
        """Have a follower's claim to have more of our log looked at."""
        self._claims.add(follower)
        self._claimed.ring()

    async def run(self) -> None:
        """Look at claims as they come, until cancelled."""
        while True:
            rung = self._claimed.listen()
            while self._claims:
                peer = self._parts.validators.peer(self._claims.pop())
                if peer is not None:
                    await self._try(peer)
            await self._claimed.wait(rung, IDLE_SECONDS)

    async def recover(self) -> None:
        """Take what other validators have of our log and we have not; before we write anything.

        Who does not answer is left out: all may be starting at once.
        """
        peers = self._parts.validators.others()
        there = await asyncio.gather(*map(self._greet, peers))
        for peer in (peer for peer, is_there in zip(peers, there, strict=True) if is_there):
            await self._try(peer)

    async def _greet(self, peer: Peer) -> bool:
        try:
            await self._parts.validators.greet(peer)
        except HippyError as error:
            log.info("%s is not asked for our log: %s", peer, error)
            return False
        return True

    async def _try(self, peer: Peer) -> None:
        try:
            while (page := await self._ask(peer)).entries:
                await self._take(page)
        except EquivocationError as error:
            self.reason = f"this validator's registry is an old copy that was written on: {error.message}"
            log.critical("%s shows our own log, and ours is another: %s", peer, error)
        except HippyError as error:
            log.info("%s shows nothing of our log: %s", peer, error)

    async def _ask(self, peer: Peer) -> CheckedPage:
        """Return what somebody has of our log behind our newest record, checked."""
        us = self._parts.home
        after = await self._parts.database.read(position)
        request = FollowRequest(home=us.hotkey, after=after.seq, wait_seconds=0)
        call = Call("POST", "/v1/follow", request.encode(), answer_bytes_max=FOLLOW_ANSWER_BYTES_MAX)
        body = await self._parts.http.bytes(peer, call)

        def checked() -> CheckedPage:
            return check_page(*parse_parts(FollowPage, body), us.hotkey, after, us)

        return await asyncio.to_thread(checked)

    async def _take(self, page: CheckedPage) -> None:
        """Take over records of our own that we had lost.

        Raises TemporaryError when something was written meanwhile.
        """
        parts = self._parts
        first, last = page.entries[0].record.seq, page.entries[-1].record.seq
        log.warning("%s takes back its records %d to %d from a follower", ss58_encode(parts.home.hotkey), first, last)
        for portion in portions(page):
            work = partial(take_back, home=parts.home, page=page, portion=portion, pace=parts.pace)
            await parts.database.transact(work)


def take_back(txn: Transaction, *, home: Home, page: CheckedPage, portion: Sequence[LogEntry], pace: Pace) -> None:
    """Append records that we wrote once and lost, with all that follows from them.

    Raises TemporaryError when our log does not end where they begin, IntegrityError for what does not fit.
    """
    at = position(txn)
    if portion[0].record.prev != at.head:
        raise TemporaryError("something was written while records were taken back")
    for entry in portion:
        _forget_allocation(txn, entry)
        store_entry(txn, entry)
        fold(txn, entry, home.network, pace, page.manifests.get(entry.record.seq))
    record = portion[-1].record
    at = Position(record.seq, record.id(home.network))
    head = LogHead(home=home.hotkey, netuid=home.netuid, term=record.term, seq=at.seq, head=at.head)
    txn.put(HEAD, head.signed(home.identity, home.network).encode())
    put_count(txn, SERIAL, max(get_count(txn, SERIAL), SERIALS_SKIPPED))


def _forget_allocation(txn: Transaction, entry: LogEntry) -> None:
    """Give back what an allocation is charged that an old copy has open, and that a later record ended."""
    if entry.segment is not None:
        segment_id = entry.segment.segment_id
    elif entry.closed is not None:
        segment_id = SegmentId(entry.closed.segment_id)
    else:
        return
    allocation = get_allocation(txn, segment_id)
    if allocation is None:
        return
    txn.delete(ALLOCATION + segment_id)
    txn.delete(due_key(allocation))
    if allocation.state == "open":
        refund(txn, allocation.account, allocation.charged_bytes)
