"""Which attestations count against a miner, and when they are enough."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from hippy.chain.protocol import Metagraph, Neuron
from hippy.identity import Identity
from hippy.ids import PublicKey
from hippy.validator.audit.attesting import Rule, is_enough, permitted_stakes
from hippy.wire.attestation import ATTESTATION_SECONDS_MAX, Attestation
from tests.validator.world import HOME, MINERS, NETWORK, NOW

OTHERS = [Identity.from_seed(bytes([200 + number]) * 32) for number in range(3)]
FIRST, SECOND, UNPERMITTED = OTHERS
MINER = MINERS[0].public_key
DAY = 86_400
STAKES = {HOME.hotkey: 10, FIRST.public_key: 30, SECOND.public_key: 60}
RULE = Rule(NETWORK, HOME.netuid, HOME.hotkey, MINER, DAY)


def attestation(signer: Identity = FIRST, *, by: Identity | None = None, **changes: Any) -> Attestation:
    fields: dict[str, Any] = {
        "network": NETWORK,
        "netuid": HOME.netuid,
        "validator": signer.public_key,
        "miner": MINER,
        "since": NOW - DAY,
        "time": NOW,
    }
    return Attestation(**(fields | changes)).signed(by or signer, NETWORK)


def counted(*attestations: Attestation) -> set[PublicKey]:
    return set(RULE.counted(attestations, STAKES, NOW))


def test_the_fresh_word_of_validators_with_permits_counts() -> None:
    assert counted(attestation(), attestation(SECOND)) == {FIRST.public_key, SECOND.public_key}


@pytest.mark.parametrize(
    "useless",
    [
        pytest.param(attestation(UNPERMITTED), id="of one without a permit"),
        pytest.param(attestation(HOME.identity), id="of the home itself"),
        pytest.param(attestation(miner=MINERS[1].public_key), id="about another miner"),
        pytest.param(attestation(netuid=HOME.netuid + 1), id="about another subnet"),
        pytest.param(attestation(network=b"o" * 32), id="about another network"),
        pytest.param(attestation(time=NOW - ATTESTATION_SECONDS_MAX - 1, since=NOW - 2 * DAY), id="that is old"),
        pytest.param(attestation(time=NOW + 121), id="of the future"),
        pytest.param(attestation(since=NOW - DAY + 2), id="of less than a day's silence"),
        pytest.param(attestation(by=SECOND), id="that another signed"),
    ],
)
def test_an_attestation_does_not_count(useless: Attestation) -> None:
    assert counted(useless) == set()
    assert counted(useless, attestation(SECOND)) == {SECOND.public_key}


def test_a_validator_counts_once_however_often_it_is_shown() -> None:
    once = counted(attestation(), attestation(), attestation(since=NOW - 2 * DAY))
    assert once == {FIRST.public_key}
    stakes = {HOME.hotkey: 1, FIRST.public_key: 2, SECOND.public_key: 7}
    assert not is_enough([HOME.hotkey, FIRST.public_key, FIRST.public_key], stakes)


def test_a_forged_attestation_does_not_stand_in_the_way_of_the_real_one() -> None:
    assert counted(attestation(by=SECOND), attestation()) == {FIRST.public_key}


def test_more_than_a_third_of_the_stake_is_enough_and_a_third_is_not() -> None:
    stakes = {HOME.hotkey: 1, FIRST.public_key: 1, SECOND.public_key: 1}
    assert not is_enough([HOME.hotkey], stakes)
    assert is_enough([HOME.hotkey, FIRST.public_key], stakes)
    assert is_enough([HOME.hotkey], stakes, more_than=Fraction(30, 100))
    assert not is_enough([UNPERMITTED.public_key], stakes)
    assert not is_enough([], {})


def test_the_stakes_that_count_are_those_of_validators_with_permits() -> None:
    coldkey = PublicKey(b"c" * 32)
    neurons = (
        Neuron(0, HOME.hotkey, coldkey, None, True, 7, 0, 0.0),
        Neuron(1, UNPERMITTED.public_key, coldkey, None, False, 9, 0, 0.0),
    )
    assert permitted_stakes(Metagraph(1, 1, neurons)) == {HOME.hotkey: 7}
