"""A real validator and real miners in one background thread, and ways to make them fail."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from aiohttp import ClientSession, web
from blake3 import blake3

from hippy.chain.local import LocalChain, open_local_chain
from hippy.chain.open import CHAIN_FILE, open_chain
from hippy.client.home import Credentials
from hippy.clock import SystemClock
from hippy.endpoint import Endpoint
from hippy.errors import NoSpaceError
from hippy.identity import Identity, save_keyfile
from hippy.ids import NetworkId, PublicKey
from hippy.miner.server import build_miner
from hippy.miner.store import open_store
from hippy.transport.server import error_response, serving
from hippy.validator.server import run_validator
from hippy.validator.settings import AccountSettings, ValidatorSettings
from hippy.wire.ticket import REFUSAL_HEADER, TICKET_HEADER, Refusal, TicketProof

NETWORK = NetworkId(b"n" * 32)
NETUID = 7
MINERS = 9
"""One more than a 4/8 segment takes, so that a piece can be placed anew."""

EPOCH_BLOCKS = 3600
"""Of a second each: nobody is audited while other tests run."""

CLOCK = SystemClock()
T = TypeVar("T")


def seed(name: str) -> bytes:
    return blake3(name.encode()).digest()


@dataclass(slots=True)
class Miner:
    """One real miner; ``refuses``, ``corrupts`` and ``stalls`` make it a bad one."""

    name: str
    identity: Identity
    folder: Path
    port: int = 0
    refuses: bool = False
    corrupts: bool = False
    stalls: bool = False
    refused: int = 0
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    revived: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    @web.middleware
    async def misbehave(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if self.corrupts and request.method == "GET" and "/pieces/" in request.path:
            return web.Response(body=b"\x01" * 70_000)
        if self.stalls and request.method == "GET" and "/pieces/" in request.path:
            await self.revived.wait()  # not for ever: a miner that is stopped waits for requests under way
        if self.refuses and request.method == "PUT":  # without Expect; see _refuse_uploads
            return self.refusal(request)
        return await handler(request)

    def end_stalls(self) -> None:
        """Let go of the requests that wait because the miner stalled."""
        self.revived.set()
        self.revived = asyncio.Event()

    def refusal(self, request: web.Request) -> web.StreamResponse:
        """What a miner with a full disk answers."""
        self.refused += 1
        ticket = TicketProof.parse(request.headers[TICKET_HEADER].encode()).ticket
        refusal = Refusal(
            ticket_id=ticket.id(NETWORK), miner=self.identity.public_key, code="no_space", time=int(CLOCK.now())
        ).signed(self.identity, NETWORK)
        return error_response(NoSpaceError("the disk is full"), headers={REFUSAL_HEADER: refusal.encode().decode()})


class Network:
    """Starts, kills and restarts its nodes; all calls come from test threads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.miners = [
            Miner(f"miner{i}", Identity.from_seed(seed(f"miner{i}")), folder / f"m{i}") for i in range(MINERS)
        ]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._validator = Identity.from_seed(seed("validator"))
        self._validator_task: asyncio.Task[None] | None = None
        self.credentials: Credentials
        """Of an account with room for everything a test stores."""

        self.poor_credentials: Credentials
        """Of an account with room for small objects only."""

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def kill(self, *miners: Miner) -> None:
        for miner in miners:
            self.run(self._kill(miner))

    def revive(self) -> None:
        """Start what was killed and make every miner good again."""
        for miner in self.miners:
            miner.refuses = miner.corrupts = miner.stalls = False
            self._loop.call_soon_threadsafe(miner.end_stalls)
            if miner.task is None:
                self.run(self._start_miner(miner))

    async def _kill(self, miner: Miner) -> None:
        assert miner.task is not None
        miner.stop.set()
        await miner.task
        miner.task = None

    async def _start_miner(self, miner: Miner) -> None:
        ready: asyncio.Future[Endpoint] = asyncio.get_running_loop().create_future()
        miner.stop = asyncio.Event()
        miner.task = asyncio.create_task(self._serve_miner(miner, ready))
        miner.port = (await ready).port

    async def _serve_miner(self, miner: Miner, ready: asyncio.Future[Endpoint]) -> None:
        async with (
            open_chain(f"local:{self.folder}", 1, identity=miner.identity, clock=CLOCK) as chain,
            open_store(miner.folder, capacity_bytes=2**30, disk_reserve_bytes=0) as store,
        ):
            app = build_miner(miner.identity, chain, store, CLOCK, body_bytes_in_flight_max=2**26)
            app.middlewares.append(miner.misbehave)
            _refuse_uploads(app, miner)
            async with serving(app, "127.0.0.1", miner.port) as endpoint:
                await chain.publish_endpoint(endpoint)
                ready.set_result(endpoint)
                await miner.stop.wait()

    async def _start(self) -> None:
        self.folder.mkdir(exist_ok=True)
        LocalChain.create(
            self.folder / CHAIN_FILE,
            clock=CLOCK,
            network=NETWORK,
            genesis_secret=b"g" * 32,
            netuid=NETUID,
            tempo_blocks=EPOCH_BLOCKS,
        )
        async with open_local_chain(self.folder / CHAIN_FILE, hotkey=None, clock=CLOCK) as chain:
            await chain.register(
                self._validator.public_key, PublicKey(seed("owner")), validator_permit=True, stake_rao=9
            )
            for miner in self.miners:
                key = miner.identity.public_key
                await chain.register(key, PublicKey(seed("cold" + miner.name)), validator_permit=False, stake_rao=0)
        for miner in self.miners:
            await self._start_miner(miner)
        ready: asyncio.Future[Endpoint] = asyncio.get_running_loop().create_future()
        self._validator_task = asyncio.create_task(
            run_validator(self._validator_settings(), clock=CLOCK, ready=ready.set_result)
        )
        endpoint = await asyncio.wait_for(ready, 20)
        self.credentials = self._credentials("account", endpoint)
        self.poor_credentials = self._credentials("poor", endpoint)

    def _credentials(self, name: str, endpoint: Endpoint) -> Credentials:
        return Credentials.of_seed(
            seed(name),
            validator_endpoint=endpoint,
            validator_hotkey=self._validator.public_key,
            network=NETWORK,
            netuid=NETUID,
            local=True,
        )

    def _validator_settings(self) -> ValidatorSettings:
        keyfile = self.folder / "validator-hotkey"
        save_keyfile(self._validator, keyfile)
        accounts = {"account": 2**33, "poor": 100_000}
        return ValidatorSettings(
            network=f"local:{self.folder}",
            netuid=NETUID,
            hotkey_file=keyfile,
            data_dir=self.folder / "validator",
            accounts=tuple(
                AccountSettings(account=Identity.from_seed(seed(name)).ss58, quota_bytes=quota)
                for name, quota in accounts.items()
            ),
            probe_seconds=3600,
            probe_stale_seconds=86_400,
        )

    async def _stop(self) -> None:
        for miner in self.miners:
            if miner.task is not None:
                await self._kill(miner)
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:  # the validator, and connections that nobody closed
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    @contextmanager
    def started(self) -> Iterator[Network]:
        self._thread.start()
        try:
            self.run(self._start())
            yield self
            self.run(self._stop())
        finally:
            self.run(self._loop.shutdown_default_executor())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()


def _refuse_uploads(app: web.Application, miner: Miner) -> None:
    """Have uploads refused before their bodies, where miners refuse them, while ``miner.refuses``."""
    (route,) = [route for route in app.router.routes() if route.method == "PUT"]
    usual = route._expect_handler

    async def expect(request: web.Request) -> web.StreamResponse | None:
        if not miner.refuses:
            return await usual(request)
        answer = miner.refusal(request)
        answer.force_close()
        return answer

    route._expect_handler = expect


Alter = Callable[[str, bytes], bytes]


@asynccontextmanager
async def lying_validator(credentials: Credentials, alter: Alter) -> AsyncIterator[Credentials]:
    """Yield credentials whose validator passes everything on, but answers what ``alter(path, body)`` makes of it."""
    behind = credentials.validator_endpoint.url

    async def forward(request: web.Request) -> web.Response:
        url, body = behind + request.raw_path, await request.read()
        headers = {name: value for name, value in request.headers.items() if name.startswith("X-")}
        async with session.request(request.method, url, data=body or None, headers=headers) as answer:
            return web.Response(status=answer.status, body=alter(request.path, await answer.read()))

    app = web.Application(client_max_size=2**26)
    app.router.add_route("*", "/{path:.*}", forward)
    async with ClientSession() as session, serving(app, "127.0.0.1", 0) as endpoint:
        yield replace(credentials, validator_endpoint=endpoint)
