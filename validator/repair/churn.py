"""How often pieces get lost: counters of the registry, looked at every hour (PROTOCOL §7).

Functions on a transaction. Every hour a row notes how many pieces were ever lost and how many piece-seconds have
passed; the difference over the past week is what was measured. Before there is one, and a little always, a prior holds.

Example::

    await database.transact(lambda txn: note(txn, now))
    losses_per_piece_hour = await database.read(rate)
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

from hippy.kv import Reader, Transaction
from hippy.validator.statistics import Statistic, get_statistic
from hippy.validator.tables import CHURN, ordered

HOUR: Final = 3_600
NOTE_SECONDS: Final = HOUR
WINDOW_SECONDS: Final = 7 * 24 * HOUR

PRIOR_PIECE_HOURS: Final = 7_200
"""One loss in so many piece-hours is what holds before anything was measured: a tenth of all pieces a month, the churn
that Storj's whitepaper assumes. It counts as if it had been seen, so ten pieces outweigh it in a month."""

_LAYOUT: Final = Struct("<QQ")


class _Totals(NamedTuple):
    """What came together until some time."""

    time: int
    lost: int
    piece_seconds: int


def note(txn: Transaction, now: int) -> bool:
    """Write down the counters if an hour has passed since they last were; return whether it had."""
    rows = _rows(txn)
    if rows and now < rows[-1].time + NOTE_SECONDS:
        return False
    for row in rows:
        if row.time < now - WINDOW_SECONDS:
            txn.delete(CHURN + ordered(row.time))
    before = rows[-1] if rows else _Totals(now, 0, 0)
    passed = get_statistic(txn, Statistic.PIECES) * (now - before.time)
    value = _LAYOUT.pack(get_statistic(txn, Statistic.LOST), before.piece_seconds + passed)
    txn.put(CHURN + ordered(now), value)
    return True


def rate(reader: Reader) -> float:
    """Return the losses per piece and hour that were seen over the past days, the prior counted in."""
    rows = _rows(reader)
    lost, hours = 1.0, float(PRIOR_PIECE_HOURS)
    if rows:
        lost += rows[-1].lost - rows[0].lost
        hours += (rows[-1].piece_seconds - rows[0].piece_seconds) / HOUR
    return lost / hours


def _rows(reader: Reader) -> list[_Totals]:
    """Return what was noted, oldest first: some 168 rows."""
    return [_Totals(int.from_bytes(key[-8:], "big"), *_LAYOUT.unpack(value)) for key, value in reader.scan(CHURN)]
