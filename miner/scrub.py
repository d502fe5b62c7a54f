"""The background check: every piece is read and held against its root once in a while, evenly, and never in a hurry.

A disk that loses bytes says so when they are read, and most bytes are hardly ever read: audits ask for a few leaves a
day. So the miner reads everything itself, finds what is bad before a validator asks for it, and reports it
(hippy.miner.losses), which costs the bytes and not the reputation (PROTOCOL §5.5).

The walk is in the order of roots. Where it came to is in the index every :data:`MARK_SECONDS`, so a restart goes on
from there. A round takes its time: the next piece is due when as much of the round's time has passed as of its bytes
were read; a round that fell behind, because the miner was down, catches up at ``bytes_per_second_max`` at most.
Requests come first: while they use all of the disk's threads the check waits, but not for ever.

Example::

    async with background(Scrub(store, clock, round_seconds=30 * 86_400, bytes_per_second_max=8 * 2**20).run()):
        ...
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from struct import Struct
from typing import TYPE_CHECKING, Final

from hippy.clock import Clock
from hippy.errors import TemporaryError
from hippy.ids import Root
from hippy.kv import Database
from hippy.miner.background import complain
from hippy.miner.tables import PIECE, SCRUB_KEY, number

if TYPE_CHECKING:
    from hippy.miner.store import PieceStore

MARK_SECONDS: Final = 60.0
"""Between two writes of where the check is; a restart reads at most so much again."""

LOOKED_UP_AT_ONCE: Final = 64
"""Pieces looked up in the index together."""

YIELD_SECONDS: Final = 0.5
YIELDS_MAX: Final = 60
"""How often one piece gives way to requests before it is read all the same: a miner that is busy for ever is checked
too."""

PAUSE_SECONDS_MAX: Final = 600.0
"""How soon it is seen that there is more to check."""

_MARK: Final = Struct("<3Q")


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a round is: when it began (Unix seconds), pieces and bytes read in it, and the last root; None: none."""

    started: int = 0
    pieces: int = 0
    bytes: int = 0
    after: Root | None = None


class ScrubIndex:
    """What the index knows of the check."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def mark(self) -> Mark:
        """Return where the check is; all zero before the first."""
        raw = await self._database.read(lambda state: state.get(SCRUB_KEY))
        if raw is None:
            return Mark()
        started, pieces, read_bytes = _MARK.unpack(raw[: _MARK.size])
        return Mark(started, pieces, read_bytes, Root(raw[_MARK.size :]) if raw[_MARK.size :] else None)

    async def put_mark(self, mark: Mark) -> None:
        """Remember where the check is. Raises TemporaryError."""
        raw = _MARK.pack(mark.started, mark.pieces, mark.bytes) + (mark.after or b"")
        await self._database.transact(lambda state: state.put(SCRUB_KEY, raw))

    async def next(self, after: Root | None) -> list[tuple[Root, int]]:
        """Return the next pieces behind a root, with their lengths; none: that was all."""
        behind = None if after is None else PIECE + after
        return await self._database.read(
            lambda state: [
                (Root(key[len(PIECE) :]), number(raw))
                for key, raw in islice(state.scan(PIECE, behind), LOOKED_UP_AT_ONCE)
            ]
        )


class Scrub:
    """Checks all pieces of one store, round after round."""

    def __init__(self, store: PieceStore, clock: Clock, *, round_seconds: float, bytes_per_second_max: int) -> None:
        self._store = store
        self._clock = clock
        self._round_seconds = round_seconds
        self._bytes_per_second_max = bytes_per_second_max
        self._mark = Mark()
        self._marked = 0.0

    async def run(self) -> None:
        """Check until cancelled."""
        is_known = False
        while True:
            try:
                if not is_known:
                    self._mark = await self._store.scrubbed.mark()
                    is_known = True
                self._not_later_than_now()
                self._show()
                await self._go_on()
            except Exception as error:  # noqa: BLE001 - the top of a supervised task: it tries again for ever
                complain(error, "pieces were not checked")
                await self._clock.sleep(MARK_SECONDS)

    async def _go_on(self) -> None:
        """Check some pieces, or end the round."""
        pieces = await self._store.scrubbed.next(self._mark.after)
        if not pieces:
            await self._begin_again()
            return
        if self._mark.after is None:
            self._mark = Mark(started=int(self._clock.now()))
        for root, length in pieces:
            await self._check(root, length)
            mark = self._mark
            self._mark = replace(mark, pieces=mark.pieces + 1, bytes=mark.bytes + length, after=root)
            self._show()
            if self._clock.now() >= self._marked + MARK_SECONDS:
                await self._store.scrubbed.put_mark(self._mark)
                self._marked = self._clock.now()
            await self._pause(length)

    async def _begin_again(self) -> None:
        """Begin a round, when the one before has had its time, or there is something to check."""
        if self._mark.after is None:
            await self._clock.sleep(PAUSE_SECONDS_MAX)
            return
        await self._sleep_until(lambda: self._mark.started + self._round_seconds)
        self._store.figures.scrub_rounds += 1
        self._mark = Mark()

    async def _pause(self, length: int) -> None:
        """Wait behind a piece: as its bytes need, and until as much of the round's time is over as of its bytes.

        The bytes of all pieces may change meanwhile, and with them how much that is.
        """
        await self._clock.sleep(length / self._bytes_per_second_max)

        def due() -> float:
            used_bytes = max(self._store.space()[1], self._mark.bytes, 1)
            return self._mark.started + self._round_seconds * self._mark.bytes / used_bytes

        await self._sleep_until(due)

    async def _sleep_until(self, due: Callable[[], float]) -> None:
        while (rest := due() - self._clock.now()) > 0:
            await self._clock.sleep(min(rest, PAUSE_SECONDS_MAX))
            self._not_later_than_now()

    def _not_later_than_now(self) -> None:
        """Have a round begin now that began at a time to come: the clock was set back since, it may be by years."""
        if self._mark.started > self._clock.now():
            self._mark = replace(self._mark, started=int(self._clock.now()))

    async def _check(self, root: Root, length: int) -> None:
        for _ in range(YIELDS_MAX):
            if not self._store.is_busy:
                break
            await self._clock.sleep(YIELD_SECONDS)
        if await self._store.losses.knows(root):
            return
        try:
            if await self._store.is_whole(root, length):
                return
        except TemporaryError as error:
            complain(error, f"piece {root.hex()} could not be checked")
            return
        self._store.figures.scrub_bad += 1
        self._store.losses.note(root)

    def _show(self) -> None:
        figures, mark = self._store.figures, self._mark
        figures.scrub_started, figures.scrub_bytes, figures.scrub_pieces = mark.started, mark.bytes, mark.pieces
