"""The nodes of a history: real services over simulated sockets, disks and databases, killed and started again.

This is the one place that knows how a node is put together; what a node keeps outlives its process here, as on a
machine: ``disk`` and ``database`` are replaced by what their ``crash`` leaves.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

from hippy.client.home import Credentials
from hippy.client.sdk import AsyncClient
from hippy.endpoint import Endpoint
from hippy.errors import HippyError
from hippy.hashing import digest
from hippy.identity import Identity
from hippy.ids import PublicKey
from hippy.kv import Database
from hippy.miner.files import PieceFiles, make_data_directory
from hippy.miner.inventory import Inventory
from hippy.miner.issuers import Issuers
from hippy.miner.server import build_miner
from hippy.miner.store import PieceStore, open_store
from hippy.testing.crash import Loss
from hippy.testing.disk import MemoryDisk
from hippy.testing.kv import MemoryDatabase
from hippy.testing.loop import LoopClock, Process, SimulatedLoop
from hippy.transport.client import open_http
from hippy.transport.hello import HelloDesk
from hippy.transport.server import Guard, build_app, serving
from hippy.validator.accounts import apply_accounts
from hippy.validator.commit import EnvelopeKey
from hippy.validator.directory import MinerDirectory
from hippy.validator.inventory_desk import InventoryDesk
from hippy.validator.keys import encryption_key
from hippy.validator.log import Home
from hippy.validator.planner import Planner
from hippy.validator.server import Routes
from hippy.validator.service import Parts, Service
from hippy.validator.tables import claim
from hippy.wire.btauth import NonceWindow
from hippy.wire.log import AccountRecord
from hippy.wire.pace import pace_of
from tests.histories.chain import EPOCH_SECONDS, NETUID, NETWORK, StillChain, neuron

MINERS: Final = 5
CODE: Final = "2/4"
QUOTA_BYTES: Final = 2_000_000
CLOCK: Final = LoopClock()
PACE: Final = pace_of(EPOCH_SECONDS)
DATA_DIR: Final = Path("/data")
SWEEP_SECONDS: Final = 120.0
"""Between two sweeps of the validator; fifteen times as long it waits between two looks at all miners."""
SEED: Final = digest(b"account")
VALIDATOR: Final = Identity.from_seed(digest(b"validator"))
VALIDATOR_ENDPOINT: Final = Endpoint("127.0.0.1", 4000)


def _chain() -> StillChain:
    miners = [neuron(1 + at, key.public_key, endpoint) for at, (key, endpoint) in enumerate(MINER_KEYS)]
    return StillChain([neuron(0, VALIDATOR.public_key, VALIDATOR_ENDPOINT, permit=True), *miners], CLOCK)


MINER_KEYS: Final = [
    (Identity.from_seed(digest(b"miner" + bytes([number]))), Endpoint("127.0.0.1", 4001 + number))
    for number in range(MINERS)
]
CHAIN: Final = _chain()


class Node:
    """Something that runs in a process of its own, until it is killed, and again."""

    def __init__(self, name: str, loop: SimulatedLoop, chance: random.Random) -> None:
        self.name = name
        self.loop = loop
        self.process = Process(name)
        self.database = MemoryDatabase(pause=self._pause)
        self.slow_seconds = 0.0
        self.chance = chance
        self.ready: asyncio.Future[Any] | None = None
        self.serving: asyncio.Task[None] | None = None

    @property
    def is_up(self) -> bool:
        """Whether its process runs."""
        return self.serving is not None and not self.serving.done() and self.process.is_alive

    async def start(self) -> None:
        """Start a process for it and wait until it serves, or is killed; raises what its start failed with."""
        assert not self.is_up
        self.process = Process(self.name)
        self.process.slow_seconds = self.slow_seconds
        self.ready = self.loop.create_future()
        self.serving = self.loop.start(self.process, self._serve(self.ready))
        await asyncio.wait([self.ready, self.serving], return_when=asyncio.FIRST_COMPLETED)
        if self.process.is_alive and not self.ready.done():
            self.serving.result()

    def kill(self, loss: Loss) -> None:
        """End its process now; what was not durable may be gone."""
        if self.process.is_alive:
            self.loop.kill(self.process)
            self.database = self.database.crash()
            self._crash(loss)

    def run(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run something in its process."""
        return self.loop.start(self.process, work)

    async def _pause(self) -> None:
        """Wait as one does for a disk: mostly not at all."""
        is_short = self.chance.random() > 0.2 + self.process.slow_seconds
        await asyncio.sleep(0 if is_short else self.chance.random() * (0.003 + self.process.slow_seconds))

    def _crash(self, loss: Loss) -> None:
        """Lose what it keeps besides its database."""

    async def _serve(self, ready: asyncio.Future[Any]) -> None:
        raise NotImplementedError


class MinerNode(Node):
    """One miner."""

    def __init__(self, number: int, loop: SimulatedLoop, chance: random.Random) -> None:
        super().__init__(f"miner{number}", loop, chance)
        self.identity, self.endpoint = MINER_KEYS[number]
        self.disk = _laid_out(chance)
        self.capacity_bytes = 2**30
        self._house: tuple[PieceStore, Inventory] | None = None

    def _crash(self, loss: Loss) -> None:
        self.disk = self.disk.crash(loss)

    async def _serve(self, ready: asyncio.Future[Any]) -> None:
        async with self._store() as store:
            app = build_miner(self.identity, CHAIN, store, CLOCK, body_bytes_in_flight_max=2**26)
            async with open_http(self.identity, CLOCK) as http, serving(app, self.endpoint.host, self.endpoint.port):
                issuers = Issuers(CHAIN, http, CLOCK)
                inventory = Inventory(store, issuers, http, self.identity, CLOCK, NETWORK, EPOCH_SECONDS)
                self._house = store, inventory
                ready.set_result(None)
                await asyncio.Event().wait()

    async def keep_house(self) -> None:
        """Do what a miner does once a day: ask about its tickets, and remove what has been trash for long enough.

        It is done when a history says so, not by the hour: of the hours of a history most have nothing to do.
        """
        if self.is_up and self._house is not None:
            await asyncio.wait([self.run(self._keep_house(*self._house))])

    async def _keep_house(self, store: PieceStore, inventory: Inventory) -> None:
        with suppress(HippyError):
            await inventory.ask_portion()
        with suppress(HippyError):
            await store.trash.remove(int(CLOCK.now()) - PACE.trash_seconds)

    def _store(self) -> AbstractAsyncContextManager[PieceStore]:
        return open_store(
            DATA_DIR,
            capacity_bytes=self.capacity_bytes,
            disk_reserve_bytes=0,
            clock=CLOCK,
            disk=self.disk,
            database=self._open_database,
        )

    @asynccontextmanager
    async def _open_database(self, _: Path) -> AsyncIterator[Database]:
        yield self.database


class ValidatorNode(Node):
    """The home validator, without audits."""

    def __init__(self, loop: SimulatedLoop, chance: random.Random) -> None:
        super().__init__("validator", loop, chance)
        self.home = Home(VALIDATOR, NETWORK, NETUID)
        self.envelope = EnvelopeKey(1, digest(b"envelope"))
        self.pause_seconds = SWEEP_SECONDS

    async def _serve(self, ready: asyncio.Future[Any]) -> None:
        now = int(CLOCK.now())
        account = AccountRecord(account=account_key(), pay_class="paid", quota_bytes=QUOTA_BYTES)
        await self.database.transact(lambda txn: claim(txn, NETWORK, self.home.hotkey))
        await self.database.transact(lambda txn: apply_accounts(txn, self.home, [account], now))
        async with open_http(None, CLOCK) as http, asyncio.TaskGroup() as tasks:
            directory = MinerDirectory(
                http, CHAIN, self.home, CLOCK, probe_seconds=15 * self.pause_seconds, stale_seconds=10**9
            )
            await directory.refresh()
            service = Service(
                Parts(
                    home=self.home,
                    database=self.database,
                    directory=directory,
                    planner=Planner(CHAIN, directory, digest(b"placement")),
                    envelope_key=self.envelope,
                    clock=CLOCK,
                    unpaid_quota_bytes=0,
                    pace=PACE,
                )
            )
            key = encryption_key(self.home, self.envelope, now)
            desk = HelloDesk(VALIDATOR, "validator", NETWORK, NETUID, CLOCK, encryption_key=key)
            inventories = InventoryDesk(self.home, self.database, directory, CLOCK)
            guard = Guard(self.home.hotkey, CLOCK, NonceWindow())
            app = build_app([desk.route(), *Routes(service, inventories, directory, guard).routes()])
            async with serving(app, VALIDATOR_ENDPOINT.host, VALIDATOR_ENDPOINT.port):
                tasks.create_task(directory.run())
                tasks.create_task(self._sweep(service))
                ready.set_result(None)
                await asyncio.Event().wait()

    async def _sweep(self, service: Service) -> None:
        while True:
            with suppress(HippyError):  # a validator's sweep is tried again later, whatever it met
                await service.sweep()
            await CLOCK.sleep(self.pause_seconds)


class ClientNode(Node):
    """A program that uses the SDK."""

    def __init__(self, name: str, loop: SimulatedLoop, chance: random.Random) -> None:
        super().__init__(name, loop, chance)
        self.sdk: AsyncClient | None = None

    async def _serve(self, ready: asyncio.Future[Any]) -> None:
        async with AsyncClient.open(credentials(), profile=CODE, clock=CLOCK, rng=self.chance) as sdk:
            self.sdk = sdk
            ready.set_result(None)
            await asyncio.Event().wait()


def credentials() -> Credentials:
    """Return the account that all clients of a history use."""
    return Credentials.of_seed(
        SEED,
        validator_endpoint=VALIDATOR_ENDPOINT,
        validator_hotkey=VALIDATOR.public_key,
        network=NETWORK,
        netuid=NETUID,
        local=True,
    )


def account_key() -> PublicKey:
    """Return the account's key."""
    return credentials().account


def _laid_out(chance: random.Random) -> MemoryDisk:
    """Return a disk as a miner's first start leaves it; making 256 folders takes longer than most histories."""
    disk = MemoryDisk(chance)
    disk._root = _copy(_LAYOUT._root)
    return disk


def _copy(directory: Any) -> Any:
    now = {name: _copy(node) for name, node in directory.now.items()}
    return type(directory)(now, dict(now))


def _layout() -> MemoryDisk:
    disk = MemoryDisk(random.Random(0))
    make_data_directory(DATA_DIR, disk)
    PieceFiles.open(DATA_DIR, disk)
    return disk


_LAYOUT: Final = _layout()
