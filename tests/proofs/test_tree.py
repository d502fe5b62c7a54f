"""A piece's tree against the recursive definition of RFC 9162 §2.1.1, as the slow reference."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from hippy.errors import ProtocolError
from hippy.hashing import dk, keyed
from hippy.proofs.tree import (
    LEAF_BYTES,
    TreeBuilder,
    leaf_count,
    leaf_hashes,
    piece_hasher,
    piece_root,
    root_hasher,
    root_of,
    root_over,
    top_of,
)

quick = settings(derandomize=True, deadline=None, max_examples=30)

EDGES = [1, 2, LEAF_BYTES - 1, LEAF_BYTES, LEAF_BYTES + 1, 2 * LEAF_BYTES, 3 * LEAF_BYTES, 5 * LEAF_BYTES + 9]


def filler(length: int) -> bytes:
    return blake3(b"piece").digest(length)


def reference_top(leaves: Sequence[bytes]) -> bytes:
    """Split at the largest power of two below the number of leaves, as RFC 9162 defines the tree's hash."""
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    left, right = reference_top(leaves[:split]), reference_top(leaves[split:])
    return keyed(dk("piece-node"), left + right)


def reference_root(data: bytes) -> bytes:
    leaves = [keyed(dk("piece-leaf"), data[at : at + LEAF_BYTES]) for at in range(0, len(data), LEAF_BYTES)]
    end = len(data).to_bytes(8, "little") + (16384).to_bytes(4, "little")
    return keyed(dk("piece-root"), reference_top(leaves) + end)


@pytest.mark.parametrize("length", EDGES)
def test_root_is_the_one_the_definition_gives(length: int) -> None:
    assert root_of(filler(length)) == reference_root(filler(length))


def test_every_number_of_leaves_has_the_shape_of_rfc_9162() -> None:
    leaves = [bytes([i]) * 32 for i in range(70)]
    for count in range(1, 71):
        assert top_of(leaves[:count]) == reference_top(leaves[:count])


@pytest.mark.parametrize(
    ("length", "root"),
    [
        (1, "7aea186df5ae47347a65fddc2ec739f7516129d939dabf8fcc2680a9ea81b623"),
        (16384, "4812f884e0fd21e031926b39e42517de9e5225507892ac731081150d9ddae37c"),
        (100000, "00b0d1a4a9e20762b34ed2bbd13043a48529557a910a3d50e19aeb2d07d5fa4b"),
    ],
)
def test_known_roots_stay_what_they_are(length: int, root: str) -> None:
    """Frozen with protocol version 1 over bytes 0, 1, … 250, 0, 1, …"""
    assert root_of(bytes(i % 251 for i in range(length))).hex() == root


@quick
@given(st.data(), st.sampled_from(EDGES))
def test_chunks_of_any_size_build_the_same_tree(data: st.DataObject, length: int) -> None:
    piece = filler(length)
    cuts = sorted(data.draw(st.lists(st.integers(0, length), max_size=8)))
    builder = TreeBuilder()
    for start, end in zip([0, *cuts], [*cuts, length], strict=True):
        builder.update(memoryview(piece)[start:end])
    assert builder.length == length
    assert builder.finish() == leaf_hashes(piece)


def test_bytes_that_arrive_one_by_one_build_the_same_tree() -> None:
    piece = filler(LEAF_BYTES + 3)
    builder = TreeBuilder()
    for at in range(len(piece)):
        builder.update(piece[at : at + 1])
    assert piece_root(builder.finish(), builder.length) == root_of(piece)


def test_a_builder_can_be_asked_on_the_way() -> None:
    builder = TreeBuilder()
    builder.update(b"ab")
    assert builder.finish() == leaf_hashes(b"ab")
    builder.update(b"c")
    assert builder.finish() == leaf_hashes(b"abc")


def test_a_chunk_may_be_reused_once_it_was_taken() -> None:
    chunk = bytearray(b"ab")
    builder = TreeBuilder()
    builder.update(chunk)
    chunk[:] = b"cdefgh"
    assert builder.finish() == leaf_hashes(b"ab")


def test_any_changed_byte_changes_the_root() -> None:
    piece = filler(LEAF_BYTES + 5)
    for at in (0, LEAF_BYTES - 1, LEAF_BYTES, LEAF_BYTES + 4):
        changed = bytearray(piece)
        changed[at] ^= 1
        assert root_of(changed) != root_of(piece)


def test_a_short_leaf_is_not_padded() -> None:
    assert root_of(b"a") != root_of(b"a\0")
    assert leaf_hashes(b"a") != leaf_hashes(b"a\0")


def test_the_root_commits_to_the_length() -> None:
    leaves = leaf_hashes(b"abc")
    assert piece_root(leaves, 3) != piece_root(leaves, 4)


def test_leaf_and_node_hash_apart() -> None:
    left, right = bytes(32), bytes([1]) * 32
    assert piece_hasher().leaf(left + right) != piece_hasher().node(left, right)


@pytest.mark.parametrize(("length", "count"), [(1, 1), (16384, 1), (16385, 2), (4 * 1024 * 1024, 256)])
def test_leaves_are_counted_up(length: int, count: int) -> None:
    assert leaf_count(length) == count


def test_an_empty_piece_has_no_tree() -> None:
    assert TreeBuilder().finish() == []
    for build in (lambda: root_of(b""), lambda: top_of([]), lambda: leaf_count(0)):
        with pytest.raises(ProtocolError):
            build()


@pytest.mark.parametrize("length", [LEAF_BYTES, 2 * LEAF_BYTES + 1])
def test_leaves_of_another_length_are_refused(length: int) -> None:
    with pytest.raises(ProtocolError, match="2 leaves"):
        piece_root([bytes(32), bytes(32)], length)


def test_roots_made_in_a_row_are_those_made_one_by_one() -> None:
    root = root_hasher()
    for length in (1, LEAF_BYTES, 256 * LEAF_BYTES, 2**64 - 1, 1):
        top = keyed(dk("piece-node"), length.to_bytes(8, "little"))
        assert root(top, length) == root_over(top, length)
