"""An audit request has one spelling, and its hash is bound to all of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hippy.errors import ProtocolError
from hippy.ids import NetworkId, PublicKey, Root
from hippy.proofs.inventory import PieceLeaf
from hippy.proofs.request import AuditRequest, Scope, encode_request, parse_request, request_hash
from tests.proofs.audit_world import SCOPE, mutations, named

quick = settings(derandomize=True, deadline=None, max_examples=200)

ENTRIES = tuple(PieceLeaf(Root(named(f"root {i}")), i) for i in range(3))
REQUEST = AuditRequest(7, 2, 1_042, 1, named("token"), ENTRIES)
BODY = encode_request(REQUEST)


def test_the_body_is_laid_out_as_specified() -> None:
    numbers = (7).to_bytes(8, "little") + (2).to_bytes(4, "little") + (1_042).to_bytes(8, "little") + b"\x01\x03\x00"
    entries = b"".join(root + leaf.to_bytes(4, "little") for root, leaf in ENTRIES)
    assert b"HPA1" + numbers + named("token") + entries == BODY


def test_the_longest_request_is_within_the_limit_of_the_protocol() -> None:
    most = AuditRequest(
        2**64 - 1, 2**32 - 1, 2**64 - 1, 255, named("token"), (PieceLeaf(Root(bytes(32)), 2**32 - 1),) * 64
    )
    assert len(encode_request(most)) == 2_363
    assert parse_request(encode_request(most)) == most


@pytest.mark.parametrize(
    "change",
    [
        {"epoch": 2**64},
        {"epoch": -1},
        {"batch": 2**32},
        {"round": 2**64},
        {"attempt": 256},
        {"token": bytes(31)},
        {"entries": ()},
        {"entries": ENTRIES[:1] * 65},
        {"entries": (PieceLeaf(Root(bytes(32)), 2**32),)},
        {"entries": (PieceLeaf(Root(bytes(31)), 0),)},
    ],
)
def test_what_could_not_be_sent_cannot_be_made(change: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        replace(REQUEST, **change)


@pytest.mark.parametrize("count", [0, 65])
def test_a_body_of_other_than_1_to_64_entries_is_refused(count: int) -> None:
    entry = named("root") + bytes(4)
    with pytest.raises(ProtocolError, match="1 to 64"):
        parse_request(BODY[:25] + count.to_bytes(2, "little") + named("token") + entry * count)


@quick
@given(st.binary(max_size=200))
def test_noise_is_a_protocol_error(noise: bytes) -> None:
    for body in (noise, b"HPA1" + noise, BODY[:25] + noise):
        with pytest.raises(ProtocolError):
            parse_request(body)


@quick
@given(mutations(BODY))
def test_what_is_accepted_has_one_spelling(body: bytes) -> None:
    try:
        request = parse_request(body)
    except ProtocolError:
        return
    assert encode_request(request) == body


def test_every_field_of_the_body_is_in_its_hash() -> None:
    flipped = (BODY[:at] + bytes([BODY[at] ^ 1]) + BODY[at + 1 :] for at in range(len(BODY)))
    assert request_hash(SCOPE, BODY) not in {request_hash(SCOPE, body) for body in flipped}


@pytest.mark.parametrize(
    "other",
    [
        replace(SCOPE, network=NetworkId(named("other"))),
        replace(SCOPE, netuid=4),
        replace(SCOPE, validator=PublicKey(named("other"))),
        replace(SCOPE, miner=PublicKey(named("other"))),
    ],
)
def test_everything_a_request_is_bound_to_is_in_its_hash(other: Scope) -> None:
    assert request_hash(other, BODY) != request_hash(SCOPE, BODY)


@pytest.mark.parametrize("field", ["network", "validator", "miner"])
def test_a_scope_of_other_widths_is_a_mistake_of_ours(field: str) -> None:
    change: dict[str, Any] = {field: bytes(31)}
    with pytest.raises(AssertionError):
        replace(SCOPE, **change)
