"""Headers tell all of the epoch before or nothing, and messages of audits have one spelling (PROTOCOL §5.2, §5.5)."""

from __future__ import annotations

import json

import pytest

from hippy.errors import AuthError, ProtocolError, TooLargeError
from hippy.identity import Identity
from hippy.ids import MessageId, NetworkId, PublicKey, Root
from hippy.wire.audit import HEADS_MAX, REPORTED_ROOTS_MAX, EpochHeader, HeadName, LostReport
from hippy.wire.canonical import MESSAGE_BYTES_MAX, Message
from tests.wire.audit_samples import AUDIT_MESSAGES, HEAD, MINER, NETWORK, TIME, VALIDATOR, first_header, header

TOLD = ["prev_epoch", "revealed", "transcript_root", "sheet_id"]


@pytest.mark.parametrize("message", AUDIT_MESSAGES, ids=lambda message: message.TYPE)
def test_a_message_survives_the_wire(message: Message) -> None:
    assert type(message).parse(message.encode()) == message


def test_a_header_that_tells_all_of_the_epoch_before_is_well_formed() -> None:
    header().check_shape()


def test_a_first_header_tells_nothing_of_the_epoch_before() -> None:
    first_header().check_shape()


@pytest.mark.parametrize("name", TOLD)
def test_a_header_that_leaves_out_one_thing_of_the_epoch_before_is_refused(name: str) -> None:
    with pytest.raises(ProtocolError, match="tells all of the epoch before, or nothing"):
        header(**{name: None}).check_shape()


@pytest.mark.parametrize("name", TOLD)
def test_a_first_header_that_tells_of_an_epoch_before_is_refused(name: str) -> None:
    with pytest.raises(ProtocolError, match="tells all of the epoch before, or nothing"):
        first_header(**{name: getattr(header(), name)}).check_shape()


@pytest.mark.parametrize("prev_epoch", [7, 8])
def test_a_header_that_follows_a_later_epoch_is_refused(prev_epoch: int) -> None:
    with pytest.raises(ProtocolError, match="earlier epoch"):
        header(prev_epoch=prev_epoch).check_shape()


def test_only_the_header_of_the_epoch_before_commits_to_a_secret() -> None:
    assert header().is_committed
    assert not header(prev_epoch=5).is_committed
    assert not first_header().is_committed


@pytest.mark.parametrize("count", [0, HEADS_MAX + 1])
def test_a_header_names_1_to_16_logs(count: int) -> None:
    heads = tuple(HEAD.model_copy(update={"seq": seq}) for seq in range(count))
    raw = header().model_copy(update={"heads": heads}).encode()
    with pytest.raises(ProtocolError, match="heads"):
        EpochHeader.parse(raw)


def test_the_longest_header_is_a_message() -> None:
    top = 2**53 - 1
    head = HeadName(home=VALIDATOR, term=2**32 - 1, seq=top, head=MessageId(b"h" * 32))
    long = header(epoch=top, prev_epoch=top - 1, time=top, first_round=top, rounds=2**32 - 1, heads=(head,) * HEADS_MAX)
    assert EpochHeader.parse(long.encode()) == long


def test_two_headers_of_one_epoch_are_both_signed_and_differ() -> None:
    """Which is what convicts their validator."""
    validator = Identity.from_seed(b"v" * 32)
    two = [header(seed_commit=commit, validator=validator.public_key).signed(validator, NETWORK) for commit in
           (b"1" * 32, b"2" * 32)]  # fmt: skip
    for each in two:
        each.check_signature(validator.public_key, NETWORK)
    assert two[0].epoch == two[1].epoch
    assert two[0].id(NETWORK) != two[1].id(NETWORK)


def test_a_lost_report_is_the_miners_own_and_of_one_network() -> None:
    miner = Identity.from_seed(b"m" * 32)
    report = LostReport(miner=miner.public_key, validator=VALIDATOR, roots=(Root(b"1" * 32),), time=TIME)
    signed = report.signed(miner, NETWORK)
    signed.check_signature(miner.public_key, NETWORK)
    for signer, network in [(PublicKey(b"x" * 32), NETWORK), (miner.public_key, NetworkId(b"O" * 32))]:
        with pytest.raises(AuthError):
            signed.check_signature(signer, network)


def test_a_lost_report_names_1_to_256_roots() -> None:
    roots = tuple(Root(number.to_bytes(32, "big")) for number in range(REPORTED_ROOTS_MAX + 1))
    largest = LostReport(miner=MINER, validator=VALIDATOR, roots=roots[:-1], time=TIME)
    assert len(largest.encode()) < 18_000
    assert LostReport.parse(largest.encode(), limit=MESSAGE_BYTES_MAX) == largest
    for wrong in (roots, ()):
        values = {**json.loads(largest.encode()), "roots": [root.hex() for root in wrong]}
        with pytest.raises(ProtocolError, match="roots"):
            LostReport.parse(json.dumps(values, sort_keys=True, separators=(",", ":")).encode())


def test_a_report_that_is_too_long_is_refused_before_it_is_read() -> None:
    with pytest.raises(TooLargeError):
        LostReport.parse(b" " * (MESSAGE_BYTES_MAX + 1))
