"""The durable piece store: files, index and space as one thing, and the threads in which its disk work runs.

What :meth:`PieceStore.add` returned a receipt for is on disk: file written and synced, renamed, its directory
synced, then the index row, synced, then the receipt. kill -9 between any two steps leaves nothing
acknowledged lost, and nothing unacknowledged visible: a piece exists when its index row does. A file whose
row never came is removed: soon when its database failed, at the next start when the node died.

A piece that a read finds lost or damaged is noted in :attr:`PieceStore.losses`, as are those without a file at start;
once that is confirmed, what is left of it goes to the quarantine. Pieces that nobody is owed are removed by
:attr:`PieceStore.trash`, rows first: what a crash leaves then are files without rows again.

Every blocking call goes through :class:`hippy.miner.threads.DiskThreads`, the database's own through hippy.kv.

Example::

    async with open_store(data_dir, capacity_bytes=10**12, disk_reserve_bytes=2**30) as store:
        with await store.reserve(len(data), root):
            receipt = await store.add(obligation, data, hashes)
        data = await store.read(root, await store.length(root))
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from hippy.clock import Clock, SystemClock
from hippy.errors import ConfigError, IntegrityError, NoSpaceError, NotFoundError
from hippy.ids import MessageId, Root
from hippy.kv import Database, open_database
from hippy.miner.aside import Aside
from hippy.miner.ballast import Ballast
from hippy.miner.bounds import Claims, Hold, Space
from hippy.miner.disk import SYSTEM_DISK, Disk
from hippy.miner.drains import DrainIndex
from hippy.miner.figures import Figures
from hippy.miner.files import FOLDERS, PieceFiles, make_data_directory
from hippy.miner.leaves import ProvenLeaf
from hippy.miner.losses import Losses
from hippy.miner.obligations import Obligation, ObligationIndex
from hippy.miner.options import Extras
from hippy.miner.releases import ReleaseIndex
from hippy.miner.scrub import ScrubIndex
from hippy.miner.tables import Totals
from hippy.miner.threads import DiskThreads
from hippy.miner.trash import Trash, TrashIndex
from hippy.points import reached
from hippy.proofs.inventory import PieceLeaf
from hippy.proofs.paths import leaf_length
from hippy.proofs.ranges import RangeProof
from hippy.wire.ticket import Receipt

if TYPE_CHECKING:
    from typing_extensions import Buffer

log = logging.getLogger("hippy.miner")


class PieceStore:
    """Pieces under obligations; made by :func:`open_store`."""

    def __init__(
        self,
        files: PieceFiles,
        database: Database,
        threads: DiskThreads,
        clock: Clock,
        space: Space,
        ballast: Ballast,
        totals: Totals,
        extras: Extras,
    ) -> None:
        self._files = files
        self._index = ObligationIndex(database)
        self._threads = threads
        self._ballast = ballast
        self._space = space
        self._claims = Claims()
        self.figures = Figures(space.capacity_bytes, totals)
        """What there is, for whoever watches."""
        self.aside = Aside(
            self._index,
            files,
            self._claims,
            threads,
            clock,
            self.figures,
            bytes_max=extras.quarantine_bytes_max,
            seconds_max=extras.quarantine_seconds,
        )
        """Where damaged pieces go."""
        self.losses = Losses(self._index, self.is_whole, self.aside.take)
        """What was found lost, and who is to be told."""
        self.trash = Trash(TrashIndex(database), files, self._claims, threads, self._removed)
        """What nobody is owed any longer."""
        self.releases = ReleaseIndex(database)
        """Which obligations ended."""
        self.drains = DrainIndex(database)
        """Whether this miner is leaving."""
        self.scrubbed = ScrubIndex(database)
        """How far the background check came."""

    @property
    def is_busy(self) -> bool:
        """Whether requests use the disk so much that background work should wait."""
        return self._threads.is_busy

    def space(self) -> tuple[int, int]:
        """Return capacity and used bytes, as ``hello`` tells them: a miner that is leaving has no room."""
        used_bytes = self._space.used_bytes
        return used_bytes if self.drains.is_on else self._space.capacity_bytes, used_bytes

    def recount(self, totals: Totals) -> None:
        """Take the sums that a transaction left; called in the order in which they were answered."""
        self.figures.totals = totals
        self._space.used_bytes = totals.used_bytes

    async def reserve(self, length: int, root: Root | None = None) -> Hold:
        """Promise ``length`` bytes to an upload until the hold is released; a ``root`` that is here counts already.

        Raises NoSpaceError when they would break the capacity or the disk reserve.
        """
        claim = await self._claims.share(root) if root else Hold()
        try:
            is_used = root is not None and await self._index.length(root) is not None
            free = await self._threads.run(self._files.free_bytes)
            room = self._space.take(length, free, is_used=is_used)
        except BaseException:
            claim.release()
            raise
        return Hold(claim.release, room.release)

    async def receipt(self, root: Root, ticket_id: MessageId) -> Receipt | None:
        """Return the receipt a ticket was answered with, if it was."""
        return await self._index.receipt(root, ticket_id)

    async def add(self, obligation: Obligation, data: Buffer, hashes: Sequence[bytes]) -> Receipt:
        """Make a piece and its obligation durable and return the receipt that stands for the ticket.

        ``data`` has the ticket's root, ``hashes`` are its leaves: the caller has checked. That is the given
        receipt, or the first one when the ticket was answered before. Raises NoSpaceError, TemporaryError.
        """
        root = obligation.ticket.root
        try:
            with await self._claims.share(root):
                reached("miner.before_data")
                try:
                    await self._threads.run(lambda: self._files.write(root, data, hashes))
                    added = await self._index.add(obligation)
                except BaseException:  # cancelled too: whatever the reason, the file may be there and its row not
                    self.trash.note_stray(root)
                    raise
        except NoSpaceError:
            await self._threads.run(self._ballast.give_up)
            raise
        reached("miner.indexed")
        self.losses.healed(root)
        self.recount(added.totals)
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
            return await self._threads.run(lambda: self._files.read(root, length))

    async def read_range(self, root: Root, length: int, offset: int, count_bytes: int) -> RangeProof:
        """Return the leaves that cover a range, with their proof.

        Raises ProtocolError when the piece has no such bytes, IntegrityError when the disk lies about them.
        """
        with self._noting(root):
            return await self._threads.run(lambda: self._files.read_range(root, length, offset, count_bytes))

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
        found = await self._threads.run(lambda: self._read_leaves(lengths, wanted))
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

    async def is_whole(self, root: Root, length: int) -> bool:
        """Read a piece and return whether it is as it was. Raises TemporaryError when that cannot be seen now."""
        try:
            await self._threads.run(lambda: self._files.read(root, length))
        except IntegrityError:
            return False
        return True

    def _removed(self, roots: Collection[Root], totals: Totals) -> None:
        self.figures.removed_pieces += len(roots)
        self.figures.removed_bytes += self.figures.totals.trash_bytes - totals.trash_bytes
        for root in roots:
            self.losses.healed(root)
        self.recount(totals)

    async def keep_ballast(self) -> None:
        """Look at the filesystem's free space, and give up the ballast or make it again. Raises TemporaryError."""
        self.figures.free_bytes = await self._threads.run(self._ballast.keep)
        self.figures.has_ballast = self._ballast.is_there

    def folders(self) -> list[Path]:
        """Return all directories that the store keeps files in."""
        return self._files.folders()

    async def allocated_bytes(self, folder: Path) -> int:
        """Return what the files of one of :meth:`folders` take on disk. Raises TemporaryError."""
        return await self._threads.run(lambda: self._files.allocated_bytes(folder))

    @contextmanager
    def _noting(self, root: Root) -> Iterator[None]:
        try:
            yield
        except IntegrityError:
            self.losses.note(root)
            raise


OpenDatabase = Callable[[Path], AbstractAsyncContextManager[Database]]


@asynccontextmanager
async def open_store(
    data_dir: Path,
    *,
    capacity_bytes: int,
    disk_reserve_bytes: int,
    extras: Extras | None = None,
    clock: Clock | None = None,
    disk: Disk = SYSTEM_DISK,
    database: OpenDatabase = open_database,
) -> AsyncIterator[PieceStore]:
    """Open (or create) the store in ``data_dir``, after removing what an unfinished run left.

    The database comes first: its lock keeps a second process from
    sweeping away our uploads. Raises ConfigError when another process has it, the index is lost or of another version,
    or names pieces while their folders are gone.
    """
    extras = extras or Extras()
    ballast = Ballast(data_dir / "ballast", disk, length_bytes=extras.ballast_bytes, reserve_bytes=disk_reserve_bytes)
    await asyncio.to_thread(make_data_directory, data_dir, disk)
    await asyncio.to_thread(ballast.relieve)
    async with database(data_dir / "index") as opened:
        threads = DiskThreads()
        try:
            files, totals = await _open(data_dir, disk, opened, threads)
            space = Space(capacity_bytes, disk_reserve_bytes, totals.used_bytes)
            store = PieceStore(files, opened, threads, clock or SystemClock(), space, ballast, totals, extras)
            await store.drains.load()
            yield store
        finally:
            await asyncio.to_thread(threads.close)


async def _open(data_dir: Path, disk: Disk, database: Database, threads: DiskThreads) -> tuple[PieceFiles, Totals]:
    files, index = PieceFiles(data_dir, disk), ObligationIndex(database)
    totals = await index.open(fresh_allowed=await asyncio.to_thread(files.is_empty))
    if totals.pieces and not await asyncio.to_thread(files.is_laid_out):
        raise ConfigError(
            "the index names pieces, but the folders in pieces/ are gone",
            hint="mount their disk; if they are lost for good, create pieces/00, and what is missing will be reported",
        )
    files = await threads.run(lambda: PieceFiles.open(data_dir, disk))
    await _sweep(files, index)
    return files, totals


async def _sweep(files: PieceFiles, index: ObligationIndex) -> None:
    """Remove what no row names, and note what has no file, some thousand pieces at a time."""
    orphans = missing = folder = 0
    while folder < FOLDERS:
        swept = await index.with_roots(partial(files.sweep, first_folder=folder))
        if swept.missing:
            missing += await index.note_lost(swept.missing)
        orphans, folder = orphans + swept.orphans, swept.next_folder
    if orphans:
        log.info("removed %d files that an unfinished run left", orphans)
    if missing:
        log.error("%d pieces we owe have no file on this disk", missing)
