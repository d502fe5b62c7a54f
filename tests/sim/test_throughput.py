"""Speed: distance costs an honest miner nothing and splits gain nothing by it; serving slowly costs (PROTOCOL §5.5)."""

from __future__ import annotations

from typing import Any

import pytest

from hippy.sim import probing
from hippy.sim.report import Prices
from hippy.sim.settings import Settings
from hippy.sim.simulation import Run, simulate, weights_over_time
from hippy.sim.strategies import HONEST, chosen
from hippy.validator.scoring import Tally
from tests.sim.worlds import row, run

MEBIBYTE = 2**20
TERABYTE = 10**12
SPLITS = ("split-4", "split-4-keys")


def large(*names: str, round_trip_seconds: float) -> Run:
    """Simulate two days of miners with about 9 TB each, behind 1 Gbit/s, far away."""
    sizes: dict[str, Any] = {"miners": 24, "k": 4, "n": 8, "lots": 160, "lengths_bytes": (4 * MEBIBYTE,), "bundle": 8}
    settings = Settings(
        **sizes,
        days=2,
        pipe_bps=10**9,
        round_trips_seconds=(round_trip_seconds, round_trip_seconds),
        bytes_stand_for=3_900,
    )
    done = simulate(settings, chosen(names))
    held = [miner.shelf.entrusted_bytes * settings.bytes_stand_for / TERABYTE for miner in done.by_operator[HONEST]]
    print(f"{round_trip_seconds * 1e3:.0f} ms: {min(held):.1f} to {max(held):.1f} TB, T {row(done, HONEST).speed:.4f}")
    return done


def _speed(count: int, seconds: float) -> Tally:
    return Tally(read_bytes=count, read_microseconds=round(seconds * 1e6))


@pytest.mark.parametrize("round_trip_seconds", [0.05, 0.1])
def test_a_large_distant_miner_is_fast_enough_and_gains_nothing_by_splitting(round_trip_seconds: float) -> None:
    done = large("split-1", *SPLITS, round_trip_seconds=round_trip_seconds)
    assert row(done, "split-1").speed == 1
    assert row(done, HONEST).speed > 0.995  # some have 11 TB, and one packet in a hundred is lost
    for name in SPLITS:
        found = row(done, name)
        print(f"{name}: T {found.speed:.4f}, revenue per byte {found.revenue / 100:.4f}, profit {found.ratio:.4f}")
        assert found.revenue <= 101
        assert found.ratio <= 1.01
        assert weights_over_time(done)[name][-1] <= 1.01


def test_by_the_whole_time_of_one_stream_a_large_distant_miner_would_gain_by_splitting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        probing,
        "measured",
        lambda total, _rest, _seconds, whole: Tally(read_bytes=total, read_microseconds=round(whole * 1e6)),
    )
    monkeypatch.setattr(probing, "pieces_at_once", lambda _leaves, _rules: 1)
    done = large("split-4-keys", round_trip_seconds=0.1)
    assert row(done, HONEST).speed < 0.6
    assert row(done, "split-4-keys").revenue > 150


def test_an_honest_distant_miner_with_pieces_of_2_mib_is_fast_enough() -> None:
    done = run(HONEST, lengths_bytes=(2 * MEBIBYTE,), round_trips_seconds=(0.1, 0.1), days=1)
    assert min(score.speed_ppm for score in done.notes[HONEST].scores) == 1_000_000
    assert min(score.read_microseconds for score in done.notes[HONEST].scores) > 0


@pytest.mark.parametrize("name", ["slow", "late-start"])
@pytest.mark.parametrize("cost_share", [0.5, 0.9])
def test_serving_slowly_and_sitting_on_the_first_byte_lose(name: str, cost_share: float) -> None:
    found = row(run(name, days=1), name, Prices(cost_share))
    assert 0.1 < found.speed < 0.25
    assert found.ratio < 0


def test_sitting_on_the_first_byte_would_cost_nothing_if_only_the_second_half_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        probing,
        "measured",
        lambda _total, rest, seconds, _whole: Tally(read_bytes=rest, read_microseconds=round(seconds * 1e6)),
    )
    assert row(run("late-start", days=0.5), "late-start").speed == 1
