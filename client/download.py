"""Segments come back from their miners (docs/PROTOCOL.md §4).

Owns choosing whom to ask, asking another when one fails or lags, checking every piece against its root, unsealing,
and decoding only where a data piece is missing. :class:`SegmentCache` keeps a few segments, so that files that share
one fetch it once, and bounds how many are in memory.

Invariants: no byte that did not lead to the piece's root goes further; a segment's memory is counted until nobody
uses it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from hippy.client.buffers import ByteBudget
from hippy.client.progress import Progress
from hippy.client.roots import roots_of
from hippy.client.session import Session
from hippy.erasure.codec import Codec
from hippy.erasure.geometry import PIECE_LENGTH_MAX
from hippy.errors import HippyError, IntegrityError, TemporaryError
from hippy.identity import ss58_encode
from hippy.ids import PublicKey, SegmentId
from hippy.seal import xor_extent, xor_seal
from hippy.transport.client import Call
from hippy.wire.segment import Holding, SegmentRecord, SegmentSpec

LAG_SECONDS: Final = 2.0
"""When no piece came for this long, one more is asked for."""

RECEIVING_BYTES_MAX: Final = 64 * 1024 * 1024
RECEIVING_PIECES_MAX: Final = 64
SEGMENTS_BYTES_MAX: Final = 256 * 1024 * 1024
"""Segments in memory, being fetched, in use or kept; half of what a client may take."""


@dataclass(frozen=True, slots=True)
class SegmentData:
    """A segment's encrypted data, as its k data pieces."""

    piece_length: int
    pieces: tuple[memoryview, ...] = field(repr=False)

    def copy(self, offset: int, out: memoryview) -> None:
        """Copy the bytes from ``offset`` on to ``out``, across pieces."""
        done = 0
        while done < len(out):
            index, start = divmod(offset + done, self.piece_length)
            run = self.pieces[index][start : start + len(out) - done]
            out[done : done + len(run)] = run
            done += len(run)

    def plaintext(self, key: bytes, offset: int, length: int, skip: int = 0) -> bytearray:
        """Return the plain bytes of an extent at ``offset``, without its first ``skip``; megabytes: in a thread."""
        out = bytearray(length - skip)
        self.copy(offset + skip, memoryview(out))
        xor_extent(key, out, skip)
        return out


class SegmentFetcher:
    """Gets whole segments from the miners that hold them."""

    def __init__(self, session: Session, progress: Progress) -> None:
        self._session = session
        self._progress = progress
        self._receiving = ByteBudget(RECEIVING_BYTES_MAX, RECEIVING_PIECES_MAX)
        self._noted: set[PublicKey] = set()

    async def fetch(self, record: SegmentRecord, seal_key: bytes) -> SegmentData:
        """Return a segment's data.

        Raises TemporaryError naming how many pieces are missing when fewer than k can be had.
        """
        spec = record.spec
        pieces = await self._any_k(record, seal_key)
        return await asyncio.to_thread(_data_of, spec, pieces)

    async def _any_k(self, record: SegmentRecord, seal_key: bytes) -> dict[int, bytearray]:
        """Return k unsealed pieces by index: the ones asked first, or spares for those that failed or lag."""
        waiting = await self._in_order(record)
        pieces: dict[int, bytearray] = {}
        running: dict[asyncio.Task[bytearray | None], int] = {}
        extra = 0
        try:
            while len(pieces) < record.spec.k:
                while waiting and len(running) + len(pieces) < record.spec.k + extra:
                    holding = waiting.pop(0)
                    running[asyncio.create_task(self._piece(record, holding, seal_key))] = holding.index
                if not running:
                    raise _too_few(record, len(pieces), local=self._session.local)
                done = await self._first_of(running)
                extra += not done
                for task in done:
                    index, piece = running.pop(task), task.result()
                    if piece is not None:
                        pieces[index] = piece
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        return pieces

    async def _first_of(self, running: Iterable[asyncio.Task[bytearray | None]]) -> set[asyncio.Task[bytearray | None]]:
        """Return the tasks that are done, once there is one; none when LAG_SECONDS passed first."""
        lag = asyncio.create_task(self._session.clock.sleep(LAG_SECONDS))
        try:
            done, _ = await asyncio.wait({*running, lag}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            lag.cancel()
        return {task for task in running if task in done}

    async def _in_order(self, record: SegmentRecord) -> list[Holding]:
        """Return the holdings, data pieces with good miners first."""
        miners, k = self._session.miners, record.spec.k
        good = {holding.miner: await miners.is_good(holding.miner) for holding in record.holdings}
        return sorted(
            record.holdings,
            key=lambda h: (not good[h.miner], h.index >= k, miners.failure_average(h.miner), h.index),
        )

    async def _piece(self, record: SegmentRecord, holding: Holding, seal_key: bytes) -> bytearray | None:
        """Return one unsealed piece, checked; None when its miner cannot give it."""
        miners, spec = self._session.miners, record.spec
        root = spec.roots[holding.index]
        call = Call("GET", f"/v1/pieces/{root.hex()}", answer_bytes_max=spec.piece_length)
        try:
            peer = await miners.peer_of(holding.miner)
            await self._receiving.acquire(spec.piece_length)
            try:
                body = await self._session.http.bytes(peer, call)
                piece = await asyncio.to_thread(_open_piece, body, record, holding.index, seal_key)
            finally:
                await self._receiving.release(spec.piece_length)
        except HippyError as error:
            miners.failed(holding.miner)
            self._note(holding, error)
            return None
        miners.succeeded(holding.miner)
        return piece

    def _note(self, holding: Holding, error: HippyError) -> None:
        """Tell of a miner that failed, once: it may hold a piece of every segment."""
        if holding.miner not in self._noted:
            self._noted.add(holding.miner)
            self._progress.note(f"piece {holding.index} not from {ss58_encode(holding.miner)[:8]}…: {error.message}")


def _open_piece(body: bytes, record: SegmentRecord, index: int, seal_key: bytes) -> bytearray:
    """Return a piece without its seal.

    Raises IntegrityError unless it is the one the record names.
    """
    if len(body) != record.spec.piece_length or roots_of((body,)) != (record.spec.roots[index],):
        raise IntegrityError("the bytes do not match the piece's root")
    piece = bytearray(body)
    xor_seal(seal_key, index, piece)
    return piece


def _data_of(spec: SegmentSpec, pieces: Mapping[int, bytearray]) -> SegmentData:
    missing = {index: memoryview(bytearray(spec.piece_length)) for index in range(spec.k) if index not in pieces}
    if missing:
        Codec(spec.k, spec.n).reconstruct(pieces, missing)
    views = {**{index: memoryview(piece) for index, piece in pieces.items()}, **missing}
    return SegmentData(spec.piece_length, tuple(views[index] for index in range(spec.k)))


def _too_few(record: SegmentRecord, have: int, *, local: bool) -> TemporaryError:
    k = record.spec.k
    where = "; `hippy net status` shows which are away" if local else ""
    return TemporaryError(
        f"segment {record.segment_id.hex()[:8]}…: only {have} of the k={k} pieces needed can be had now "
        f"({k - have} missing)",
        hint=f"try again when more miners answer{where}",
    )


@dataclass(slots=True)
class _Kept:
    """A segment in the cache: the task that fetches it, how many use it, and whether anybody has."""

    task: asyncio.Task[SegmentData]
    users: int = 0
    lent: bool = False


class SegmentCache:
    """Segments by id, fetched once while they are wanted; at most as many in memory as ``bytes_max`` allows.

    Nobody waits for one segment while holding another, so somebody can always go on. What comes next can be
    announced with :meth:`expect`, which never waits.
    """

    def __init__(
        self,
        fetcher: SegmentFetcher,
        records: Mapping[SegmentId, SegmentRecord | IntegrityError],
        seal_keys: Mapping[SegmentId, bytes],
        bytes_max: int = SEGMENTS_BYTES_MAX,
    ) -> None:
        self.fetched = 0
        self._fetcher = fetcher
        self._records = records
        self._seal_keys = seal_keys
        self._kept: OrderedDict[SegmentId, _Kept] = OrderedDict()
        self._tasks: set[asyncio.Task[SegmentData]] = set()
        k = max((record.spec.k for record in records.values() if isinstance(record, SegmentRecord)), default=1)
        # A segment takes its pieces and, while they are checked, as much again.
        self._places = max(2, bytes_max // (2 * k * PIECE_LENGTH_MAX))
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def segment(self, segment_id: SegmentId) -> AsyncIterator[SegmentData]:
        """Lend a segment, fetching it first unless it is there.

        Raises what :meth:`SegmentFetcher.fetch` raises, and why there is no record of it.
        """
        kept = await self._borrow(segment_id)
        try:
            yield await asyncio.shield(kept.task)
        finally:
            async with self._changed:
                kept.users -= 1
                if kept.task.done() and (kept.task.cancelled() or kept.task.exception() is not None):
                    self._drop(segment_id, kept)
                self._changed.notify_all()

    def expect(self, segment_id: SegmentId) -> None:
        """Begin to fetch a segment that will be wanted soon, if that takes nobody's place."""
        if isinstance(self._records[segment_id], IntegrityError):
            return  # told to whoever borrows it
        if segment_id not in self._kept and self._make_room(lent_only=True):
            self._start(segment_id)

    async def close(self) -> None:
        """Forget everything and end what is under way."""
        self._kept.clear()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _borrow(self, segment_id: SegmentId) -> _Kept:
        self._record(segment_id)
        async with self._changed:
            while segment_id not in self._kept and not self._make_room(lent_only=False):
                await self._changed.wait()
            kept = self._kept.get(segment_id) or self._start(segment_id)
            self._kept.move_to_end(segment_id)
            kept.lent = True
            kept.users += 1
            return kept

    def _start(self, segment_id: SegmentId) -> _Kept:
        fetching = self._fetcher.fetch(self._record(segment_id), self._seal_keys[segment_id])
        task = asyncio.create_task(fetching)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        kept = self._kept[segment_id] = _Kept(task)
        self.fetched += 1
        return kept

    def _record(self, segment_id: SegmentId) -> SegmentRecord:
        record = self._records[segment_id]
        if isinstance(record, IntegrityError):
            raise record
        return record

    def _ended(self, task: asyncio.Task[SegmentData]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever borrows the segment raises it; nobody may, if it was only expected

    def _make_room(self, *, lent_only: bool) -> bool:
        """Return whether one more segment may be fetched, forgetting one that nobody uses if it must be.

        Segments that were lent before go first; with ``lent_only`` no other does.
        """
        if len(self._kept) < self._places:
            return True
        idle = [(not kept.lent, key) for key, kept in self._kept.items() if not kept.users]
        chosen = min(idle, key=lambda entry: entry[0], default=None)
        if chosen is None or (lent_only and chosen[0]):
            return False
        self._kept.pop(chosen[1]).task.cancel()
        return True

    def _drop(self, segment_id: SegmentId, kept: _Kept) -> None:
        if self._kept.get(segment_id) is kept:
            del self._kept[segment_id]


async def read_records(
    session: Session, segment_ids: Sequence[SegmentId]
) -> dict[SegmentId, SegmentRecord | IntegrityError]:
    """Return the record of each segment that a manifest of ours names, or why there is none we can use.

    One that is missing, altered or another account's costs the files that need it and no other.
    """
    records = await session.api.segments(segment_ids)
    for segment_id, record in records.items():
        if isinstance(record, SegmentRecord) and record.account != session.keys.account:
            records[segment_id] = IntegrityError(f"segment {segment_id.hex()[:8]}… belongs to another account")
    return records
