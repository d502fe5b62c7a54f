"""Token buckets by address: what is granted, what is refused and until when, and how much memory strangers can take."""

from __future__ import annotations

import tracemalloc

import pytest

from hippy.transport import budgets as budgets_module
from hippy.transport.budgets import Budgets
from hippy.transport.limits import ADDRESSES_MAX, Rate

MANY = Rate(1000, 100_000)
HOME = "192.0.2.1"


def budgets(*, requests: Rate = MANY, anonymous: Rate = MANY, failures: Rate = MANY, addresses_max: int = 8) -> Budgets:
    return Budgets(requests=requests, anonymous=anonymous, failures=failures, addresses_max=addresses_max)


@pytest.mark.parametrize("start", [0.0, 1234.5, 1e9])
def test_a_burst_is_granted_at_once_and_then_the_rate(start: float) -> None:
    asked = budgets(requests=Rate(2, 5))
    assert [asked.admit(HOME, start, signed=True) for _ in range(5)] == [0.0] * 5
    assert asked.admit(HOME, start, signed=True) == pytest.approx(0.5)
    assert asked.admit(HOME, start + 0.5, signed=True) == 0.0
    assert asked.admit(HOME, start + 0.5, signed=True) > 0
    assert [asked.admit(HOME, start + 100, signed=True) for _ in range(5)] == [0.0] * 5
    assert asked.admit(HOME, start + 100, signed=True) > 0


def test_what_is_refused_costs_nothing() -> None:
    asked = budgets(requests=Rate(1, 1))
    asked.admit(HOME, 0, signed=True)
    for _ in range(100):
        assert asked.admit(HOME, 0.5, signed=True) == pytest.approx(0.5)
    assert asked.admit(HOME, 1, signed=True) == 0.0


def test_unsigned_requests_have_a_budget_of_their_own() -> None:
    asked = budgets(anonymous=Rate(1, 2))
    assert [asked.admit(HOME, 0, signed=False) == 0 for _ in range(3)] == [True, True, False]
    assert asked.admit(HOME, 0, signed=True) == 0.0


def test_an_address_that_fails_is_refused_everything_for_two_bursts_at_most() -> None:
    asked = budgets(failures=Rate(1, 3))
    for count in range(1, 4):
        asked.fail(HOME, 0)
        assert asked.is_failing(HOME, 0) == (count == 3)
    assert asked.admit(HOME, 0, signed=True) == pytest.approx(1)
    for _ in range(100):
        asked.fail(HOME, 0)
    assert asked.admit(HOME, 0, signed=True) == pytest.approx(4)
    assert asked.admit(HOME, 4.1, signed=True) == 0.0


def test_addresses_have_nothing_to_do_with_each_other() -> None:
    asked = budgets(requests=Rate(1, 1), failures=Rate(1, 1))
    asked.fail(HOME, 0)
    assert asked.admit(HOME, 0, signed=True) > 0
    assert asked.admit("192.0.2.2", 0, signed=True) == 0.0
    assert not asked.is_failing("192.0.2.3", 0)


def test_the_address_not_seen_for_longest_is_forgotten() -> None:
    asked = budgets(requests=Rate(1, 1), addresses_max=2)
    for address in ("a", "b", "a", "c"):  # a was seen since b
        asked.admit(address, 0, signed=True)
    assert len(asked) == 2
    assert asked.admit("a", 0, signed=True) > 0
    assert asked.admit("b", 0, signed=True) == 0.0


def test_the_table_of_all_addresses_it_may_have_stays_within_eight_mebibytes() -> None:
    asked = budgets(addresses_max=ADDRESSES_MAX)
    tracemalloc.start()
    try:
        for number in range(3 * ADDRESSES_MAX):
            asked.admit(f"2001:db8:{number:x}::/64", number * 1e-6, signed=False)
        taken = tracemalloc.take_snapshot()
    finally:
        tracemalloc.stop()
    assert len(asked) == ADDRESSES_MAX
    # Another test's network may live in another thread: only what the table and its keys take counts.
    own = taken.filter_traces([tracemalloc.Filter(True, path) for path in (__file__, budgets_module.__file__)])
    assert 4 * 1024 * 1024 < sum(trace.size for trace in own.traces) < 8 * 1024 * 1024
