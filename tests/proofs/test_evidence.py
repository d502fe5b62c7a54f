"""Evidence says all that a response says, but for the bytes, and has one spelling."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hippy.errors import ProtocolError
from hippy.hashing import dk, keyed
from hippy.proofs.evidence import (
    Evidence,
    EvidenceEntry,
    encode_evidence,
    evidence_of,
    parse_evidence,
    response_hash,
)
from hippy.proofs.response import ResponseEntry, Status
from tests.proofs.audit_world import mutations, named
from tests.reference.merkle import leaf_hash

quick = settings(derandomize=True, deadline=None, max_examples=200)

LEAF = EvidenceEntry(Status.OK, 4, leaf_hash(b"leaf"), named("path", 64))
RESPONSE = (
    ResponseEntry(Status.OK, b"leaf", named("path", 64)),
    ResponseEntry(Status.LOST),
    ResponseEntry(Status.RELEASED, b"release"),
    ResponseEntry(Status.NEVER_RECEIVED),
)
EVIDENCE = Evidence(
    named("request"),
    (
        LEAF,
        EvidenceEntry(Status.LOST, 0, bytes(32)),
        EvidenceEntry(Status.RELEASED, 7, keyed(dk("audit-release"), b"release")),
        EvidenceEntry(Status.NEVER_RECEIVED, 0, bytes(32)),
    ),
)
ENCODED = encode_evidence(EVIDENCE)


def test_the_bytes_are_laid_out_as_specified() -> None:
    assert (
        named("request")
        + b"\x00\x04\x00"
        + leaf_hash(b"leaf")
        + b"\x02"
        + named("path", 64)
        + b"\x01\x00\x00"
        + bytes(33)
        + b"\x02\x07\x00"
        + keyed(dk("audit-release"), b"release")
        + b"\x00"
        + b"\x03\x00\x00"
        + bytes(33)
    ) == ENCODED


def test_evidence_is_the_response_without_its_bytes() -> None:
    assert evidence_of(named("request"), RESPONSE) == EVIDENCE
    assert parse_evidence(ENCODED) == EVIDENCE
    assert response_hash(EVIDENCE) == keyed(dk("audit-response"), ENCODED)


@pytest.mark.parametrize(
    "change",
    [
        (Status.OK, 0, bytes(32), b""),
        (Status.OK, 16_385, bytes(32), b""),
        (Status.OK, 1, bytes(31), b""),
        (Status.OK, 1, bytes(32), bytes(31)),
        (Status.OK, 1, bytes(32), bytes(33 * 32)),
        (Status.LOST, 1, bytes(32), b""),
        (Status.LOST, 0, named("digest"), b""),
        (Status.LOST, 0, bytes(32), bytes(32)),
        (Status.RELEASED, 0, bytes(32), b""),
        (Status.RELEASED, 2_049, bytes(32), b""),
        (Status.NEVER_RECEIVED, 0, named("digest"), b""),
    ],
)
def test_an_entry_that_no_response_has_cannot_be_made(change: tuple[Any, ...]) -> None:
    with pytest.raises(ProtocolError):
        EvidenceEntry(*change)


def test_evidence_has_1_to_64_entries() -> None:
    assert len(parse_evidence(encode_evidence(Evidence(bytes(32), (LEAF,) * 64))).entries) == 64
    for count in (0, 65):
        with pytest.raises(ProtocolError):
            Evidence(bytes(32), (LEAF,) * count)
        with pytest.raises(ProtocolError):
            parse_evidence(bytes(32) + ENCODED[32:132] * count)
    with pytest.raises(ProtocolError):
        Evidence(bytes(31), (LEAF,))


@quick
@given(st.binary(max_size=200))
def test_noise_is_a_protocol_error_or_has_one_spelling(noise: bytes) -> None:
    for body in (noise, bytes(32) + noise, bytes(32) + b"\0\1\0" + noise):
        check_one_spelling(body)


@quick
@given(mutations(ENCODED))
def test_what_is_accepted_has_one_spelling(body: bytes) -> None:
    check_one_spelling(body)


def check_one_spelling(body: bytes) -> None:
    try:
        evidence = parse_evidence(body)
    except ProtocolError:
        return
    assert encode_evidence(evidence) == body
