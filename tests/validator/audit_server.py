"""Serves an audit record as a validator does, for tests of who reads it; tests exchange single answers for lies."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from hippy.clock import Clock
from hippy.endpoint import Endpoint
from hippy.errors import NotFoundError
from hippy.hashing import u32
from hippy.transport.hello import HelloDesk
from hippy.transport.server import Route, build_app, error_response, serving
from hippy.wire.audit import Epochs
from hippy.wire.canonical import Message
from tests.validator.audit_record import Record
from tests.validator.world import HOME


class RecordServer:
    """``answers`` are bodies that are given instead of the record's, by path and query."""

    def __init__(self, record: Record, *, evidence_items_max: int = 7) -> None:
        self.record = record
        self.answers: dict[str, bytes] = {}
        self.asked: list[str] = []
        self._items_max = evidence_items_max

    @asynccontextmanager
    async def serving(self, clock: Clock) -> AsyncIterator[Endpoint]:
        desk = HelloDesk(HOME.identity, "validator", HOME.network, HOME.netuid, clock)
        app = build_app([desk.route(), Route("GET", "/{path:.*}", self._answer)])
        async with serving(app, "127.0.0.1", 0) as endpoint:
            yield endpoint

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path_qs)
        body = self.answers.get(request.path_qs, self._body(request))
        return error_response(NotFoundError("not kept")) if body is None else web.Response(body=body)

    def _body(self, request: web.Request) -> bytes | None:
        _, _, kind, *rest = request.path.split("/")
        if kind == "log":
            after = int(request.query.get("after", 0))
            pages = (page for page in self.record.pages if page.entries[0].record.seq == after + 1)
            return _encoded(next(pages, None))
        epochs = sorted(self.record.headers)
        if not rest:
            return Epochs(first=epochs[0], last=epochs[-1]).encode()
        return self._of_epoch(int(rest[0]), rest[1], request)

    def _of_epoch(self, epoch: int, what: str, request: web.Request) -> bytes | None:
        if what == "header":
            return _encoded(self.record.headers.get(epoch))
        if what == "sheet":
            return _encoded(self.record.sheets.get(epoch))
        if what == "transcript":
            return self.record.transcripts.get(epoch)
        start = int(request.query.get("after", -1)) + 1
        items = self.record.evidence[epoch][start : start + self._items_max]
        return b"".join(u32(len(item)) + item for item in items)


def _encoded(message: Message | None) -> bytes | None:
    return None if message is None else message.encode()
