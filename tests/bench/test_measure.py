"""Measuring, with a clock that only the cases move."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hippy.bench.measure import ROUNDS_MIN, Case, Measurement, Pace, Spread, measure, ratio, speed_ratio
from hippy.errors import IntegrityError
from tests.bench.engines import ticking


class Bench:
    """Cases that take as long as they are told, in the order in which they ran."""

    def __init__(self) -> None:
        self.now = 0.0
        self.ran: list[str] = []

    def timer(self) -> float:
        return self.now

    def case(self, name: str, seconds: Callable[[], float], *, user_bytes: int = 100, right: bool = True) -> Case:
        def run() -> None:
            self.ran.append(name)
            self.now += seconds()

        return Case(name, run, user_bytes, lambda _: right)

    def fixed(self, name: str, seconds: float, *, user_bytes: int = 100) -> Case:
        return self.case(name, lambda: seconds, user_bytes=user_bytes)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_every_round_runs_each_case_once_and_begins_with_another(bench: Bench) -> None:
    cases = [bench.fixed(name, 1.0) for name in "abc"]
    measure(cases, Pace(rounds=4, seconds_max=None), timer=bench.timer)
    assert "".join(bench.ran) == "abc" + "abc" + "bca" + "cab" + "abc"  # the first are the checks


def test_a_sample_is_as_many_runs_as_take_long_enough(bench: Bench) -> None:
    cases = [bench.fixed("short", 0.001), bench.fixed("long", 0.05)]
    short, long = measure(cases, Pace(rounds=5, sample_seconds_min=0.02), timer=bench.timer)
    assert short.repeats * 0.001 >= 0.02
    assert short.repeats <= 30
    assert long.repeats == 1
    assert short.seconds == pytest.approx([0.001] * 5)
    assert long.seconds == pytest.approx([0.05] * 5)


def test_a_case_so_long_that_it_needs_no_search_is_not_searched(bench: Bench) -> None:
    measure([bench.fixed("a", 1.0)], Pace(rounds=3, seconds_max=None), timer=bench.timer)
    assert len(bench.ran) == 1 + 3


@pytest.mark.parametrize(("seconds", "rounds"), [(0.5, 7), (1.5, 4), (60.0, ROUNDS_MIN)])
def test_slow_cases_get_fewer_rounds_but_enough_for_a_middle(bench: Bench, seconds: float, rounds: int) -> None:
    (measured,) = measure([bench.fixed("a", seconds)], Pace(rounds=7, seconds_max=6.0), timer=bench.timer)
    assert len(measured.seconds) == rounds


def test_rounds_that_were_asked_for_are_all_run(bench: Bench) -> None:
    (measured,) = measure([bench.fixed("a", 60.0)], Pace(rounds=20, seconds_max=None), timer=bench.timer)
    assert len(measured.seconds) == 20


def test_fewer_rounds_than_make_a_middle_can_be_asked_for(bench: Bench) -> None:
    (measured,) = measure([bench.fixed("a", 60.0)], Pace(rounds=1, seconds_max=1.0), timer=bench.timer)
    assert measured.spread == Spread(60.0, 60.0, 60.0)


def test_what_computes_wrong_bytes_gets_no_figure(bench: Bench) -> None:
    cases = [bench.fixed("good", 1.0), bench.case("bad", lambda: 1.0, right=False)]
    with pytest.raises(IntegrityError, match=r"^bad: "):
        measure(cases, Pace(), timer=bench.timer)
    assert bench.ran == ["good", "bad"]


def test_a_check_sees_what_the_run_returned() -> None:
    seen: list[object] = []

    def is_right(made: object) -> bool:
        seen.append(made)
        return True

    measure([Case("a", lambda: "made", 1, is_right)], Pace(rounds=1), timer=ticking())
    assert seen == ["made"]


def test_rounds_are_told_as_they_begin(bench: Bench) -> None:
    told: list[tuple[int, int]] = []
    measure([bench.fixed("a", 1.0)], Pace(rounds=3), timer=bench.timer, telling=lambda at, of: told.append((at, of)))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_a_disturbance_of_whole_rounds_leaves_the_ratio_alone(bench: Bench) -> None:
    slowness = iter([1.0, 1.0, *(factor for factor in (1.0, 9.0, 2.0, 5.0, 3.0) for _ in range(2))])
    cases = [bench.case("fast", lambda: 1.0 * next(slowness)), bench.case("slow", lambda: 4.0 * next(slowness))]
    fast, slow = measure(cases, Pace(rounds=5, seconds_max=None), timer=bench.timer)
    assert speed_ratio(fast, slow) == Spread(4.0, 4.0, 4.0)
    assert fast.spread != Spread(1.0, 1.0, 1.0)


def test_a_speed_ratio_counts_the_bytes_of_each_case() -> None:
    one = Measurement("one", 100, 1, (1.0, 1.0, 1.0))
    both = Measurement("both", 200, 1, (1.25, 1.0, 2.0))
    assert both.speeds == (160.0, 200.0, 100.0)
    assert speed_ratio(both, one).median == 1.6


def test_a_ratio_is_the_median_of_ratios_and_not_the_ratio_of_medians() -> None:
    assert ratio([1.0, 8.0, 9.0], [1.0, 2.0, 9.0]).median == 1.0


def test_ratios_need_the_same_rounds() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ratio([1.0, 2.0], [1.0])


def test_a_spread_is_the_median_and_the_middle_half() -> None:
    assert Spread.of([5.0, 1.0, 4.0, 2.0, 3.0]) == Spread(3.0, 2.0, 4.0)
