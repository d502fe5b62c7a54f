"""How much an account may change in a while, and how often a miner may ask: token buckets (PROTOCOL §9).

Quota bounds what an account has, not how often it writes it: every change is a log record that is kept for ever. So
changes are counted in units of about RECORD_BYTES of log; :func:`units_of` says what a request costs. The clock is an
argument.

Invariants: a bucket never owes more than it holds, so that nobody waits for longer than it takes to fill; buckets that
are full are forgotten, so that as many are kept as there were askers in that time.

Example::

    changes = Rates(RECORDS, "changes")
    changes.take(account, units_of(request), clock.now())   # raises TooManyError, which says when to come back
"""

from __future__ import annotations

import math
from typing import Final, assert_never

from hippy.errors import RateLimitedError
from hippy.ids import ID_BYTES, PublicKey
from hippy.transport.limits import Rate
from hippy.wire.object import BucketRequest, WriteRequest
from hippy.wire.release import LeaseRequest
from hippy.wire.segment import AllocateRequest, CommitRequest, ReallocateRequest

RECORD_BYTES: Final = 2_048
"""One unit: an ordinary row takes about so much of the log, with what is kept beside it."""

RECORDS: Final = Rate(per_second=200, burst=50_000)
"""Units for one account: 50,000 small files at once, then 200 a second, 17 million a day; a log grows by 35 GB a day
for an account that never stops."""

REQUESTS: Final = Rate(per_second=100, burst=2_000)
"""Requests that change anything, for one account: each is a signature and a turn of the database's only writer. A
client makes three for a segment of up to 40 MB, and one for 500 rows."""

INVENTORIES: Final = Rate(per_second=2, burst=120)
"""Pages of 256 tickets for one miner: 44 million tickets a day, 180 TB of the largest pieces. A page of live tickets is
some 5 ms of work, one of ended ones 0.1 s."""

STRANGERS: Final = PublicKey(b"\0" * ID_BYTES)
"""Whose bucket those share that the operator did not set: keys cost nothing, so each for itself would bound nothing."""

STRANGER_SHARE: Final = 8
"""Each of them has a bucket that fills so much slower beside: one that never stops leaves the others seven eighths."""

STRANGER_BURST_SHARE: Final = 2
"""How much less that bucket holds: still the largest request."""

SEGMENTS_PER_UNIT: Final = RECORD_BYTES // 67
"""Segment ids of a row."""

HOLDINGS_PER_UNIT: Final = RECORD_BYTES // 400
"""Holdings of a segment's record, receipts with their signatures."""

DROPS_PER_UNIT: Final = 16
"""A signature each, 0.1 ms; what they leave in the log was paid with the segment."""

PIECES_PER_UNIT: Final = 6
"""Of an allocation: each is a draw among all miners, 0.3 ms of a processor where there are 256."""

LEASES_PER_UNIT: Final = 16
"""Each is three writes by the only writer."""

KEYS_MAX: Final = 4_096
"""So many new buckets, and all are looked through for full ones: a handful of looks for each request."""

Change = AllocateRequest | ReallocateRequest | CommitRequest | WriteRequest | LeaseRequest | BucketRequest


class TooManyError(RateLimitedError):
    """A bucket is empty; in ``wait_seconds`` there will be enough in it."""

    def __init__(self, what: str, wait_seconds: float) -> None:
        self.wait_seconds = max(1, math.ceil(wait_seconds))
        super().__init__(f"too many {what} in a short time", hint=f"go on in {self.wait_seconds} s")


class Rates:
    """A bucket for each asker."""

    def __init__(self, rate: Rate, what: str) -> None:
        self._unit_seconds = 1 / rate.per_second
        self._fill_seconds = rate.burst / rate.per_second
        self._what = what
        self._full_at: dict[PublicKey, float] = {}
        """When each bucket that is not full will be."""
        self._look_at = KEYS_MAX

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, asker: PublicKey, units: float, now: float) -> None:
        """Take ``units``, which are no more than a burst.

        Raises TooManyError when there are fewer; then none are taken.
        """
        wait_seconds = self.wait_seconds(asker, units, now)
        if wait_seconds:
            raise TooManyError(self._what, wait_seconds)
        if len(self._full_at) >= self._look_at:
            self._full_at = {each: at for each, at in self._full_at.items() if at > now}
            self._look_at = len(self._full_at) + KEYS_MAX
        self._full_at[asker] = self._before(asker, now) + units * self._unit_seconds

    def wait_seconds(self, asker: PublicKey, units: float, now: float) -> float:
        """Return in how many seconds there will be ``units``; 0: there are now."""
        before = self._before(asker, now)
        if asker in self._full_at:
            self._full_at[asker] = before  # the clock may have been set back
        rest_seconds = before + units * self._unit_seconds - now - self._fill_seconds
        return rest_seconds if rest_seconds > 1e-6 else 0.0  # less is rounding

    def _before(self, asker: PublicKey, now: float) -> float:
        return min(max(self._full_at.get(asker, now), now), now + self._fill_seconds)


class AccountRates:
    """A bucket for each account that the operator set; one for all strangers, and a smaller one for each beside.

    Who asks with many keys can still use up what strangers have: operators set the accounts that they care about.
    """

    def __init__(self, rate: Rate, what: str) -> None:
        each = Rate(rate.per_second / STRANGER_SHARE, rate.burst // STRANGER_BURST_SHARE)
        self._what = what
        self._rates = Rates(rate, what)
        self._strangers = Rates(each, what)

    def take(self, account: PublicKey, units: float, now: float, *, is_listed: bool) -> None:
        """Take ``units`` of an account's.

        Raises TooManyError when there are fewer; then none are taken.
        """
        if is_listed:
            self._rates.take(account, units, now)
            return
        if shared_seconds := self._rates.wait_seconds(STRANGERS, units, now):
            raise TooManyError(self._what, shared_seconds)
        self._strangers.take(account, units, now)
        self._rates.take(STRANGERS, units, now)


def units_of(request: Change) -> float:
    """Return what a request costs: about the log that it leaves, in RECORD_BYTES, or the work if that is more."""
    match request:
        case AllocateRequest():
            return sum(1 + spec.n / PIECES_PER_UNIT for spec in request.segments)
        case CommitRequest():
            return sum(1 + len(commit.holdings) / HOLDINGS_PER_UNIT for commit in request.segments)
        case WriteRequest():
            named = sum(len(row.segment_ids) for row in request.rows)
            return len(request.rows) + named / SEGMENTS_PER_UNIT + len(request.drops) / DROPS_PER_UNIT
        case LeaseRequest():
            return 1 + len(request.segment_ids) / LEASES_PER_UNIT
        case ReallocateRequest():
            return 1 + len(request.pieces) / PIECES_PER_UNIT
        case BucketRequest():
            return 1
        case _:
            assert_never(request)
