"""A validator's audits against real miners on loopback, in one process, with time that a test moves.

Chain, stores, HTTP, proofs and signatures are real. Epochs have 40 blocks of a second, and a beacon round each.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

from aiohttp import StreamReader, web
from blake3 import blake3

from hippy.chain.local import LocalChain, open_local_chain
from hippy.endpoint import Endpoint
from hippy.identity import Identity
from hippy.ids import PublicKey, Root
from hippy.kv import Database, Transaction
from hippy.miner.obligations import Obligation
from hippy.miner.server import build_miner
from hippy.miner.store import PieceStore, open_store
from hippy.proofs.request import parse_request
from hippy.proofs.transcript import Transcript, parse_transcript
from hippy.proofs.tree import leaf_hashes, root_of
from hippy.testing.kv import MemoryDatabase
from hippy.transport.client import Call, Http, Peer, open_http
from hippy.transport.hello import HelloDesk
from hippy.transport.server import Guard, build_app, serving
from hippy.validator.auditing import auditor as auditors
from hippy.validator.auditing.auditor import Auditor
from hippy.validator.auditing.opening import Surroundings, open_auditor
from hippy.validator.auditing.probing import AT_ONCE_MAX
from hippy.validator.auditing.routes import AuditRoutes
from hippy.validator.commit import record_segments
from hippy.validator.directory import MinerDirectory
from hippy.validator.log import read_page
from hippy.validator.repair.drains import record_drain
from hippy.validator.tables import claim
from hippy.validator.verifying.published import Published
from hippy.validator.verifying.record import Result, verify_published
from hippy.wire.audit import EpochHeader, Epochs, LostAnswer, LostReport
from hippy.wire.btauth import NonceWindow
from hippy.wire.log import Loss
from hippy.wire.repair import PieceMoved
from hippy.wire.score import MinerReport, MinerScore, ScoreSheet
from hippy.wire.segment import Holding, SegmentRecord
from hippy.wire.ticket import PayClass, Receipt, Ticket
from tests.validator.auditing.fakes import FailingDatabase, ReachableChain, StepClock, until
from tests.validator.moves_written import drain_of, move, note_candidates
from tests.validator.world import HOME, MINERS, unsigned_segment

TEMPO = 40
"""Blocks of an epoch, and its seconds and beacon rounds."""

PIECE_BYTES = 1_000
PIECES = 8
SECRET = b"validator secret".ljust(32)
COLDKEY = PublicKey(b"c" * 32)


@dataclass
class MinerNode:
    """A real miner and what a test makes of it: ``away`` resets every connection, ``mute`` answers no audit."""

    identity: Identity
    store: PieceStore
    data_dir: Path
    away: bool = False
    mute: bool = False
    serves_reads: bool = True
    hold: asyncio.Event | None = None
    """Audits are answered once this is set."""

    roots: list[Root] = field(default_factory=list)
    asked: list[tuple[int, int, int]] = field(default_factory=list)
    """Epoch, batch and attempt of every audit that came."""

    reads: int = 0
    under_way: int = 0
    most_under_way: int = 0

    @property
    def hotkey(self) -> PublicKey:
        return self.identity.public_key

    @web.middleware
    async def misbehave(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if self.away:
            assert request.transport is not None
            request.transport.abort()
            raise ConnectionResetError
        if "/v1/pieces" in request.path:
            self.reads += 1
            if not self.serves_reads:
                return web.Response(status=503)
        if request.path == "/v1/audit":
            return await self._audit(request, handler)
        return await handler(request)

    async def _audit(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        body = await request.read()
        asked = parse_request(body)
        request._payload = StreamReader(request.protocol, 2**16)  # to be read again
        request._payload.feed_data(body)
        request._payload.feed_eof()
        self.asked.append((asked.epoch, asked.batch, asked.attempt))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            if self.hold is not None:
                await self.hold.wait()
            return web.Response(status=503) if self.mute else await handler(request)
        finally:
            self.under_way -= 1

    def delete(self, root: Root) -> None:
        (path,) = (self.data_dir / "pieces").rglob(root.hex())
        path.unlink()


class Validator:
    """One run of a validator's audits, with its routes served; ``database`` lives longer than it."""

    def __init__(self, world: World, auditor: Auditor, peer: Peer, public: Http) -> None:
        self.world = world
        self.auditor = auditor
        self.peer = peer
        self.public = public

    async def get(self, target: str, limit: int = 32 * 2**20) -> bytes:
        return await self.public.bytes(self.peer, Call("GET", target, answer_bytes_max=limit))

    async def epochs(self) -> Epochs:
        return Epochs.parse(await self.get("/v1/epochs"))

    async def header(self, epoch: int) -> EpochHeader:
        return EpochHeader.parse(await self.get(f"/v1/epochs/{epoch}/header"))

    async def sheet(self, epoch: int) -> ScoreSheet:
        return ScoreSheet.parse(await self.get(f"/v1/epochs/{epoch}/sheet"))

    async def score(self, epoch: int, miner: MinerNode) -> MinerScore:
        return next(score for score in (await self.sheet(epoch)).miners if score.hotkey == miner.hotkey)

    async def transcript(self, epoch: int) -> Transcript:
        return parse_transcript(await self.get(f"/v1/epochs/{epoch}/transcript"))

    async def report(self, miner: MinerNode) -> MinerReport:
        return MinerReport.parse(await self.get(f"/v1/miners/{miner.hotkey.hex()}"), limit=2**18)

    async def verify(self, epochs_max: int = 9) -> Result:
        """Check all that is published as a stranger does."""
        return await verify_published(
            Published(self.public, self.peer),
            self.world.chain.chain,
            HOME.hotkey,
            epochs_max=epochs_max,
            clock=self.world.clock,
            rng=Random(3),
        )

    async def lost(self, miner: MinerNode, *roots: Root, signer: Identity | None = None) -> int:
        """The miner reports pieces lost."""
        unsigned = LostReport(miner=miner.hotkey, validator=HOME.hotkey, roots=roots, time=int(self.world.clock.now()))
        report = unsigned.signed(miner.identity, HOME.network)
        async with open_http(signer or miner.identity, self.world.clock) as http:
            return (await http.message(self.peer, Call("POST", "/v1/lost", report.encode()), LostAnswer)).recorded


@dataclass
class World:
    """Chain, database and miners; the validator is started by :meth:`auditing`."""

    clock: StepClock
    chain: ReachableChain
    database: FailingDatabase
    miners: list[MinerNode]
    signing: Http
    anonymous: Http
    directory: MinerDirectory
    running: tuple[Auditor, asyncio.Task[None]] | None = None
    numbers: count[int] = field(default_factory=count)
    pieces: dict[Root, bytes] = field(default_factory=dict)
    """All that were ever stored."""

    @asynccontextmanager
    async def auditing(self) -> AsyncIterator[Validator]:
        """Run a validator's audits for the duration of the block."""
        auditor = await open_auditor(
            Surroundings(
                HOME,
                SECRET,
                self.database,
                self.chain,
                self.directory,
                self.signing,
                self.anonymous,
                self.clock,
                Random(5),
            )
        )
        desk = HelloDesk(HOME.identity, "validator", HOME.network, HOME.netuid, self.clock)
        guard = Guard(HOME.hotkey, self.clock, NonceWindow())
        routes = AuditRoutes(HOME, self.database, self.chain, self.directory, auditor, guard, self.clock)
        task = asyncio.create_task(auditor.run())
        self.running = auditor, task
        try:
            async with (
                serving(build_app([desk.route(), *routes.routes()]), "127.0.0.1", 0) as endpoint,
                open_http(None, self.clock) as public,
            ):
                await self.settle()
                yield Validator(self, auditor, Peer(endpoint, HOME.hotkey), public)
        finally:
            self.running = None
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, second by second, and everything be done that is to be done in each."""
        for _ in range(round(seconds)):
            await self.clock.advance(1.0)
            await self.settle()

    async def pass_until(self, epoch: int) -> None:
        """Let time pass until the epoch has begun, two seconds ago."""
        start = TEMPO * epoch + 2
        now = await self.chain.chain.current_block()
        await self.pass_time(start - now)

    async def settle(self) -> None:
        """Wait until all probes are done, and all batches unless a miner holds some back, and all others sleep."""
        assert self.running is not None
        auditor, task = self.running

        def is_quiet() -> bool:
            asleep = self.clock.asleep
            batches = set() if self.holds_back else auditor._asking
            probes = AT_ONCE_MAX - auditor._parts.prober._slots._value
            return task.done() or (task in asleep and len(asleep) >= 2 and batches <= asleep and not probes)

        await until(is_quiet)
        if task.done():
            await task

    @property
    def holds_back(self) -> bool:
        """Whether batches or beacons are held back."""
        gates = [self.chain.beacons, *(miner.hold for miner in self.miners)]
        return any(gate is not None and not gate.is_set() for gate in gates)

    async def commit(self, *miners: MinerNode, pay_class: PayClass = "paid") -> list[Root]:
        """Store a new segment with a piece at each of these miners, as a client would; return the roots."""
        number = next(self.numbers)
        pieces = [blake3(f"{number} {place}".encode()).digest(PIECE_BYTES) for place in range(len(miners))]
        roots = [root_of(piece) for piece in pieces]
        self.pieces |= zip(roots, pieces, strict=True)
        holders = {place: miner.hotkey for place, miner in enumerate(miners)}
        segment = unsigned_segment(number, holders, roots, piece_length=PIECE_BYTES, pay_class=pay_class)
        holdings = list[Holding]()
        for index, miner in enumerate(miners):
            holdings.append(await self.hold(miner, segment.record, index))
        signed = replace(segment, record=segment.record.model_copy(update={"holdings": tuple(holdings)}))
        now = int(self.clock.now())
        await self.database.transact(lambda txn: record_segments(txn, HOME, [signed], now))
        return roots

    async def hold(self, miner: MinerNode, record: SegmentRecord, index: int) -> Holding:
        """Have a miner keep a piece that was stored before, and return what its receipt comes to."""
        root = record.spec.roots[index]
        receipt = await self.store(miner, self.pieces[root], record, index)
        miner.roots.append(root)
        return Holding(
            index=index,
            ticket_id=receipt.ticket_id,
            miner=receipt.miner,
            time=receipt.time,
            signature=receipt.signature,
        )

    async def hand_over(self, root: Root, giver: MinerNode, taker: MinerNode, *, drains: bool = False) -> None:
        """Have another miner hold a piece that was lost, or that its miner gives away because it wants to leave."""
        page = await self.database.read(lambda reader: read_page(reader, 0))
        segments = (entry.segment for entry in page.entries if entry.segment is not None)
        record = next(segment for segment in segments if root in segment.spec.roots)
        holding = await self.hold(taker, record, record.spec.roots.index(root))
        now, drained = int(self.clock.now()), giver.hotkey if drains else None

        def work(txn: Transaction) -> None:
            seq = note_candidates(txn, *(miner.identity for miner in self.miners), now=now)
            if drains:
                record_drain(txn, HOME, drain_of(giver.identity, now), now)
            body = PieceMoved(
                segment_id=record.segment_id,
                root=root,
                holding=holding,
                drained=drained,
                placement_round=1,
                epoch=1,
                candidates_seq=seq,
            )
            move(txn, body, now)

        await self.database.transact(work)

    async def store(self, miner: MinerNode, piece: bytes, record: SegmentRecord, index: int) -> Receipt:
        """Have a miner keep a piece of a segment and owe it."""
        ticket = Ticket(
            serial=1,
            network=HOME.network,
            netuid=HOME.netuid,
            validator=HOME.hotkey,
            term=1,
            account=record.account,
            segment_id=record.segment_id,
            index=index,
            root=record.spec.roots[index],
            piece_length=len(piece),
            miner=miner.hotkey,
            endpoint=Endpoint("127.0.0.1", 4000),
            pay_class=record.pay_class,
            upload_by=int(self.clock.now()) + 3600,
        )
        receipt = Receipt(
            ticket_id=ticket.id(HOME.network),
            root=ticket.root,
            piece_length=len(piece),
            miner=miner.hotkey,
            time=int(self.clock.now()),
        )
        owed = Obligation(ticket=ticket, receipt=receipt.signed(miner.identity, HOME.network))
        return await miner.store.add(owed, piece, leaf_hashes(piece))

    async def losses(self) -> list[Loss]:
        """The losses in the log."""
        page = await self.database.read(lambda reader: read_page(reader, 0))
        return [entry.loss for entry in page.entries if entry.loss is not None]


@asynccontextmanager
async def make_world(
    folder: Path, *, miners: int = 2, newcomers: int = 0, database: Database | None = None
) -> AsyncIterator[World]:
    """Make a network whose miners hold a piece of each of eight segments, at the beginning of an epoch.

    After them come ``newcomers``, which hold nothing.
    """
    clock, path = StepClock(), folder / "chain.sqlite"
    LocalChain.create(
        path,
        clock=clock,
        network=HOME.network,
        genesis_secret=b"g" * 32,
        netuid=HOME.netuid,
        block_seconds=1.0,
        tempo_blocks=TEMPO,
    )
    kept = database or MemoryDatabase()
    await kept.transact(lambda txn: claim(txn, HOME.network, HOME.hotkey))
    async with AsyncExitStack() as stack:
        chain = ReachableChain(await stack.enter_async_context(open_local_chain(path, hotkey=HOME.hotkey, clock=clock)))
        await chain.chain.register(HOME.hotkey, COLDKEY, validator_permit=True, stake_rao=9)
        identities = MINERS[: miners + newcomers]
        nodes = [await _open_miner(stack, chain, folder, clock, path, identity) for identity in identities]
        signing = await stack.enter_async_context(open_http(HOME.identity, clock))
        anonymous = await stack.enter_async_context(open_http(None, clock))
        greeting = await stack.enter_async_context(open_http(None, clock))
        directory = MinerDirectory(greeting, chain, HOME, clock, probe_seconds=3600, stale_seconds=86_400)
        await directory.refresh()
        world = World(clock, chain, FailingDatabase(kept), nodes, signing, anonymous, directory)
        for _ in range(PIECES):
            await world.commit(*nodes[:miners])
        yield world


async def _open_miner(
    stack: AsyncExitStack, chain: ReachableChain, folder: Path, clock: StepClock, path: Path, identity: Identity
) -> MinerNode:
    hotkey = identity.public_key
    await chain.chain.register(hotkey, PublicKey(hotkey[::-1]), validator_permit=False, stake_rao=0)
    data_dir = folder / hotkey.hex()[:8]
    opened = open_store(data_dir, capacity_bytes=2**26, disk_reserve_bytes=0)
    miner = MinerNode(identity, await stack.enter_async_context(opened), data_dir)
    own = await stack.enter_async_context(open_local_chain(path, hotkey=hotkey, clock=clock))
    app = build_miner(identity, own, miner.store, clock, body_bytes_in_flight_max=2**26)
    app.middlewares.append(miner.misbehave)
    await own.publish_endpoint(await stack.enter_async_context(serving(app, "127.0.0.1", 0)))
    return miner


def quick_grace(monkeypatch: Any) -> None:
    """Have epochs end without waiting long for answers."""
    monkeypatch.setattr(auditors, "GRACE_SECONDS", 0.1)
