"""Pieces that nobody is owed any longer: kept for a while, then removed, rows first (PROTOCOL §4.2).

Until then they are served, shown to audits, counted as used, and a new ticket takes them up again. A removal leaves
alone what is being uploaded, and whatever is interrupted leaves files that no row names: the next start removes them.

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
from hippy.miner.tables import Totals
from hippy.miner.threads import DiskThreads
from hippy.points import reached

REMOVED_AT_ONCE: Final = 64
"""Pieces that lose their rows in one transaction; as many uploads of just these would wait for their files to go."""

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

    async def remove(self, before: int) -> int:
        """Remove all that was trash by ``before``, Unix seconds, but what is being uploaded; return how many pieces.

        Raises TemporaryError; what has lost its rows by then, and not its files, loses those at the next start.
        """
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
