"""Pieces that this miner owes and does not have: noted, looked at once, and handed to whoever is to be told.

Whoever meets a lost or damaged piece calls :meth:`Losses.note`, which costs nothing and forgets what it has no room
for: it will be met again. :meth:`Losses.settle` makes the notes durable and looks at each piece once, reading it whole,
because a loss that was healed or never was must not be reported. What becomes of a loss then stands in the index
(hippy.miner.lost_rows); telling the validators is hippy.miner.reports'.

Until then damaged files stay where they are, and their undamaged leaves are served. What is left of a piece that is
known to be lost is set aside: nobody counts on it, and the operator may want to see it.

Example::

    losses.note(root)
    await losses.settle()
    for validator in await losses.validators():
        roots = await losses.to_tell(validator)
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from hippy.errors import TemporaryError
from hippy.ids import PublicKey, Root
from hippy.miner.obligations import ObligationIndex
from hippy.wire.audit import REPORTED_ROOTS_MAX

log = logging.getLogger("hippy.miner")

NOTED_MAX: Final = 4_096
"""Roots noted and not yet written: less than a megabyte. Four validators' audits in flight name a quarter of it."""

LOOKED_AT_ONCE: Final = 256
"""Pieces looked at, one after the other, before their fates are written in one transaction."""

IsWhole = Callable[[Root, int], Awaitable[bool]]
"""Root and length: whether the piece is on the disk as it was. Raises TemporaryError when that cannot be seen now."""

SetAside = Callable[[Root], Awaitable[None]]
"""Moves away what is left of a piece that is lost. Raises TemporaryError when that cannot be done now."""


class Losses:
    """What this miner knows of its losses."""

    def __init__(self, index: ObligationIndex, is_whole: IsWhole, set_aside: SetAside) -> None:
        self._index = index
        self._is_whole = is_whole
        self._set_aside = set_aside
        self._noted: set[Root] = set()
        self._news = asyncio.Event()

    def note(self, root: Root) -> None:
        """Remember that a piece was met lost or damaged, if there is room to; only from the event loop's thread."""
        if len(self._noted) < NOTED_MAX:
            self._noted.add(root)
            self._news.set()

    def healed(self, root: Root) -> None:
        """Forget a note: the piece was stored anew. What the index has of it, the index has forgotten."""
        self._noted.discard(root)

    async def knows(self, root: Root) -> bool:
        """Return whether a piece was met lost or damaged, looked at since or not."""
        return root in self._noted or await self._index.is_noted(root)

    async def wait(self) -> None:
        """Return once something was noted since :meth:`settle` began last."""
        await self._news.wait()

    async def settle(self) -> bool:
        """Look at all that was noted, and return whether every fate is known now: else try again later.

        Raises TemporaryError when the index takes nothing.
        """
        self._news.clear()
        noted = frozenset(self._noted)
        if noted:
            await self._index.note_lost(noted)
        self._noted -= noted
        is_done, after = True, None
        while batch := await self._index.unchecked(after, LOOKED_AT_ONCE):
            is_done &= await self._look_at(batch)
            after = batch[-1][0]
        return is_done

    async def validators(self) -> list[PublicKey]:
        """Return the validators that are to be told of something."""
        return await self._index.validators_to_tell()

    async def to_tell(self, validator: PublicKey) -> list[Root]:
        """Return what a validator is to be told next, as many roots as a report holds; none: it knows all."""
        return await self._index.losses_to_tell(validator, REPORTED_ROOTS_MAX)

    async def told(self, validator: PublicKey, roots: Sequence[Root], *, recorded: int, now: float) -> None:
        """Remember, durably, that a validator has answered a report of these roots, having recorded so many losses.

        If those were fewer, a piece may still be committed of which it knew nothing: what may be is told again when
        it may be no longer (:meth:`fall_due`). Raises TemporaryError.
        """
        is_short = recorded < len(roots)
        await self._index.losses_told(validator, roots, now if is_short else None)

    async def fall_due(self, now: float) -> float | None:
        """Put in line what is to be told again by now, and return when there will be more; None: there is no more."""
        return await self._index.losses_fall_due(int(now), LOOKED_AT_ONCE)

    async def _look_at(self, batch: Sequence[tuple[Root, int]]) -> bool:
        lost: list[Root] = []
        whole: list[Root] = []
        for root, length in batch:
            try:
                (whole if await self._is_whole(root, length) else lost).append(root)
            except TemporaryError as error:
                log.warning("piece %s cannot be looked at now: %s", root.hex(), error)
        for root in await self._index.settle_lost(lost, whole):
            log.error("piece %s is lost or damaged on this disk; its validators will be told", root.hex())
            try:
                await self._set_aside(root)
            except TemporaryError as error:
                log.warning("what is left of piece %s stays where it is: %s", root.hex(), error)
        return len(lost) + len(whole) == len(batch)
