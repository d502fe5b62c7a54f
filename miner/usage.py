"""What the miner's files take on the filesystem, held against what it accounts: ``du``, a folder at a time.

A stat for each of a million files takes seconds; so each turn looks at one folder of some 260, and all turns together
take ten minutes. Only the first round is quicker, for until then there is no figure.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from hippy.clock import Clock
from hippy.miner.background import complain
from hippy.miner.store import PieceStore

ROUND_SECONDS: Final = 600.0
FIRST_ROUND_SECONDS: Final = 30.0


class Usage:
    """Keeps the figure of one store."""

    def __init__(self, store: PieceStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._taken: dict[Path, int] = {}

    async def run(self) -> None:
        """Look at folder after folder, until cancelled."""
        seconds = FIRST_ROUND_SECONDS
        while True:
            folders = self._store.folders()
            for folder in folders:
                await self._look(folder)
                await self._clock.sleep(seconds / len(folders))
            seconds = ROUND_SECONDS

    async def _look(self, folder: Path) -> None:
        try:
            self._taken[folder] = await self._store.allocated_bytes(folder)
        except Exception as error:  # noqa: BLE001 - the top of a supervised task: the next folder is another one
            complain(error, f"{folder} could not be measured")
            return
        if len(self._taken) == len(self._store.folders()):
            self._store.figures.allocated_bytes = sum(self._taken.values())
