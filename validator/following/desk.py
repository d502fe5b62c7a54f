"""What a validator answers other validators, and everybody about them: ``/v1/follow``, ``/v1/validators``, proofs.

``POST /v1/follow`` is for validators whose tickets miners take, which is checked before anything is read. Where nothing
is new the answer waits, without a thread, for our log to grow. Bounded: questions of one follower, pages that are made
or on their way (hippy.transport.outbox), bytes of a page (hippy.validator.following.pages).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from aiohttp import web

from hippy.clock import Clock
from hippy.errors import AuthError, NotFoundError, RateLimitedError
from hippy.ids import PublicKey
from hippy.kv import Reader
from hippy.transport.outbox import Outbox
from hippy.transport.server import Guard, Route, read_body
from hippy.transport.turns import Turns
from hippy.validator.following.copies import Copies
from hippy.validator.following.equivocations import equivocations
from hippy.validator.following.pages import PAGE_BYTES_USUAL, encode_followed_page, encode_own_page
from hippy.validator.following.peers import Validators
from hippy.validator.following.replica import progress, reader_of
from hippy.validator.following.watch import WatchedDatabase
from hippy.validator.log import Home, position
from hippy.wire.follow import FOLLOW_BYTES_MAX, FollowRequest
from hippy.wire.parts import CONTENT_TYPE

if TYPE_CHECKING:
    from typing_extensions import Buffer

JSON: Final = "application/json"
QUESTIONS_MAX: Final = 4
"""Of one follower at once: it asks one at a time for every home, and again after a broken connection."""

PAGES_BYTES_MAX: Final = 8 * PAGE_BYTES_USUAL
"""Pages on their way; one address has a quarter."""

PAGES_AT_ONCE: Final = 2
PAGES_WAITING_MAX: Final = 64
PAGE_WAIT_SECONDS: Final = 5.0
EQUIVOCATIONS_MAX: Final = 64

Seqs = Callable[[PublicKey], int]
Unknown = Callable[[PublicKey], Awaitable[None]]


class FollowDesk:
    """Routes between validators."""

    def __init__(
        self,
        home: Home,
        database: WatchedDatabase,
        validators: Validators,
        copies: Copies,
        guard: Guard,
        clock: Clock,
        *,
        followed_seq: Seqs,
        has_more: Unknown,
    ) -> None:
        self._home = home
        self._database = database
        self._validators = validators
        self._copies = copies
        self._guard = guard
        self._clock = clock
        self._followed_seq = followed_seq
        self._has_more = has_more
        self._asking: Counter[PublicKey] = Counter()
        self._outbox = Outbox(PAGES_BYTES_MAX, "pages", waiting_max=PAGES_WAITING_MAX, wait_seconds=PAGE_WAIT_SECONDS)
        self._turns = Turns(PAGES_AT_ONCE, "pages", waiting_max=PAGES_WAITING_MAX, wait_seconds=PAGE_WAIT_SECONDS)

    def routes(self) -> list[Route]:
        """Return the routes to serve."""
        return [
            Route("POST", "/v1/follow", self._follow, body_bytes_max=FOLLOW_BYTES_MAX, signed=True),
            Route("GET", "/v1/validators", self._list),
            Route("GET", "/v1/equivocations", self._equivocations),
        ]

    async def _follow(self, request: web.Request) -> web.StreamResponse:
        body = await read_body(request, FOLLOW_BYTES_MAX)
        sender = self._guard.sender(request, body)
        if not self._validators.is_validator(sender):
            raise AuthError("only validators with a permit and stake follow a log")
        asked = FollowRequest.parse(body, limit=FOLLOW_BYTES_MAX)
        if self._asking[sender] >= QUESTIONS_MAX:
            raise RateLimitedError("this follower asks too much at once", hint="wait for the answers")
        self._asking[sender] += 1
        try:
            await self._hear(asked, sender)
            await self._wait(asked)
        finally:
            self._asking[sender] -= 1
        async with self._outbox.place(request.remote, PAGE_BYTES_USUAL) as place:
            async with self._turns.turn(waited_seconds=place.waited_seconds):
                buffers: list[Buffer] = [await self._database.read(lambda reader: self._page(reader, asked))]
            return await place.send(request, buffers, content_type=CONTENT_TYPE)

    async def _hear(self, asked: FollowRequest, sender: PublicKey) -> None:
        """Take note of what the follower says that it has of our log."""
        is_ours = asked.ack is None or await self._copies.note(asked.ack, sender)
        if asked.home != self._home.hotkey or (is_ours and asked.after <= self._database.newest.seq):
            return
        if not is_ours or asked.after > await self._newest_seq():
            await self._has_more(sender)

    async def _newest_seq(self) -> int:
        return await self._database.read(lambda reader: position(reader).seq)

    async def _wait(self, asked: FollowRequest) -> None:
        """Return when our log has a record behind the one that is asked about, or the time is up."""
        if asked.home != self._home.hotkey:
            return
        until = self._clock.now() + asked.wait_seconds
        while True:
            rung, now = self._database.grown.listen(), self._clock.now()
            if now >= until or asked.after < self._database.newest.seq or asked.after < await self._newest_seq():
                rung.cancel()
                return
            await self._database.grown.wait(rung, until - now)

    def _page(self, reader: Reader, asked: FollowRequest) -> bytes:
        if asked.home == self._home.hotkey:
            return encode_own_page(reader, self._home, asked.after)
        if progress(reader_of(reader, asked.home)).at.seq == 0:
            raise NotFoundError("we do not follow this home")
        return encode_followed_page(reader, asked.home, asked.after)

    async def _list(self, _: web.Request) -> web.StreamResponse:
        return web.Response(body=self._validators.signed(self._followed_seq), content_type=JSON)

    async def _equivocations(self, _: web.Request) -> web.StreamResponse:
        found = await self._database.read(lambda reader: [proof.encode() for proof in equivocations(reader)])
        body = b'{"equivocations":[' + b",".join(found[:EQUIVOCATIONS_MAX]) + b"]}"
        return web.Response(body=body, content_type=JSON)
