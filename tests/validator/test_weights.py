"""From scores to weights: each by its hotkey, never by the uid it had (PROTOCOL §6)."""

from __future__ import annotations

import pytest

from hippy.chain.protocol import Metagraph, Neuron
from hippy.ids import PublicKey
from hippy.validator.weights import differences, weights_of
from hippy.wire.score import MinerScore
from tests.wire.audit_samples import score

VALIDATOR = PublicKey(b"v" * 32)


def metagraph(*hotkeys: PublicKey) -> Metagraph:
    """Return neurons with uids from 0 on; the last is the validator."""
    return Metagraph(
        block=100,
        tempo_blocks=360,
        neurons=tuple(
            Neuron(uid, hotkey, PublicKey(b"c" * 32), None, hotkey == VALIDATOR, 0, 0, 0.0)
            for uid, hotkey in enumerate((*hotkeys, VALIDATOR))
        ),
    )


ANN, BEN, CLEO = (score(number, weight=weight) for number, weight in ((1, 30), (2, 10), (3, 0)))


def test_weights_are_proportional_to_w_and_sum_to_1() -> None:
    weights = weights_of([ANN, BEN, CLEO], metagraph(ANN.hotkey, BEN.hotkey, CLEO.hotkey), VALIDATOR)
    assert weights == {0: 0.75, 1: 0.25}


def test_a_miner_that_left_gets_nothing_and_its_share_goes_to_the_others() -> None:
    assert weights_of([ANN, BEN], metagraph(BEN.hotkey), VALIDATOR) == {0: 1.0}


def test_a_new_hotkey_on_an_old_uid_starts_at_nothing() -> None:
    stranger = PublicKey(b"x" * 32)
    assert weights_of([ANN, BEN], metagraph(stranger, BEN.hotkey), VALIDATOR) == {1: 1.0}


def test_a_miner_that_moved_to_another_uid_takes_its_score_along() -> None:
    assert weights_of([ANN], metagraph(BEN.hotkey, ANN.hotkey), VALIDATOR) == {1: 1.0}


def test_a_validator_weighs_itself_nothing() -> None:
    own = score(9, hotkey=VALIDATOR, weight=1_000)
    assert weights_of([own, ANN], metagraph(ANN.hotkey), VALIDATOR) == {0: 1.0}


@pytest.mark.parametrize("scores", [[], [CLEO]])
def test_nobody_who_earned_anything_is_no_weights_at_all(scores: list[MinerScore]) -> None:
    assert weights_of(scores, metagraph(CLEO.hotkey), VALIDATOR) == {}


def test_the_largest_weights_keep_their_proportions() -> None:
    rows = [score(number, weight=2**53 - 1) for number in range(256)]
    weights = weights_of(rows, metagraph(*(row.hotkey for row in rows)), VALIDATOR)
    assert set(weights.values()) == {1 / 256}


def test_differences_are_told_for_every_uid_of_both() -> None:
    assert differences({1: 0.5, 2: 0.5}, {2: 0.25, 3: 0.75}) == {1: -0.5, 2: -0.25, 3: 0.75}
    assert differences({}, {}) == {}
