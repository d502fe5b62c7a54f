"""The durable piece store: files, index and space as one thing, and the threads in which its disk work runs.

What :meth:`PieceStore.add` returned a receipt for is on disk: file written and synced, renamed, its directory
synced, then the index row, synced, then the receipt. kill -9 between any two steps leaves nothing
acknowledged lost, and nothing unacknowledged visible: a piece exists when its index row does. A file whose
row never came, because the node died or its database failed, is removed at the next start.

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
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from hippy.errors import NotFoundError
from hippy.ids import MessageId, Root
from hippy.kv import Database, open_database
from hippy.miner.bounds import Hold, Space
from hippy.miner.files import PieceFiles, make_data_directory
from hippy.miner.obligations import Obligation, ObligationIndex
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

    def space(self) -> tuple[int, int]:
        """Return capacity and used bytes, as ``hello`` tells them."""
        return self._space.capacity_bytes, self._space.used_bytes

    async def reserve(self, length: int) -> Hold:
        """Promise ``length`` bytes to an upload until the hold is released.

        Raises NoSpaceError when they would break the capacity or the disk reserve.
        """
        return self._space.take(length, await self._in_thread(self._files.free_bytes))

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
        return await self._in_thread(lambda: self._files.read(root, length))

    async def read_range(self, root: Root, length: int, offset: int, count_bytes: int) -> RangeProof:
        """Return the leaves that cover a range, with their proof.

        Raises ProtocolError when the piece has no such bytes, IntegrityError when the disk lies about them.
        """
        return await self._in_thread(lambda: self._files.read_range(root, length, offset, count_bytes))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


@asynccontextmanager
async def open_store(data_dir: Path, *, capacity_bytes: int, disk_reserve_bytes: int) -> AsyncIterator[PieceStore]:
    """Open (or create) the store in ``data_dir``, after removing what an unfinished run left.

    The database comes first: its lock keeps a second process from sweeping away our uploads. Raises
    ConfigError when another process has it, the index is lost or of another version.
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
    files = await asyncio.get_running_loop().run_in_executor(threads, PieceFiles.open, data_dir)
    index = ObligationIndex(database)
    used = await index.open(fresh_allowed=await asyncio.to_thread(files.is_empty))
    swept = await index.with_roots(files.sweep)
    if swept.orphans:
        log.info("removed %d files that an unfinished run left", swept.orphans)
    if swept.missing:
        log.error("%d pieces we owe have no file on this disk", swept.missing)
    return PieceStore(files, index, Space(capacity_bytes, disk_reserve_bytes, used), threads)
