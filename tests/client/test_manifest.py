"""Manifests and heads: what they hold, that they open nowhere else, and frozen vectors of PROTOCOL §3.4."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hippy.client.keys import AccountKeys
from hippy.client.manifest import (
    PLAIN_BYTES_MAX,
    Head,
    Manifest,
    ManifestExtent,
    ManifestSegment,
    fits_a_row,
    inline_manifest,
    open_head,
    open_manifest,
    parse_inner,
    seal_head,
    seal_manifest,
)
from hippy.client.names import seal_path
from hippy.errors import IntegrityError, ProtocolError
from hippy.hashing import digest
from hippy.ids import SegmentId
from hippy.wire.object import MANIFEST_BYTES_MAX

KEYS = AccountKeys.of_seed(b"\x01" * 32)
PLACE = seal_path(KEYS, "data", ("a",))
SALT = b"\x05" * 32
SEALED_MANIFEST_DIGEST = "ccf1b6496a48ccf634c550f503278b5572c0b5b13c406753e446c69ab7930825"
SEALED_HEAD = (
    "05050505050505050505050505050505050505050505050505050505050505051d96e8f1ffc45e500e09bb30995eef48b7d4"
    "add4416a6ecc50748fe9c10b825547d34ecee292a413c1b49df77c810c72e9039701039d2c36edc9d3cdd23e3c9607ee8b77"
    "d0829e713d6696c571fb5900fbb6100664bea52b3f2ddc1a503bbf2e74d288f50c44496b0c978e647cf1494b0343ad9bf7a3"
    "2b8fb2ec6f61"
)
"""Computed from the primitives alone, by the words of the specification."""


def extents(count: int, **changes: Any) -> Manifest:
    """A manifest of so many extents of ten bytes, each in a segment of its own."""
    ids = [SegmentId(digest(bytes([number % 256, number // 256]))) for number in range(count)]
    values: dict[str, Any] = {
        "kind": "extents",
        "size": 10 * count,
        "hash": b"h" * 32,
        "mode": 0o644,
        "mtime_us": 5,
        "extents": tuple(ManifestExtent(segment_id=each, offset=0, length=10, key=b"k" * 32) for each in ids),
        "segments": tuple(ManifestSegment(segment_id=each, seal_key=b"s" * 32) for each in sorted(ids)),
    }
    return Manifest(**{**values, **changes})


def test_inline_manifest_is_spelled_as_the_frozen_vector() -> None:
    manifest = inline_manifest(b"hello", mode=0o755, mtime_us=1_234_567)
    assert manifest.encode() == (
        b'{"content":"68656c6c6f","hash":"ea8f163db38682925e4491c5e58d4bb3506ef8c14eb78a86e908c5624a67200f",'
        b'"kind":"inline","mode":493,"mtime_us":1234567,"size":5}'
    )


def test_extents_manifest_is_spelled_as_the_frozen_vector() -> None:
    manifest = extents(1)
    segment_id = digest(bytes(2)).hex()
    assert manifest.encode().decode() == (
        f'{{"extents":[{{"key":"{"6b" * 32}","length":10,"offset":0,"segment_id":"{segment_id}"}}],'
        f'"hash":"{"68" * 32}","kind":"extents","mode":420,"mtime_us":5,'
        f'"segments":[{{"seal_key":"{"73" * 32}","segment_id":"{segment_id}"}}],"size":10}}'
    )


def test_sealed_manifest_and_head_are_the_frozen_vectors() -> None:
    manifest = inline_manifest(b"hello", mode=0o644, mtime_us=7)
    assert digest(seal_manifest(manifest, PLACE, KEYS.account, 3, SALT)).hex() == SEALED_MANIFEST_DIGEST
    assert seal_head(manifest.head(), PLACE, KEYS.account, 3, SALT).hex() == SEALED_HEAD


@given(st.binary(max_size=4096), st.integers(0, 0o777), st.integers(0, 2**53 - 1), st.integers(1, 2**53 - 1))
def test_sealed_manifest_opens_to_itself(content: bytes, mode: int, mtime_us: int, version: int) -> None:
    manifest = inline_manifest(content, mode=mode, mtime_us=mtime_us)
    manifest.check_shape()
    sealed = seal_manifest(manifest, PLACE, KEYS.account, version, SALT)
    assert open_manifest(sealed, PLACE, KEYS.account, version) == manifest
    head = seal_head(manifest.head(), PLACE, KEYS.account, version, SALT)
    assert open_head(head, PLACE, KEYS.account, version) == manifest.head()


def test_manifest_opens_for_no_other_object_version_or_account() -> None:
    sealed = seal_manifest(extents(2), PLACE, KEYS.account, 3, SALT)
    elsewhere = seal_path(KEYS, "data", ("b",))
    other = AccountKeys.of_seed(b"\x02" * 32).account
    for place, account, version in ((elsewhere, KEYS.account, 3), (PLACE, other, 3), (PLACE, KEYS.account, 2)):
        with pytest.raises(IntegrityError):
            open_manifest(sealed, place, account, version)


@given(st.integers(0, 600), st.integers(1, 255))
def test_flipped_bit_of_a_sealed_head_is_caught(place: int, flip: int) -> None:
    sealed = bytearray(seal_head(extents(1).head(), PLACE, KEYS.account, 1, SALT))
    sealed[place % len(sealed)] ^= flip
    with pytest.raises(IntegrityError):
        open_head(bytes(sealed), PLACE, KEYS.account, 1)


def test_head_is_not_taken_for_a_manifest() -> None:
    sealed = seal_head(extents(1).head(), PLACE, KEYS.account, 1, SALT)
    with pytest.raises(IntegrityError):
        open_manifest(sealed, PLACE, KEYS.account, 1)


def test_cut_manifest_is_caught() -> None:
    for length in (0, 31, 47, 48):
        with pytest.raises(IntegrityError):
            open_manifest(bytes(length), PLACE, KEYS.account, 1)


@pytest.mark.parametrize(
    "changes",
    [
        {"size": 21},
        {"content": b""},
        {"segments": None},
        {"extents": None},
        {"kind": "inline"},
        {"segments": extents(1).segments},
        {"segments": extents(3).segments},
        {"segments": (extents(2).segments or ()) * 2},
    ],
)
def test_contradictory_manifest_is_refused(changes: dict[str, Any]) -> None:
    extents(2).check_shape()
    with pytest.raises(ProtocolError):
        extents(2, **changes).check_shape()


@pytest.mark.parametrize("changes", [{"size": 6}, {"hash": b"x" * 32}, {"content": None}])
def test_inline_manifest_whose_content_is_another_is_refused(changes: dict[str, Any]) -> None:
    manifest = inline_manifest(b"hello", mode=0, mtime_us=0)
    with pytest.raises(ProtocolError):
        manifest.model_copy(update=changes).check_shape()


def test_manifest_is_too_long_for_a_row_exactly_above_the_limit() -> None:
    count = next(count for count in range(600, 2000, 10) if not fits_a_row(extents(count)))
    assert len(extents(count - 10).encode()) <= PLAIN_BYTES_MAX < len(extents(count).encode())
    sealed = seal_manifest(extents(count - 10), PLACE, KEYS.account, 1, SALT)
    assert len(sealed) <= MANIFEST_BYTES_MAX


def test_indirect_manifest_leads_to_its_own_file_only() -> None:
    outer = extents(1, kind="indirect", size=30)
    outer.check_shape()
    inner = extents(3)
    assert parse_inner(inner.encode(), outer) == inner
    for wrong in (extents(3, hash=b"x" * 32), extents(2), extents(3, kind="indirect"), extents(3, mode=0)):
        with pytest.raises(IntegrityError):
            parse_inner(wrong.encode(), outer)


def test_keys_are_in_no_repr() -> None:
    shown = repr(extents(1)) + repr(extents(1).extents) + repr(extents(1).segments)
    assert "kkkk" not in shown
    assert "ssss" not in shown
    assert (b"k" * 8).hex() not in shown


def test_head_of_a_manifest_is_what_a_listing_shows() -> None:
    assert extents(1).head() == Head(hash=b"h" * 32, mode=0o644, mtime_us=5, size=10)
