"""A miner in virtual time that may be killed: simulated disk, database and sockets, and sources as tests want them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from hippy.endpoint import Endpoint
from hippy.kv import Database
from hippy.miner.files import PieceFiles, make_data_directory
from hippy.miner.server import build_miner
from hippy.miner.store import PieceStore, open_store
from hippy.points import watching
from hippy.testing.crash import Loss
from hippy.testing.disk import MemoryDisk
from hippy.testing.kv import MemoryDatabase
from hippy.testing.loop import Killed, LoopClock, Process, SimulatedLoop, current_process, run_simulated
from hippy.transport.client import Answer, Call, Http, Peer, open_http
from hippy.transport.hello import HelloDesk
from hippy.transport.server import Handler, Route, build_app, serving
from hippy.wire.parts import encode_parts
from hippy.wire.repair import REPAIR_ANSWER_BYTES_MAX, RepairOrder
from tests.histories.chain import StillChain, neuron
from tests.miner.repairing import Orders, Stripe, source_identity
from tests.miner.world import MINER, NETUID, NETWORK, VALIDATOR

CLOCK: Final = LoopClock()
DATA_DIR: Final = Path("/data")
ENDPOINT: Final = Endpoint("127.0.0.1", 4000)
CHAIN: Final = StillChain(
    [neuron(0, VALIDATOR.public_key, None, permit=True), neuron(1, MINER.public_key, ENDPOINT)], CLOCK
)
T = TypeVar("T")


class SimulatedMiner:
    """The miner under test."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self.loop = loop
        self.disk = MemoryDisk(loop.rng)
        make_data_directory(DATA_DIR, self.disk)
        PieceFiles.open(DATA_DIR, self.disk)
        self.database = MemoryDatabase()
        self.process = Process("miner")
        self.store: PieceStore | None = None
        self.crash_at: str | None = None
        """The point at which it is killed next."""

        self.crashes = 0

    async def start(self) -> None:
        """Start it, over what it left."""
        self.process = Process("miner")
        ready = self.loop.create_future()
        self.loop.start(self.process, self._serve(ready))
        await ready

    def kill(self, loss: Loss = Loss.POWER) -> None:
        """End its process; what was not durable is gone."""
        self.loop.kill(self.process)
        self.database = self.database.crash()
        self.disk = self.disk.crash(loss)

    def reached(self, point: str) -> None:
        """Kill it where a test said so."""
        if point == self.crash_at and current_process() is self.process:
            self.crash_at = None
            self.crashes += 1
            self.kill()
            raise Killed

    async def _serve(self, ready: asyncio.Future[None]) -> None:
        async with (
            open_store(
                DATA_DIR,
                capacity_bytes=2**40,
                disk_reserve_bytes=0,
                clock=CLOCK,
                disk=self.disk,
                database=self._open_database,
            ) as self.store,
            open_http(MINER, CLOCK) as http,
        ):
            app = build_miner(MINER, CHAIN, self.store, CLOCK, body_bytes_in_flight_max=2**26, http=http)
            async with serving(app, ENDPOINT.host, ENDPOINT.port):
                ready.set_result(None)
                await asyncio.Event().wait()

    @asynccontextmanager
    async def _open_database(self, _: Path) -> AsyncIterator[Database]:
        yield self.database


class Subject:
    """The miner, its sources, and who gives it orders."""

    clock = CLOCK

    def __init__(self, miner: SimulatedMiner, orders: Orders, http: Http) -> None:
        self.miner = miner
        self.orders = orders
        self.http = http
        """The validator's."""

    async def send(self, order: RepairOrder, mask: bytes | None = None) -> Answer:
        """Send an order as a validator does: silence is waited for as long as the work may take."""
        body = encode_parts(order, [] if order.is_copy else [mask or self.orders.mask(order)])
        call = Call(
            "POST",
            "/v1/repair",
            body=body,
            answer_bytes_max=REPAIR_ANSWER_BYTES_MAX,
            deadline_seconds=3_600.0,
            stall_seconds=3_600.0,
        )
        return await self.http.request(Peer(ENDPOINT, MINER.public_key), call)

    async def get(self, root: bytes) -> Answer:
        """Read a piece of the miner."""
        call = Call("GET", f"/v1/pieces/{root.hex()}", answer_bytes_max=2**23)
        return await self.http.request(Peer(ENDPOINT, MINER.public_key), call)


class _Surroundings:
    """As much of a tests.miner.world.World as orders need."""

    clock = CLOCK


def simulated(
    story: Callable[[Subject], Coroutine[Any, Any, T]], stripe: Stripe, sources: Mapping[int, Handler], *, seed: int = 1
) -> T:
    """Run a story with these sources, by the index of their pieces, and return what it returns."""

    async def play() -> T:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimulatedLoop)
        surroundings: Any = _Surroundings()
        async with AsyncExitStack() as stack:
            endpoints = {}
            for index, handler in sources.items():
                desk = HelloDesk(source_identity(index), "miner", NETWORK, NETUID, CLOCK)
                app = build_app([desk.route(), Route("GET", "/v1/pieces/{root}", handler)])
                endpoints[index] = await stack.enter_async_context(serving(app, "127.0.0.1", 5000 + index))
            miner, http = SimulatedMiner(loop), await stack.enter_async_context(open_http(VALIDATOR, CLOCK))
            with watching(miner.reached):
                await miner.start()
                result = await story(Subject(miner, Orders(surroundings, stripe, endpoints), http))
            assert loop.errors == []
        return result

    return run_simulated(play(), seed=seed)
