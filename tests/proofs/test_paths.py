"""The quick fold of one leaf is the fold of ranges, the recursive definition and transparency-dev's vectors."""

from __future__ import annotations

import base64
import json
from hashlib import sha256
from typing import Any

import pytest

from hippy.errors import ProtocolError
from hippy.ids import Root
from hippy.proofs.paths import SIBLINGS_MAX, fold_leaf, leads_to_root, leaf_length, path_hasher
from hippy.proofs.ranges import fold, prove
from hippy.proofs.tree import LEAF_BYTES, leaf_count, piece_root, top_of
from tests.proofs.audit_world import EDGES, named, piece_of
from tests.reference import merkle
from tests.vectors.outside import read_vectors

HASHER = path_hasher()


def rfc_6962_node(children: bytes) -> bytes:
    return sha256(b"\1" + children).digest()


def hashes_of(count: int) -> list[bytes]:
    return [named(f"leaf {i}") for i in range(count)]


def test_every_leaf_of_small_trees_leads_to_the_top() -> None:
    for total in range(1, 40):
        hashes = hashes_of(total)
        for leaf in range(total):
            siblings = prove(hashes, leaf, 1)
            assert siblings == merkle.path_of(leaf, hashes)
            assert fold_leaf(hashes[leaf], leaf, total, b"".join(siblings), HASHER.node) == top_of(hashes)


def test_it_folds_as_ranges_do_whatever_the_path() -> None:
    """Every leaf at every place of every small tree with paths of every length, true or not."""
    for total in range(1, 12):
        for leaf in range(total):
            for count in range(6):
                siblings = [named(f"sibling {i}") for i in range(count)]
                assert outcome(fold, total, leaf, siblings) == outcome(fold_joined, total, leaf, siblings)
                assert outcome(fold, total, leaf, siblings) == merkle.implied_top(bytes(32), leaf, total, siblings)


def fold_joined(hashes: list[bytes], leaf: int, total: int, siblings: list[bytes]) -> bytes:
    return fold_leaf(hashes[0], leaf, total, b"".join(siblings), HASHER.node)


def outcome(folded: Any, total: int, leaf: int, siblings: list[bytes]) -> bytes | None:
    try:
        top: bytes = folded([bytes(32)], leaf, total, siblings)
    except ProtocolError:
        return None
    return top


@pytest.mark.parametrize(("leaf", "total"), [(-1, 4), (4, 4), (0, 0)])
def test_a_leaf_outside_the_tree_cannot_be_folded(leaf: int, total: int) -> None:
    with pytest.raises(ProtocolError, match="not in a tree"):
        fold_leaf(bytes(32), leaf, total, b"", HASHER.node)


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_leaf_hash_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(ProtocolError, match="leaf's hash"):
        fold_leaf(bytes(length), 0, 1, b"", HASHER.node)


@pytest.mark.parametrize("length", [31, 33, 63, 32 * (SIBLINGS_MAX + 1)])
def test_a_path_that_is_not_siblings_is_refused(length: int) -> None:
    with pytest.raises(ProtocolError, match="siblings"):
        fold_leaf(bytes(32), 0, 4, bytes(length), HASHER.node)


def test_the_longest_path_is_followed() -> None:
    """The last leaf that u32 can number, in a tree of 32 levels."""
    path = b"".join(named(f"sibling {i}") for i in range(32))
    siblings = [path[at : at + 32] for at in range(0, len(path), 32)]
    last = 2**32 - 1
    assert fold_leaf(bytes(32), last, 2**32, path, HASHER.node) == fold([bytes(32)], last, 2**32, siblings)


def test_rfc_6962_inclusion_vectors_have_their_expected_outcome() -> None:
    """Outside vectors: transparency-dev/merkle testdata/inclusion, as far as a path of ours can spell them."""
    cases: list[dict[str, Any]] = json.loads(read_vectors("rfc6962-inclusion.json"))
    outcomes = set()
    for case in cases:
        siblings = [base64.b64decode(each) for each in case["proof"] or []]
        if all(len(each) == 32 for each in siblings):
            outcomes.add(case["wantErr"])
            assert is_included(case, b"".join(siblings)) is not case["wantErr"], case["name"]
    assert outcomes == {True, False}


def is_included(case: dict[str, Any], path: bytes) -> bool:
    leaf, root = base64.b64decode(case["leafHash"] or ""), base64.b64decode(case["root"] or "")
    try:
        return fold_leaf(leaf, case["leafIdx"], case["treeSize"], path, rfc_6962_node) == root
    except ProtocolError:
        return False


@pytest.mark.parametrize("length", EDGES)
def test_leaf_lengths_add_up_to_the_piece(length: int) -> None:
    lengths = [leaf_length(length, leaf) for leaf in range(leaf_count(length))]
    assert lengths == [len(leaf) for leaf in merkle.leaves_of(bytes(length))]


@pytest.mark.parametrize(("length", "leaf"), [(1, 1), (16_384, 1), (16_385, 2), (16_384, -1), (0, 0)])
def test_a_leaf_that_the_piece_has_not_has_no_length(length: int, leaf: int) -> None:
    with pytest.raises(ProtocolError):
        leaf_length(length, leaf)


@pytest.mark.parametrize("length", EDGES)
def test_every_leaf_leads_to_the_root(length: int) -> None:
    piece = piece_of(length)
    for leaf, digest in enumerate(piece.hashes):
        path = piece.show(leaf).path
        size = leaf_length(length, leaf)
        assert leads_to_root(piece.root, length, leaf, size, digest, path, HASHER)
        assert not leads_to_root(piece.root, length, leaf, size - 1, digest, path, HASHER)
        assert not leads_to_root(piece.root, length, leaf, size, named("other"), path, HASHER)
        assert not leads_to_root(Root(named("other")), length, leaf, size, digest, path, HASHER)


def test_a_tree_made_up_over_short_leaves_does_not_pass() -> None:
    """Its root is a good one, its leaves are not those that a piece of this length has."""
    hashes = [merkle.leaf_hash(b"a"), merkle.leaf_hash(b"b")]
    root = piece_root(hashes, 2 * LEAF_BYTES)
    assert not leads_to_root(root, 2 * LEAF_BYTES, 0, 1, hashes[0], hashes[1], HASHER)
    assert leads_to_root(root, 2 * LEAF_BYTES, 0, LEAF_BYTES, hashes[0], hashes[1], HASHER)  # were it that long
