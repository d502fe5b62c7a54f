"""A whole network in virtual time for repair: real miners, a real validator that repairs, the SDK as client.

Nodes are those of tests/histories/nodes.py, more of them, and some that lie. What a registry knows is looked at in its
database; miners lose what a test takes from them, or leave the subnet.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from aiohttp import web

from hippy.client.sdk import AsyncClient
from hippy.endpoint import Endpoint
from hippy.hashing import digest
from hippy.identity import Identity
from hippy.ids import PublicKey, SegmentId
from hippy.kv import Reader
from hippy.miner.inventory import Inventory
from hippy.miner.issuers import Issuers
from hippy.miner.server import build_miner
from hippy.points import watching
from hippy.proofs.ranges import RangeProof, covering_leaves, encode_range, prove
from hippy.proofs.tree import leaf_hashes
from hippy.testing.crash import Loss
from hippy.testing.loop import OUTSIDE, Killed, SimulatedLoop, current_process, run_simulated
from hippy.transport.client import open_http
from hippy.transport.hello import HelloDesk
from hippy.transport.server import Guard, Route, build_app, message_response, serving
from hippy.validator.accounts import apply_accounts
from hippy.validator.directory import MinerDirectory
from hippy.validator.holdings import lost_indices
from hippy.validator.inventory_desk import InventoryDesk
from hippy.validator.keys import encryption_key
from hippy.validator.log import scan_log
from hippy.validator.losses import record_loss
from hippy.validator.planner import Planner
from hippy.validator.repair.desk import DrainDesk
from hippy.validator.repair.opening import Surroundings, make_repairer
from hippy.validator.server import Routes
from hippy.validator.service import Parts, Service
from hippy.validator.tables import SEGMENT, STORED_BYTES_MAX, claim
from hippy.wire.btauth import NonceWindow
from hippy.wire.log import AccountRecord, LogEntry
from hippy.wire.repair import RepairAnswer, RepairOrder
from hippy.wire.segment import Holding, SegmentRecord
from tests.histories.chain import EPOCH_SECONDS, NETUID, NETWORK, StillChain, neuron
from tests.histories.history import _repeatable as repeatable
from tests.histories.nodes import (
    CLOCK,
    PACE,
    VALIDATOR,
    VALIDATOR_ENDPOINT,
    ClientNode,
    MinerNode,
    ValidatorNode,
    account_key,
    credentials,
)

CODE: Final = "4/8"
CONTENT: Final = bytes(range(256)) * 800
QUOTA_BYTES: Final = 10**9
T = TypeVar("T")


def miner_key(number: int) -> tuple[Identity, Endpoint]:
    """Who a miner is and where it listens."""
    return Identity.from_seed(digest(b"repair miner" + bytes([number]))), Endpoint("127.0.0.1", 4101 + number)


class Subnet(StillChain):
    """A chain whose miners come and go as a test says."""

    def __init__(self, miners: int) -> None:
        keys = [miner_key(number) for number in range(miners)]
        found = [neuron(1 + at, key.public_key, endpoint) for at, (key, endpoint) in enumerate(keys)]
        super().__init__([neuron(0, VALIDATOR.public_key, VALIDATOR_ENDPOINT, permit=True), *found], CLOCK)

    def remove(self, hotkey: PublicKey) -> None:
        """Deregister a miner."""
        self._neurons = tuple(each for each in self._neurons if each.hotkey != hotkey)


class RepairMiner(MinerNode):
    """An honest miner that takes orders."""

    def __init__(self, number: int, net: Net) -> None:
        super().__init__(0, net.loop, net.chance)
        self.name, self.net = f"miner{number}", net
        self.process.name = self.name
        self.identity, self.endpoint = miner_key(number)

    @property
    def hotkey(self) -> PublicKey:
        """Its public key."""
        return self.identity.public_key

    async def _serve(self, ready: asyncio.Future[Any]) -> None:
        async with self._store() as pieces, open_http(self.identity, CLOCK) as http:
            app = build_miner(self.identity, self.net.chain, pieces, CLOCK, body_bytes_in_flight_max=2**26, http=http)
            async with serving(app, self.endpoint.host, self.endpoint.port):
                issuers = Issuers(self.net.chain, http, CLOCK)
                self._house = pieces, Inventory(pieces, issuers, http, self.identity, CLOCK, NETWORK, EPOCH_SECONDS)
                ready.set_result(None)
                await asyncio.Event().wait()


class Sleeper(RepairMiner):
    """An honest miner that is started later."""


class Impostor(RepairMiner):
    """A miner that greets as others do, and otherwise does what a test makes of it."""

    repair: Callable[[RepairOrder], RepairAnswer | None] | None = None
    """What it answers to an order; None is no answer."""

    seen: list[RepairOrder]

    async def _serve(self, ready: asyncio.Future[Any]) -> None:
        self.seen = []
        desk = HelloDesk(self.identity, "miner", NETWORK, NETUID, CLOCK, space=lambda: (2**40, 0))
        app = build_app(
            [
                desk.route(),
                Route("POST", "/v1/repair", self._repair, body_bytes_max=2**23, signed=True),
                Route("GET", "/v1/pieces/{root}", self._piece),
            ]
        )
        async with serving(app, self.endpoint.host, self.endpoint.port):
            ready.set_result(None)
            await asyncio.Event().wait()

    async def _repair(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        length = int.from_bytes(body[:4], "little")
        order = RepairOrder.parse(body[4 : 4 + length], limit=2**20)
        order.check_signature(order.ticket.validator, NETWORK)
        self.seen.append(order)
        answer = self.repair(order) if self.repair is not None else None
        if answer is None:
            await asyncio.Event().wait()
            raise AssertionError
        return message_response(answer)

    async def _piece(self, request: web.Request) -> web.StreamResponse:
        """Give well-formed ranges of another piece."""
        made_up = b"no piece of anybody" * 10_000
        offset, length = int(request.query["offset"]), int(request.query["length"])
        size = max(offset + length, len(made_up))
        data = (made_up * 100)[:size]
        first, count = covering_leaves(offset, length, size)
        shown = data[first * 16_384 : (first + count) * 16_384]
        proof = RangeProof(size, first, shown, tuple(prove(leaf_hashes(data), first, count)))
        return web.Response(body=b"".join(map(bytes, encode_range(proof))))


class RepairValidator(ValidatorNode):
    """A validator that repairs, without audits."""

    def __init__(self, net: Net) -> None:
        super().__init__(net.loop, net.chance)
        self.net = net
        self.pause_seconds = 5.0
        self.mbit_s = 1_000.0
        self.at_once = 4
        self.lives = 0

    async def _serve(self, ready: asyncio.Future[Any]) -> None:
        now, chain = int(CLOCK.now()), self.net.chain
        self.lives += 1
        account = AccountRecord(account=account_key(), pay_class="paid", quota_bytes=QUOTA_BYTES)
        await self.database.transact(lambda txn: claim(txn, NETWORK, self.home.hotkey))
        await self.database.transact(lambda txn: apply_accounts(txn, self.home, [account], now))
        async with (
            open_http(None, CLOCK) as http,
            open_http(VALIDATOR, CLOCK) as signing,
            asyncio.TaskGroup() as tasks,
        ):
            directory = MinerDirectory(http, chain, self.home, CLOCK, probe_seconds=30.0, stale_seconds=90.0)
            await directory.refresh()
            planner = Planner(chain, directory, digest(b"placement"))
            service = Service(
                Parts(
                    home=self.home,
                    database=self.database,
                    directory=directory,
                    planner=planner,
                    envelope_key=self.envelope,
                    clock=CLOCK,
                    unpaid_quota_bytes=0,
                    pace=PACE,
                )
            )
            repairer = make_repairer(
                Surroundings(
                    self.home,
                    self.database,
                    directory,
                    planner,
                    self.envelope,
                    signing,
                    http,
                    CLOCK,
                    random.Random(f"{self.net.seed} {self.lives}"),
                ),
                mbit_s=self.mbit_s,
                at_once=self.at_once,
                epoch_seconds=EPOCH_SECONDS,
            )
            guard = Guard(self.home.hotkey, CLOCK, NonceWindow())
            routes = [
                HelloDesk(
                    VALIDATOR,
                    "validator",
                    NETWORK,
                    NETUID,
                    CLOCK,
                    encryption_key=encryption_key(self.home, self.envelope, now),
                ).route(),
                *Routes(service, InventoryDesk(self.home, self.database, directory, CLOCK), directory, guard).routes(),
                DrainDesk(self.home, self.database, directory, guard, CLOCK).route(),
            ]
            async with serving(build_app(routes), VALIDATOR_ENDPOINT.host, VALIDATOR_ENDPOINT.port):
                tasks.create_task(directory.run())
                tasks.create_task(self._sweep(service))
                tasks.create_task(repairer.run())
                ready.set_result(None)
                await asyncio.Event().wait()


class RepairClient(ClientNode):
    """A client that stores with the code of these tests."""

    async def _serve(self, ready: asyncio.Future[Any]) -> None:
        async with AsyncClient.open(credentials(), profile=CODE, clock=CLOCK, rng=self.chance) as sdk:
            self.sdk = sdk
            ready.set_result(None)
            await asyncio.Event().wait()


@dataclass
class Net:
    """The nodes of one test, and what a test does with them."""

    loop: SimulatedLoop
    chance: random.Random
    seed: int
    chain: Subnet
    miners: list[RepairMiner] = field(default_factory=list)
    crash_at: dict[str, int] = field(default_factory=dict)
    """Points at which the validator is killed, with how many visits of each are still to come."""

    crashes: int = 0
    on: dict[str, Callable[[], None]] = field(default_factory=dict)
    """What a test does when the validator comes to a point."""

    def __post_init__(self) -> None:
        self.validator = RepairValidator(self)
        self.client = RepairClient("client", self.loop, self.chance)

    async def start(self, miners: int, kinds: dict[int, type[RepairMiner]]) -> None:
        """Start everybody."""
        self.miners = [kinds.get(number, RepairMiner)(number, self) for number in range(miners)]
        for miner in self.miners:
            if not isinstance(miner, Sleeper):
                await miner.start()
        await self.validator.start()
        await asyncio.sleep(5.0)
        await self.client.start()

    def reached(self, point: str) -> None:
        """Be told of a point; kills the validator if a test said so, and has it started again."""
        if current_process() is not self.validator.process:
            return
        if point in self.on:
            self.on[point]()
        if self.crash_at.get(point, 0) == 0:
            return
        self.crash_at[point] -= 1
        if self.crash_at[point] == 0:
            self.crashes += 1
            self.validator.kill(Loss.POWER)
            self.loop.start(OUTSIDE, self._restart())
            raise Killed

    async def _restart(self) -> None:
        await asyncio.sleep(2.0)
        await self.validator.start()

    async def put(self, name: str = "a", content: bytes = CONTENT) -> None:
        """Store an object."""
        assert self.client.sdk is not None
        await self.client.run(self.client.sdk.put(content, f"hippy://bucket/{name}"))

    async def get(self, name: str = "a") -> bytes:
        """Read it."""
        assert self.client.sdk is not None
        found: bytes = await self.client.run(self.client.sdk.get(f"hippy://bucket/{name}"))
        return found

    async def read(self, work: Callable[[Reader], T]) -> T:
        """Look at the registry."""
        return await self.validator.database.read(work)

    def now(self, work: Callable[[Reader], Iterable[T]]) -> list[T]:
        """Look at the registry at once, as it is on disk."""
        return list(work(self.validator.database._rows))

    async def segments(self) -> list[SegmentRecord]:
        """Return all segments as they are stored."""
        return await self.read(
            lambda reader: [SegmentRecord.parse(value, limit=STORED_BYTES_MAX) for _, value in reader.scan(SEGMENT)]
        )

    async def held(self, segment_id: SegmentId) -> dict[int, Holding]:
        """Return who holds which piece."""

        def work(reader: Reader) -> dict[int, Holding]:
            record = SegmentRecord.parse(reader.get(SEGMENT + segment_id) or b"", limit=STORED_BYTES_MAX)
            lost = lost_indices(reader, segment_id)
            return {each.index: each for each in record.holdings if each.index not in lost}

        return await self.read(work)

    async def log(self, kind: str) -> list[LogEntry]:
        """Return the records of a kind."""
        return await self.read(lambda reader: [each for each in scan_log(reader) if each.record.kind == kind])

    async def lose(self, record: SegmentRecord, *indices: int) -> None:
        """Have pieces recorded as lost."""
        for index in indices:
            holding = (await self.held(record.segment_id))[index]
            await self.validator.database.transact(
                lambda txn, holding=holding, index=index: record_loss(  # type: ignore[misc]
                    txn,
                    self.validator.home,
                    holding.miner,
                    [record.spec.roots[index]],
                    reason="failed",
                    now=int(CLOCK.now()),
                    epoch=1,
                    batch=0,
                )
            )

    def by_hotkey(self, hotkey: bytes) -> RepairMiner:
        """Return a miner."""
        return next(miner for miner in self.miners if miner.hotkey == hotkey)

    async def until(self, so: Callable[[], Awaitable[bool]], *, seconds: float = 3_600.0) -> None:
        """Return once something is so; fails if it is not in time."""
        end = self.loop.time() + seconds
        while not await so():
            assert self.loop.time() < end, "it did not come to that"
            await asyncio.sleep(1.0)

    async def until_whole(self, record: SegmentRecord, *, seconds: float = 3_600.0) -> None:
        """Return once all pieces of a segment are held."""

        async def is_whole() -> bool:
            return len(await self.held(record.segment_id)) == record.spec.n

        await self.until(is_whole, seconds=seconds)


def repaired(
    story: Callable[[Net], Coroutine[Any, Any, T]],
    *,
    miners: int = 12,
    kinds: dict[int, type[RepairMiner]] | None = None,
    seed: int = 1,
) -> T:
    """Run a story in a network of its own and return what it returns."""

    async def play() -> T:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimulatedLoop)
        net = Net(loop, random.Random(f"repair {seed}"), seed, Subnet(miners))
        with watching(net.reached):
            await net.start(miners, kinds or {})
            result = await story(net)
        assert loop.errors == []
        return result

    with repeatable(seed):
        return run_simulated(play(), seed=seed)
