"""Answers miners that want to leave, or to stay after all: ``POST /v1/drain`` (PROTOCOL §7).

Miners of the subnet only, each about itself and at a rate. What it says is recorded before it is answered; asking again
is how a miner learns how much it still holds.
"""

from __future__ import annotations

import asyncio

from aiohttp import web

from hippy.clock import Clock
from hippy.errors import AuthError
from hippy.kv import Database
from hippy.transport.server import Guard, Route, read_body
from hippy.validator.directory import MinerDirectory
from hippy.validator.log import Home
from hippy.validator.rates import INVENTORIES, Rates
from hippy.validator.repair.drains import check_drain, draining, record_drain
from hippy.wire.canonical import MESSAGE_BYTES_MAX
from hippy.wire.repair import Drain


class DrainDesk:
    """Takes the word of miners that drain."""

    def __init__(self, home: Home, database: Database, directory: MinerDirectory, guard: Guard, clock: Clock) -> None:
        self._home = home
        self._database = database
        self._directory = directory
        self._guard = guard
        self._clock = clock
        self._rates = Rates(INVENTORIES, "requests to leave")

    def route(self) -> Route:
        """Return the route to serve."""
        return Route("POST", "/v1/drain", self._answer, signed=True)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await read_body(request, MESSAGE_BYTES_MAX)
        sender = self._guard.sender(request, body)
        if self._directory.metagraph.by_hotkey(sender) is None:
            raise AuthError("only registered miners say that they leave")
        self._rates.take(sender, 1, self._clock.now())
        drain = Drain.parse(body)
        now = int(self._clock.now())
        await asyncio.to_thread(check_drain, drain, sender, self._home, now)
        left = await self._database.transact(lambda txn: record_drain(txn, self._home, drain, now))
        self._directory.draining = await self._database.read(draining)
        return web.Response(body=left.encode(), content_type="application/json")
