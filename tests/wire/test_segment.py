"""A segment's id commits to everything a reader relies on; impossible segments are refused."""

from __future__ import annotations

import pytest
from blake3 import blake3

from hippy.errors import AuthError, ProtocolError
from hippy.ids import MessageId, Root
from hippy.wire.segment import Holding
from hippy.wire.ticket import Receipt
from tests.wire.samples import ACCOUNT, MINER, NETWORK, RECORD, SPEC, TIME

ACCOUNT_KEY = b"A" * 32


def test_segment_id_keeps_its_frozen_value() -> None:
    assert SPEC.segment_id(ACCOUNT_KEY).hex() == "eb8e27962efcf5dcb50291fe0e8cbd09307dfcc37d4ebcab25a172cd263cdedf"


def test_segment_id_is_the_hash_the_protocol_names() -> None:
    key = blake3(b"", derive_key_context="hippy 2026-11-21 v1 segment").digest()
    text = ACCOUNT_KEY + SPEC.nonce + b"".join(SPEC.roots)
    text += (65_537).to_bytes(8, "little") + (16_385).to_bytes(4, "little") + bytes([4, 8])
    assert SPEC.segment_id(ACCOUNT_KEY) == blake3(text, key=key).digest()


@pytest.mark.parametrize(
    "changes",
    [
        {"nonce": bytes(16)},
        {"roots": SPEC.roots[::-1]},
        {"data_length": 65_538},
        {"piece_length": 16_386},
        {"k": 3},
        {"n": 9},
    ],
)
def test_segment_id_depends_on_every_field(changes: dict[str, object]) -> None:
    assert SPEC.model_copy(update=changes).segment_id(ACCOUNT_KEY) != SPEC.segment_id(ACCOUNT_KEY)


def test_segment_id_depends_on_the_account_and_is_recomputed_from_a_record() -> None:
    assert SPEC.segment_id(ACCOUNT_KEY) != RECORD.segment_id
    assert RECORD.segment_id == SPEC.segment_id(ACCOUNT.public_key)


@pytest.mark.parametrize(
    ("data_length", "piece_length"), [(65_537, 16_385), (65_540, 16_385), (65_536, 16_384), (1, 1)]
)
def test_rounded_up_piece_length_is_accepted(data_length: int, piece_length: int) -> None:
    SPEC.model_copy(update={"data_length": data_length, "piece_length": piece_length}).check_shape()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"roots": SPEC.roots[:7]}, "n distinct roots"),
        ({"roots": (*SPEC.roots, Root(b"z" * 32))}, "n distinct roots"),
        ({"roots": (*SPEC.roots[:7], SPEC.roots[0])}, "n distinct roots"),
        ({"k": 9}, "k is at most n"),
        ({"piece_length": 16_384}, "rounded up"),
        ({"piece_length": 16_386}, "rounded up"),
        ({"k": 5}, "rounded up"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ProtocolError, match=message):
        SPEC.model_copy(update=changes).check_shape()


def test_holding_gives_back_the_receipt_its_miner_signed() -> None:
    root = SPEC.roots[3]
    receipt = Receipt(
        ticket_id=MessageId(b"t" * 32), root=root, piece_length=16_385, miner=MINER.public_key, time=TIME
    ).signed(MINER, NETWORK)
    holding = Holding(
        index=3, ticket_id=receipt.ticket_id, miner=receipt.miner, time=receipt.time, signature=receipt.signature
    )
    assert holding.receipt(root, 16_385) == receipt
    holding.receipt(root, 16_385).check_signature(MINER.public_key, NETWORK)
    with pytest.raises(AuthError):
        holding.receipt(SPEC.roots[4], 16_385).check_signature(MINER.public_key, NETWORK)
