"""Budgets, space and shares: nothing is given twice, everything comes back."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hippy.errors import NoSpaceError, RateLimitedError
from hippy.ids import PublicKey, Root
from hippy.miner.bounds import DISK_OVERHEAD_BYTES, Budget, Claims, Hold, Shares, Space

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
    first = space.take(30, 10**6)
    with pytest.raises(NoSpaceError):
        space.take(21, 10**6)
    space.take(20, 10**6)
    first.release()
    space.take(30, 10**6)


def test_reserve_of_the_disk_stays_free_of_all_uploads_under_way_and_their_trees() -> None:
    space, each = Space(10**9, 100, used_bytes=0), 50 + DISK_OVERHEAD_BYTES
    first = space.take(50, 100 + 2 * each)
    with pytest.raises(NoSpaceError, match="reserve"):
        space.take(51, 100 + 2 * each)
    space.take(50, 100 + 2 * each)
    first.release()
    space.take(50, 100 + 2 * each)


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
        space.take(1, 10**6)
    space.take(60, 10**6, is_used=True)
    with pytest.raises(NoSpaceError, match="reserve"):
        space.take(60, 100, is_used=True)


FIRST, SECOND = Root(b"1" * 32), Root(b"2" * 32)


async def test_files_of_a_piece_are_taken_away_by_one_and_only_while_nobody_uploads_it() -> None:
    claims = Claims()
    uploads = [await claims.share(FIRST) for _ in range(2)]
    free, alone = claims.alone([FIRST, SECOND])
    assert free == [SECOND]
    assert claims.alone([FIRST, SECOND])[0] == []
    uploads.pop().release()
    assert claims.alone([FIRST])[0] == []
    uploads.pop().release()
    alone.release()
    free, alone = claims.alone([FIRST, SECOND])
    assert free == [FIRST, SECOND]
    alone.release()
    assert (claims._shared, claims._alone) == ({}, {})


async def test_uploads_wait_until_the_files_of_their_piece_are_gone() -> None:
    claims = Claims()
    _, alone = claims.alone([FIRST])
    waiting = [asyncio.create_task(claims.share(FIRST)) for _ in range(3)]
    (await claims.share(SECOND)).release()
    assert not any(task.done() for task in waiting)
    alone.release()
    alone.release()
    holds = await asyncio.gather(*waiting)
    assert claims.alone([FIRST])[0] == []
    for hold in holds:
        hold.release()
    assert claims.alone([FIRST])[0] == [FIRST]
