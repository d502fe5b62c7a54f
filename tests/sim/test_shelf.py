"""What a miner owes, has and pays a disk for."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from hippy.ids import Root
from hippy.proofs.tree import LEAF_BYTES
from hippy.proofs.verify import Verdict
from hippy.sim.shelf import Shelf
from hippy.sim.strategies_absent import Absent, Silent
from hippy.sim.strategies_missing import CopySharer, Corrupter, Dropper, some_of
from hippy.sim.strategy import Honest, Morning, Question

LENGTH = 40_000  # three leaves
ROOTS = [Root(bytes([number]) * 32) for number in range(1, 11)]


def shelf(free: int = 0) -> Shelf:
    return Shelf(dict.fromkeys(ROOTS, LENGTH), ROOTS[:free])


def question(of: Shelf, *numbers: int) -> Question:
    return Question(5, len(numbers), of.inventory, lambda: numbers)


def test_a_dropped_piece_is_owed_and_costs_no_disk() -> None:
    mine = shelf()
    mine.drop(ROOTS[:2])
    assert mine.owed_bytes == 10 * LENGTH
    assert mine.disk_bytes == 8 * LENGTH


def test_a_lost_piece_leaves_the_next_inventory_and_not_this_one() -> None:
    mine = shelf()
    mine.lose(ROOTS[:1])
    assert (mine.owed_bytes, mine.inventory.total_leaves) == (9 * LENGTH, 30)
    mine.begin_epoch()
    assert mine.inventory.total_leaves == 27
    mine.lose(ROOTS[:1])  # twice is once
    assert mine.owed_bytes == 9 * LENGTH


def test_a_released_piece_is_owed_no_longer_and_costs_disk_as_long_as_it_is_kept() -> None:
    mine = shelf()
    for _ in range(2):  # twice is once
        mine.release(ROOTS[:2])
        assert (mine.owed_bytes, mine.disk_bytes) == (8 * LENGTH, 10 * LENGTH)
        assert mine.has_all_of(mine.inventory), "what is asked until the epoch ends is shown"
    mine.begin_epoch()
    assert mine.inventory.total_leaves == 24


def test_a_friends_zeros_cost_no_disk_and_are_nobody_elses_bytes() -> None:
    mine = shelf(free=4)
    assert (mine.disk_bytes, mine.entrusted_bytes, mine.washed_bytes) == (6 * LENGTH, 6 * LENGTH, 4 * LENGTH)
    mine.lose(ROOTS[:1])
    assert mine.disk_bytes == 6 * LENGTH


def test_pieces_are_drawn_by_their_leaves_and_only_those_owed_now() -> None:
    mine, rng = Shelf({ROOTS[0]: 9 * LEAF_BYTES, ROOTS[1]: LEAF_BYTES, ROOTS[2]: 10 * LEAF_BYTES}), Random(3)
    drawn = Counter(root for _ in range(2_000) for root, _ in mine.draw_pieces(1, rng))
    assert [drawn[root] / 2_000 for root in ROOTS[:3]] == pytest.approx([0.45, 0.05, 0.5], abs=0.03)
    mine.lose(ROOTS[:1])
    assert {root for _ in range(200) for root, _ in mine.draw_pieces(1, rng)} == {ROOTS[1], ROOTS[2]}


def test_pieces_that_are_read_at_once_are_distinct() -> None:
    drawn = shelf().draw_pieces(8, Random(3))
    assert 2 <= len(set(drawn)) == len(drawn) <= 8
    assert {length for _, length in drawn} == {LENGTH}


def test_a_dropper_shows_what_it_has_and_nothing_else() -> None:
    mine, dropper = shelf(), Dropper(0.2, Verdict.WRONG)
    dropper.begin_epoch(mine, Morning(0, 10, 0))
    assert dropper.answer(mine, question(mine, 0, 5, 6, 29), 0.0) == (Verdict.WRONG,) * 2 + (Verdict.OK,) * 2
    assert not dropper.serves(mine, ROOTS[1], LENGTH)
    assert dropper.serves(mine, ROOTS[2], LENGTH)


def test_what_was_found_missing_stays_missing_in_the_same_epoch() -> None:
    mine, dropper = shelf(), Dropper(0.1)
    dropper.begin_epoch(mine, Morning(0, 10, 0))
    asked = question(mine, 0)
    mine.lose(ROOTS[:1])
    assert dropper.answer(mine, asked, 0.0) == (Verdict.LOST,)
    mine.begin_epoch()
    assert dropper.answer(mine, asked, 0.0) == (Verdict.LOST,)  # a batch that is asked again
    assert mine.has_all_of(mine.inventory)


def test_the_smallest_share_is_one_piece_and_none_is_none() -> None:
    assert some_of(shelf(), 0.001) == ROOTS[:1]
    assert some_of(shelf(), 0.0) == []


def test_the_silent_answer_what_they_can_and_nothing_else() -> None:
    mine, silent = shelf(), Silent(0.1)
    silent.begin_epoch(mine, Morning(0, 10, 0))
    assert silent.answer(mine, question(mine, 3, 4), 0.0) == (Verdict.OK, Verdict.OK)
    assert silent.answer(mine, question(mine, 3, 0), 0.0) is None
    assert silent.is_there(0.0)


def test_the_absent_are_away_for_longer_than_a_contact_counts() -> None:
    mine, absent = shelf(), Absent(0.1)
    absent.begin_epoch(mine, Morning(0, 10, 0))
    assert absent.answer(mine, question(mine, 0), 100.0) is None
    assert [absent.is_there(now) for now in (100.0, 250.0, 266.0)] == [False, False, True]


def test_of_those_who_share_a_copy_the_first_has_it() -> None:
    for number, verdict in ((0, Verdict.OK), (1, Verdict.WRONG)):
        mine, sharer = shelf(), CopySharer(number)
        sharer.begin_epoch(mine, Morning(0, 10, 0))
        assert sharer.answer(mine, question(mine, 7), 0.0) == (verdict,)


def test_a_corrupt_leaf_spoils_its_piece() -> None:
    mine, corrupter = shelf(), Corrupter(4)
    bad = [verdict is Verdict.WRONG for verdict in corrupter.answer(mine, question(mine, *range(30)), 0.0) or ()]
    assert 4 <= sum(bad) <= 11
    spoilt = [any(bad[3 * place : 3 * place + 3]) for place in range(10)]
    assert [not corrupter.serves(mine, root, LENGTH) for root in ROOTS] == spoilt


def test_the_honest_say_what_they_lost() -> None:
    mine = shelf()
    mine.drop(ROOTS[:1])
    assert Honest().answer(mine, question(mine, 0, 3), 0.0) == (Verdict.LOST, Verdict.OK)
