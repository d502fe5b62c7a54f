"""What an account can do about where its pieces go."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

from hippy.hashing import digest, u32
from hippy.ids import PublicKey, SegmentId
from hippy.sim.wash import Wash, wash_placement
from hippy.validator.placement import Draw, place
from hippy.wire.log import Candidate

N = 8
CANDIDATES = [
    Candidate(hotkey=PublicKey(digest(u32(i))), coldkey=PublicKey(digest(b"c" + u32(i))), group=str(i), weight=100)
    for i in range(40)
]
FRIENDS = {candidate.hotkey for candidate in CANDIDATES[:4]}


def draws() -> Callable[[], Draw]:
    numbers = count()
    return lambda: Draw(digest(b"secret"), digest(b"beacon"), SegmentId(digest(b"s" + u32(next(numbers)))))


def friendly(wash: Wash, segments: int) -> int:
    one = draws()
    placements = [wash_placement(wash, FRIENDS, N, CANDIDATES, one)[1] for _ in range(segments)]
    assert all(len({each.hotkey for each in placement}) == N for placement in placements)
    return sum(each.hotkey in FRIENDS for placement in placements for each in placement)


def test_an_account_that_does_nothing_gets_what_placement_gives() -> None:
    draw, placement = wash_placement(Wash(redraws=1), FRIENDS, N, CANDIDATES, draws())
    assert placement == place(range(N), CANDIDATES, draw, spread=True)
    assert friendly(Wash(redraws=1), 50) < 60  # 40 is the expectation


def test_whoever_gives_up_bad_allocations_keeps_the_best() -> None:
    assert friendly(Wash(redraws=12), 20) > 2 * friendly(Wash(redraws=1), 20)


def test_a_quarter_of_the_pieces_can_be_moved_and_no_more() -> None:
    for _ in range(20):
        draw, steered = wash_placement(Wash(redraws=1, steers=True), FRIENDS, N, CANDIDATES, draws())
        before = place(range(N), CANDIDATES, draw, spread=True)
        assert sum(old != new for old, new in zip(before, steered, strict=True)) <= N // 4
        assert all(new == old for old, new in zip(before, steered, strict=True) if old.hotkey in FRIENDS)
