"""BLAKE3 as hippy calls it, against the official vectors, and the domains' own fixed keys."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hippy import hashing
from hippy.hashing import digest, dk, kdf, keyed, u16, u32, u64
from tests.vectors.outside import read_vectors

quick = settings(derandomize=True, deadline=None, max_examples=40)

KEY = b"whats the Elvish word for friend"


def official() -> dict[str, Any]:
    vectors: dict[str, Any] = json.loads(read_vectors("blake3.json"))
    return vectors


def material(length: int) -> bytes:
    return bytes(i % 251 for i in range(length))


def test_digest_is_official_blake3() -> None:
    """Outside vectors: BLAKE3-team/BLAKE3 test_vectors/test_vectors.json."""
    cases = official()["cases"]
    assert len(cases) > 10
    for case in cases:
        assert digest(material(case["input_len"])).hex() == case["hash"][:64]


def test_keyed_is_official_keyed_blake3() -> None:
    vectors = official()
    assert vectors["key"].encode() == KEY
    for case in vectors["cases"]:
        data = material(case["input_len"])
        half = len(data) // 2
        expected = case["keyed_hash"][:64]
        assert keyed(KEY, data).hex() == expected
        assert keyed(KEY, data[:half], data[half:]).hex() == expected


def test_derived_keys_are_official_derive_key(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = official()
    monkeypatch.setattr(hashing, "CONTEXT_PREFIX", "")  # the official context string has no hippy in it
    for case in vectors["cases"]:
        derived = kdf(vectors["context_string"], material(case["input_len"])).hex()
        assert derived == case["derive_key"][:64]
        if case["input_len"] == 0:
            assert dk.__wrapped__(vectors["context_string"]).hex() == derived


@pytest.mark.parametrize(
    ("context", "key"),
    [
        ("piece-leaf", "9e81ee4e0bdb95f7bb0aef478d529f98df009e962135f41523b1653c7f5fa4da"),
        ("piece-node", "690dd2533ea87ff2d525cf03a8d3ad81da8303d299450dfd56ea5be9622e3887"),
        ("piece-root", "9bbcf901158b5d1435cb56ad6f2c840428ab2d4e5e4a77b4bbfa54977a943e8e"),
        ("segment", "db3e9da22c20b4a17ee06dfd661a6c6cdee7dfdf1056ffe5eb1345982ad91caa"),
    ],
)
def test_domain_keys_stay_what_they_are(context: str, key: str) -> None:
    """Frozen with protocol version 1; another value is another network."""
    assert dk(context).hex() == key
    assert kdf(context, b"") == dk(context)


@quick
@given(st.lists(st.binary(max_size=40), max_size=4))
def test_parts_hash_like_their_concatenation(parts: list[bytes]) -> None:
    assert keyed(KEY, *parts) == keyed(KEY, b"".join(parts))


def test_purposes_do_not_meet() -> None:
    assert len({dk("extent"), dk("seal"), kdf("extent", b"s"), kdf("seal", b"s"), digest(b"s")}) == 5


def test_integers_are_little_endian_and_bounded() -> None:
    assert (u16(0x0102), u32(1), u64(2**64 - 1)) == (b"\2\1", b"\1\0\0\0", b"\xff" * 8)
    for encode, bits in ((u16, 16), (u32, 32), (u64, 64)):
        for value in (-1, 2**bits):
            with pytest.raises(OverflowError):
                encode(value)
