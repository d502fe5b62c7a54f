"""A message and its blobs come apart as they were joined, and not otherwise."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hippy.errors import ProtocolError
from hippy.hashing import u32
from hippy.wire.object import ReadAnswer, WriteRequest
from hippy.wire.parts import encode_parts, parse_parts
from tests.wire.samples import ACCOUNT, ROW

quick = settings(derandomize=True, deadline=None, max_examples=100)


def request(lengths: list[int | None]) -> WriteRequest:
    rows = tuple(ROW.model_copy(update={"manifest_length": length}) for length in lengths)
    return WriteRequest(request_id=b"i" * 16, account=ACCOUNT.public_key, rows=rows)


REQUEST = request([3, None, 5])
BLOBS = [b"abc", b"defgh"]
BODY = encode_parts(REQUEST, BLOBS)


def test_body_is_laid_out_as_the_protocol_says() -> None:
    head = REQUEST.encode()
    assert len(head).to_bytes(4, "little") + head + b"abcdefgh" == BODY


def test_message_without_blobs_survives() -> None:
    assert parse_parts(ReadAnswer, encode_parts(ReadAnswer(results=()), [])) == (ReadAnswer(results=()), [])


@quick
@given(blobs=st.lists(st.binary(min_size=1, max_size=50), min_size=1, max_size=5))
def test_message_and_blobs_survive(blobs: list[bytes]) -> None:
    message = request([len(blob) for blob in blobs])
    assert parse_parts(WriteRequest, encode_parts(message, blobs)) == (message, blobs)


@pytest.mark.parametrize("kept", [0, 1, 3, 4, 5, 50, len(BODY) - 9, len(BODY) - 8, len(BODY) - 5, len(BODY) - 1])
def test_truncated_body_is_refused(kept: int) -> None:
    with pytest.raises(ProtocolError):
        parse_parts(WriteRequest, BODY[:kept])


@pytest.mark.parametrize("extra", [b"\0", b"abc", BODY])
def test_body_with_something_left_over_is_refused(extra: bytes) -> None:
    with pytest.raises(ProtocolError, match="the announced lengths"):
        parse_parts(WriteRequest, BODY + extra)


@pytest.mark.parametrize("offset", [-4, -1, 1, 8, 9, 2**32 - 1 - len(REQUEST.encode())])
def test_lying_message_length_is_refused(offset: int) -> None:
    with pytest.raises(ProtocolError):
        parse_parts(WriteRequest, u32(len(REQUEST.encode()) + offset) + BODY[4:])


@pytest.mark.parametrize("lengths", [[3, 4], [3, 6], [8, 262_144], [1, 1]])
def test_lying_blob_lengths_are_refused(lengths: list[int | None]) -> None:
    head = request(lengths).encode()
    body = u32(len(head)) + head + b"abcdefgh"
    with pytest.raises(ProtocolError, match="the announced lengths"):
        parse_parts(WriteRequest, body)


def test_bad_message_in_a_body_is_refused() -> None:
    with pytest.raises(ProtocolError, match="bad objects-write message"):
        parse_parts(WriteRequest, u32(2) + b"{}")


@quick
@given(body=st.binary(max_size=60))
def test_arbitrary_body_is_refused_politely(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_parts(WriteRequest, body)
