"""Ids have one printed form."""

from __future__ import annotations

import pytest

from hippy.errors import ProtocolError
from hippy.ids import id_from_hex


def test_id_is_read_back() -> None:
    assert id_from_hex(bytes(range(32)).hex()) == bytes(range(32))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ab" * 31,
        "ab" * 33,
        "AB" * 32,
        "0x" + "ab" * 31,
        "ab" * 31 + " a",
        "ab" * 31 + "a\n",
        "\u0661" * 64,
        "zz" * 32,
    ],
)
def test_other_spelling_is_refused(text: str) -> None:
    with pytest.raises(ProtocolError, match="expected 64 lower-case hex digits"):
        id_from_hex(text)


def test_refusal_quotes_only_the_beginning() -> None:
    with pytest.raises(ProtocolError) as caught:
        id_from_hex("x" * 100_000)
    assert len(caught.value.message) < 200
