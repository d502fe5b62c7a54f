"""Pieces that a small validator takes for silence: right where others attest it, and named where they do not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from hippy.identity import Identity
from hippy.ids import NetworkId
from hippy.proofs.transcript_entry import TranscriptEntry
from hippy.validator.audit.schedule import BatchKey
from hippy.validator.verifying.difference import Difference
from hippy.wire.attestation import ATTESTATION_SECONDS_MAX, Attestation
from tests.validator.audit_record import AUDITED, RULES, HonestValidator, Record, record_of, verify_record
from tests.validator.world import HOME

ENEMY_KEY = AUDITED[1].public_key
WITNESS, OTHER, UNPERMITTED = (Identity.from_seed(bytes([200 + number]) * 32) for number in range(3))
STAKES = {HOME.hotkey: 10, WITNESS.public_key: 30, OTHER.public_key: 60}
EPOCHS = (11, 12, 13, 14, 15)


class Attested(HonestValidator):
    """The enemy's batch 0 of epoch 11 is never answered; a witness whose stake is enough misses it, too."""

    signers: Sequence[Identity] = (WITNESS,)
    by: Identity | None = None
    seconds_old = 0
    silent_seconds = int(RULES.owed_seconds)
    about = ENEMY_KEY
    network = HOME.network

    def is_answered(self, key: BatchKey, attempt: int) -> bool:
        return key != BatchKey(11, ENEMY_KEY, 0)

    def attestations(self, entry: TranscriptEntry) -> Sequence[Attestation]:
        time = entry.time - self.seconds_old
        return [
            Attestation(
                network=self.network,
                netuid=HOME.netuid,
                validator=signer.public_key,
                miner=self.about,
                since=time - self.silent_seconds,
                time=time,
            ).signed(self.by or signer, HOME.network)
            for signer in self.signers
        ]


async def published(validator: HonestValidator) -> Record:
    return await record_of(validator, 16)


async def difference(validator: HonestValidator, **changes: Any) -> Difference:
    """What a stranger finds who knows that the validator is small."""
    record = await published(validator)
    with pytest.raises(Difference) as caught:
        verify_record(record, EPOCHS, may_attest=False, stakes=STAKES, **changes)
    return caught.value


async def test_what_enough_validators_attest_is_right() -> None:
    assert len(verify_record(await published(Attested()), EPOCHS, may_attest=False, stakes=STAKES)) == 5


async def test_the_same_without_attestations_is_named() -> None:
    class Alone(Attested):
        signers = ()

    found = await difference(Alone())
    assert (found.epoch, found.miner) == (11, ENEMY_KEY)
    assert found.what.endswith("a validator without a third of the stake takes none by its word alone")


@pytest.mark.parametrize(
    "lie",
    [
        pytest.param({"signers": (UNPERMITTED,)}, id="of one without a permit"),
        pytest.param({"signers": (HOME.identity,)}, id="of its own"),
        pytest.param({"signers": (HOME.identity,) * 4}, id="of its own, several times"),
        pytest.param({"about": AUDITED[0].public_key}, id="about another miner"),
        pytest.param({"seconds_old": ATTESTATION_SECONDS_MAX + 1}, id="that is old"),
        pytest.param({"silent_seconds": int(RULES.owed_seconds) - 2}, id="of less than a day"),
        pytest.param({"network": NetworkId(b"o" * 32)}, id="of another network"),
    ],
)
async def test_an_attestation_that_does_not_count_is_named(lie: dict[str, Any]) -> None:
    validator = Attested()
    for name, value in lie.items():
        setattr(validator, name, value)
    found = await difference(validator)
    assert (found.epoch, found.miner) == (11, ENEMY_KEY)
    count = len(validator.signers)
    assert f"0 of the {count} attestations that it shows count" in found.what


async def test_one_that_is_shown_twice_counts_once() -> None:
    class Doubles(Attested):
        signers = (WITNESS, WITNESS)

    few = {HOME.hotkey: 1, WITNESS.public_key: 19, OTHER.public_key: 80}
    record = await published(Doubles())
    with pytest.raises(Difference, match="1 of the 2 attestations that it shows count"):
        verify_record(record, EPOCHS, may_attest=False, stakes=few)


async def test_an_attestation_that_its_validator_did_not_sign_is_named() -> None:
    class Forges(Attested):
        signers = (WITNESS, OTHER)
        by = OTHER

    found = await difference(Forges())
    assert "it shows an attestation that " in found.what
    assert found.what.endswith(" did not sign")


async def test_stakes_that_moved_a_little_since_are_granted() -> None:
    moved = {HOME.hotkey: 10, WITNESS.public_key: 21, OTHER.public_key: 69}
    assert len(verify_record(await published(Attested()), EPOCHS, may_attest=False, stakes=moved)) == 5
    less = {HOME.hotkey: 10, WITNESS.public_key: 20, OTHER.public_key: 70}
    with pytest.raises(Difference, match="with those validators it has no third of the stake"):
        verify_record(await published(Attested()), EPOCHS, may_attest=False, stakes=less)
