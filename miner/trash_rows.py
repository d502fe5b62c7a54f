"""Pieces that nobody is owed any longer, as functions over one transaction (PROTOCOL §4.2).

A piece becomes trash in the transaction that ends its last obligation, and is a piece again in the one that writes a
new one. In between it is served and shown to audits, and its bytes count as used. When it has been trash for long
enough its rows go, all in one transaction, and only then its files (hippy.miner.trash): a crash in between leaves files
that no row names, and the next start removes those.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from hippy.hashing import u64
from hippy.ids import Root
from hippy.kv import Reader, Transaction
from hippy.miner import lost_rows
from hippy.miner.tables import (
    PIECE,
    TRASH,
    TRASH_DUE,
    Totals,
    count,
    is_owed,
    length_of,
    number,
    time_of,
    timed,
    totals_of,
)


def throw_away(state: Transaction, root: Root, now: int) -> None:
    """The last obligation for a piece that we have has ended."""
    state.put(TRASH + root, u64(now))
    state.put(timed(TRASH_DUE, now, root), b"")
    count(state, trash_bytes=length_of(state, root) or 0)


def take_up(state: Transaction, root: Root) -> None:
    """A piece is owed again; nothing if it was no trash."""
    since = state.get(TRASH + root)
    if since is None:
        return
    state.delete(TRASH + root)
    state.delete(timed(TRASH_DUE, number(since), root))
    count(state, trash_bytes=-(length_of(state, root) or 0))


def due(state: Reader, before: int, after: bytes | None, limit: int) -> list[tuple[bytes, Root]]:
    """Return at most ``limit`` pieces that were trash by ``before``, oldest first, with keys to go on behind."""
    found = []
    for key, _ in islice(state.scan(TRASH_DUE, after), limit):
        since, root = time_of(TRASH_DUE, key)
        if since > before:
            break
        found.append((key, Root(root)))
    return found


def unindex(state: Transaction, roots: Iterable[Root], before: int) -> tuple[list[Root], Totals]:
    """Forget those pieces that are trash since ``before`` still, and return them, with the sums after that."""
    gone = []
    for root in roots:
        since, length = state.get(TRASH + root), length_of(state, root)
        if since is None or number(since) > before or length is None or is_owed(state, root):
            continue
        take_up(state, root)
        state.delete(PIECE + root)
        lost_rows.forget(state, root)
        count(state, used_bytes=-length, pieces=-1)
        gone.append(root)
    return gone, totals_of(state)
