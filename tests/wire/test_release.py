"""A release ends one obligation, for a reason whose time has come, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from hippy.errors import AuthError, ProtocolError
from hippy.identity import Identity
from hippy.ids import MessageId, PublicKey, Root, SegmentId
from hippy.wire.canonical import CLOCK_TOLERANCE_SECONDS
from hippy.wire.object import Drop
from hippy.wire.pace import DAY, USUAL_PACE, Pace, pace_of
from hippy.wire.release import (
    INVENTORY_ANSWER_BYTES_MAX,
    INVENTORY_BYTES_MAX,
    INVENTORY_MAX,
    RELEASE_BYTES_MAX,
    InventoryAnswer,
    InventoryRequest,
    OwedTicket,
    Release,
    ReleaseReason,
    TicketState,
)
from hippy.wire.ticket import Receipt
from tests.wire.samples import ACCOUNT, MINER, NETWORK, OTHER_NETWORK, RELEASED, TIME, VALIDATOR, ticket

TICKET = ticket()
EARLIEST: dict[ReleaseReason, int] = {
    "deleted": TIME + USUAL_PACE.drop_grace_seconds,
    "lapsed": TICKET.upload_by - DAY + USUAL_PACE.lease_seconds,
    "expired": TIME + 86_400,
    "uncommitted": TICKET.upload_by + 3_600,
    "moved": TIME + 60,
}
"""When each reason's time has come; the ticket's upload_by is an hour after TIME, its keep_until a day."""

MOVER = Identity.from_seed(b"n" * 32)
"""Who has the piece, once it moved."""

REASONS = pytest.mark.parametrize("reason", list(EARLIEST))


def dropped(**changes: Any) -> Drop:
    drop = Drop(account=ACCOUNT.public_key, segment_id=TICKET.segment_id, time=TIME).model_copy(update=changes)
    return drop.signed(ACCOUNT, NETWORK)


def received(signer: Identity = MOVER, **changes: Any) -> Receipt:
    """Return the word of the miner that has the piece now."""
    fields: dict[str, Any] = {
        "ticket_id": MessageId(b"u" * 32),
        "root": TICKET.root,
        "piece_length": TICKET.piece_length,
        "miner": signer.public_key,
        "time": EARLIEST["moved"],
    }
    return Receipt(**{**fields, **changes}).signed(signer, NETWORK)


def release(reason: ReleaseReason = "deleted", **changes: Any) -> Release:
    """Return the release of TICKET as its validator signs it, at the earliest time."""
    fields: dict[str, Any] = {
        "validator": VALIDATOR.public_key,
        "miner": MINER.public_key,
        "ticket_id": TICKET.id(NETWORK),
        "segment_id": TICKET.segment_id,
        "index": TICKET.index,
        "root": TICKET.root,
        "reason": reason,
        "seq": 7,
        "drop": dropped() if reason == "deleted" else None,
        "receipt": received() if reason == "moved" else None,
        "time": EARLIEST[reason],
    }
    return Release(**{**fields, **changes}).signed(VALIDATOR, NETWORK)


def check(released: Release, *, now: int | None = None, pace: Pace = USUAL_PACE, network: bytes = NETWORK) -> None:
    released.check(TICKET, network, released.time if now is None else now, pace)


@REASONS
def test_a_release_holds_from_the_moment_its_reason_allows(reason: ReleaseReason) -> None:
    check(release(reason))
    check(release(reason, time=EARLIEST[reason] + 1))
    with pytest.raises(ProtocolError, match=r"comes 1 s too early"):
        check(release(reason, time=EARLIEST[reason] - 1))


def test_the_grace_of_a_drop_begins_at_its_time() -> None:
    check(release(drop=dropped(time=TIME - 50), time=EARLIEST["deleted"] - 50))
    with pytest.raises(ProtocolError, match="too early"):
        check(release(drop=dropped(time=TIME + 1)))


def test_on_short_epochs_waiting_times_are_short_but_for_uploads() -> None:
    short = pace_of(20.0)
    check(release("deleted", time=TIME + short.drop_grace_seconds), pace=short)
    with pytest.raises(ProtocolError, match="too early"):
        check(release("deleted", time=TIME + short.drop_grace_seconds - 1), pace=short)
    check(release("lapsed", time=TICKET.upload_by - DAY + short.lease_seconds), pace=short)
    with pytest.raises(ProtocolError, match="too early"):
        check(release("uncommitted", time=EARLIEST["uncommitted"] - 1), pace=short)


@REASONS
def test_a_release_from_the_future_is_refused(reason: ReleaseReason) -> None:
    released = release(reason)
    check(released, now=released.time - CLOCK_TOLERANCE_SECONDS)
    with pytest.raises(ProtocolError, match="from the future"):
        check(released, now=released.time - CLOCK_TOLERANCE_SECONDS - 1)


@REASONS
@pytest.mark.parametrize(
    "change",
    [
        {"validator": ACCOUNT.public_key},
        {"miner": PublicKey(b"w" * 32)},
        {"ticket_id": MessageId(b"t" * 32)},
        {"segment_id": SegmentId(b"o" * 32)},
        {"index": 1},
        {"root": Root(b"r" * 32)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_release_of_anything_else_is_refused(reason: ReleaseReason, change: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError, match="another obligation"):
        check(release(reason, **change))


def test_a_release_ends_no_later_ticket_for_the_same_piece() -> None:
    """The validator gave the piece out again: same segment, index, root and miner, but a serial of its own."""
    later = ticket(serial=TICKET.serial + 1, upload_by=TICKET.upload_by + 60)
    check(release())
    with pytest.raises(ProtocolError, match="another obligation"):
        release().check(later, NETWORK, EARLIEST["deleted"], USUAL_PACE)


@REASONS
def test_a_release_that_its_tickets_validator_did_not_sign_is_refused(reason: ReleaseReason) -> None:
    unsigned = release(reason)
    for signer in (MINER, ACCOUNT):
        with pytest.raises(AuthError):
            check(unsigned.signed(signer, NETWORK))
    with pytest.raises(AuthError):
        check(unsigned.signed(VALIDATOR, OTHER_NETWORK))
    with pytest.raises(AuthError):
        check(unsigned.model_copy(update={"seq": 8}))


def test_a_release_of_another_issuer_is_refused_though_it_is_signed_well() -> None:
    """A validator that is not the ticket's issuer, and says that it is the ticket's."""
    foreign = release().model_copy(update={"validator": ACCOUNT.public_key}).signed(ACCOUNT, NETWORK)
    with pytest.raises(ProtocolError, match="another obligation"):
        check(foreign)


@pytest.mark.parametrize(
    ("drop", "error"),
    [
        (None, ProtocolError),
        (dropped(account=MINER.public_key), AuthError),
        (dropped(segment_id=SegmentId(b"o" * 32)), AuthError),
        (dropped().signed(VALIDATOR, NETWORK), AuthError),
        (dropped().signed(ACCOUNT, OTHER_NETWORK), AuthError),
        (dropped().model_copy(update={"time": TIME - 1}), AuthError),
    ],
    ids=["missing", "of another account", "of another segment", "by the validator", "elsewhere", "altered"],
)
def test_deleted_needs_the_accounts_own_drop(drop: Drop | None, error: type[Exception]) -> None:
    with pytest.raises(error):
        check(release(drop=drop))


@pytest.mark.parametrize("reason", ["lapsed", "expired", "uncommitted", "moved"])
def test_other_reasons_carry_no_drop(reason: ReleaseReason) -> None:
    with pytest.raises(ProtocolError, match="carries a drop"):
        check(release(reason, drop=dropped()))


@pytest.mark.parametrize(
    ("receipt", "error"),
    [
        (None, ProtocolError),
        (received(root=Root(b"o" * 32)), ProtocolError),
        (received(piece_length=TICKET.piece_length + 1), ProtocolError),
        (received(MINER), ProtocolError),
        (received(ticket_id=TICKET.id(NETWORK)), ProtocolError),
        (received(time=EARLIEST["moved"] + 1), ProtocolError),
        (received().signed(VALIDATOR, NETWORK), AuthError),
        (received().signed(MOVER, OTHER_NETWORK), AuthError),
        (received().model_copy(update={"miner": VALIDATOR.public_key}), AuthError),
    ],
    ids=[
        "missing",
        "other bytes",
        "another length",
        "our own",
        "our ticket",
        "later",
        "forged",
        "elsewhere",
        "renamed",
    ],
)
def test_moved_needs_another_miners_own_receipt_for_the_same_bytes(
    receipt: Receipt | None, error: type[Exception]
) -> None:
    with pytest.raises(error):
        check(release("moved", receipt=receipt))


@pytest.mark.parametrize("reason", ["deleted", "lapsed", "expired", "uncommitted"])
def test_other_reasons_carry_no_receipt(reason: ReleaseReason) -> None:
    with pytest.raises(ProtocolError, match="carries a receipt"):
        check(release(reason, receipt=received(time=TIME)))


def test_a_ticket_without_keep_until_does_not_expire() -> None:
    endless = ticket(keep_until=None)
    released = release("expired", ticket_id=endless.id(NETWORK))
    with pytest.raises(ProtocolError, match="without keep_until"):
        released.check(endless, NETWORK, released.time, USUAL_PACE)


@pytest.mark.parametrize(
    "change",
    [{"drop": None}, {"reason": "lapsed"}, {"reason": "expired"}, {"segment_id": SegmentId(b"o" * 32)}],
    ids=["no drop", "lapsed with a drop", "expired with a drop", "another segment's drop"],
)
def test_a_released_record_has_a_drop_of_its_segment_when_it_was_deleted(change: dict[str, Any]) -> None:
    RELEASED.check_shape()
    with pytest.raises(ProtocolError):
        RELEASED.model_copy(update=change).check_shape()


def test_the_longest_page_and_its_answer_fit_their_limits() -> None:
    longest = release(drop=dropped(time=2**53 - 1), seq=2**53 - 1, time=2**53 - 1, index=254)
    moved = release("moved", receipt=received(time=2**53 - 1), seq=2**53 - 1, time=2**53 - 1, index=254)
    assert max(len(longest.encode()), len(moved.encode())) <= RELEASE_BYTES_MAX
    owed = OwedTicket(ticket_id=MessageId(b"\xff" * 32), segment_id=TICKET.segment_id, index=254, root=TICKET.root)
    page = InventoryRequest(miner=MINER.public_key, tickets=(owed,) * INVENTORY_MAX)
    assert len(page.encode()) <= INVENTORY_BYTES_MAX
    answer = InventoryAnswer(states=(TicketState(state="released", release=longest),) * INVENTORY_MAX)
    assert len(answer.encode()) <= INVENTORY_ANSWER_BYTES_MAX
    assert InventoryAnswer.parse(answer.encode(), limit=INVENTORY_ANSWER_BYTES_MAX) == answer


@pytest.mark.parametrize("reason", ["deleted", "moved"])
def test_every_altered_field_is_refused(reason: ReleaseReason) -> None:
    """Whatever is changed after the signature, by whoever carries it."""
    whole = release(reason)
    for name, value in whole:
        altered: object
        match value:
            case int():
                altered = value + 1
            case bytes():
                altered = bytes([value[0] ^ 1]) + value[1:]
            case str():
                altered = "lapsed"
            case None:
                altered = {"drop": dropped(), "receipt": received()}[name]
            case _:
                altered = None
        with pytest.raises((AuthError, ProtocolError)):
            check(whole.model_copy(update={name: altered}), now=whole.time + 10)
