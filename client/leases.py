"""Leases: committed segments are kept while a long put has not written their rows (docs/PROTOCOL.md §4.2).

Owns which committed segments still wait for a row and when each was last renewed. A renewal that fails is tried again
at the next turn; a segment that is gone all the same makes its row fail, and the file can be put again.

Example::

    leases = Leases(session)
    async with leases.renewing():
        leases.begin(segment_id)   # committed
        leases.end([segment_id])   # its row is stored
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from hippy.errors import ConflictError, HippyError, NotFoundError
from hippy.ids import SegmentId
from hippy.wire.release import LEASES_MAX

if TYPE_CHECKING:
    from hippy.client.session import Session

FIRST_SECONDS: Final = 60.0
"""Age at which the first leases of a put are renewed. How long they hold only the answer tells: 7 days where epochs are
as long as a subnet's, minutes where they take seconds."""

TRIES: Final = 4
"""From then on they are renewed after a quarter of the time they hold, so that three tries are left when one fails."""

TURNS_PER_AGE: Final = 4
"""How often leases are looked at while one gets old."""


class Leases:
    """The committed segments of one put that no row names yet."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._age_seconds = FIRST_SECONDS
        self._renewed: dict[SegmentId, float] = {}

    def begin(self, segment_id: SegmentId) -> None:
        """A segment is committed."""
        self._renewed[segment_id] = self._session.clock.now()

    def end(self, segment_ids: Iterable[SegmentId]) -> None:
        """A row names these segments."""
        for segment_id in segment_ids:
            self._renewed.pop(segment_id, None)

    @asynccontextmanager
    async def renewing(self) -> AsyncIterator[None]:
        """Renew what gets old, for as long as the context lasts."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def renew(self) -> None:
        """Renew the leases that are old enough."""
        now = self._session.clock.now()
        old = sorted(each for each, renewed in self._renewed.items() if now - renewed >= self._age_seconds)
        for start in range(0, len(old), LEASES_MAX):
            await self._renew(old[start : start + LEASES_MAX], now)

    async def _run(self) -> None:
        while True:
            await self._session.clock.sleep(self._age_seconds / TURNS_PER_AGE)
            await self.renew()

    async def _renew(self, segment_ids: Sequence[SegmentId], now: float) -> None:
        try:
            until = await self._session.api.renew(segment_ids)
        except (ConflictError, NotFoundError):  # one of them is gone; the others are to be kept
            if len(segment_ids) == 1:
                self.end(segment_ids)
                return
            for segment_id in segment_ids:
                await self._renew([segment_id], now)
        except HippyError:
            return  # the next turn tries again
        else:
            self._renewed.update((each, now) for each in segment_ids if each in self._renewed)
            held = min((each for each in until if each), default=None)  # 0 for one that a row names meanwhile
            if held is not None:
                self._age_seconds = max(FIRST_SECONDS, (held - now) / TRIES)
