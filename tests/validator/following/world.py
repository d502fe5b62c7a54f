"""Several validators in virtual time: real services, real HTTP over simulated sockets, databases that outlive kills.

There are no miners: segments are written into a home's log as if they had been committed.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from hippy.endpoint import Endpoint
from hippy.errors import HippyError
from hippy.hashing import digest
from hippy.identity import Identity
from hippy.ids import PublicKey, Root
from hippy.kv import Reader, Transaction
from hippy.testing.crash import Loss
from hippy.testing.loop import LoopClock, SimulatedLoop, run_simulated
from hippy.transport.client import Call, Http, Peer, open_http
from hippy.transport.hello import HelloDesk
from hippy.transport.server import Guard, build_app, serving
from hippy.validator.accounts import charge_anyway
from hippy.validator.allocation import charged_bytes
from hippy.validator.commit import EnvelopeKey, record_segments
from hippy.validator.directory import MinerDirectory
from hippy.validator.following.opening import Following, Surroundings
from hippy.validator.following.watch import WatchedDatabase
from hippy.validator.inventory_desk import InventoryDesk
from hippy.validator.keys import encryption_key
from hippy.validator.log import CommittedSegment, Home, Position, position
from hippy.validator.planner import Planner
from hippy.validator.server import Routes
from hippy.validator.service import Parts, Service
from hippy.validator.tables import claim
from hippy.wire.btauth import NonceWindow
from hippy.wire.object import (
    BucketAnswer,
    BucketRequest,
    BucketRow,
    ObjectRow,
    ReadAnswer,
    ReadRequest,
    WriteAnswer,
    WriteRequest,
)
from hippy.wire.pace import pace_of
from hippy.wire.parts import encode_parts, parse_parts
from tests.histories.chain import EPOCH_SECONDS, NETUID, NETWORK, StillChain, neuron
from tests.histories.nodes import Node
from tests.validator.world import ACCOUNT, MINERS, component, unsigned_segment
from tests.validator.world import row as signed_row

T = TypeVar("T")

CLOCK: Final = LoopClock()
PACE: Final = pace_of(EPOCH_SECONDS)
KEYS: Final = [Identity.from_seed(digest(b"validator" + bytes([number]))) for number in range(4)]
ENDPOINTS: Final = [Endpoint("127.0.0.1", 4000 + number) for number in range(4)]
BUCKET: Final = component("bucket")
MANIFEST: Final = b"manifest"


class ValidatorNode(Node):
    """A validator without miners and audits."""

    def __init__(self, number: int, chain: StillChain, loop: SimulatedLoop, chance: random.Random) -> None:
        super().__init__(f"validator{number}", loop, chance)
        self.identity, self.endpoint = KEYS[number], ENDPOINTS[number]
        self.home = Home(self.identity, NETWORK, NETUID)
        self.chain = chain
        self.following: Following | None = None
        self.service: Service | None = None

    @property
    def key(self) -> PublicKey:
        """Its hotkey."""
        return self.identity.public_key

    async def end(self) -> Position:
        """Return where its own log ends."""
        return await self.database.read(position)

    async def read(self, work: Callable[[Reader], T]) -> T:
        """Look into its database."""
        return await self.database.read(work)

    async def _serve(self, ready: asyncio.Future[Any]) -> None:
        envelope = EnvelopeKey(1, digest(b"envelope" + self.key))
        database = WatchedDatabase(self.database, CLOCK)
        await database.transact(lambda txn: claim(txn, NETWORK, self.key))
        key = encryption_key(self.home, envelope, int(CLOCK.now()))
        async with (
            open_http(None, CLOCK) as http,
            open_http(self.identity, CLOCK) as signing,
            asyncio.TaskGroup() as tasks,
        ):
            directory = MinerDirectory(http, self.chain, self.home, CLOCK, probe_seconds=1.0, stale_seconds=90.0)
            await directory.refresh()
            given = Surroundings(self.home, database, self.chain, directory, signing, http, CLOCK, PACE, key)
            self.following = Following(given)
            await self.following.lapse.recover()
            self.service = Service(
                Parts(
                    home=self.home,
                    database=database,
                    directory=directory,
                    planner=Planner(self.chain, directory, digest(b"placement")),
                    envelope_key=envelope,
                    clock=CLOCK,
                    unpaid_quota_bytes=1_000_000,
                    pace=PACE,
                    copies=self.following.copies,
                    registries=self.following.registries,
                )
            )
            desk = HelloDesk(self.identity, "validator", NETWORK, NETUID, CLOCK, encryption_key=key)
            inventories = InventoryDesk(self.home, database, directory, CLOCK)
            guard = Guard(self.key, CLOCK, NonceWindow())
            routes = Routes(self.service, inventories, directory, guard).routes()
            app = build_app([desk.route(), *routes, *self.following.routes(guard)])
            async with serving(app, self.endpoint.host, self.endpoint.port):
                tasks.create_task(directory.run())
                tasks.create_task(self.following.run())
                ready.set_result(None)
                await asyncio.Event().wait()


class Subnet:
    """Validators of one subnet, and an account that uses them."""

    def __init__(self, validators: list[ValidatorNode], http: Http) -> None:
        self.validators = validators
        self.http = http
        self.numbers = iter(range(1, 10**6))

    def kill(self, number: int) -> None:
        """End a validator's process."""
        self.validators[number].kill(Loss.KILL)

    async def start(self, number: int) -> None:
        """Start it again."""
        await self.validators[number].start()

    async def post(self, number: int, path: str, body: bytes) -> bytes:
        """Post as the account."""
        peer = Peer(ENDPOINTS[number], KEYS[number].public_key)
        return await self.http.bytes(peer, Call("POST", path, body, answer_bytes_max=2**22, deadline_seconds=60.0))

    async def get(self, number: int, path: str) -> bytes:
        """Get as the account."""
        peer = Peer(ENDPOINTS[number], KEYS[number].public_key)
        return await self.http.bytes(peer, Call("GET", path, answer_bytes_max=2**22))

    def bucket_request(self, name: str) -> BucketRequest:
        """Return the wish for a bucket."""
        row = BucketRow(account=ACCOUNT.public_key, bucket=component(name), action="create", time=int(CLOCK.now()))
        number = next(self.numbers).to_bytes(16, "big")
        return BucketRequest(request_id=number, account=row.account, row=row.signed(ACCOUNT, NETWORK))

    async def make_bucket(self, number: int, name: str) -> BucketAnswer:
        """Make a bucket."""
        return BucketAnswer.parse(await self.post(number, "/v1/buckets/write", self.bucket_request(name).encode()))

    async def write(self, number: int, *rows: ObjectRow) -> WriteAnswer:
        """Write rows."""
        request_id = next(self.numbers).to_bytes(16, "big")
        request = WriteRequest(request_id=request_id, account=ACCOUNT.public_key, rows=rows)
        manifests = [MANIFEST for row in rows if row.action == "put"]
        return WriteAnswer.parse(await self.post(number, "/v1/objects", encode_parts(request, manifests)))

    async def read(self, number: int, *names: str) -> tuple[ReadAnswer, list[bytes]]:
        """Read rows and manifests."""
        asked = ReadRequest(
            account=ACCOUNT.public_key, bucket=BUCKET, names=tuple((component(name),) for name in names)
        )
        return parse_parts(ReadAnswer, await self.post(number, "/v1/objects/read", asked.encode()))

    async def commit(self, number: int, *nonces: int) -> CommittedSegment:
        """Write segments into a validator's log as if they had been committed; return the first."""
        node = self.validators[number]
        segments = [_segment(nonce) for nonce in nonces]
        assert node.following is not None
        database = node.following.database
        now = int(CLOCK.now())

        def work(txn: Transaction) -> None:
            charge_anyway(txn, ACCOUNT.public_key, charged_bytes([each.record.spec for each in segments]))
            record_segments(txn, node.home, segments, now, PACE)

        await database.transact(work)
        return segments[0]

    async def until(self, what: Callable[[], Coroutine[Any, Any, bool]], seconds: float = 60.0) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(seconds):
            while not await what():  # noqa: ASYNC110 - virtual time
                await asyncio.sleep(0.05)


def _segment(nonce: int) -> CommittedSegment:
    roots = [Root(digest(nonce.to_bytes(4, "big") + bytes([index]))) for index in range(2)]
    return unsigned_segment(nonce, {index: MINERS[index].public_key for index in range(2)}, roots)


def row(name: str, **change: Any) -> ObjectRow:
    """Return a row of the account, of now."""
    return signed_row(name, time=int(CLOCK.now()), **change)


def play(work: Callable[[Subnet], Coroutine[Any, Any, T]], *, validators: int = 3, seed: int = 1) -> T:
    """Run a story of so many validators, all started, in virtual time."""

    async def story() -> T:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimulatedLoop)
        chance = random.Random(f"subnet {seed}")
        keys = list(zip(KEYS, ENDPOINTS, strict=True))[:validators]
        chain = StillChain(
            [neuron(uid, key.public_key, endpoint, permit=True) for uid, (key, endpoint) in enumerate(keys)], CLOCK
        )
        nodes = [ValidatorNode(number, chain, loop, chance) for number in range(validators)]
        for node in nodes:
            await node.start()
        async with open_http(ACCOUNT, CLOCK) as http:
            return await work(Subnet(nodes, http))

    return run_simulated(story(), seed=seed)


async def refused(work: Coroutine[Any, Any, object]) -> HippyError:
    """Return the error that something is refused with."""
    try:
        await work
    except HippyError as error:
        return error
    raise AssertionError("it was not refused")
