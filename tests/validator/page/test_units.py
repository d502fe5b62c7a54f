"""Numbers as people read them."""

from __future__ import annotations

import pytest

from hippy.validator.page.units import ago, count, date, duration, percent, size
from hippy.wire.fields import INTEGER_MAX


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0, "0 B"),
        (1_023, "1023 B"),
        (1_024, "1.0 KiB"),
        (1_536, "1.5 KiB"),
        (2**20 - 1, "1,024.0 KiB"),
        (2**20 + 2**20 // 20, "1.0 MiB"),
        (2**20 + 2**20 // 20 + 1, "1.1 MiB"),
        (INTEGER_MAX, "8.0 PiB"),
    ],
)
def test_sizes_are_said_in_binary_units_with_a_half_rounded_up(number: int, said: str) -> None:
    assert size(number) == said


@pytest.mark.parametrize(
    ("ppm", "said"), [(0, "0 %"), (99, "0 %"), (971_150, "97.11 %"), (999_999, "99.99 %"), (1_000_000, "100 %")]
)
def test_a_share_is_rounded_down_so_that_all_is_never_said_of_less(ppm: int, said: str) -> None:
    assert percent(ppm) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (7_199, "119 min"),
        (7_200, "2 h"),
        (172_799, "47 h"),
        (172_800, "2 days"),
    ],
)
def test_a_span_is_said_in_the_largest_unit_that_it_has_two_of(seconds: int, said: str) -> None:
    assert duration(seconds) == said


def test_what_never_was_is_never_and_what_is_ahead_is_now() -> None:
    assert ago(0, now=100) == "never"
    assert ago(100, now=40) == "0 s ago"
    assert ago(40, now=100) == "1 min ago"


def test_counts_are_grouped_and_no_time_is_too_late_for_a_date() -> None:
    assert count(1_234_567) == "1,234,567"
    assert date(0) == "1970-01-01 00:00:00 UTC"
    assert date(INTEGER_MAX) == "9999-12-31 23:59:59 UTC"
