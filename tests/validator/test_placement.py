"""Placement: its formula against frozen vectors, its odds, its limits."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hippy.errors import TemporaryError
from hippy.ids import SegmentId
from hippy.validator.placement import Draw, epoch_secret, place
from hippy.wire.log import Candidate
from tests.validator.world import candidate

DRAW = Draw(epoch_secret(b"s" * 32, 7), b"b" * 32, SegmentId(b"i" * 32))
TWELVE = [candidate(number, weight=1 + number) for number in range(12)]


def numbers(chosen: tuple[Candidate, ...]) -> list[int]:
    return [each.hotkey[1] for each in chosen]


def test_epoch_secret_is_the_frozen_one() -> None:
    assert epoch_secret(b"s" * 32, 7).hex() == "7bb179801632edd0277b62c0071bcf149c812a5cf2e49313f8b52007cd67f389"


def test_chosen_miners_are_the_frozen_ones() -> None:
    assert numbers(place(range(6), TWELVE, DRAW, spread=True)) == [10, 7, 4, 8, 9, 6]
    other = Draw(epoch_secret(b"s" * 32, 8), DRAW.beacon, DRAW.segment_id)
    assert numbers(place(range(6), TWELVE, other, spread=True)) == [7, 11, 10, 3, 6, 9]


@pytest.mark.parametrize(
    "draw",
    [
        Draw(epoch_secret(b"t" * 32, 7), DRAW.beacon, DRAW.segment_id),
        Draw(DRAW.epoch_secret, b"c" * 32, DRAW.segment_id),
        Draw(DRAW.epoch_secret, DRAW.beacon, SegmentId(b"j" * 32)),
    ],
)
def test_every_part_of_the_draw_matters(draw: Draw) -> None:
    assert place(range(6), TWELVE, draw, spread=True) != place(range(6), TWELVE, DRAW, spread=True)


@given(st.permutations(TWELVE))
def test_order_of_candidates_does_not_matter(shuffled: list[Candidate]) -> None:
    assert place(range(5), shuffled, DRAW, spread=True) == place(range(5), TWELVE, DRAW, spread=True)


def test_pieces_follow_weight() -> None:
    weights = {0: 1, 1: 2, 2: 3, 3: 10}
    candidates = [candidate(number, weight=weight) for number, weight in weights.items()]
    chance, draws = random.Random(1), 4000
    wins = Counter(
        place([0], candidates, Draw(DRAW.epoch_secret, DRAW.beacon, SegmentId(chance.randbytes(32))), spread=True)[
            0
        ].hotkey[1]
        for _ in range(draws)
    )
    for number, weight in weights.items():
        assert wins[number] / draws == pytest.approx(weight / 16, abs=0.025)


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=20),
    st.binary(min_size=32, max_size=32),
)
def test_spread_pieces_never_share_coldkey_or_group(owners: list[tuple[int, int]], segment: bytes) -> None:
    candidates = [candidate(i, coldkey=owner, group=str(group)) for i, (owner, group) in enumerate(owners)]
    draw = Draw(DRAW.epoch_secret, DRAW.beacon, SegmentId(segment))
    try:
        chosen = place(range(3), candidates, draw, spread=True)
    except TemporaryError:
        return
    assert len({each.coldkey for each in chosen}) == len({each.group for each in chosen}) == 3


def test_pieces_of_a_local_network_share_owners_but_not_miners() -> None:
    candidates = [candidate(number, coldkey=0, group="00") for number in range(4)]
    assert sorted(numbers(place(range(4), candidates, DRAW, spread=False))) == [0, 1, 2, 3]
    with pytest.raises(TemporaryError, match=r"^4 .* 1 can"):
        place(range(4), candidates, DRAW, spread=True)


def test_too_few_candidates_are_named_with_how_many_are_needed() -> None:
    with pytest.raises(TemporaryError, match=r"^13 .* 12 can") as caught:
        place(range(13), TWELVE, DRAW, spread=True)
    assert caught.value.retryable


def test_miner_of_another_piece_and_its_owner_are_passed_over() -> None:
    first, second = place(range(2), TWELVE, DRAW, spread=True)
    assert place([1], TWELVE, DRAW, held=[first], spread=True) == (second,)
    kin = [each.model_copy(update={"coldkey": first.coldkey}) if each == second else each for each in TWELVE]
    assert place([1], kin, DRAW, held=[first], spread=True) != (second,)
    assert place([1], kin, DRAW, held=[first], spread=False)[0].hotkey == second.hotkey


def test_without_the_winner_the_next_in_the_draw_wins() -> None:
    (winner,) = place([0], TWELVE, DRAW, spread=True)
    (second,) = place([0], TWELVE, DRAW, excluded={winner.hotkey}, spread=True)
    assert second != winner
    assert place([0], [each for each in TWELVE if each != winner], DRAW, spread=True) == (second,)
