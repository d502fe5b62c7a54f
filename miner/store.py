"""The durable piece store: files, index and space as one thing, and the threads in which its disk work runs.

What :meth:`PieceStore.add` returned a receipt for is on disk: file written and synced, renamed, its directory
synced, then the index row, synced, then the receipt. kill -9 between any two steps leaves nothing
acknowledged lost, and nothing unacknowledged visible: a piece exists when its index row does. A file whose
row never came, because the node died or its database failed, is removed at the next start.

A piece that a read finds lost or damaged is noted in :attr:`PieceStore.losses`, as are those without a file at start.

Every blocking call goes through :meth:`PieceStore._in_thread`, the database's own through hippy.kv.

Example::

    async with open_store(data_dir, capacity_bytes=10**12, disk_reserve_bytes=2**30) as store:
        with await store.reserve(len(data)):
            receipt = await store.add(obligation, data, hashes)
        data = await store.read(root, await store.length(root))
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from hippy.errors import ConfigError, IntegrityError, NotFoundError
from hippy.ids import MessageId, Root
from hippy.kv import Database, open_database
from hippy.miner.bounds import Hold, Space
from hippy.miner.files import FOLDERS, PieceFiles, make_data_directory
from hippy.miner.leaves import ProvenLeaf
from hippy.miner.losses import Losses
from hippy.miner.obligations import Obligation, ObligationIndex
from hippy.proofs.inventory import PieceLeaf
from hippy.proofs.paths import leaf_length
from hippy.proofs.ranges import RangeProof
from hippy.wire.ticket import Receipt

if TYPE_CHECKING:
    from typing_extensions import Buffer

log = logging.getLogger("hippy.miner")

DISK_THREADS: Final = 8
"""Disk calls at once; more only queue in the kernel."""

T = TypeVar("T")


class PieceStore:
    """Pieces under obligations; made by :func:`open_store`."""

    def __init__(self, files: PieceFiles, index: ObligationIndex, space: Space, threads: ThreadPoolExecutor) -> None:
        self._files = files
        self._index = index
        self._space = space
        self._threads = threads
        self.losses = Losses(index, self._is_whole)
        """What was found lost, and who is to be told."""

    def space(self) -> tuple[int, int]:
        """Return capacity and used bytes, as ``hello`` tells them."""
        return self._space.capacity_bytes, self._space.used_bytes

    async def reserve(self, length: int, *, is_used: bool = False) -> Hold:
        """Promise ``length`` bytes to an upload until the hold is released; ``is_used``: for a piece that was lost.

        Raises NoSpaceError when they would break the capacity or the disk reserve.
        """
        return self._space.take(length, await self._in_thread(self._files.free_bytes), is_used=is_used)

    async def receipt(self, root: Root, ticket_id: MessageId) -> Receipt | None:
        """Return the receipt a ticket was answered with, if it was."""
        return await self._index.receipt(root, ticket_id)

    async def add(self, obligation: Obligation, data: Buffer, hashes: Sequence[bytes]) -> Receipt:
        """Make a piece and its obligation durable and return the receipt that stands for the ticket.

        ``data`` has the ticket's root, ``hashes`` are its leaves: the caller has checked. That is the given
        receipt, or the first one when the ticket was answered before. Raises NoSpaceError, TemporaryError.
        """
        await self._in_thread(lambda: self._files.write(obligation.ticket.root, data, hashes))
        added = await self._index.add(obligation)
        self.losses.healed(obligation.ticket.root)
        self._space.used_bytes = added.used_bytes
        return added.receipt

    async def length(self, root: Root) -> int:
        """Return a piece's length.

        Raises NotFoundError when we do not have it.
        """
        length = await self._index.length(root)
        if length is None:
            raise NotFoundError(f"no piece {root.hex()} here")
        return length

    async def read(self, root: Root, length: int) -> bytes:
        """Return a whole piece. Raises IntegrityError when the disk lies."""
        with self._noting(root):
            return await self._in_thread(lambda: self._files.read(root, length))

    async def read_range(self, root: Root, length: int, offset: int, count_bytes: int) -> RangeProof:
        """Return the leaves that cover a range, with their proof.

        Raises ProtocolError when the piece has no such bytes, IntegrityError when the disk lies about them.
        """
        with self._noting(root):
            return await self._in_thread(lambda: self._files.read_range(root, length, offset, count_bytes))

    async def leaves(self, asked: Collection[PieceLeaf]) -> dict[PieceLeaf, ProvenLeaf | None]:
        """Return what there is of some leaves: None where the disk lost one, no entry where we never had its piece.

        Raises ProtocolError for a leaf beyond its piece, TemporaryError when one cannot be read now.
        """
        lengths = await self._index.lengths({root for root, _ in asked})
        wanted: dict[Root, set[int]] = {}
        for root, leaf in asked:
            if root in lengths:
                leaf_length(lengths[root], leaf)  # raises for one beyond the piece
                wanted.setdefault(root, set()).add(leaf)
        found = await self._in_thread(lambda: self._read_leaves(lengths, wanted))
        for root in {root for (root, _), leaf in found.items() if leaf is None}:
            self.losses.note(root)
        return found

    def _read_leaves(
        self, lengths: Mapping[Root, int], wanted: Mapping[Root, Collection[int]]
    ) -> dict[PieceLeaf, ProvenLeaf | None]:
        return {
            PieceLeaf(root, leaf): proven
            for root, leaves in wanted.items()
            for leaf, proven in self._files.read_leaves(root, lengths[root], leaves).items()
        }

    async def _is_whole(self, root: Root, length: int) -> bool:
        try:
            await self._in_thread(lambda: self._files.read(root, length))
        except IntegrityError:
            return False
        return True

    @contextmanager
    def _noting(self, root: Root) -> Iterator[None]:
        try:
            yield
        except IntegrityError:
            self.losses.note(root)
            raise

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


@asynccontextmanager
async def open_store(data_dir: Path, *, capacity_bytes: int, disk_reserve_bytes: int) -> AsyncIterator[PieceStore]:
    """Open (or create) the store in ``data_dir``, after removing what an unfinished run left.

    The database comes first: its lock keeps a second process from sweeping away our uploads. Raises
    ConfigError when another process has it, the index is lost or of another version, or names pieces while their
    folders are gone.
    """
    await asyncio.to_thread(make_data_directory, data_dir)
    async with open_database(data_dir / "index") as database:
        threads = ThreadPoolExecutor(DISK_THREADS, thread_name_prefix="hippy-disk")
        try:
            yield await _open(data_dir, database, threads, capacity_bytes, disk_reserve_bytes)
        finally:
            await asyncio.to_thread(threads.shutdown)


async def _open(
    data_dir: Path, database: Database, threads: ThreadPoolExecutor, capacity_bytes: int, disk_reserve_bytes: int
) -> PieceStore:
    files, index = PieceFiles(data_dir), ObligationIndex(database)
    used = await index.open(fresh_allowed=await asyncio.to_thread(files.is_empty))
    if used and not await asyncio.to_thread(files.is_laid_out):
        raise ConfigError(
            "the index names pieces, but the folders in pieces/ are gone",
            hint="mount their disk; if they are lost for good, create pieces/00, and what is missing will be reported",
        )
    files = await asyncio.get_running_loop().run_in_executor(threads, PieceFiles.open, data_dir)
    await _sweep(files, index)
    return PieceStore(files, index, Space(capacity_bytes, disk_reserve_bytes, used), threads)


async def _sweep(files: PieceFiles, index: ObligationIndex) -> None:
    """Remove what no row names, and note what has no file, some thousand pieces at a time."""
    orphans = missing = folder = 0
    while folder < FOLDERS:
        swept = await index.with_roots(partial(files.sweep, first_folder=folder))
        if swept.missing:
            await index.note_lost(swept.missing)
        orphans, missing, folder = orphans + swept.orphans, missing + len(swept.missing), swept.next_folder
    if orphans:
        log.info("removed %d files that an unfinished run left", orphans)
    if missing:
        log.error("%d pieces we owe have no file on this disk", missing)
