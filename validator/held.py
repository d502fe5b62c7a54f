"""A holding of a piece: how it is stored, how it is told, and what a miner's holdings add up to (PROTOCOL §5.1, §6).

Pure. A holding is one piece of one segment at one miner, since the log record that committed it and until the record
that ended it. The same piece can be held for several segments and accounts; a miner owes its bytes, and is paid for
them, once.

Invariant: a root commits to its length, so a miner that signed receipts with several lengths for one root lied in all
of them but one; the greatest counts, whatever the order, and that lie it cannot prove.

>>> Held.parse(Held(3, 0, 400, "paid", PublicKey(b"a" * 32)).encode()).is_held_at(2)
False
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from struct import Struct
from typing import Final

from hippy.ids import PublicKey, Root, SegmentId
from hippy.wire.ticket import PayClass

LAYOUT: Final = Struct("<QQIB32s")
"""u64 since_seq ‖ u64 until_seq ‖ u32 piece_length ‖ u8 pay class ‖ account."""

PERIOD: Final = Struct("<QQI")
"""The part of it that an inventory needs."""

PAY_CLASSES: Final[tuple[PayClass, ...]] = ("paid", "unpaid", "canary")


def is_paid(pay_class: PayClass) -> bool:
    """Return whether bytes of this class count in full; canaries must look like paid data."""
    return pay_class != "unpaid"


@dataclass(frozen=True, slots=True)
class Held:
    """The stored value of a holding; ``until_seq`` is 0 while no record has ended it."""

    since_seq: int
    until_seq: int
    piece_length: int
    pay_class: PayClass
    account: PublicKey

    def encode(self) -> bytes:
        """Return the 53 stored bytes."""
        code = PAY_CLASSES.index(self.pay_class)
        return LAYOUT.pack(self.since_seq, self.until_seq, self.piece_length, code, self.account)

    @classmethod
    def parse(cls, value: bytes) -> Held:
        """Return the holding in a stored value."""
        since, until, length, code, account = LAYOUT.unpack(value)
        return cls(since, until, length, PAY_CLASSES[code], PublicKey(account))

    def is_held_at(self, seq: int) -> bool:
        """Return whether the piece is held as of the log's record ``seq``."""
        return self.since_seq <= seq and (self.until_seq == 0 or self.until_seq > seq)


@dataclass(frozen=True, slots=True)
class HeldPiece:
    """One holding of a miner, as of some record."""

    root: Root
    piece_length: int
    is_paid: bool
    account: PublicKey
    segment_id: SegmentId
    index: int


@dataclass(frozen=True, slots=True)
class HeldBytes:
    """Bytes of the distinct roots a miner holds: paid where one of a root's holdings is, and by account.

    A root that several accounts store counts once for each of them in ``by_account``.
    """

    paid_bytes: int
    unpaid_bytes: int
    by_account: Mapping[PublicKey, int]


def tally(pieces: Iterable[HeldPiece]) -> HeldBytes:
    """Return what pieces of one miner add up to; holdings of one root must come one after the other."""
    by_paid, by_account = {True: 0, False: 0}, dict[PublicKey, int]()
    for _, holdings in groupby(pieces, key=attrgetter("root")):
        same = list(holdings)
        length = max(piece.piece_length for piece in same)
        by_paid[any(piece.is_paid for piece in same)] += length
        for account in {piece.account for piece in same}:
            by_account[account] = by_account.get(account, 0) + length
    return HeldBytes(by_paid[True], by_paid[False], by_account)


def distinct(pieces: Iterable[tuple[Root, int]]) -> Iterator[tuple[Root, int]]:
    """Yield each root once, with its greatest length; equal roots must come one after the other."""
    last: Root | None = None
    longest = 0
    for root, length in pieces:
        if root == last:
            longest = max(longest, length)
            continue
        if last is not None:
            yield last, longest
        last, longest = root, length
    if last is not None:
        yield last, longest
