"""Encrypted names: frozen vectors of PROTOCOL §3.4, and what they must and must not tell."""

from __future__ import annotations

import pytest
from hypothesis import given

from hippy.client.keys import AccountKeys, siv_key
from hippy.client.names import Place, open_bucket, open_child, open_path, seal_bucket, seal_path
from hippy.errors import IntegrityError, UsageError
from hippy.seal import siv_seal
from tests.client.test_uri import components

KEYS = AccountKeys.of_seed(b"\x01" * 32)
OTHER = AccountKeys.of_seed(b"\x02" * 32)
HOME = seal_bucket(KEYS, "data")
VECTORS = [
    "4d138e990cf12477ddd65c0be519edb4fe7d5971f994a32f5b3e0e3499beb25c",
    "e363628b8b15947f39f139ee0f4f17f778acb85e2ffcb7a2ab9336be63b38214",
    "3e96fddf78dea508f1fdebd99d0372c32ba59a684cfcc69978732ab5db66b3c6",
]
KEY = "4dac3a68948f44961d0381cccbbec46fe5209969239dc5073c8b97cb26d6033a"
"""Computed from the primitives alone, by the words of the specification: seed 32 bytes of 01, hippy://data/train/ü.bin."""


def test_names_are_those_of_the_frozen_vectors() -> None:
    place = seal_path(KEYS, "data", ("train", "ü.bin"))
    assert [part.hex() for part in (place.bucket, *place.name)] == VECTORS
    assert place.key.hex() == KEY


@given(components, components)
def test_sealed_path_opens_to_itself(first: str, second: str) -> None:
    place = seal_path(KEYS, "data", (first, second))
    assert open_path(KEYS, HOME, place.name) == ((first, second), place)
    assert open_bucket(KEYS, place.bucket) == "data"


@given(components)
def test_component_has_a_whole_number_of_blocks_up_to_256_bytes(name: str) -> None:
    (sealed,) = seal_path(KEYS, "data", (name,)).name
    assert len(sealed) == 16 + (len(name.encode()) // 16 + 1) * 16 <= 256


def test_equal_names_are_equal_below_one_parent_only() -> None:
    a, b = seal_path(KEYS, "data", ("x", "x")), seal_path(KEYS, "data", ("y", "x"))
    assert a.name[1] not in {b.name[1], a.name[0]}
    assert a.name[0] != seal_path(KEYS, "date", ("x",)).name[0]
    assert a.name[0] != seal_path(OTHER, "data", ("x",)).name[0]
    assert a == seal_path(KEYS, "data", ("x", "x"))


def test_name_does_not_open_elsewhere() -> None:
    (sealed,) = seal_path(KEYS, "data", ("x",)).name
    for keys, parent in ((KEYS, seal_bucket(KEYS, "date")), (OTHER, seal_bucket(OTHER, "data"))):
        with pytest.raises(IntegrityError):
            open_child(keys, parent, sealed)
    with pytest.raises(IntegrityError):
        open_bucket(OTHER, HOME.bucket)


@pytest.mark.parametrize(
    "plain",
    [
        b"..\x80" + bytes(13),
        b"a/b\x80" + bytes(12),
        b"no mark" + bytes(9),
        b"\x80" + bytes(15),
        b"x\x80" + bytes(30),
        b"\xff\x80" + bytes(14),
        "e\u0301".encode() + b"\x80" + bytes(12),
    ],
)
def test_what_is_no_name_is_refused_even_when_it_decrypts(plain: bytes) -> None:
    sealed = siv_seal(siv_key(HOME.key), plain, KEYS.account + HOME.bucket)
    with pytest.raises(IntegrityError):
        open_child(KEYS, HOME, sealed)


def test_too_long_a_path_is_refused() -> None:
    seal_path(KEYS, "data", ("x" * 239,) * 32)
    with pytest.raises(UsageError, match="too long"):
        seal_path(KEYS, "data", ("x" * 239,) * 33)


def test_key_is_in_no_repr() -> None:
    assert HOME.key.hex() not in repr(HOME)
    assert repr(HOME.key) not in repr(HOME)
    assert repr(KEYS.secret) not in repr(KEYS)


def test_order_prefixes_each_component_with_its_blocks() -> None:
    place = Place(b"B" * 32, (b"C" * 48,), b"")
    assert place.ordered() == b"\x02" + b"B" * 32 + b"\x03" + b"C" * 48


def test_a_path_that_is_too_deep_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="at most 64 components, this one 65"):
        seal_path(KEYS, "bucket", ("d",) * 65)
