"""Token buckets: bursts pass, floods do not, and nobody waits for longer than a bucket takes to fill."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hippy.ids import PublicKey, SegmentId
from hippy.transport.limits import Rate
from hippy.validator.rates import (
    KEYS_MAX,
    PIECES_PER_UNIT,
    RECORDS,
    REQUESTS,
    STRANGER_BURST_SHARE,
    STRANGER_SHARE,
    AccountRates,
    Rates,
    TooManyError,
    units_of,
)
from hippy.wire.object import DROPS_MAX, OBJECTS_BYTES_MAX, ROWS_MAX, WriteRequest
from hippy.wire.release import LEASES_MAX, LeaseRequest
from hippy.wire.segment import SEGMENTS_MAX, CommitRequest
from tests.validator import world
from tests.validator.world import ACCOUNT, drop, row
from tests.wire.samples import COMMIT

ONE, TWO = PublicKey(b"1" * 32), PublicKey(b"2" * 32)


def granted(rates: Rates, now: float, *, asker: PublicKey = ONE, units: float = 1) -> bool:
    try:
        rates.take(asker, units, now)
    except TooManyError:
        return False
    return True


def test_a_burst_passes_and_then_as_many_as_the_rate_lets_in() -> None:
    rates = Rates(Rate(per_second=2, burst=10), "things")
    assert [granted(rates, 100.0) for _ in range(11)] == [True] * 10 + [False]
    assert [granted(rates, 100.5) for _ in range(2)] == [True, False]
    assert [granted(rates, 1_000.0) for _ in range(11)] == [True] * 10 + [False]


def test_a_refusal_says_when_to_come_back_and_then_it_is_so() -> None:
    rates = Rates(Rate(per_second=2, burst=10), "things")
    rates.take(ONE, 10, 0.0)
    with pytest.raises(TooManyError, match="too many things") as refused:
        rates.take(ONE, 7, 0.0)
    assert (refused.value.wait_seconds, refused.value.hint) == (4, "go on in 4 s")
    assert not granted(rates, 3.4, units=7)
    assert granted(rates, 4.0, units=7)


def test_askers_have_buckets_of_their_own() -> None:
    rates = Rates(Rate(per_second=1, burst=1), "things")
    assert granted(rates, 0.0, asker=ONE)
    assert granted(rates, 0.0, asker=TWO)
    assert not granted(rates, 0.0, asker=ONE)


def test_a_clock_that_is_set_back_costs_no_more_than_a_burst() -> None:
    rates = Rates(Rate(per_second=1, burst=10), "things")
    rates.take(ONE, 5, 100_000.0)
    assert not granted(rates, 0.0, units=5)
    assert granted(rates, 10.0, units=5)


def test_full_buckets_are_forgotten() -> None:
    rates = Rates(Rate(per_second=1, burst=10), "things")
    for number in range(KEYS_MAX - 1):
        rates.take(PublicKey(number.to_bytes(32, "big")), 1, 0.0)
    rates.take(ONE, 10, 0.5)
    assert len(rates) == KEYS_MAX
    rates.take(TWO, 1, 2.0)
    assert len(rates) == 2
    assert not granted(rates, 2.0, units=10)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(takes=st.lists(st.tuples(st.floats(0, 5), st.integers(1, 12)), max_size=40))
def test_no_window_lets_in_more_than_a_burst_and_the_rate(takes: list[tuple[float, int]]) -> None:
    rates, now, passed = Rates(Rate(per_second=3, burst=12), "things"), 0.0, list[tuple[float, int]]()
    for pause, units in takes:
        now += pause
        if granted(rates, now, units=units):
            passed.append((now, units))
    for first, (start, _) in enumerate(passed):
        total = 0
        for end, units in passed[first:]:
            total += units
            assert total <= 12 + 3 * (end - start) + 1e-3


def asked(rates: AccountRates, seconds: int, account: PublicKey, *, per_second: int, is_listed: bool = False) -> int:
    """Return how many of so many requests a second pass, behind a burst that was used up long before."""
    passed = 0
    for number in range(seconds * per_second):
        try:
            rates.take(account, 1, 1_000.0 + number / per_second, is_listed=is_listed)
            passed += 1
        except TooManyError:
            continue
    return passed


def test_one_stranger_that_never_stops_leaves_most_to_the_others() -> None:
    rates = AccountRates(Rate(per_second=16, burst=160), "things")
    flood = asked(rates, 1_000, ONE, per_second=100)
    assert flood == pytest.approx(80 + 2 * 1_000, abs=2)
    for number in range(40):  # at the end of the flood everybody else still has a word
        rates.take(PublicKey(bytes([number]) * 32), 1, 2_000.0, is_listed=False)


def test_strangers_together_have_what_one_listed_account_has() -> None:
    rates = AccountRates(Rate(per_second=16, burst=160), "things")
    passed = 0
    for number in range(1_000):
        try:
            rates.take(PublicKey(number.to_bytes(32, "big")), 1, 0.0, is_listed=False)
            passed += 1
        except TooManyError:
            continue
    assert passed == 160
    assert asked(rates, 1, ONE, per_second=160, is_listed=True) == 160


def test_many_buckets_are_looked_through_seldom() -> None:
    rates = Rates(Rate(per_second=1, burst=1_000), "things")
    for number in range(2 * KEYS_MAX):
        rates.take(PublicKey(number.to_bytes(32, "big")), 999, 0.0)
    before = rates._full_at
    rates.take(ONE, 1, 0.0)
    rates.take(TWO, 1, 0.0)
    assert rates._full_at is not before
    between = rates._full_at
    for number in range(KEYS_MAX - 10):
        rates.take(PublicKey((10**6 + number).to_bytes(32, "big")), 1, 0.0)
    assert rates._full_at is between


def test_ten_thousand_small_files_pass_at_once() -> None:
    requests, records = Rates(REQUESTS, "requests"), Rates(RECORDS, "changes")
    batch = WriteRequest(request_id=bytes(16), account=ACCOUNT.public_key, rows=(row("a"),) * ROWS_MAX)
    for _ in range(10_000 // ROWS_MAX):
        requests.take(ONE, 1, 0.0)
        records.take(ONE, units_of(batch), 0.0)


def test_what_leaves_more_of_the_log_costs_more() -> None:
    def write(segments: int, drops: int) -> float:
        ids = tuple(SegmentId(number.to_bytes(32, "big")) for number in range(segments))
        one = row("a").model_copy(update={"segment_ids": ids})
        words = (drop(SegmentId(bytes(32))),) * drops
        return units_of(WriteRequest(request_id=bytes(16), account=ACCOUNT.public_key, rows=(one,), drops=words))

    assert write(0, 0) == 1
    assert write(60, 0) == pytest.approx(3)
    assert write(0, 32) == pytest.approx(3)
    ids = tuple(SegmentId(number.to_bytes(32, "big")) for number in range(LEASES_MAX))
    assert units_of(LeaseRequest(request_id=bytes(16), account=ACCOUNT.public_key, segment_ids=ids)) == 17
    assert units_of(world.request().model_copy(update={"segments": (world.spec(), world.spec(1))})) == 2 + 2 * 8 / 6
    wide = COMMIT.model_copy(update={"holdings": COMMIT.holdings * 25})
    assert units_of(CommitRequest(request_id=bytes(16), account=ACCOUNT.public_key, segments=(wide,))) == 6


def test_no_request_costs_more_than_a_burst_or_it_could_never_be_made() -> None:
    most_rows = ROWS_MAX + OBJECTS_BYTES_MAX / 66 / 30 + DROPS_MAX / 16
    most_commits = SEGMENTS_MAX * (1 + 255 / 5)
    most_pieces = SEGMENTS_MAX * (1 + 255 / PIECES_PER_UNIT)
    assert max(most_rows, most_commits, most_pieces) < RECORDS.burst // STRANGER_BURST_SHARE
    assert REQUESTS.burst // STRANGER_BURST_SHARE > STRANGER_SHARE
