"""Ending obligations: which tickets to ask about, which answers to believe, and what is kept of them (PROTOCOL §4.2).

A miner keeps a piece until the validator that issued its ticket releases it, so a release is believed only after it
was checked, signatures and all, against the ticket that we keep ourselves (hippy.wire.release). It ends that one
obligation: another account's for the same bytes stays, and so does a later ticket for the same piece. Asking is
hippy.miner.inventory's, removing bytes hippy.miner.trash's.

Example::

    page = await index.page(None, 256)
    told = read_answer(page, raw, network, now, pace)      # in a thread
    ended = await index.end(told.releases, now, forget_time)
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from hippy.errors import HippyError, ProtocolError
from hippy.hashing import u64
from hippy.ids import PublicKey, Root
from hippy.kv import Database, Reader
from hippy.miner import release_rows
from hippy.miner.obligations import Obligation
from hippy.miner.release_rows import Ended
from hippy.miner.tables import INVENTORY_KEY, OBLIGATION, TIME_BYTES, number, obligation_key, totals_of
from hippy.wire.pace import Pace
from hippy.wire.release import INVENTORY_ANSWER_BYTES_MAX, InventoryAnswer, Release, TicketState

FORGOTTEN_AT_ONCE: Final = 1_024
"""Releases forgotten in one transaction."""


@dataclass(frozen=True, slots=True)
class Mark:
    """When a page of tickets was asked about last, Unix seconds, and the key of its last row; None: of none."""

    time: int = 0
    after: bytes | None = None


@dataclass(slots=True)
class Told:
    """What an issuer's answer comes to."""

    releases: list[Release] = field(default_factory=list)
    """Those that end an obligation of ours."""

    live: int = 0
    unknown: int = 0
    refused: int = 0
    """Releases that end nothing."""

    reason: str = ""
    """Why the first of those was refused."""

    def refuse(self, reason: str) -> None:
        """Count a release that ends nothing."""
        self.refused += 1
        self.reason = self.reason or reason


class ReleaseIndex:
    """What the index knows of ended obligations, and of those to ask about."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def mark(self) -> Mark:
        """Return how far asking came."""
        raw = await self._database.read(lambda state: state.get(INVENTORY_KEY))
        return Mark() if raw is None else Mark(number(raw[:TIME_BYTES]), raw[TIME_BYTES:] or None)

    async def put_mark(self, mark: Mark) -> None:
        """Remember how far asking came. Raises TemporaryError."""
        await self._database.transact(lambda state: state.put(INVENTORY_KEY, u64(mark.time) + (mark.after or b"")))

    async def page(self, after: bytes | None, limit: int) -> list[Obligation]:
        """Return at most ``limit`` obligations behind a key, in the order of keys."""

        def read(state: Reader) -> list[Obligation]:
            return [Obligation.parse(row) for _, row in islice(state.scan(OBLIGATION, after), limit)]

        return await self._database.read(read)

    async def obligations(self) -> int:
        """Return how many obligations there are."""
        return await self._database.read(lambda state: totals_of(state).obligations)

    async def end(self, releases: Collection[Release], now: int, forget_time: int) -> Ended:
        """End the obligations that these releases name, durably; they were checked. Raises TemporaryError."""
        return await self._database.transact(lambda state: release_rows.end(state, releases, now, forget_time))

    async def of(self, roots: Collection[Root], validator: PublicKey) -> dict[Root, bytes]:
        """Return a canonical Release for each of these pieces that nobody is owed any longer, and that is known."""
        return await self._database.read(lambda state: release_rows.releases_of(state, roots, validator))

    async def forget(self, now: int) -> int:
        """Forget releases that nobody can ask about any longer, and return how many. Raises TemporaryError."""
        forgotten = 0
        while True:
            portion = await self._database.transact(lambda state: release_rows.forget(state, now, FORGOTTEN_AT_ONCE))
            forgotten += portion
            if portion < FORGOTTEN_AT_ONCE:
                return forgotten


def key_of(obligation: Obligation) -> bytes:
    """Return the key of an obligation in the index."""
    return obligation_key(obligation.ticket.root, obligation.receipt.ticket_id)


def read_answer(asked: Sequence[Obligation], raw: bytes, network: bytes, now: int, pace: Pace) -> Told:
    """Return what an issuer says of these tickets; a release that ends none of ours is counted and left.

    Blocking: two signatures for each release. Raises ProtocolError for an answer that is none.
    """
    answer = InventoryAnswer.parse(raw, limit=INVENTORY_ANSWER_BYTES_MAX)
    if len(answer.states) != len(asked):
        raise ProtocolError(f"{len(answer.states)} states answer an inventory of {len(asked)} tickets")
    told = Told()
    for obligation, state in zip(asked, answer.states, strict=True):
        try:
            _read_state(obligation, state, told, network, now, pace)
        except HippyError as error:
            told.refuse(error.message)
    return told


def _read_state(obligation: Obligation, state: TicketState, told: Told, network: bytes, now: int, pace: Pace) -> None:
    if (state.release is not None) != (state.state == "released"):
        raise ProtocolError("a state carries a release when it says released, and only then")
    if state.release is not None:
        state.release.check(obligation.ticket, network, now, pace)
        told.releases.append(state.release)
    elif state.state == "live":
        told.live += 1
    else:
        told.unknown += 1
