"""A loss tells what its reason takes, and names each piece once."""

from __future__ import annotations

import pytest

from hippy.errors import ProtocolError
from tests.wire.samples import LOSS, LOST_PIECE

FAILED = LOSS.model_copy(update={"reason": "failed", "report": None, "round": None, "attestations": None})
REPORTED = LOSS.model_copy(update={"epoch": None, "batch": None, "attestations": None})
UNANSWERED = FAILED.model_copy(update={"reason": "unanswered"})


def test_reported_and_failed_losses_have_their_shapes() -> None:
    for loss in (REPORTED, FAILED, UNANSWERED, UNANSWERED.model_copy(update={"attestations": LOSS.attestations})):
        loss.check_shape()


def test_attestations_are_beside_a_loss_by_silence_alone() -> None:
    for loss in (REPORTED, FAILED):
        with pytest.raises(ProtocolError, match="attestations are about silence"):
            loss.model_copy(update={"attestations": LOSS.attestations}).check_shape()


@pytest.mark.parametrize("name", ["report", "round", "epoch", "batch"])
def test_a_field_too_few_or_too_many_is_refused(name: str) -> None:
    for loss in (REPORTED, FAILED):
        other = None if getattr(loss, name) is not None else getattr(LOSS, name)
        with pytest.raises(ProtocolError, match="does not tell"):
            loss.model_copy(update={name: other}).check_shape()


def test_a_piece_named_twice_is_refused() -> None:
    twice = (LOST_PIECE, LOST_PIECE.model_copy(update={"root": b"q" * 32}))
    with pytest.raises(ProtocolError, match="once"):
        REPORTED.model_copy(update={"pieces": twice}).check_shape()
