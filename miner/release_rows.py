"""Ended obligations, as functions over one transaction (PROTOCOL §4.2).

A release takes the place of the one obligation it names. It is kept for as long as somebody may ask about it, because
it is what an audit of bytes that are gone is answered with, and then forgotten.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Final

from hippy.hashing import u64
from hippy.ids import PublicKey, Root
from hippy.kv import Reader, Transaction
from hippy.miner import trash_rows
from hippy.miner.tables import (
    RELEASE,
    RELEASE_END,
    TIME_BYTES,
    Totals,
    count,
    is_owed,
    length_of,
    number,
    obligation_key,
    time_of,
    timed,
    totals_of,
)
from hippy.wire.release import Release

LOOKED_THROUGH_MAX: Final = 256
"""Releases of one piece among which the newest is looked for; more means that an account stored it again and again."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How many obligations a transaction ended, how many pieces nobody is owed now, and the sums after it."""

    obligations: int
    pieces: int
    totals: Totals


def end(state: Transaction, releases: Iterable[Release], now: int, forget_time: int) -> Ended:
    """End the obligations that these releases, which were checked, name; one that is not there has ended already."""
    obligations = pieces = 0
    for release in releases:
        key = obligation_key(release.root, release.ticket_id)
        if state.get(key) is None:
            continue
        state.delete(key)
        _keep(state, release, forget_time)
        count(state, obligations=-1)
        obligations += 1
        if length_of(state, release.root) is not None and not is_owed(state, release.root):
            trash_rows.throw_away(state, release.root, now)
            pieces += 1
    return Ended(obligations, pieces, totals_of(state))


def releases_of(state: Reader, roots: Collection[Root], validator: PublicKey) -> dict[Root, bytes]:
    """Return a canonical Release for each of these pieces that was owed and is no longer.

    The newest that the validator signed, else the newest; of the first :data:`LOOKED_THROUGH_MAX`.
    """
    found = {}
    for root in roots:
        if not is_owed(state, root):
            rows = islice(state.scan(RELEASE + root), LOOKED_THROUGH_MAX)
            kept = [Release.parse(row[TIME_BYTES:]) for _, row in rows]
            if kept:
                chosen = max(kept, key=lambda release: (release.validator == validator, release.time, release.seq))
                found[root] = chosen.encode()
    return found


def forget(state: Transaction, now: int, limit: int) -> int:
    """Forget at most ``limit`` releases whose time has come, and return how many."""
    forgotten = 0
    for key, _ in islice(state.scan(RELEASE_END), limit):
        seconds, named = time_of(RELEASE_END, key)
        if seconds > now:
            break
        state.delete(key)
        kept = state.get(RELEASE + named)
        if kept is not None and number(kept[:TIME_BYTES]) <= seconds:
            state.delete(RELEASE + named)
        forgotten += 1
    return forgotten


def _keep(state: Transaction, release: Release, forget_time: int) -> None:
    """A ticket that was stored again after its release, and ended by it again, has one row, with the later time."""
    named = release.root + release.ticket_id
    state.put(RELEASE + named, u64(forget_time) + release.encode())
    state.put(timed(RELEASE_END, forget_time, named), b"")
