"""Budgets, space and shares: nothing is given twice, everything comes back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hippy.errors import NoSpaceError, RateLimitedError
from hippy.ids import PublicKey
from hippy.miner.bounds import Budget, Hold, Shares, Space

STEPS = st.lists(st.tuples(st.booleans(), st.integers(0, 60)), max_size=40)


@given(STEPS)
def test_budget_never_goes_below_zero_and_fills_up_again(steps: list[tuple[bool, int]]) -> None:
    budget, holds = Budget(100, "things"), list[Hold]()
    for takes, size in steps:
        if not takes and holds:
            holds.pop(size % len(holds)).release()
        elif size > budget.left:
            with pytest.raises(RateLimitedError):
                budget.take(size)
        else:
            holds.append(budget.take(size))
        assert budget.left >= 0
    for hold in holds:
        hold.release()
    assert budget.left == 100


def test_hold_comes_back_once() -> None:
    budget = Budget(10, "things")
    first, second = budget.take(4), budget.take(6)
    first.release()
    first.release()
    assert budget.left == 4
    second.release()
    assert budget.left == 10


def test_space_counts_what_is_used_and_promised() -> None:
    space = Space(100, 0, used_bytes=50)
    first = space.take(30, 1000)
    with pytest.raises(NoSpaceError):
        space.take(21, 1000)
    space.take(20, 1000)
    first.release()
    space.take(30, 1000)


def test_reserve_of_the_disk_stays_free() -> None:
    space = Space(10**9, 100, used_bytes=0)
    space.take(50, 160)
    with pytest.raises(NoSpaceError, match="reserve"):
        space.take(11, 160)
    space.take(10, 160)


def test_share_of_one_peer_is_nobody_elses() -> None:
    shares, first, second = Shares(2, "audits"), PublicKey(b"1" * 32), PublicKey(b"2" * 32)
    holds = [shares.take(first), shares.take(first)]
    with pytest.raises(RateLimitedError, match="more than 2 audits"):
        shares.take(first)
    shares.take(second).release()
    holds.pop().release()
    with shares.take(first), pytest.raises(RateLimitedError):
        shares.take(first)
    holds.pop().release()
    assert shares._taken == {}


def test_bytes_that_replace_a_lost_piece_need_room_on_the_disk_only() -> None:
    space = Space(100, 0, used_bytes=100)
    with pytest.raises(NoSpaceError, match="full"):
        space.take(1, 1000)
    space.take(60, 1000, is_used=True)
    with pytest.raises(NoSpaceError, match="reserve"):
        space.take(60, 100, is_used=True)
