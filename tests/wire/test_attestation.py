"""Attestations on the wire: one spelling, one signer, and an answer about every miner has room."""

from __future__ import annotations

import pytest

from hippy.errors import AuthError
from hippy.identity import Identity
from hippy.ids import NetworkId, PublicKey
from hippy.wire.attestation import ATTESTATIONS_BYTES_MAX, Attestation, Attestations
from hippy.wire.node import MINERS_MAX
from tests.wire.samples import LOSS

SIGNER, STRANGER = Identity.from_seed(b"s" * 32), Identity.from_seed(b"t" * 32)
NETWORK = NetworkId(b"n" * 32)
UNSIGNED = Attestation(
    network=NETWORK,
    netuid=65_535,
    validator=SIGNER.public_key,
    miner=PublicKey(b"m" * 32),
    since=2**53 - 2,
    time=2**53 - 1,
)
SIGNED = UNSIGNED.signed(SIGNER, NETWORK)


def test_an_attestation_is_read_as_it_was_written_and_is_its_validators() -> None:
    found = Attestation.parse(SIGNED.encode())
    assert found == SIGNED
    found.check_signature(SIGNER.public_key, NETWORK)
    with pytest.raises(AuthError):
        found.check_signature(STRANGER.public_key, NETWORK)
    with pytest.raises(AuthError):
        found.model_copy(update={"since": found.since - 1}).check_signature(SIGNER.public_key, NETWORK)


def test_one_about_every_miner_fits_an_answer() -> None:
    encoded = Attestations(attestations=(SIGNED,) * MINERS_MAX).encode()
    assert len(encoded) <= ATTESTATIONS_BYTES_MAX
    assert len(Attestations.parse(encoded, limit=ATTESTATIONS_BYTES_MAX).attestations) == MINERS_MAX


def test_a_loss_without_attestations_is_spelled_as_ever() -> None:
    assert b"attestations" not in LOSS.model_copy(update={"attestations": None}).encode()
