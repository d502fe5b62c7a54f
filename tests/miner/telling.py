"""Validators that listen to lost reports, and stores that tell their losses: what tests of both stand on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from hippy.chain.local import open_local_chain
from hippy.endpoint import Endpoint
from hippy.errors import TemporaryError
from hippy.identity import Identity
from hippy.ids import Root
from hippy.miner.background import background
from hippy.miner.issuers import Issuers
from hippy.miner.reports import LossReporter
from hippy.miner.store import PieceStore
from hippy.proofs.tree import root_of
from hippy.transport.client import Http, open_http
from hippy.transport.hello import HelloDesk
from hippy.transport.server import Guard, Route, build_app, message_response, read_body, serving
from hippy.wire.audit import LostAnswer, LostReport
from hippy.wire.btauth import NonceWindow
from hippy.wire.canonical import CLOCK_TOLERANCE_SECONDS
from tests.miner.world import MINER, NETUID, NETWORK, VALIDATOR, World, piece

DATA, MORE = piece("a"), piece("b")
ROOT, OTHER_ROOT = root_of(DATA), root_of(MORE)

UPLOAD_SECONDS = 3_600
AGAIN_SECONDS = UPLOAD_SECONDS + 600 + 2 * CLOCK_TOLERANCE_SECONDS
"""The tickets of these tests can be committed until then, by whatever clock."""


@dataclass
class Listener:
    """A validator as far as lost reports go: it answers handshakes and keeps the reports it gets."""

    who: Identity
    world: World
    is_failing: bool = False
    holds_none: bool = False
    """Nothing of what it is told about was committed."""
    asked: int = 0
    reports: asyncio.Queue[LostReport] = field(default_factory=asyncio.Queue)

    async def lost(self, request: web.Request) -> web.StreamResponse:
        body = await read_body(request, 64 * 1024)
        guard = Guard(self.who.public_key, self.world.clock, NonceWindow())
        assert guard.sender(request, body) == MINER.public_key
        self.asked += 1
        if self.is_failing:
            raise TemporaryError("not now")
        report = LostReport.parse(body)
        report.check_signature(MINER.public_key, NETWORK)
        assert (report.miner, report.validator) == (MINER.public_key, self.who.public_key)
        assert report.time == int(self.world.clock.now())
        self.reports.put_nowait(report)
        return message_response(LostAnswer(recorded=0 if self.holds_none else len(report.roots)))

    async def heard(self) -> tuple[Root, ...]:
        async with asyncio.timeout(10):
            return tuple(Root(root) for root in (await self.reports.get()).roots)


@asynccontextmanager
async def listening(
    world: World, who: Identity = VALIDATOR, *, signs_as: Identity | None = None
) -> AsyncIterator[Listener]:
    """Serve a listener and publish its endpoint; ``signs_as``: somebody else answers its handshakes."""
    listener = Listener(who, world)
    desk = HelloDesk(signs_as or who, "validator", NETWORK, NETUID, world.clock)
    app = build_app([desk.route(), Route("POST", "/v1/lost", listener.lost)])
    async with serving(app, "127.0.0.1", 0) as endpoint:
        await publish(world, who, endpoint)
        yield listener


async def publish(world: World, who: Identity, endpoint: Endpoint) -> None:
    path = world.data_dir.parent / "chain.sqlite"
    async with open_local_chain(path, hotkey=who.public_key, clock=world.clock) as chain:
        await chain.publish_endpoint(endpoint)


def issuers_of(world: World, http: Http) -> Issuers:
    return Issuers(world.chain, http, world.clock)


@asynccontextmanager
async def telling(world: World) -> AsyncIterator[PieceStore]:
    """Open the store and tell its losses."""
    async with (
        world.store() as store,
        open_http(MINER, world.clock) as http,
        background(LossReporter(store.losses, issuers_of(world, http), http, MINER, NETWORK, world.clock).run()),
    ):
        yield store


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while not await condition():  # noqa: ASYNC110 - the index and the sockets are real
            await asyncio.sleep(0.001)


async def all_told(store: PieceStore) -> None:
    async def is_told() -> bool:
        return not await store.losses.validators()

    await eventually(is_told)


async def asleep(world: World) -> None:
    """Wait until the reporter pauses."""

    async def is_asleep() -> bool:
        return any(not woken.done() for _, _, woken in world.clock._sleepers)

    await eventually(is_asleep)
