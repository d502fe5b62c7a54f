"""What anyone can read of a validator's audits, and what miners tell it (PROTOCOL §5.1, §5.5, §5.6).

Everything is answered from the database. Long answers (log pages, transcripts, evidence) are made in threads, a few at
a time, for anybody may ask for them.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Final, TypeVar

from aiohttp import web

from hippy.chain.protocol import Chain
from hippy.clock import Clock
from hippy.errors import AuthError, NotFoundError, ProtocolError, RateLimitedError
from hippy.ids import PublicKey, id_from_hex
from hippy.kv import Database, Reader
from hippy.proofs.transcript import TranscriptScope, join_transcript
from hippy.transport.server import Guard, Route, message_response, read_body
from hippy.validator.auditing import epochs
from hippy.validator.auditing.auditor import Auditor
from hippy.validator.directory import MinerDirectory
from hippy.validator.explain import report
from hippy.validator.log import Home, encode_page
from hippy.validator.losses import check_report, record_loss
from hippy.wire.audit import LostAnswer, LostReport
from hippy.wire.canonical import MESSAGE_BYTES_MAX, Message
from hippy.wire.score import FAILURES_MAX, HISTORY_MAX, MinerReport

EVIDENCE_PAGE_BYTES_MAX: Final = 8 * 1024 * 1024
LONG_ANSWERS_MAX: Final = 4
LONG_ANSWERS_WAITING_MAX: Final = 64

_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,15}")
T = TypeVar("T")
M = TypeVar("M", bound=Message)


class AuditRoutes:
    """The routes about audits, scores and the log."""

    def __init__(
        self,
        home: Home,
        database: Database,
        chain: Chain,
        directory: MinerDirectory,
        auditor: Auditor,
        guard: Guard,
        clock: Clock,
    ) -> None:
        self._home = home
        self._database = database
        self._chain = chain
        self._directory = directory
        self._auditor = auditor
        self._guard = guard
        self._clock = clock
        self._slots = asyncio.Semaphore(LONG_ANSWERS_MAX)
        self._waiting = 0

    def routes(self) -> list[Route]:
        """Return the routes to serve."""
        return [
            Route("GET", "/v1/log", self._log),
            Route("GET", "/v1/epochs", self._epochs),
            Route("GET", "/v1/epochs/{epoch}/header", self._header),
            Route("GET", "/v1/epochs/{epoch}/transcript", self._transcript),
            Route("GET", "/v1/epochs/{epoch}/sheet", self._sheet),
            Route("GET", "/v1/epochs/{epoch}/evidence", self._evidence),
            Route("GET", "/v1/miners/{hotkey}", self._miner),
            Route("POST", "/v1/lost", self._lost),
        ]

    async def _log(self, request: web.Request) -> web.StreamResponse:
        after_seq = _after(request, missing=0)
        return _json(await self._long(lambda reader: encode_page(reader, after_seq)))

    async def _epochs(self, _: web.Request) -> web.StreamResponse:
        kept = await self._database.read(epochs.kept_epochs)
        if kept is None:
            raise NotFoundError("no epoch has begun yet", hint="try again in a moment")
        return message_response(kept)

    async def _header(self, request: web.Request) -> web.StreamResponse:
        epoch = _epoch(request)
        return message_response(
            await self._database.read(lambda reader: _known(epochs.get_header(reader, epoch), epoch))
        )

    async def _sheet(self, request: web.Request) -> web.StreamResponse:
        epoch = _epoch(request)
        return message_response(
            await self._database.read(lambda reader: _known(epochs.get_sheet(reader, epoch), epoch))
        )

    async def _transcript(self, request: web.Request) -> web.StreamResponse:
        epoch = _epoch(request)
        scope = TranscriptScope(self._home.network, self._home.netuid, self._home.hotkey, epoch)

        def work(reader: Reader) -> bytes:
            _check_ended(reader, epoch)
            return join_transcript(scope, list(epochs.encoded_entries(reader, epoch)))

        return _binary(await self._long(work))

    async def _evidence(self, request: web.Request) -> web.StreamResponse:
        epoch, after = _epoch(request), _after(request, missing=-1)

        def work(reader: Reader) -> bytes:
            _check_ended(reader, epoch)
            return epochs.evidence_page(reader, epoch, after + 1, EVIDENCE_PAGE_BYTES_MAX)

        return _binary(await self._long(work))

    async def _miner(self, request: web.Request) -> web.StreamResponse:
        hotkey = PublicKey(id_from_hex(request.match_info["hotkey"]))
        now, state, owed = int(self._clock.now()), self._directory.state(hotkey), self._auditor.owed_by(hotkey)

        def work(reader: Reader) -> MinerReport:
            header = epochs.newest_header(reader)
            ended = None if header is None else header.prev_epoch
            return report(
                validator=self._home.hotkey,
                hotkey=hotkey,
                time=now,
                state=state,
                sheet=None if ended is None else epochs.get_sheet(reader, ended),
                owed_batches=owed,
                history=epochs.history_of(reader, hotkey, HISTORY_MAX),
                failures=epochs.failures_of(reader, hotkey, FAILURES_MAX),
                accounts=epochs.shares_of(reader, hotkey),
            )

        return message_response(await self._long(work))

    async def _lost(self, request: web.Request) -> web.StreamResponse:
        """Record what a miner says it lost, as of the newest beacon round that anybody can know of."""
        body = await read_body(request, MESSAGE_BYTES_MAX)
        sender = self._guard.sender(request, body)
        if self._directory.metagraph.by_hotkey(sender) is None:
            raise AuthError("only registered miners report losses")
        told = LostReport.parse(body)
        if told.miner != sender:
            raise AuthError("the report is about another miner than the one that sent it")
        now = self._clock.now()
        await asyncio.to_thread(check_report, told, self._home, now)
        newest = await self._chain.beacon_round()
        recorded = await self._database.transact(
            lambda txn: record_loss(
                txn,
                self._home,
                told.miner,
                told.roots,
                reason="reported",
                now=int(now),
                report=told,
                beacon_round=max(newest, self._auditor.newest_round),  # as of this transaction: see Auditor
            )
        )
        return message_response(LostAnswer(recorded=recorded))

    async def _long(self, work: Callable[[Reader], T]) -> T:
        """Read something long, when it is its turn.

        Raises RateLimitedError when too many wait.
        """
        if self._waiting >= LONG_ANSWERS_WAITING_MAX:
            raise RateLimitedError("too many long answers at once", hint="try again in a moment")
        self._waiting += 1
        try:
            async with self._slots:
                return await self._database.read(work)
        finally:
            self._waiting -= 1


def _check_ended(reader: Reader, epoch: int) -> None:
    """Raises NotFoundError until the next header is there: before that a transcript could still grow."""
    newest = epochs.newest_header(reader)
    if newest is None or newest.epoch <= epoch or epochs.get_header(reader, epoch) is None:
        raise _unknown(epoch)


def _known(message: M | None, epoch: int) -> M:
    if message is None:
        raise _unknown(epoch)
    return message


def _unknown(epoch: int) -> NotFoundError:
    return NotFoundError(f"nothing of epoch {epoch} is kept here, or it has not ended", hint="GET /v1/epochs")


def _epoch(request: web.Request) -> int:
    return _number(request.match_info["epoch"])


def _after(request: web.Request, *, missing: int) -> int:
    if not request.query_string:
        return missing
    if set(request.query) != {"after"} or len(request.query) != 1:
        raise ProtocolError("the only parameter here is after")
    return _number(request.query["after"])


def _number(text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise ProtocolError(f"not a number: {text[:16]!r}")
    return int(text)


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json")


def _binary(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/octet-stream")
