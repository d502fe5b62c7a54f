"""Who holds what, and the queue of what needs repair."""

from __future__ import annotations

from hippy.sim.durability.pieces import Pieces
from hippy.sim.durability.queue import Queue
from hippy.validator.repair_order import expected_hours_to_loss

RATE = 1e-4


def placed(segments: int = 3, k: int = 2, n: int = 4, miners: int = 8) -> Pieces:
    """Piece i of segment s lies with miner (s + i) mod 8."""
    pieces = Pieces(segments, k, n, miners)
    for slot in range(segments * n):
        pieces.put(slot, (slot // n + slot % n) % miners)
    return pieces


def test_what_is_destroyed_counts_until_it_is_noticed() -> None:
    pieces = placed()
    pieces.destroy(1)
    assert (pieces.healthy, pieces.counted) == ([3, 3, 4], [4, 4, 4])
    assert set(pieces.notice(1)) == {0, 1}
    assert pieces.counted == [3, 3, 4]
    assert (pieces.missing(0), pieces.missing(1), pieces.missing(2)) == ([1], [4], [])
    assert pieces.holders(0) == [0, 2, 3]
    assert pieces.held[1] == {}


def test_fewer_than_k_healthy_pieces_are_a_loss_and_counted_once() -> None:
    pieces = placed()
    for miner in (0, 1, 2):
        pieces.destroy(miner)
    assert (pieces.lost_count, list(pieces.lost), pieces.healthy_min) == (1, [1, 0, 0], 1)
    pieces.destroy(3)
    assert (pieces.lost_count, list(pieces.lost), pieces.healthy_min) == (2, [1, 1, 0], 0)


def test_silent_pieces_are_those_of_miners_that_do_not_answer() -> None:
    pieces = placed()
    pieces.answers[2] = pieces.answers[7] = False
    assert [pieces.silent(segment) for segment in range(3)] == [1, 1, 1]


def test_the_segment_nearest_to_its_loss_comes_first() -> None:
    pieces = placed()
    queue = Queue(pieces, 3, RATE)
    for miner in (0, 1):
        pieces.destroy(miner)
        for segment in pieces.notice(miner):
            queue.look_at(segment)
    assert sorted(queue) == [0, 1]
    assert [queue.pop(), queue.pop(), queue.pop()] == [0, 1, None]
    assert len(queue) == 0


def test_a_miner_that_falls_silent_moves_its_segments_forward() -> None:
    pieces = placed(k=1)
    queue = Queue(pieces, 3, RATE)
    for miner in (1, 5):  # of segments 0 and 1, and of 2
        pieces.destroy(miner)
        for segment in pieces.notice(miner):
            queue.look_at(segment)
    pieces.answers[4] = False  # holds pieces of 1 and 2
    assert set(queue.of_miner(4)) == {1, 2}
    pieces.answers[2] = False  # holds pieces of all three
    for miner in (4, 2):
        for segment in queue.of_miner(miner):
            queue.look_at(segment)
    hours = [expected_hours_to_loss(3, 1, RATE, at_risk=pieces.silent(segment)) for segment in range(3)]
    assert hours[1] == hours[2] < hours[0]
    assert [queue.pop(), queue.pop(), queue.pop()] == [1, 2, 0]


def test_a_segment_without_k_answering_miners_waits_until_there_are() -> None:
    pieces = placed(segments=1)
    queue = Queue(pieces, 3, RATE)
    pieces.destroy(0)
    for segment in pieces.notice(0):
        queue.look_at(segment)
    pieces.answers[1] = pieces.answers[2] = False
    assert queue.pop() is None
    assert len(queue) == 1
    pieces.answers[1] = True
    assert queue.pop() == 0


def test_a_lost_segment_leaves_the_queue() -> None:
    pieces = placed(segments=1)
    queue = Queue(pieces, 3, RATE)
    pieces.destroy(0)
    for segment in pieces.notice(0):
        queue.look_at(segment)
    for miner in (1, 2):
        pieces.destroy(miner)
    assert queue.pop() is None
    assert len(queue) == 0
