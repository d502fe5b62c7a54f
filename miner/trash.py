"""Pieces that nobody is owed any longer: kept for a while, then removed, rows first (PROTOCOL §4.2).

Until then they are served, shown to audits, counted as used, and a new ticket takes them up again. A removal leaves
alone what is being uploaded, and whatever is interrupted leaves files that no row names: the next start removes them.

So is a stray: a file whose upload failed before its row was written. It was never anybody's, and goes at once.

Example::

    trash = Trash(TrashIndex(database), files, claims, threads, recount)
    removed = await trash.remove(before=int(clock.now()) - pace.trash_seconds)
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Final

from hippy.ids import Root
from hippy.kv import Database
from hippy.miner import trash_rows
from hippy.miner.bounds import Claims, Hold
from hippy.miner.files import PieceFiles
from hippy.miner.tables import PIECE, Totals
from hippy.miner.threads import DiskThreads
from hippy.points import reached

REMOVED_AT_ONCE: Final = 64
"""Pieces that lose their rows in one transaction; as many uploads of just these would wait for their files to go."""

STRAYS_MAX: Final = 4_096
"""Strays remembered, some 400 KiB; the files of more stay until the next start."""

Removed = Callable[[Collection[Root], Totals], None]
"""Is told which pieces lost their rows, and the sums after that."""


class TrashIndex:
    """What the index knows of trash."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def due(self, before: int, after: bytes | None) -> list[tuple[bytes, Root]]:
        """Return some pieces that were trash by ``before``, Unix seconds, with keys to go on behind; none: all done."""
        return await self._database.read(lambda state: trash_rows.due(state, before, after, REMOVED_AT_ONCE))

    async def unindex(self, roots: Collection[Root], before: int) -> tuple[list[Root], Totals]:
        """Forget those of these pieces that still are trash since ``before``; return them and the sums after it."""
        return await self._database.transact(lambda state: trash_rows.unindex(state, roots, before))

    async def unnamed(self, roots: Collection[Root]) -> list[Root]:
        """Return those of these pieces that no row names.

        In the writer's line: a row whose writer was cancelled may still be on its way.
        """
        return await self._database.transact(lambda state: [root for root in roots if state.get(PIECE + root) is None])


class Trash:
    """Removes trash."""

    def __init__(
        self, index: TrashIndex, files: PieceFiles, claims: Claims, threads: DiskThreads, removed: Removed
    ) -> None:
        self._index = index
        self._files = files
        self._claims = claims
        self._threads = threads
        self._removed = removed
        self._strays: set[Root] = set()

    def note_stray(self, root: Root) -> None:
        """Have the file of an upload that failed looked at; it is removed unless a row names it."""
        if len(self._strays) < STRAYS_MAX:
            self._strays.add(root)

    async def remove_strays(self) -> None:
        """Remove the files of uploads that failed, but those that are being uploaded again.

        Raises TemporaryError; what could not be removed stays noted.
        """
        if not self._strays:
            return
        roots, claim = self._claims.alone(self._strays)
        try:
            strays = await self._index.unnamed(roots)
        except BaseException:
            claim.release()
            raise
        await self._threads.run_holding(claim, partial(self._remove_files, strays))
        self._strays.difference_update(roots)

    async def remove(self, before: int) -> int:
        """Remove all that was trash by ``before``, Unix seconds, but what is being uploaded; return how many pieces.

        Raises TemporaryError; what has lost its rows by then, and not its files, loses those at the next start.
        """
        await self.remove_strays()
        removed, after = 0, None
        while batch := await self._index.due(before, after):
            after = batch[-1][0]
            roots, claim = self._claims.alone([root for _, root in batch])
            removed += await self._remove(roots, claim, before)
        return removed

    async def _remove(self, roots: Collection[Root], claim: Hold, before: int) -> int:
        try:
            gone, totals = await self._index.unindex(roots, before)
            reached("miner.trash_unindexed")
            self._removed(gone, totals)
        except BaseException:
            claim.release()
            raise
        await self._threads.run_holding(claim, partial(self._remove_files, gone))
        reached("miner.trash_removed")
        return len(gone)

    def _remove_files(self, roots: Collection[Root]) -> None:
        for root in roots:
            self._files.remove(root)
