"""What is left of lost pieces: moved to the quarantine, kept there for a while, and no more of it than fits.

A piece comes here when its loss is certain and written (hippy.miner.losses). Nothing here is owed or served. It is
for the operator: damaged bytes tell what became of a disk.
"""

from __future__ import annotations

import logging

from hippy.clock import Clock
from hippy.ids import Root
from hippy.miner.bounds import Claims
from hippy.miner.figures import Figures
from hippy.miner.files import PieceFiles
from hippy.miner.obligations import ObligationIndex
from hippy.miner.threads import DiskThreads

log = logging.getLogger("hippy.miner")


class Aside:
    """Sets damaged pieces aside, and removes what is too much or too old."""

    def __init__(
        self,
        index: ObligationIndex,
        files: PieceFiles,
        claims: Claims,
        threads: DiskThreads,
        clock: Clock,
        figures: Figures,
        *,
        bytes_max: int,
        seconds_max: float,
    ) -> None:
        self._index = index
        self._files = files
        self._claims = claims
        self._threads = threads
        self._clock = clock
        self._figures = figures
        self._bytes_max = bytes_max
        self._seconds_max = seconds_max

    async def take(self, root: Root) -> None:
        """Move what is left of a lost piece to the quarantine, unless it is stored anew. Raises TemporaryError."""
        roots, claim = self._claims.alone([root])
        if not roots:
            return
        try:
            is_lost = await self._index.is_lost(root)
        except BaseException:
            claim.release()
            raise
        if not is_lost:
            claim.release()
            return
        now = int(self._clock.now())
        if await self._threads.run_holding(claim, lambda: self._files.set_aside(root, now)):
            log.error(
                "what is left of piece %s is in %s now: look at the health of this disk (smartctl -a, dmesg)",
                root.hex(),
                self._files.quarantine.directory,
            )
            await self.trim()

    async def trim(self) -> None:
        """Remove from the quarantine what is too much or too old, and count the rest. Raises TemporaryError."""
        quarantine, since = self._files.quarantine, max(0, int(self._clock.now() - self._seconds_max))
        removed = await self._threads.run(lambda: quarantine.trim(bytes_max=self._bytes_max, since_seconds=since))
        if removed:
            log.info("removed %d damaged pieces from the quarantine: it was full, or they were old", len(removed))
        kept = await self._threads.run(quarantine.pieces)
        self._figures.quarantine_pieces = len(kept)
        self._figures.quarantine_bytes = sum(piece.allocated_bytes for piece in kept)
