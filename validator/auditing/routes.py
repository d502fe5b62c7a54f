"""What anyone can read of a validator's audits, and what miners tell it (PROTOCOL §5.1, §5.5, §5.6).

Everything is answered from the database, mostly as it is stored. Anybody may ask: answers are made in threads, a few at
a time, and on their way out they are bounded and shared out by address (hippy.transport.outbox).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from aiohttp import web

from hippy.chain.protocol import Chain
from hippy.clock import Clock
from hippy.errors import AuthError, NotFoundError, ProtocolError, RateLimitedError
from hippy.ids import MessageId, PublicKey, Root, id_from_hex
from hippy.kv import Database, Reader
from hippy.proofs.transcript import TRANSCRIPT_BYTES_MAX, TranscriptScope, join_transcript
from hippy.transport.outbox import Outbox
from hippy.transport.server import Guard, Route, message_response, read_body
from hippy.transport.turns import Turns
from hippy.validator.auditing import epochs
from hippy.validator.auditing.auditor import Auditor
from hippy.validator.directory import MinerDirectory
from hippy.validator.explain import report
from hippy.validator.holdings import holdings_of
from hippy.validator.log import Home, encode_page
from hippy.validator.losses import check_report, record_loss
from hippy.validator.tables import DRAIN, REPORTED, get_message
from hippy.wire.audit import LostAnswer, LostReport
from hippy.wire.canonical import MESSAGE_BYTES_MAX
from hippy.wire.log import LOG_PAGE_BYTES_MAX
from hippy.wire.repair import Drain
from hippy.wire.score import FAILURES_MAX, HISTORY_MAX, REPORT_BYTES_MAX, SHEET_BYTES_MAX

if TYPE_CHECKING:
    from typing_extensions import Buffer

EVIDENCE_PAGE_BYTES_MAX: Final = 8 * 1024 * 1024
LONG_ANSWERS_MAX: Final = 4
"""Made at once, in threads."""

LONG_ANSWERS_WAITING_MAX: Final = 64
WAIT_SECONDS: Final = 5.0
OUTBOX_BYTES_MAX: Final = 4 * TRANSCRIPT_BYTES_MAX
"""Answers on their way out; one address has a quarter, which holds the longest."""

REPORT_PAUSE_SECONDS: Final = 0.1
"""Between two lost reports of one miner: each is a signature to check and a turn of the database's only writer."""

JSON: Final = "application/json"
BINARY: Final = "application/octet-stream"

_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,15}")


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
        self._outbox = Outbox(
            OUTBOX_BYTES_MAX, "long answers", waiting_max=LONG_ANSWERS_WAITING_MAX, wait_seconds=WAIT_SECONDS
        )
        self._turns = Turns(
            LONG_ANSWERS_MAX, "long answers", waiting_max=LONG_ANSWERS_WAITING_MAX, wait_seconds=WAIT_SECONDS
        )
        self._reported: dict[PublicKey, float] = {}

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
            Route("GET", "/v1/attestations", self._attestations),
            Route("POST", "/v1/lost", self._lost, body_bytes_max=MESSAGE_BYTES_MAX, signed=True),
        ]

    async def _log(self, request: web.Request) -> web.StreamResponse:
        after_seq = _after(request, missing=0)
        return await self._long(request, lambda reader: encode_page(reader, after_seq), LOG_PAGE_BYTES_MAX, JSON)

    async def _epochs(self, _: web.Request) -> web.StreamResponse:
        kept = await self._database.read(epochs.kept_epochs)
        if kept is None:
            raise NotFoundError("no epoch has begun yet", hint="try again in a moment")
        return message_response(kept)

    async def _header(self, request: web.Request) -> web.StreamResponse:
        epoch = _epoch(request)
        return await self._long(
            request, lambda reader: _known(epochs.encoded_header(reader, epoch), epoch), MESSAGE_BYTES_MAX, JSON
        )

    async def _sheet(self, request: web.Request) -> web.StreamResponse:
        epoch = _epoch(request)
        return await self._long(
            request, lambda reader: _known(epochs.encoded_sheet(reader, epoch), epoch), SHEET_BYTES_MAX, JSON
        )

    async def _transcript(self, request: web.Request) -> web.StreamResponse:
        epoch = _epoch(request)
        scope = TranscriptScope(self._home.network, self._home.netuid, self._home.hotkey, epoch)

        def work(reader: Reader) -> bytes:
            _check_ended(reader, epoch)
            return join_transcript(scope, list(epochs.encoded_entries(reader, epoch)))

        return await self._long(request, work, TRANSCRIPT_BYTES_MAX, BINARY)

    async def _evidence(self, request: web.Request) -> web.StreamResponse:
        epoch, after = _epoch(request), _after(request, missing=-1)

        def work(reader: Reader) -> bytes:
            _check_ended(reader, epoch)
            return epochs.evidence_page(reader, epoch, after + 1, EVIDENCE_PAGE_BYTES_MAX)

        return await self._long(request, work, EVIDENCE_PAGE_BYTES_MAX, BINARY)

    async def _miner(self, request: web.Request) -> web.StreamResponse:
        hotkey = PublicKey(id_from_hex(request.match_info["hotkey"]))
        now, state, owed = int(self._clock.now()), self._directory.state(hotkey), self._auditor.owed_by(hotkey)

        def work(reader: Reader) -> bytes:
            header = epochs.newest_header(reader)
            ended = None if header is None else header.prev_epoch
            drain = get_message(reader, DRAIN + hotkey, Drain)
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
                drain_time=None if drain is None else drain.time,
            ).encode()

        return await self._long(request, work, REPORT_BYTES_MAX, JSON)

    async def _attestations(self, request: web.Request) -> web.StreamResponse:
        """Answer which miners have been silent to us for a day; made once for whoever asks within some seconds."""
        body = await self._auditor.attestations()
        async with self._outbox.place(request.remote, len(body)) as place:
            return await place.send(request, [body], content_type=JSON)

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
        self._check_rate(sender, now)
        await asyncio.to_thread(check_report, told, self._home, now)
        if not await self._database.read(lambda reader: _holds_any(reader, told)):  # the writer is for what changes
            return message_response(LostAnswer(recorded=0))
        newest = await self._chain.beacon_round()
        report_id = told.id(self._home.network)
        recorded = await self._database.transact(
            lambda txn: record_loss(
                txn,
                self._home,
                told.miner,
                _not_recorded(txn, told, report_id),
                reason="reported",
                now=int(now),
                report=told,
                # As of this transaction: see Auditor. Another process may be the one that asks.
                beacon_round=max(newest, self._auditor.newest_round, epochs.get_asked_round(txn)),
            )
        )
        return message_response(LostAnswer(recorded=recorded))

    async def _long(
        self, request: web.Request, work: Callable[[Reader], bytes], bytes_max: int, content_type: str
    ) -> web.StreamResponse:
        """Answer with something from the database that has up to ``bytes_max`` bytes, when it is its turn.

        Raises RateLimitedError when too many wait.
        """
        async with self._outbox.place(request.remote, bytes_max) as place:
            async with self._turns.turn(waited_seconds=place.waited_seconds):
                buffers: list[Buffer] = [await self._database.read(work)]
            return await place.send(request, buffers, content_type=content_type)

    def _check_rate(self, miner: PublicKey, now: float) -> None:
        """Take note of a report; raises RateLimitedError for one too soon after another."""
        registered = {neuron.hotkey for neuron in self._directory.metagraph.neurons}
        self._reported = {hotkey: at for hotkey, at in self._reported.items() if hotkey in registered}
        if now < self._reported.get(miner, float("-inf")) + REPORT_PAUSE_SECONDS:
            raise RateLimitedError("one lost report after the other, please", hint="try again in a moment")
        self._reported[miner] = now


def _holds_any(reader: Reader, told: LostReport) -> bool:
    return any(holdings_of(reader, told.miner, root) for root in told.roots)


def _not_recorded(reader: Reader, told: LostReport, report_id: MessageId) -> list[Root]:
    """Return the roots that this report has not ended yet: sent once more, it ends nothing that was given since."""
    return [
        root
        for root in told.roots
        if not any(value.endswith(report_id) for _, value in reader.scan(REPORTED + told.miner + root))
    ]


def _check_ended(reader: Reader, epoch: int) -> None:
    """Raises NotFoundError until the next header is there: before that a transcript could still grow."""
    newest = epochs.newest_header(reader)
    if newest is None or newest.epoch <= epoch or epochs.get_header(reader, epoch) is None:
        raise _unknown(epoch)


def _known(stored: bytes | None, epoch: int) -> bytes:
    if stored is None:
        raise _unknown(epoch)
    return stored


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
