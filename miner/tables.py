"""The keys of the miner's index, and the sums it keeps (docs/ARCHITECTURE.md, "What a node keeps").

Rows::

    "obl/" ‖ root ‖ ticket id        canonical Obligation: the ticket and the receipt it was answered with
    "piece/" ‖ root                  u64 length; there as long as we have, or owe, the bytes
    "trash/" ‖ root                  u64 time since when no obligation names the piece
    "due/" ‖ time ‖ root             the same by time (u64 big-endian)
    "release/" ‖ root ‖ ticket id    u64 time of its end ‖ canonical Release: what ended that obligation
    "forget/" ‖ time ‖ root ‖ ticket id   when that release is forgotten (u64 big-endian)
    "check/", "lost/", "tell/", "again/"  what is known of lost pieces (hippy.miner.lost_rows)
    "meta/format"                    "2"
    "meta/totals"                    4 u64: the sums of :class:`Totals`
    "meta/inventory"                 u64 time ‖ root ‖ ticket id: when issuers were asked last, and up to where
    "meta/drain", "drain/"           the wish to leave, and who is to know of it (hippy.miner.drains)
    "meta/scrub"                     how far the background check came (hippy.miner.scrub)

Numbers are little-endian where nothing else is said. Pure: functions over one transaction.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from struct import Struct
from typing import Final

from hippy.ids import Root
from hippy.kv import Reader, Transaction

OBLIGATION: Final = b"obl/"
PIECE: Final = b"piece/"
TRASH: Final = b"trash/"
TRASH_DUE: Final = b"due/"
RELEASE: Final = b"release/"
RELEASE_END: Final = b"forget/"
INVENTORY_KEY: Final = b"meta/inventory"
SCRUB_KEY: Final = b"meta/scrub"
TOTALS_KEY: Final = b"meta/totals"
TIME_BYTES: Final = 8

_TOTALS: Final = Struct("<4Q")


@dataclass(frozen=True, slots=True)
class Totals:
    """What there is in all: bytes of pieces, those of trash among them, pieces, and obligations."""

    used_bytes: int = 0
    trash_bytes: int = 0
    pieces: int = 0
    obligations: int = 0


def totals_of(state: Reader) -> Totals:
    """Return the sums as this view of the index has them."""
    raw = state.get(TOTALS_KEY)
    return Totals() if raw is None else Totals(*_TOTALS.unpack(raw))


def put_totals(state: Transaction, totals: Totals) -> None:
    """Write the sums."""
    state.put(TOTALS_KEY, _TOTALS.pack(*astuple(totals)))


def count(
    state: Transaction, *, used_bytes: int = 0, trash_bytes: int = 0, pieces: int = 0, obligations: int = 0
) -> Totals:
    """Change the sums by these differences, and return them."""
    old = totals_of(state)
    new = Totals(
        used_bytes=old.used_bytes + used_bytes,
        trash_bytes=old.trash_bytes + trash_bytes,
        pieces=old.pieces + pieces,
        obligations=old.obligations + obligations,
    )
    assert min(astuple(new)) >= 0, "nothing is taken away that was not counted"
    put_totals(state, new)
    return new


def obligation_key(root: Root, ticket_id: bytes) -> bytes:
    """Return the key of an obligation."""
    return OBLIGATION + root + ticket_id


def is_owed(state: Reader, root: Root) -> bool:
    """Return whether any obligation names a piece."""
    return next(iter(state.scan(OBLIGATION + root)), None) is not None


def length_of(state: Reader, root: Root) -> int | None:
    """Return a piece's length, None when we do not have it."""
    raw = state.get(PIECE + root)
    return None if raw is None else number(raw)


def number(raw: bytes | None) -> int:
    """Return the number in a row, 0 where there is none."""
    return 0 if raw is None else int.from_bytes(raw, "little")


def timed(prefix: bytes, seconds: int, rest: bytes) -> bytes:
    """Return a key that sorts by its time, in Unix seconds."""
    return prefix + seconds.to_bytes(TIME_BYTES, "big") + rest


def time_of(prefix: bytes, key: bytes) -> tuple[int, bytes]:
    """Return the time of such a key, and what follows it."""
    told = key[len(prefix) :]
    return int.from_bytes(told[:TIME_BYTES], "big"), told[TIME_BYTES:]
