"""The miner's index: which pieces it has, and to whom it owes them (PROTOCOL §3.2).

A piece exists when its row does (hippy.miner.tables has the keys), and the row is written, synced, after the file is
durable. An obligation's row and the sums change in one transaction, so the bytes of a root that two accounts store are
counted once. How obligations end is hippy.miner.releases', what becomes of their bytes hippy.miner.trash's.

Example::

    index = ObligationIndex(database)
    totals = await index.open(fresh_allowed=True)
    added = await index.add(Obligation(ticket=ticket, receipt=receipt))
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence, Set
from dataclasses import dataclass
from typing import ClassVar, Final, TypeVar

from hippy.errors import ConfigError
from hippy.hashing import u64
from hippy.ids import MessageId, PublicKey, Root
from hippy.kv import Database, Reader, Transaction
from hippy.miner import lost_rows, trash_rows
from hippy.miner.tables import (
    OBLIGATION,
    PIECE,
    Totals,
    count,
    length_of,
    number,
    obligation_key,
    put_totals,
    totals_of,
)
from hippy.wire.canonical import CLOCK_TOLERANCE_SECONDS, Message
from hippy.wire.ticket import Receipt, Ticket

FORMAT: Final = b"2"
FORMAT_BEFORE: Final = b"1"
"""Had no sums but that of all bytes, no trash and no releases."""

COMMIT_SECONDS: Final = 600 + 2 * CLOCK_TOLERANCE_SECONDS
"""After upload_by a piece can be committed for 10 minutes (PROTOCOL §3.3), and the two clocks may differ."""

_FORMAT_KEY: Final = b"meta/format"
_USED_KEY_BEFORE: Final = b"meta/used"

T = TypeVar("T")


class Obligation(Message):
    """A piece we answer for: the validator's order and our word."""

    TYPE: ClassVar[str] = "obligation"
    ticket: Ticket
    receipt: Receipt


@dataclass(frozen=True, slots=True)
class Added:
    """The receipt that stands for the ticket now, and the sums after it."""

    receipt: Receipt
    totals: Totals


class ObligationIndex:
    """The index over one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def open(self, *, fresh_allowed: bool) -> Totals:
        """Return the sums, starting an index where there is none and taking over one of the format before.

        ``fresh_allowed`` is False when there are piece files already: without their index they would all look
        like leftovers and be removed. Raises ConfigError then, and for an index of another version.
        """
        return await self._database.transact(lambda state: _open(state, fresh_allowed=fresh_allowed))

    async def receipt(self, root: Root, ticket_id: MessageId) -> Receipt | None:
        """Return the receipt a ticket was answered with, if it was."""
        raw = await self._database.read(lambda state: state.get(obligation_key(root, ticket_id)))
        return None if raw is None else Obligation.parse(raw).receipt

    async def length(self, root: Root) -> int | None:
        """Return a piece's length, None when we do not have it."""
        return await self._database.read(lambda state: length_of(state, root))

    async def lengths(self, roots: Collection[Root]) -> dict[Root, int]:
        """Return the lengths of those pieces that we have, in one read."""
        return await self._database.read(lambda state: _lengths(state, roots))

    async def add(self, obligation: Obligation) -> Added:
        """Write an obligation whose piece is durable; a ticket that has one keeps its first receipt.

        A piece that was lost is not any longer.
        """
        return await self._database.transact(lambda state: _add(state, obligation))

    async def with_roots(self, work: Callable[[Callable[[int], Set[Root]]], T]) -> T:
        """Run ``work`` off the event loop with a function that gives all roots with a first byte."""
        return await self._database.read(lambda state: work(lambda byte: _roots(state, byte)))

    async def note_lost(self, roots: Collection[Root]) -> int:
        """Have pieces looked at that were met lost or damaged, and return how many.

        One that is known to be lost, or was removed meanwhile, is not.
        """
        return await self._database.transact(lambda state: lost_rows.note(state, list(_lengths(state, roots))))

    async def unchecked(self, after: Root | None, limit: int) -> list[tuple[Root, int]]:
        """Return at most ``limit`` noted pieces behind ``after`` that nobody has looked at, with their lengths."""

        def read(state: Reader) -> list[tuple[Root, int]]:
            return list(_lengths(state, lost_rows.unchecked(state, after, limit)).items())

        return await self._database.read(read)

    async def settle_lost(self, lost: Collection[Root], whole: Collection[Root]) -> list[Root]:
        """Write what the look at noted pieces showed: those lost are to be told to who issued their obligations.

        Returns those that are known to be lost now, for some may have been stored anew meanwhile.
        """

        def write(state: Transaction) -> list[Root]:
            for root in whole:
                lost_rows.dismiss(state, root)
            return [root for root in lost if lost_rows.confirm(state, root, _issuers(state, root))]

        return await self._database.transact(write)

    async def is_lost(self, root: Root) -> bool:
        """Return whether a look confirmed that a piece is lost, and it was not stored anew since."""
        return await self._database.read(lambda state: lost_rows.is_lost(state, root))

    async def validators_to_tell(self) -> list[PublicKey]:
        """Return the validators that do not know of all they are to be told."""
        return await self._database.read(lost_rows.validators_to_tell)

    async def losses_to_tell(self, validator: PublicKey, limit: int) -> list[Root]:
        """Return at most ``limit`` lost pieces that a validator is to be told of."""
        return await self._database.read(lambda state: lost_rows.to_tell(state, validator, limit))

    async def losses_told(self, validator: PublicKey, roots: Sequence[Root], too_early: float | None) -> None:
        """Write that a validator has answered a report of these pieces.

        ``too_early`` is the time of a report that told it of more pieces than it knows; those that may still be
        committed are told again when they no longer may be.
        """

        def write(state: Transaction) -> None:
            lost_rows.told(state, validator, roots)
            if too_early is not None:
                lost_rows.tell_again(state, validator, _open_until(state, validator, roots, too_early))

        await self._database.transact(write)

    async def losses_fall_due(self, now: int, limit: int) -> int | None:
        """Put in line what is to be told again by ``now``, ``limit`` at a time; return when there is more, or None."""
        return await self._database.transact(lambda state: lost_rows.fall_due(state, now, limit))

    async def is_noted(self, root: Root) -> bool:
        """Return whether a piece was noted as lost."""
        return await self._database.read(lambda state: lost_rows.is_noted(state, root))


def _open(state: Transaction, *, fresh_allowed: bool) -> Totals:
    version = state.get(_FORMAT_KEY)
    if version is None and not fresh_allowed:
        raise ConfigError("there are pieces but no index of them", hint="restore the index, or move pieces/ away")
    if version not in (None, FORMAT_BEFORE, FORMAT):
        raise ConfigError(
            f"the index has format {version[:16]!r}, this version knows {FORMAT!r}",
            hint="run the version of hippy that wrote it, or a newer one",
        )
    if version == FORMAT_BEFORE:
        _upgrade(state)
    if version != FORMAT:  # a start writes nothing else, for the disk may be full
        state.put(_FORMAT_KEY, FORMAT)
    return totals_of(state)


def _upgrade(state: Transaction) -> None:
    """Take over an index that has no sums but one: a scan of its keys, two rows written, nothing else changed."""
    put_totals(
        state,
        Totals(
            used_bytes=number(state.get(_USED_KEY_BEFORE)),
            pieces=sum(1 for _ in state.scan(PIECE)),
            obligations=sum(1 for _ in state.scan(OBLIGATION)),
        ),
    )
    state.delete(_USED_KEY_BEFORE)


def _add(state: Transaction, obligation: Obligation) -> Added:
    root = obligation.ticket.root
    lost_rows.forget(state, root)
    key = obligation_key(root, obligation.receipt.ticket_id)
    known = state.get(key)
    if known is not None:
        return Added(Obligation.parse(known).receipt, totals_of(state))
    trash_rows.take_up(state, root)
    if length_of(state, root) is None:
        state.put(PIECE + root, u64(obligation.ticket.piece_length))
        count(state, used_bytes=obligation.ticket.piece_length, pieces=1)
    state.put(key, obligation.encode())
    return Added(obligation.receipt, count(state, obligations=1))


def _roots(state: Reader, byte: int) -> Set[Root]:
    return {Root(key[len(PIECE) :]) for key, _ in state.scan(PIECE + bytes([byte]))}


def _lengths(state: Reader, roots: Collection[Root]) -> dict[Root, int]:
    rows = ((root, state.get(PIECE + root)) for root in roots)
    return {root: number(row) for root, row in rows if row is not None}


def _issuers(state: Reader, root: Root) -> set[PublicKey]:
    return {Obligation.parse(row).ticket.validator for _, row in state.scan(OBLIGATION + root)}


def _open_until(state: Reader, validator: PublicKey, roots: Sequence[Root], now: float) -> dict[Root, int]:
    """Return when the last of a validator's tickets for each root can be committed no more, where that is to come."""
    found = {}
    for root in roots:
        tickets = (Obligation.parse(row).ticket for _, row in state.scan(OBLIGATION + root))
        ends = max((ticket.upload_by for ticket in tickets if ticket.validator == validator), default=0)
        if ends + COMMIT_SECONDS > now:
            found[root] = ends + COMMIT_SECONDS
    return found
