"""Range proofs: the right ones pass, every alteration is caught, outside vectors apply.

Oracles: the recursive definition of RFC 9162 §2.1.3, properties, and transparency-dev's inclusion vectors.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from hippy.errors import IntegrityError, ProtocolError
from hippy.ids import Root
from hippy.proofs.ranges import (
    RangeProof,
    covering_leaves,
    encode_range,
    fold,
    parse_range,
    prove,
    sibling_count,
    verify_range,
)
from hippy.proofs.tree import LEAF_BYTES, TreeHasher, leaf_hashes, root_of, top_of
from tests.reference import merkle
from tests.vectors.outside import read_vectors

quick = settings(derandomize=True, deadline=None, max_examples=60)

RFC_6962 = TreeHasher(
    leaf=lambda data: sha256(b"\0" + bytes(data)).digest(),
    node=lambda left, right: sha256(b"\1" + left + right).digest(),
)

PIECE = blake3(b"piece").digest(6 * LEAF_BYTES + 100)
ROOT = root_of(PIECE)
LEAVES = leaf_hashes(PIECE)


def proof_of(first: int, count: int) -> RangeProof:
    data = PIECE[first * LEAF_BYTES : (first + count) * LEAF_BYTES]
    return RangeProof(len(PIECE), first, data, tuple(prove(LEAVES, first, count)))


def body_of(first: int, count: int) -> bytes:
    return b"".join(bytes(part) for part in encode_range(proof_of(first, count)))


def check(first: int, data: bytes, siblings: Sequence[bytes], length: int = len(PIECE)) -> None:
    verify_range(ROOT, length, first, data, siblings)


def accept(body: bytes | bytearray) -> None:
    """Parse and verify as a reader does."""
    parsed = parse_range(body)
    verify_range(ROOT, parsed.piece_length, parsed.first_leaf, parsed.data, parsed.siblings)


def fake_leaves(count: int) -> list[bytes]:
    return [blake3(bytes([i])).digest() for i in range(count)]


def test_the_proof_of_one_leaf_is_the_audit_path_of_rfc_9162() -> None:
    for total in range(1, 34):
        leaves = fake_leaves(total)
        for index in range(total):
            assert prove(leaves, index, 1) == merkle.path_of(index, leaves)


def test_every_range_of_small_trees_leads_to_the_top() -> None:
    for total in range(1, 14):
        leaves = fake_leaves(total)
        for first in range(total):
            for count in range(1, total - first + 1):
                siblings = prove(leaves, first, count)
                assert len(siblings) == sibling_count(first, count, total)
                assert fold(leaves[first : first + count], first, total, siblings) == top_of(leaves)


def test_siblings_come_level_by_level_and_left_before_right() -> None:
    leaves = fake_leaves(8)
    upper = [top_of(leaves[0:2]), top_of(leaves[6:8])]
    assert prove(leaves, 3, 2) == [leaves[2], leaves[5], *upper]


def test_the_whole_piece_needs_no_siblings() -> None:
    assert prove(LEAVES, 0, 7) == []
    check(0, PIECE, [])


def rfc_6962_cases() -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = json.loads(read_vectors("rfc6962-inclusion.json"))
    return cases


def is_included(case: dict[str, Any]) -> bool:
    leaf, root = base64.b64decode(case["leafHash"] or ""), base64.b64decode(case["root"] or "")
    siblings = [base64.b64decode(each) for each in case["proof"] or []]
    try:
        return fold([leaf], case["leafIdx"], case["treeSize"], siblings, RFC_6962) == root
    except ProtocolError:
        return False


def test_rfc_6962_inclusion_vectors_have_their_expected_outcome() -> None:
    """Outside vectors: transparency-dev/merkle testdata/inclusion."""
    cases = rfc_6962_cases()
    for case in cases:
        assert is_included(case) is not case["wantErr"], case["name"]
    assert {case["wantErr"] for case in cases} == {True, False}


@quick
@given(st.integers(0, 6), st.integers(1, 7))
def test_honest_ranges_pass(first: int, count: int) -> None:
    proof = proof_of(first, min(count, 7 - first))
    check(first, bytes(proof.data), proof.siblings)


@quick
@given(st.data())
def test_any_flipped_bit_is_caught(data: st.DataObject) -> None:
    first = data.draw(st.integers(0, 6))
    proof = proof_of(first, data.draw(st.integers(1, 7 - first)))
    parts = [bytearray(proof.data), *map(bytearray, proof.siblings)]
    part = data.draw(st.sampled_from(parts))
    part[data.draw(st.integers(0, len(part) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(IntegrityError):
        check(first, bytes(parts[0]), [bytes(each) for each in parts[1:]])


def test_reordered_siblings_are_caught() -> None:
    proof = proof_of(2, 1)
    one, two, three = proof.siblings
    for order in ([two, one, three], [one, three, two], [three, two, one]):
        with pytest.raises(IntegrityError):
            check(2, bytes(proof.data), order)


def test_a_truncated_or_extended_path_is_malformed() -> None:
    proof = proof_of(2, 1)
    for siblings in (proof.siblings[:-1], proof.siblings[1:], (*proof.siblings, bytes(32)), ()):
        with pytest.raises(ProtocolError, match="siblings"):
            check(2, bytes(proof.data), siblings)


def test_a_sibling_of_another_length_is_malformed() -> None:
    proof = proof_of(2, 1)
    for wrong in (proof.siblings[0][:-1], proof.siblings[0] + b"\0", b""):
        with pytest.raises(ProtocolError):
            check(2, bytes(proof.data), (wrong, *proof.siblings[1:]))


def test_a_leaf_does_not_pass_at_another_index() -> None:
    proof = proof_of(2, 1)
    for index in (0, 1, 3):  # places whose proofs have as many siblings
        with pytest.raises(IntegrityError):
            check(index, bytes(proof.data), proof.siblings)


def test_swapped_leaves_are_caught() -> None:
    proof = proof_of(2, 2)
    data = bytes(proof.data)
    with pytest.raises(IntegrityError):
        check(2, data[LEAF_BYTES:] + data[:LEAF_BYTES], proof.siblings)


@pytest.mark.parametrize("length", [len(PIECE) - 1, len(PIECE) + 1])
def test_a_wrong_piece_length_is_caught(length: int) -> None:
    proof = proof_of(2, 1)
    with pytest.raises(IntegrityError):
        check(2, bytes(proof.data), proof.siblings, length)


def test_another_root_is_caught() -> None:
    proof = proof_of(2, 1)
    with pytest.raises(IntegrityError, match="00" * 32):
        verify_range(Root(bytes(32)), len(PIECE), 2, proof.data, proof.siblings)


def test_a_node_does_not_pass_as_a_leaf() -> None:
    """A two-leaf piece must not pass as a one-leaf piece whose content is its two leaf hashes."""
    leaves = leaf_hashes(PIECE[: 2 * LEAF_BYTES])
    root = root_of(PIECE[: 2 * LEAF_BYTES])
    with pytest.raises(IntegrityError):
        verify_range(root, 64, 0, b"".join(leaves), [])


@pytest.mark.parametrize(
    ("first", "length"),
    [
        (0, 0),
        (0, LEAF_BYTES - 1),
        (0, LEAF_BYTES + 1),
        (5, LEAF_BYTES + 99),
        (6, 99),
        (6, 101),
        (6, LEAF_BYTES),
        (7, 1),
        (7, LEAF_BYTES),
        (2**70, LEAF_BYTES),
        (-1, LEAF_BYTES),
        (-1, LEAF_BYTES + 100),
    ],
)
def test_data_that_is_not_whole_leaves_of_the_piece_is_malformed(first: int, length: int) -> None:
    with pytest.raises(ProtocolError):
        check(first, bytes(length), [])


@pytest.mark.parametrize("length", [0, -1])
def test_a_piece_without_bytes_has_no_ranges(length: int) -> None:
    with pytest.raises(ProtocolError):
        check(0, b"a", [], length)


@pytest.mark.parametrize(("first", "count"), [(-1, 1), (0, 0), (0, 8), (7, 1), (6, 2), (3, -1)])
def test_ranges_outside_the_tree_cannot_be_proved(first: int, count: int) -> None:
    with pytest.raises(ProtocolError):
        prove(LEAVES, first, count)


@pytest.mark.parametrize(
    ("offset", "length", "leaves"),
    [
        (0, 1, (0, 1)),
        (16383, 1, (0, 1)),
        (16383, 2, (0, 2)),
        (16384, 16384, (1, 1)),
        (16384, 16385, (1, 2)),
        (6 * 16384, 100, (6, 1)),
        (0, len(PIECE), (0, 7)),
    ],
)
def test_covering_leaves_hold_the_bytes(offset: int, length: int, leaves: tuple[int, int]) -> None:
    assert covering_leaves(offset, length, len(PIECE)) == leaves


@pytest.mark.parametrize(("offset", "length"), [(-1, 2), (0, 0), (0, -1), (0, len(PIECE) + 1), (len(PIECE), 1)])
def test_bytes_outside_the_piece_have_no_leaves(offset: int, length: int) -> None:
    with pytest.raises(ProtocolError):
        covering_leaves(offset, length, len(PIECE))


@quick
@given(st.integers(0, 6), st.integers(1, 7))
def test_a_body_survives_the_wire(first: int, count: int) -> None:
    count = min(count, 7 - first)
    body = body_of(first, count)
    parsed = parse_range(body)
    assert parsed == proof_of(first, count)
    assert parsed.count == count
    assert b"".join(bytes(part) for part in encode_range(parsed)) == body
    accept(body)


def test_the_body_is_laid_out_as_specified() -> None:
    siblings = prove(LEAVES, 6, 1)
    header = b"HPP1" + (98404).to_bytes(8, "little") + (6).to_bytes(4, "little") + (1).to_bytes(4, "little")
    assert body_of(6, 1) == header + (2).to_bytes(2, "little") + b"".join(siblings) + PIECE[6 * LEAF_BYTES :]


def test_leaf_bytes_are_neither_copied_out_nor_in() -> None:
    proof = proof_of(0, 2)
    assert encode_range(proof)[1] is proof.data
    body = body_of(0, 2)
    parsed = memoryview(parse_range(body).data)
    assert parsed.obj is body


@quick
@given(st.binary(max_size=200))
def test_noise_is_a_protocol_error(noise: bytes) -> None:
    for body in (noise, b"HPP1" + noise):
        with pytest.raises(ProtocolError):
            parse_range(body)


@quick
@given(st.integers(0, len(body_of(6, 1)) - 1))
def test_a_body_cut_anywhere_is_malformed(length: int) -> None:
    with pytest.raises(ProtocolError):
        parse_range(body_of(6, 1)[:length])


def test_a_body_with_bytes_behind_it_is_malformed() -> None:
    for first in (0, 6):
        with pytest.raises(ProtocolError):
            parse_range(body_of(first, 1) + b"\0")


@quick
@given(st.integers(0, 21), st.integers(0, 7))
def test_any_flipped_bit_of_the_header_is_caught(at: int, bit: int) -> None:
    body = bytearray(body_of(2, 2))
    body[at] ^= 1 << bit
    with pytest.raises((ProtocolError, IntegrityError)):
        accept(body)


def test_what_would_not_be_accepted_cannot_be_made() -> None:
    proof = proof_of(2, 1)
    with pytest.raises(ProtocolError):
        RangeProof(proof.piece_length, 2, proof.data, proof.siblings[:-1])
    with pytest.raises(ProtocolError):
        RangeProof(proof.piece_length, 2, bytes(5), proof.siblings)
    with pytest.raises(ProtocolError):
        RangeProof(proof.piece_length, 2, proof.data, (*proof.siblings[:-1], bytes(31)))
