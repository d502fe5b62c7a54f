"""Incentives against a hand-made vector, a slow reference and the properties the module promises."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hippy.chain.yuma import consensus_incentive

UIDS = range(6)
STAKES = st.fixed_dictionaries({uid: st.integers(0, 5) for uid in UIDS})
ROWS = st.dictionaries(st.sampled_from(UIDS), st.integers(0, 4).map(float))
WEIGHTS = st.dictionaries(st.sampled_from(UIDS), ROWS)


def slow_incentive(weights: dict[int, dict[int, float]], stakes: dict[int, int]) -> dict[int, Fraction]:
    """Compute incentives exactly, with the median as subtensor defines it: the score below which lies at most
    half of the stake, and at or below which lies more than half."""
    rows = {}
    for validator, row in weights.items():
        exact = {uid: Fraction(weight) for uid, weight in row.items() if uid != validator}
        total = sum(exact.values(), Fraction(0))
        if stakes[validator] and total:
            rows[validator] = {uid: exact.get(uid, Fraction(0)) / total for uid in stakes}
    half = Fraction(sum(stakes[validator] for validator in rows), 2)
    ranks = {}
    for uid in stakes:
        scores = {row[uid] for row in rows.values()} or {Fraction(0)}
        (median,) = (
            score
            for score in scores
            if sum(stakes[v] for v in rows if rows[v][uid] < score) <= half
            and (half < sum(stakes[v] for v in rows if rows[v][uid] <= score) or not rows)
        )
        ranks[uid] = sum((stakes[v] * min(rows[v][uid], median) for v in rows), Fraction(0))
    paid = sum(ranks.values(), Fraction(0))
    return {uid: rank / paid if paid else Fraction(0) for uid, rank in ranks.items()}


def test_vector_worked_by_hand_holds() -> None:
    # Column 3: half of the stake supports 0.5, so 50·0.5 + 30·0.5 = 40. Column 4: 50·0.5 = 25.
    # Column 5: 20 of 100 support it, so 0.
    weights = {0: {3: 1.0, 4: 1.0}, 1: {3: 9.0}, 2: {5: 0.1}}
    stakes = {0: 50, 1: 30, 2: 20, 3: 0, 4: 0, 5: 0}
    expected = {0: 0.0, 1: 0.0, 2: 0.0, 3: 40 / 65, 4: 25 / 65, 5: 0.0}
    assert consensus_incentive(weights, stakes) == pytest.approx(expected)


@given(WEIGHTS, STAKES)
def test_incentive_agrees_with_the_slow_reference(weights: dict[int, dict[int, float]], stakes: dict[int, int]) -> None:
    expected = {uid: float(share) for uid, share in slow_incentive(weights, stakes).items()}
    assert consensus_incentive(weights, stakes) == pytest.approx(expected, abs=1e-12)


@given(WEIGHTS, STAKES)
def test_incentives_sum_to_one_or_are_all_zero(weights: dict[int, dict[int, float]], stakes: dict[int, int]) -> None:
    incentive = consensus_incentive(weights, stakes)
    assert incentive.keys() == stakes.keys()
    assert min(incentive.values()) >= 0
    assert sum(incentive.values()) == pytest.approx(1) or set(incentive.values()) == {0.0}


@given(WEIGHTS, STAKES)
def test_order_of_the_mappings_changes_nothing(weights: dict[int, dict[int, float]], stakes: dict[int, int]) -> None:
    turned = {uid: dict(reversed(row.items())) for uid, row in reversed(weights.items())}
    assert consensus_incentive(turned, stakes) == consensus_incentive(weights, stakes)


@given(WEIGHTS, STAKES)
def test_scale_of_rows_and_stakes_changes_nothing(weights: dict[int, dict[int, float]], stakes: dict[int, int]) -> None:
    larger = {uid: {target: 8 * weight for target, weight in row.items()} for uid, row in weights.items()}
    richer = {uid: 3 * stake for uid, stake in stakes.items()}
    assert consensus_incentive(larger, richer) == pytest.approx(consensus_incentive(weights, stakes))


def test_nobody_earns_when_nobody_has_set_weights() -> None:
    assert consensus_incentive({}, {0: 5, 1: 0}) == {0: 0.0, 1: 0.0}


def test_weights_without_stake_count_nothing() -> None:
    assert consensus_incentive({0: {1: 1.0}}, {0: 0, 1: 7}) == {0: 0.0, 1: 0.0}


def test_weight_on_oneself_counts_nothing() -> None:
    assert consensus_incentive({0: {0: 9.0, 1: 1.0}}, {0: 1, 1: 0}) == {0: 0.0, 1: 1.0}
    assert consensus_incentive({0: {0: 9.0}}, {0: 1, 1: 0}) == {0: 0.0, 1: 0.0}


def test_huge_weights_do_not_overflow() -> None:
    assert consensus_incentive({0: {1: 1.7e308, 2: 1.7e308}}, {0: 1, 1: 0, 2: 0}) == {0: 0.0, 1: 0.5, 2: 0.5}


@pytest.mark.parametrize(("friend_stake", "earned"), [(49, 0.0), (50, 0.5), (51, 1.0)])
def test_half_of_the_stake_is_enough_and_less_is_not(friend_stake: int, earned: float) -> None:
    weights, stakes = {0: {2: 1.0}, 1: {3: 1.0}}, {0: 100 - friend_stake, 1: friend_stake, 2: 0, 3: 0}
    assert consensus_incentive(weights, stakes)[3] == earned
