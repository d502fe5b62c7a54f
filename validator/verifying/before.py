"""What was asked in the epochs before those that are verified: a batch may be owed from there (PROTOCOL §5.4, §5.5).

Owns the reading of those transcripts, newest first and within limits of time and bytes, for hippy.validator.verifying.
order only: no beacon is asked for and no evidence read, so this is quick.

Example::

    reading = EarlierAskings(published, verification, clock)
    for epoch, askings in reversed(await reading.read(epochs, progress)):
        verification.take_earlier(epoch, askings)
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from hippy.clock import Clock
from hippy.errors import NotFoundError
from hippy.validator.verifying.difference import Difference, Remark, before_the_range
from hippy.validator.verifying.epoch import Verification
from hippy.validator.verifying.order import Asking
from hippy.validator.verifying.published import Published

SECONDS_MAX: Final = 120.0
BYTES_MAX: Final = 128 * 1024 * 1024
"""Of transcripts: half a million entries, 100 MB as they are kept. 256 miners that answer have 15 MB in 40 epochs."""

PROGRESS_EPOCHS: Final = 10

Progress = Callable[[str], None]


class EarlierAskings:
    """Reads transcripts for their order."""

    def __init__(self, published: Published, verification: Verification, clock: Clock) -> None:
        self._published = published
        self._verification = verification
        self._clock = clock
        self.ended_by: Remark | None = None
        """Why not all were read."""

    async def read(self, epochs: Sequence[int], progress: Progress) -> list[tuple[int, list[Asking]]]:
        """Return what was asked in these epochs, newest first, as far back as the limits allow without a hole."""
        found: list[tuple[int, list[Asking]]] = []
        began, size = self._clock.now(), 0
        for epoch in reversed(epochs):
            if len(found) % PROGRESS_EPOCHS == 0:
                progress(f"reading what was asked before: {len(found)} of {len(epochs)} epochs")
            if size > BYTES_MAX or self._clock.now() - began > SECONDS_MAX:
                self.ended_by = Remark(
                    f"what was owed from before epoch {epoch + 1} was not checked: it takes too long"
                )
                break
            try:
                raw = await self._published.transcript(epoch)
            except NotFoundError:
                self.ended_by = Remark("its transcript is not shown: nobody can check what was owed from it", epoch)
                break
            size += len(raw)
            try:
                transcript = await asyncio.to_thread(self._verification.read_transcript, epoch, raw)
            except Difference as difference:
                self.ended_by = before_the_range(difference)
                break
            found.append((epoch, [Asking.of(entry) for entry in transcript.entries]))
        return found
