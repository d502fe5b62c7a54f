"""Rates: a fair validator is never refused, a greedy one gets its rate and no more."""

from __future__ import annotations

import pytest

from hippy.ids import PublicKey
from hippy.miner import rates
from hippy.miner.rates import AUDITS_AT_ONCE_MAX, Rates, audits_per_second
from hippy.testing.clock import VirtualClock

FIRST, SECOND = PublicKey(b"1" * 32), PublicKey(b"2" * 32)
HOUR = 3_600.0


@pytest.mark.parametrize(
    ("epoch_seconds", "per_hour"), [(4_320.0, 256.0), (36_000.0, 256.0), (2_160.0, 512.0), (2.5, 256 * 1_728.0)]
)
def test_short_epochs_allow_more_and_long_ones_no_less(epoch_seconds: float, per_hour: float) -> None:
    assert audits_per_second(epoch_seconds) * HOUR == pytest.approx(per_hour)


@pytest.mark.parametrize("epoch_seconds", [2.5, 600.0, 4_320.0, 7_200.0])
def test_every_epoch_has_room_for_32_batches_asked_four_times(epoch_seconds: float) -> None:
    assert audits_per_second(epoch_seconds) * epoch_seconds >= 4 * 32


async def test_burst_is_taken_at_once_and_comes_back_at_the_rate() -> None:
    clock = VirtualClock()
    audits = Rates(0.5, 3, clock)
    assert [audits.take(FIRST) for _ in range(4)] == [0.0, 0.0, 0.0, 2.0]
    assert audits.take(SECOND) == 0.0, "each has its own"
    await clock.advance(1)
    assert audits.take(FIRST) == 1.0
    await clock.advance(1)
    assert [audits.take(FIRST), audits.take(FIRST)] == [0.0, 2.0]
    await clock.advance(1_000)
    assert [audits.take(FIRST) for _ in range(4)] == [0.0, 0.0, 0.0, 2.0]


async def test_greedy_validator_gets_the_burst_and_256_an_hour() -> None:
    clock, taken = VirtualClock(), 0
    audits = Rates(audits_per_second(4_320), AUDITS_AT_ONCE_MAX, clock)
    for _ in range(24 * 6):
        taken += sum(audits.take(FIRST) == 0.0 for _ in range(1_000))
        await clock.advance(HOUR / 6)
    assert taken == pytest.approx(AUDITS_AT_ONCE_MAX + 24 * 256, abs=256 / 6 + 1)


async def test_fair_validator_is_never_refused() -> None:
    """A day of escalated epochs with every batch asked four times, then all that an outage of a day left owed."""
    clock = VirtualClock()
    audits = Rates(audits_per_second(4_320), AUDITS_AT_ONCE_MAX, clock)
    for _ in range(20 * 4):
        assert not any(audits.take(FIRST) for _ in range(32))
        await clock.advance(4_320 / 4)
    assert not any(audits.take(FIRST) for _ in range(20 * 32 + 32))


async def test_clock_that_is_set_back_costs_nothing() -> None:
    clock = VirtualClock()
    audits = Rates(1.0, 2, clock)
    audits.take(FIRST)
    clock._now -= 1_000
    assert [audits.take(FIRST), audits.take(FIRST)] == [0.0, 1.0]


async def test_buckets_that_are_full_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "PEERS_MAX", 2)
    clock = VirtualClock()
    audits = Rates(1.0, 2, clock)
    audits.take(FIRST)
    await clock.advance(1)
    audits.take(SECOND)
    audits.take(PublicKey(b"3" * 32))
    assert set(audits._left) == {SECOND, PublicKey(b"3" * 32)}
