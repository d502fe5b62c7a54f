"""How full the transcript of the current epoch is. Pure.

A transcript has limits (PROTOCOL §9), and a miner can make its entries many, by staying silent, and long, by reporting
pieces lost. First askings and what is given up always find room; asking again waits for the next epoch when it is
nearly full.
"""

from __future__ import annotations

from typing import Final

from hippy.proofs.transcript import TRANSCRIPT_BYTES_MAX, TRANSCRIPT_ENTRIES_MAX
from hippy.proofs.transcript_entry import ENTRY_BYTES_MAX, TranscriptEntry, entry_bytes

FIRST_ENTRIES_MAX: Final = 8_192
"""First askings of an epoch: 256 miners with 32 batches each."""

_ENTRIES: Final = TRANSCRIPT_ENTRIES_MAX - FIRST_ENTRIES_MAX
_BYTES: Final = TRANSCRIPT_BYTES_MAX - FIRST_ENTRIES_MAX * ENTRY_BYTES_MAX
assert _BYTES > 0


class TranscriptRoom:
    """Counts what was entered."""

    def __init__(self) -> None:
        self._entries = 0
        self._bytes = 0

    def add(self, entry: TranscriptEntry) -> None:
        """Count an entry."""
        self._entries += 1
        self._bytes += entry_bytes(entry)

    @property
    def again_max(self) -> int:
        """How many batches may be asked again without taking the room of those that were not asked yet."""
        return max(0, min(_ENTRIES - self._entries, (_BYTES - self._bytes) // ENTRY_BYTES_MAX))
