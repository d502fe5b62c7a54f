"""A cursor gives exactly what is there."""

from __future__ import annotations

from struct import Struct

import pytest

from hippy.errors import ProtocolError
from hippy.proofs.cursor import Cursor


def test_fields_come_in_order() -> None:
    cursor = Cursor(b"HPA1\x01\x02\x00rest", "body")
    cursor.expect(b"HPA1")
    assert cursor.byte() == 1
    assert cursor.read(Struct("<H")) == (2,)
    assert cursor.take(2) == b"re"
    assert bytes(cursor.view(2)) == b"st"
    cursor.finish()


def test_it_knows_when_everything_was_read() -> None:
    cursor = Cursor(b"ab", "body")
    assert [cursor.byte() for _ in range(2) if not cursor.done] == [97, 98]
    assert cursor.done


def test_a_view_is_of_the_body_itself() -> None:
    body = b"leaf"
    assert Cursor(body, "body").view(2).obj is body


def test_nothing_is_read_past_the_end() -> None:
    for length in (0, 1):
        body = bytes(length)
        for read in (
            lambda c: c.read(Struct("<H")),
            lambda c: c.take(2),
            lambda c: c.view(2),
            lambda c: c.expect(b"\0\0"),
            lambda c: [c.byte(), c.byte()],
        ):
            with pytest.raises(ProtocolError, match="the body of"):
                read(Cursor(body, "body"))


def test_bytes_that_follow_are_refused() -> None:
    cursor = Cursor(b"ab", "body")
    cursor.take(1)
    with pytest.raises(ProtocolError, match="1 bytes follow the body"):
        cursor.finish()


def test_another_magic_is_refused() -> None:
    with pytest.raises(ProtocolError, match="HPA1"):
        Cursor(b"HPA2", "body").expect(b"HPA1")
