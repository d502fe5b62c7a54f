"""A response has one spelling, its leaves are never copied, and whatever the bytes are only ProtocolError is raised."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hippy.errors import ProtocolError
from hippy.proofs.response import (
    AuditResponse,
    ResponseEntry,
    Status,
    encode_response,
    parse_response,
    status_of,
)
from hippy.proofs.tree import LEAF_BYTES
from tests.proofs.audit_world import mutations, named

quick = settings(derandomize=True, deadline=None, max_examples=200)

ENTRIES = (
    ResponseEntry(Status.OK, b"leaf", named("path", 64)),
    ResponseEntry(Status.LOST),
    ResponseEntry(Status.RELEASED, b'{"kind":"release"}'),
    ResponseEntry(Status.NEVER_RECEIVED),
    ResponseEntry(Status.OK, b"other leaf"),
)
RESPONSE = AuditResponse(named("request"), ENTRIES, named("response"), named("signature", 64))


def body_of(response: AuditResponse) -> bytes:
    return b"".join(bytes(part) for part in encode_response(response))


BODY = body_of(RESPONSE)


def test_the_body_is_laid_out_as_specified() -> None:
    assert (
        b"HPR1"
        + named("request")
        + b"\x00\x04\x00leaf\x02"
        + named("path", 64)
        + b"\x01\x00\x00\x00"
        + b'\x02\x12\x00{"kind":"release"}\x00'
        + b"\x03\x00\x00\x00"
        + b"\x00\x0a\x00other leaf\x00"
        + named("response")
        + named("signature", 64)
    ) == BODY


def test_a_response_survives_the_wire() -> None:
    assert parse_response(BODY, 5) == RESPONSE


def test_leaf_bytes_are_neither_copied_out_nor_in() -> None:
    assert encode_response(RESPONSE)[1] is ENTRIES[0].data
    data = parse_response(BODY, 5).entries[0].data
    assert isinstance(data, memoryview)
    assert data.obj is BODY


def test_the_longest_response_is_within_the_limit_of_the_protocol() -> None:
    entry = ResponseEntry(Status.OK, bytes(LEAF_BYTES), bytes(32 * 32))
    body = body_of(AuditResponse(bytes(32), (entry,) * 64, bytes(32), bytes(64)))
    assert len(body) == 1_114_500
    assert len(parse_response(body, 64).entries) == 64


ALLOWED: list[tuple[Status, int, int]] = [
    (Status.OK, 1, 0),
    (Status.OK, LEAF_BYTES, 32 * 32),
    (Status.LOST, 0, 0),
    (Status.RELEASED, 1, 0),
    (Status.RELEASED, 2_048, 0),
    (Status.NEVER_RECEIVED, 0, 0),
]
REFUSED: list[tuple[Status, int, int]] = [
    (Status.OK, 0, 0),
    (Status.OK, LEAF_BYTES + 1, 0),
    (Status.OK, 65_535, 0),
    (Status.OK, 1, 33 * 32),
    (Status.OK, 1, 255 * 32),
    (Status.LOST, 1, 0),
    (Status.LOST, 0, 32),
    (Status.RELEASED, 0, 0),
    (Status.RELEASED, 2_049, 0),
    (Status.RELEASED, 1, 32),
    (Status.NEVER_RECEIVED, 1, 0),
    (Status.NEVER_RECEIVED, 0, 32),
]


def spelled(status: int, length: int, path_length: int) -> bytes:
    entry = (
        bytes([status]) + length.to_bytes(2, "little") + bytes(length) + bytes([path_length // 32]) + bytes(path_length)
    )
    return b"HPR1" + bytes(32) + entry + bytes(96)


@pytest.mark.parametrize(("status", "length", "path_length"), ALLOWED)
def test_what_a_status_may_hold_is_accepted(status: Status, length: int, path_length: int) -> None:
    (entry,) = parse_response(spelled(status, length, path_length), 1).entries
    assert entry == ResponseEntry(status, bytes(length), bytes(path_length))


@pytest.mark.parametrize(("status", "length", "path_length"), REFUSED)
def test_what_a_status_may_not_hold_is_refused_at_both_ends(status: Status, length: int, path_length: int) -> None:
    with pytest.raises(ProtocolError, match=status.name):
        parse_response(spelled(status, length, path_length), 1)
    with pytest.raises(ProtocolError, match=status.name):
        ResponseEntry(status, bytes(length), bytes(path_length))


@pytest.mark.parametrize("length", [1, 31, 33])
def test_a_path_of_broken_siblings_cannot_be_made(length: int) -> None:
    with pytest.raises(ProtocolError, match="path"):
        ResponseEntry(Status.OK, b"a", bytes(length))


def test_there_are_four_statuses() -> None:
    assert [status_of(number) for number in range(4)] == list(Status)
    for number in (4, 255):
        with pytest.raises(ProtocolError, match="no status"):
            status_of(number)


@pytest.mark.parametrize("count", [0, 4, 6, 64])
def test_another_number_of_entries_is_malformed(count: int) -> None:
    with pytest.raises(ProtocolError):
        parse_response(BODY, count)


@quick
@given(st.binary(max_size=300), st.integers(0, 6))
def test_noise_is_a_protocol_error(noise: bytes, count: int) -> None:
    for body in (noise, b"HPR1" + noise, BODY[:36] + noise):
        with_count: dict[str, Any] = {"body": body, "count": count}
        check_one_spelling(**with_count)


def check_one_spelling(body: bytes, count: int) -> None:
    try:
        response = parse_response(body, count)
    except ProtocolError:
        return
    assert body_of(response) == body


@quick
@given(mutations(BODY), st.sampled_from([1, 4, 5, 6]))
def test_what_is_accepted_has_one_spelling(body: bytes, count: int) -> None:
    check_one_spelling(body, count)


@pytest.mark.parametrize("length", range(len(BODY)))
def test_a_body_cut_anywhere_is_malformed(length: int) -> None:
    with pytest.raises(ProtocolError):
        parse_response(BODY[:length], 5)
