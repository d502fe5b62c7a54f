"""Fast draws follow the rules of placement, and its distribution."""

from __future__ import annotations

import random
from collections import Counter

from hippy.hashing import digest, u32
from hippy.ids import PublicKey, SegmentId
from hippy.sim.durability.drawing import Drawer
from hippy.sim.durability.population import Population
from hippy.validator.placement import Draw, place
from hippy.wire.log import Candidate

WEIGHTS = (100, 400, 900, 900, 300, 2_000, 50, 1_000)
COLDKEYS = (0, 0, 1, 2, 3, 4, 5, 6)
GROUPS = (10, 11, 12, 12, 13, 14, 15, 15)
POPULATION = Population(WEIGHTS, COLDKEYS, GROUPS, frozenset())
DRAWS = 1_500


def drawer(usable: list[bool] | None = None) -> Drawer:
    return Drawer(POPULATION, usable or [True] * len(WEIGHTS), random.Random(5))


def test_no_two_pieces_share_a_coldkey_or_an_address_group() -> None:
    one = drawer()
    for _ in range(200):
        found = one.draw(5, ())
        assert len({COLDKEYS[miner] for miner in found}) == len({GROUPS[miner] for miner in found}) == 5


def test_what_others_hold_of_the_segment_excludes_their_coldkeys_and_groups() -> None:
    one = drawer()
    found = {miner for _ in range(200) for miner in one.draw(3, (1, 2))}
    assert found == {4, 5, 6, 7}  # 0 shares a coldkey with 1, 3 a group with 2


def test_who_does_not_answer_is_not_drawn() -> None:
    one = drawer([miner != 5 for miner in range(len(WEIGHTS))])
    assert 5 not in {miner for _ in range(200) for miner in one.draw(4, ())}


def test_where_too_few_are_left_fewer_are_drawn() -> None:
    assert len(drawer().draw(8, ())) == 5


def test_the_distribution_is_that_of_rendezvous_hashing() -> None:
    """Whoever gets the first of four pieces, and whoever gets any: 1,500 draws each, four standard deviations."""
    candidates = [
        Candidate(
            hotkey=PublicKey(digest(b"h" + bytes([m]))),
            coldkey=PublicKey(digest(b"c" + bytes([c]))),
            group=str(g),
            weight=w,
        )
        for m, (w, c, g) in enumerate(zip(WEIGHTS, COLDKEYS, GROUPS, strict=True))
    ]
    number = {each.hotkey: miner for miner, each in enumerate(candidates)}
    fast, real = Counter[tuple[str, int]](), Counter[tuple[str, int]]()
    one = drawer()
    for at in range(DRAWS):
        hashed = place(range(4), candidates, Draw(bytes(32), bytes(32), SegmentId(digest(u32(at)))), spread=True)
        for counter, found in ((fast, one.draw(4, ())), (real, [number[each.hotkey] for each in hashed])):
            counter["first", found[0]] += 1
            counter.update(("any", miner) for miner in found)
    for what in fast | real:
        share = (fast[what] + real[what]) / (2 * DRAWS)
        deviation = (2 * share * (1 - share) / DRAWS) ** 0.5
        assert abs(fast[what] - real[what]) / DRAWS <= 4 * deviation, what
