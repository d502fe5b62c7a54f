"""Whether segments were released as soon as they may be, and no sooner (PROTOCOL §4.2, §5.1). Pure.

Who may release what, and by whose signature, hippy.validator.history checks; what is left is the time. Rows are not
for everybody, so that no row named a lapsed or deleted segment is the account's to see.

Example::

    for difference in early_releases(headers, log.quick_releases, pace_of(epoch_seconds)): ...
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Literal, NamedTuple, assert_never

from hippy.validator.history import History
from hippy.validator.verifying.difference import Difference
from hippy.validator.verifying.headers import log_head
from hippy.wire.audit import EpochHeader
from hippy.wire.log import LogRecord, SegmentReleased
from hippy.wire.pace import Pace

ROUNDING_SECONDS: Final = 1
"""Records tell times in whole seconds, and waiting times that are scaled are no whole ones."""

Reason = Literal["deleted", "lapsed", "expired"]


class FoundRelease(NamedTuple):
    """A record that released a segment, at ``time`` as it says.

    ``since`` is what the wait began with: the drop's time, that of the record that committed the segment, keep_until.
    """

    seq: int
    time: int
    reason: Reason
    since: int

    def seconds_early(self, pace: Pace) -> int:
        """Return by how many seconds the segment was released too early, at most 0 where it was not."""
        return self.since + _wait_seconds(self.reason, pace) - self.time


def found_release(
    released: SegmentReleased, record: LogRecord, history: History, time_of: Callable[[int], int]
) -> FoundRelease:
    """Return a release that ``history`` has applied; ``time_of`` tells the time of a record before it."""
    committed_seq, keep_until = history.committed(released.segment_id)
    match released.reason:
        case "deleted":
            assert released.drop is not None  # History has checked it
            since = released.drop.time
        case "lapsed":
            since = time_of(committed_seq)  # committed_time is only said; a record's time agrees with the headers
        case "expired":
            assert keep_until is not None  # as before
            since = keep_until
        case never:
            assert_never(never)
    return FoundRelease(record.seq, record.time, released.reason, since)


def early_releases(
    headers: Sequence[EpochHeader], releases: Iterable[FoundRelease], pace: Pace
) -> Iterator[Difference]:
    """Yield releases that came too early; ``headers`` are in order.

    Those before the first header are of an epoch before it.
    """
    seqs = [log_head(header).seq for header in headers]
    for release in releases:
        early = release.seconds_early(pace)
        if early > ROUNDING_SECONDS:
            place = bisect_left(seqs, release.seq)
            epoch = headers[place - 1].epoch if place else headers[0].epoch - 1
            what = f"record {release.seq} of the log releases a segment as {release.reason}, {early} s too early"
            yield Difference(what, epoch=epoch)


def _wait_seconds(reason: Reason, pace: Pace) -> int:
    match reason:
        case "deleted":
            return pace.drop_grace_seconds
        case "lapsed":
            return pace.lease_seconds
        case "expired":
            return 0
        case never:
            assert_never(never)
