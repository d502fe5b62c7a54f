"""The home's side of copies: who acknowledged how much of its log, and waiting until a change is safe (PROTOCOL §3.6).

A follower says with every question what it has, signed; :meth:`Copies.note` believes it where our log has the record
that it names. :meth:`Copies.wait` holds an answer back until a change is with followers: with all that are in step,
which have what is older than a few seconds, and at least one. A validator that is alone on its subnet waits for nobody.

Invariants: nobody who is dead or behind holds an answer back for longer than LIVE_SECONDS, and no answer is held back
for longer than WAIT_SECONDS. Bounded: one acknowledgement for each validator with a permit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Final, Protocol

from hippy.clock import Clock
from hippy.errors import AuthError, ProtocolError, TemporaryError
from hippy.ids import PublicKey
from hippy.kv import Reader
from hippy.validator.following.replica import record_id
from hippy.validator.following.watch import Bell, WatchedDatabase
from hippy.validator.log import Home, Position, position
from hippy.wire.canonical import check_time
from hippy.wire.copies import ACKS_MAX, FollowerAck

LIVE_SECONDS: Final = 5.0
"""A follower that acknowledged nothing for so long is not waited for."""

WAIT_SECONDS: Final = 10.0
"""An answer is held back for so long, then it is ``temporary``."""


@dataclass(frozen=True, slots=True)
class _Heard:
    """What a follower has, and when it said so last."""

    ack: FollowerAck
    time: float


class CopyWait(Protocol):
    """What holds an answer back until its change is safe."""

    async def wait(self, seq: int) -> tuple[FollowerAck, ...]:
        """Return the acknowledgements of our log's record ``seq``.

        Raises TemporaryError where there is none in time.
        """


class Alone:
    """A validator without others."""

    async def wait(self, seq: int) -> tuple[FollowerAck, ...]:
        """See CopyWait: there is nobody to wait for."""
        return ()


class Copies:
    """Acknowledgements of our log by its followers."""

    def __init__(self, home: Home, database: WatchedDatabase, clock: Clock, has_others: Callable[[], bool]) -> None:
        self._home = home
        self._database = database
        self._clock = clock
        self._has_others = has_others
        self._heard: dict[PublicKey, _Heard] = {}
        self._written: deque[tuple[float, int]] = deque()
        """When which record was the newest that somebody waited for: those of the last LIVE_SECONDS and one before."""

        self._acknowledged = Bell(clock)

    async def note(self, ack: FollowerAck, sender: PublicKey) -> bool:
        """Take a follower's word of what it has; return whether that is of our log as we have it.

        False where it has more than we have, or another record: then one of the two was not always this log. Raises
        AuthError for a word that is not the sender's own, ProtocolError for one about another log or another time.
        """
        now = self._clock.now()
        if ack.follower != sender:
            raise AuthError("the acknowledgement is another follower's")
        if (ack.home, ack.netuid) != (self._home.hotkey, self._home.netuid):
            raise ProtocolError("the acknowledgement is about another log")
        check_time(ack.time, now)
        ack.check_signature(sender, self._home.network)
        is_newest = Position(ack.seq, ack.head) == self._database.newest
        if not is_newest and not await self._database.read(lambda reader: self._is_ours(reader, ack)):
            self._heard.pop(sender, None)
            return False
        self._heard[sender] = _Heard(ack, now)
        self._acknowledged.ring()
        return True

    def _is_ours(self, reader: Reader, ack: FollowerAck) -> bool:
        at = position(reader)
        if ack.seq >= at.seq:
            return (ack.seq, ack.head) == (at.seq, at.head)
        return record_id(reader, ack.seq, self._home.network) == ack.head

    def live(self) -> list[FollowerAck]:
        """Return the newest word of every follower that was there a moment ago."""
        return [heard.ack for heard in self._live(self._clock.now())]

    def _live(self, now: float) -> list[_Heard]:
        return [heard for heard in self._heard.values() if now - heard.time < LIVE_SECONDS]

    def _in_step(self, now: float) -> list[_Heard]:
        """Return the live followers that have all that is older than LIVE_SECONDS.

        One that is still catching up, or acknowledges what is long past, keeps nobody waiting.
        """
        while len(self._written) > 1 and self._written[1][0] <= now - LIVE_SECONDS:
            self._written.popleft()
        return [heard for heard in self._live(now) if heard.ack.seq >= self._written[0][1]]

    def _note_written(self, seq: int, now: float) -> None:
        if not self._written:
            self._written.append((-inf, seq - 1))
        if seq > self._written[-1][1]:
            self._written.append((now, seq))

    async def wait(self, seq: int) -> tuple[FollowerAck, ...]:
        """Return the acknowledgements of our log's record ``seq``, none where there is no other validator.

        All followers that are in step are waited for, and one at least. Raises TemporaryError when no follower
        acknowledged it in time; what was written stays written.
        """
        began = self._clock.now()
        self._note_written(seq, began)
        until = began + WAIT_SECONDS
        while self._has_others():
            rung, now = self._acknowledged.listen(), self._clock.now()
            having = [heard.ack for heard in self._live(now) if heard.ack.seq >= seq]
            awaited = [heard for heard in self._in_step(now) if heard.ack.seq < seq]
            if having and not awaited:
                rung.cancel()
                return tuple(having)
            if now >= until:
                rung.cancel()
                raise TemporaryError(
                    "the change is made here, and no other validator has a copy of it yet",
                    hint="repeat the request: it is answered as soon as one has",
                )
            fading = [heard.time for heard in awaited] + [time for time, _ in list(self._written)[1:2]]
            await self._acknowledged.wait(rung, min([until, *(time + LIVE_SECONDS for time in fading)]) - now)
        return ()


def shown(acks: tuple[FollowerAck, ...]) -> tuple[FollowerAck, ...]:
    """Return as many acknowledgements as an answer shows."""
    return acks[:ACKS_MAX]
