"""The real loop of repair without a network: miners that are words, and answers as chance or a test has them.

What is real is everything between the queue and the wire: choosing, planning, jobs, deliveries, moves, and the workers.
A process may end at any point and be started anew on the same registry.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from typing import cast

from hippy.hashing import digest
from hippy.identity import Identity
from hippy.ids import MessageId, PublicKey, Root, SegmentId
from hippy.kv import Reader, Transaction
from hippy.points import watching
from hippy.seal import envelope_info, envelope_public_key, seal_envelope
from hippy.testing.crash import Loss
from hippy.testing.kv import MemoryDatabase
from hippy.testing.loop import Killed, LoopClock, Process, SimulatedLoop, current_process
from hippy.transport.client import Http, Peer
from hippy.validator.commit import record_segments
from hippy.validator.directory import MinerDirectory, Sighting
from hippy.validator.log import CommittedSegment
from hippy.validator.planner import Planner
from hippy.validator.repair.budget import ReadBudget
from hippy.validator.repair.failing import FailingSources
from hippy.validator.repair.following import Following
from hippy.validator.repair.jobs import RepairJob
from hippy.validator.repair.ordering import Made, Ordering, Reply
from hippy.validator.repair.planning import Planning
from hippy.validator.repair.reading import SourceReader, SourcesFailedError
from hippy.validator.repair.repairer import Repairer, Waits
from hippy.validator.tables import USED, claim, get_count, get_segment, put_count
from hippy.wire.log import Envelopes
from hippy.wire.repair import RepairOrder, RepairSource
from hippy.wire.segment import Holding, SealEnvelope, SegmentRecord, SegmentSpec
from hippy.wire.ticket import Receipt
from tests.histories.chain import EPOCH_SECONDS, StillChain, neuron
from tests.validator.world import ACCOUNT, ENVELOPE_KEY, HOME, NETWORK, SEAL_KEY, endpoint

CLOCK = LoopClock()
PIECE_LENGTH = 32
Answer = Callable[[RepairOrder], Reply]


class StageDirectory(MinerDirectory):
    """Miners that are there as long as a test has them so."""

    def __init__(self, chain: StillChain) -> None:
        super().__init__(cast(Http, None), chain, HOME, CLOCK, probe_seconds=1e9, stale_seconds=1e9)
        self.away: set[PublicKey] = set()

    async def see_all(self) -> None:
        """Have all miners seen."""
        await self.refresh()
        for each in self._metagraph.neurons[1:]:
            assert each.endpoint is not None
            await self.greet(Peer(each.endpoint, each.hotkey))

    async def greet(self, peer: Peer) -> bool:
        """See MinerDirectory."""
        if peer.hotkey in self.away:
            return False
        self._sightings[peer.hotkey] = Sighting(peer.endpoint, 2**40, 0, int(CLOCK.now()), 0.01)
        self._silent.discard(peer.hotkey)
        return True


class StageOrdering(Ordering):
    """Answers orders at once, or after a while, as a test says."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(HOME, cast(Http, None), CLOCK)
        self._stage = stage

    async def send(self, order: RepairOrder, mask: bytes) -> Reply:
        """See Ordering."""
        self._stage.delivered.append((order, mask))
        self._stage.at_work.append(order)
        try:
            await asyncio.sleep(self._stage.work_seconds())
        finally:
            self._stage.at_work.remove(order)
        return self._stage.answer(order)


class StageReader(SourceReader):
    """Reads what a test has sources show."""

    def __init__(self, stage: Stage, directory: MinerDirectory) -> None:
        super().__init__(cast(Http, None), directory, stage.chance)
        self._stage = stage

    async def has(self, source: RepairSource, piece_length: int) -> bool:
        """See SourceReader."""
        self._stage.looked_at.append(source)
        return source.miner not in self._stage.bad_sources

    async def make(self, job: RepairJob, n: int, seal_key: bytes) -> Root:
        """See SourceReader."""
        assert seal_key == SEAL_KEY
        self._stage.made.append(job)
        failed = [source.index for source in job.sources if source.miner in self._stage.bad_sources]
        if failed:
            raise SourcesFailedError(failed)
        record = self._stage.record(job.segment_id)
        return Root(digest(b"something else")) if self._stage.is_flawed else record.spec.roots[job.index]


class Stage:
    """A registry, miners, and a validator's repair that is started and ended."""

    def __init__(self, loop: SimulatedLoop, chance: random.Random, *, miners: int) -> None:
        self.loop = loop
        self.chance = chance
        self.database = MemoryDatabase()
        self.miners = [Identity.from_seed(digest(b"stage" + bytes([number]))) for number in range(miners)]
        found = [neuron(1 + at, each.public_key, endpoint(at)) for at, each in enumerate(self.miners)]
        self.chain = StillChain([neuron(0, HOME.hotkey, endpoint(999), permit=True), *found], CLOCK)
        self.directory = StageDirectory(self.chain)
        self.delivered: list[tuple[RepairOrder, bytes]] = []
        """Every order that was sent, with its mask, in order."""
        self.at_work: list[RepairOrder] = []
        self.looked_at: list[RepairSource] = []
        self.made: list[RepairJob] = []
        self.bad_sources: set[PublicKey] = set()
        self.is_flawed = False
        self.answer: Answer = self.receipt
        self.work_seconds: Callable[[], float] = lambda: 1.0
        self.mbit_s = 1_000.0
        self.at_once = 4
        self.crash_at: set[int] = set()
        """Visits of points, counted over all, at which the process ends."""
        self.visits = 0
        self.process = Process("repair")
        self.lives = 0

    async def open(self) -> None:
        """Make the registry, and have all miners seen."""
        await self.database.transact(lambda txn: claim(txn, NETWORK, HOME.hotkey))
        await self.directory.see_all()

    async def commit(self, number: int, k: int, n: int, *, first: int = 0) -> SegmentId:
        """Commit a segment that the miners from ``first`` on hold; nobody signed its receipts."""
        spec = SegmentSpec(
            nonce=number.to_bytes(16, "big"),
            roots=tuple(Root(digest(bytes([number, index]))) for index in range(n)),
            data_length=k * PIECE_LENGTH,
            piece_length=PIECE_LENGTH,
            k=k,
            n=n,
        )
        record = SegmentRecord(
            account=ACCOUNT.public_key,
            spec=spec,
            pay_class="paid",
            committed_time=int(CLOCK.now()),
            placement_round=1,
            candidates_seq=1,
            holdings=tuple(
                Holding(
                    index=index,
                    ticket_id=MessageId(digest(b"ticket" + bytes([number, index]))),
                    miner=self.miners[(first + index) % len(self.miners)].public_key,
                    time=int(CLOCK.now()),
                    signature=bytes(64),
                )
                for index in range(n)
            ),
        )
        info = envelope_info(NETWORK, HOME.netuid, ACCOUNT.public_key, record.segment_id, HOME.hotkey, 1)
        sealed = SealEnvelope(
            validator=HOME.hotkey,
            key_id=1,
            ciphertext=seal_envelope(SEAL_KEY, envelope_public_key(ENVELOPE_KEY.private_key), info),
        )
        segment = CommittedSegment(record, Envelopes(envelopes=(sealed,)))

        def work(txn: Transaction) -> None:
            put_count(txn, USED + ACCOUNT.public_key, get_count(txn, USED + ACCOUNT.public_key) + n * PIECE_LENGTH)
            record_segments(txn, HOME, [segment], int(CLOCK.now()))

        await self.database.transact(work)
        return record.segment_id

    def receipt(self, order: RepairOrder) -> Reply:
        """Answer an order as an honest miner does."""
        ticket = order.ticket
        unsigned = Receipt(
            ticket_id=ticket.id(NETWORK),
            root=ticket.root,
            piece_length=ticket.piece_length,
            miner=ticket.miner,
            time=int(CLOCK.now()),
        )
        return Made(unsigned.model_copy(update={"signature": bytes(64)}))

    def start(self) -> asyncio.Task[None]:
        """Start a process that repairs."""
        self.process = Process("repair")
        self.lives += 1
        return self.loop.start(self.process, self._repairer().run())

    def _repairer(self) -> Repairer:
        rng, failing = random.Random(f"{self.chance.random()}"), FailingSources()
        planning = Planning(
            HOME,
            self.database,
            self.directory,
            Planner(self.chain, self.directory, digest(b"placement")),
            ENVELOPE_KEY,
            CLOCK,
            rng,
            failing,
            epoch_seconds=EPOCH_SECONDS,
        )
        following = Following(
            HOME,
            self.database,
            self.directory,
            planning,
            StageOrdering(self),
            StageReader(self, self.directory),
            failing,
            CLOCK,
            epoch_seconds=EPOCH_SECONDS,
        )
        return Repairer(
            self.database,
            self.directory,
            planning,
            following,
            ReadBudget(self.mbit_s * 125_000),
            CLOCK,
            rng,
            at_once=self.at_once,
            waits=Waits.of(EPOCH_SECONDS),
        )

    def reached(self, point: str) -> None:
        """Be told of a point; ends the process there if a test says so, and starts it again a little later."""
        if current_process() is not self.process or not point.startswith("validator."):
            return
        if not self.process.is_alive:
            raise Killed
        self.visits += 1
        if self.visits in self.crash_at:
            self.loop.kill(self.process)
            self.database = self.database.crash()
            self.at_work.clear()
            self.loop.call_later(0.5, self.start)
            raise Killed

    def record(self, segment_id: SegmentId) -> SegmentRecord:
        """Return a segment as it is stored now."""
        found = get_segment(self.reader, segment_id)
        assert found is not None
        return found

    @property
    def reader(self) -> Reader:
        """The registry as it is on disk now."""
        return self.database._rows

    async def until(self, so: Callable[[], bool], *, seconds: float = 7_200.0) -> None:
        """Return once something is so; fails if it is not in time."""
        end = self.loop.time() + seconds
        while not so():
            assert self.loop.time() < end, "it did not come to that"
            await asyncio.sleep(0.1)


def masked(orders: Iterable[tuple[RepairOrder, bytes]]) -> list[tuple[RepairOrder, bytes]]:
    """Return the orders that came with masks."""
    return [(order, mask) for order, mask in orders if not order.is_copy]


__all__ = ["CLOCK", "Loss", "Stage", "masked", "watching"]
