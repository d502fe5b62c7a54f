"""The miner's index: which pieces it has, and to whom it owes them (PROTOCOL §3.2).

Rows::

    "obl/" ‖ root ‖ ticket id   canonical Obligation: the ticket and the receipt it was answered with
    "piece/" ‖ root             u64 length; there as long as any obligation names the root
    "check/", "lost/", "tell/", "again/"  what is known of lost pieces (hippy.miner.lost_rows)
    "meta/format"               "1"
    "meta/used"                 u64 sum of all lengths

A piece exists when its row does, and the row is written, synced, after the file is durable. An obligation's
row and the sums change in one transaction, so the bytes of a root that two accounts store are counted once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence, Set
from dataclasses import dataclass
from typing import ClassVar, Final, TypeVar

from hippy.errors import ConfigError
from hippy.hashing import u64
from hippy.ids import MessageId, PublicKey, Root
from hippy.kv import Database, Reader, Transaction
from hippy.miner import lost_rows
from hippy.wire.canonical import CLOCK_TOLERANCE_SECONDS, Message
from hippy.wire.ticket import Receipt, Ticket

FORMAT: Final = b"1"
COMMIT_SECONDS: Final = 600 + 2 * CLOCK_TOLERANCE_SECONDS
"""After upload_by a piece can be committed for 10 minutes (PROTOCOL §3.3), and the two clocks may differ."""

_OBLIGATION: Final = b"obl/"
_PIECE: Final = b"piece/"
_FORMAT_KEY: Final = b"meta/format"
_USED_KEY: Final = b"meta/used"

T = TypeVar("T")


class Obligation(Message):
    """A piece we answer for: the validator's order and our word."""

    TYPE: ClassVar[str] = "obligation"
    ticket: Ticket
    receipt: Receipt


@dataclass(frozen=True, slots=True)
class Added:
    """The receipt that stands for the ticket now, and the bytes used after it."""

    receipt: Receipt
    used_bytes: int


class ObligationIndex:
    """The index over one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def open(self, *, fresh_allowed: bool) -> int:
        """Return the bytes used, starting an index where there is none.

        ``fresh_allowed`` is False when there are piece files already: without their index they would all look
        like leftovers and be removed. Raises ConfigError then, and for an index of another version.
        """
        return await self._database.transact(lambda state: _open(state, fresh_allowed=fresh_allowed))

    async def receipt(self, root: Root, ticket_id: MessageId) -> Receipt | None:
        """Return the receipt a ticket was answered with, if it was."""
        raw = await self._database.read(lambda state: state.get(_obligation_key(root, ticket_id)))
        return None if raw is None else Obligation.parse(raw).receipt

    async def length(self, root: Root) -> int | None:
        """Return a piece's length, None when we do not have it."""
        raw = await self._database.read(lambda state: state.get(_PIECE + root))
        return None if raw is None else _number(raw)

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

    async def note_lost(self, roots: Collection[Root]) -> None:
        """Have pieces looked at that were met lost or damaged; one that is known to be lost is not."""
        await self._database.transact(lambda state: lost_rows.note(state, roots))

    async def unchecked(self, after: Root | None, limit: int) -> list[tuple[Root, int]]:
        """Return at most ``limit`` noted pieces behind ``after`` that nobody has looked at, with their lengths."""

        def read(state: Reader) -> list[tuple[Root, int]]:
            return list(_lengths(state, lost_rows.unchecked(state, after, limit)).items())

        return await self._database.read(read)

    async def settle_lost(self, lost: Collection[Root], whole: Collection[Root]) -> None:
        """Write what the look at noted pieces showed: those lost are to be told to who issued their obligations."""

        def write(state: Transaction) -> None:
            for root in whole:
                lost_rows.dismiss(state, root)
            for root in lost:
                lost_rows.confirm(state, root, _issuers(state, root))

        await self._database.transact(write)

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


def _open(state: Transaction, *, fresh_allowed: bool) -> int:
    version = state.get(_FORMAT_KEY)
    if version is None:
        if not fresh_allowed:
            raise ConfigError("there are pieces but no index of them", hint="restore the index, or move pieces/ away")
        state.put(_FORMAT_KEY, FORMAT)
    elif version != FORMAT:
        raise ConfigError(f"the index has format {version[:16]!r}, this version knows {FORMAT!r}")
    return _number(state.get(_USED_KEY))


def _add(state: Transaction, obligation: Obligation) -> Added:
    root, used = obligation.ticket.root, _number(state.get(_USED_KEY))
    lost_rows.forget(state, root)
    key = _obligation_key(root, obligation.receipt.ticket_id)
    known = state.get(key)
    if known is not None:
        return Added(Obligation.parse(known).receipt, used)
    if state.get(_PIECE + root) is None:
        used += obligation.ticket.piece_length
        state.put(_PIECE + root, u64(obligation.ticket.piece_length))
        state.put(_USED_KEY, u64(used))
    state.put(key, obligation.encode())
    return Added(obligation.receipt, used)


def _roots(state: Reader, byte: int) -> Set[Root]:
    return {Root(key[len(_PIECE) :]) for key, _ in state.scan(_PIECE + bytes([byte]))}


def _lengths(state: Reader, roots: Collection[Root]) -> dict[Root, int]:
    rows = ((root, state.get(_PIECE + root)) for root in roots)
    return {root: _number(row) for root, row in rows if row is not None}


def _issuers(state: Reader, root: Root) -> set[PublicKey]:
    return {Obligation.parse(row).ticket.validator for _, row in state.scan(_OBLIGATION + root)}


def _open_until(state: Reader, validator: PublicKey, roots: Sequence[Root], now: float) -> dict[Root, int]:
    """Return when the last of a validator's tickets for each root can be committed no more, where that is to come."""
    found = {}
    for root in roots:
        tickets = (Obligation.parse(row).ticket for _, row in state.scan(_OBLIGATION + root))
        ends = max((ticket.upload_by for ticket in tickets if ticket.validator == validator), default=0)
        if ends + COMMIT_SECONDS > now:
            found[root] = ends + COMMIT_SECONDS
    return found


def _obligation_key(root: Root, ticket_id: bytes) -> bytes:
    return _OBLIGATION + root + ticket_id


def _number(raw: bytes | None) -> int:
    return 0 if raw is None else int.from_bytes(raw, "little")
