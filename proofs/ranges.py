"""Proofs that a run of leaves belongs to a piece, and the body that carries one over the wire.

Owns the siblings of a contiguous range, their order, and the ranged read's body. Which leaves to ask for and
what a failure costs is the caller's. Audits use it with one leaf, ranged reads with a few (PROTOCOL §4, §5).

Sibling order: level by level from the leaves up; at each level first the left sibling, if the range starts at
an odd node, then the right one, if the range ends at an even node that has one. For a single leaf this is the
audit path of RFC 9162. The counts follow from the range and the piece length alone, so a proof has exactly
one spelling: nothing can be left out, added or reordered.

Body of a ranged read (integers little-endian)::

    "HPP1" ‖ u64 piece_length ‖ u32 first_leaf ‖ u32 leaf_count ‖ u16 sibling_count
    ‖ siblings, 32 bytes each ‖ leaf bytes to the end

A parsed body is well formed, not true; :func:`verify_range` against a root one already holds decides that.

Example::

    first, count = covering_leaves(offset, length, piece_length)
    proof = parse_range(body)
    verify_range(root, piece_length, first, proof.data, proof.siblings)
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hippy.errors import IntegrityError, ProtocolError
from hippy.hashing import HASH_BYTES
from hippy.ids import Root
from hippy.proofs.tree import (
    LEAF_BYTES,
    TreeHasher,
    leaf_count,
    leaf_hashes,
    parents,
    piece_hasher,
    root_over,
)

if TYPE_CHECKING:
    from typing_extensions import Buffer

RANGE_MAGIC: Final = b"HPP1"
_HEADER: Final = struct.Struct("<4sQIIH")


def covering_leaves(offset: int, length: int, piece_length: int) -> tuple[int, int]:
    """Return the first and the number of the leaves that hold ``length`` bytes from ``offset`` on.

    Raises ProtocolError unless the bytes are at least one and all inside the piece.
    """
    if offset < 0 or length < 1 or offset + length > piece_length:
        raise ProtocolError(f"{length} bytes at {offset} are not in a piece of {piece_length} bytes")
    first = offset // LEAF_BYTES
    return first, (offset + length - 1) // LEAF_BYTES - first + 1


def sibling_count(first: int, count: int, total: int) -> int:
    """Return how many siblings prove ``count`` leaves from ``first`` on in a tree of ``total`` leaves.

    Raises ProtocolError unless the range is in the tree and not empty.
    """
    return sum(step.left + step.right for step in _steps(first, count, total))


def prove(hashes: Sequence[bytes], first: int, count: int, hasher: TreeHasher | None = None) -> list[bytes]:
    """Return the siblings of ``count`` leaves from ``first`` on, given all leaf hashes of the tree.

    Raises ProtocolError unless the range is in the tree and not empty.
    """
    siblings: list[bytes] = []
    level, hasher = hashes, hasher or piece_hasher()
    for step in _steps(first, count, len(hashes)):
        if step.left:
            siblings.append(level[step.low - 1])
        if step.right:
            siblings.append(level[step.high + 1])
        level = parents(level, hasher)
    return siblings


def fold(
    hashes: Sequence[bytes],
    first: int,
    total: int,
    siblings: Sequence[bytes],
    hasher: TreeHasher | None = None,
) -> bytes:
    """Return the top that these leaf hashes, from ``first`` on in a tree of ``total`` leaves, and siblings imply.

    Raises ProtocolError unless the range is in the tree, the siblings are exactly as many as it takes and
    every hash has 32 bytes.
    """
    steps = list(_steps(first, len(hashes), total))
    expected = sum(step.left + step.right for step in steps)
    if len(siblings) != expected:
        raise ProtocolError(f"the proof has {len(siblings)} siblings where it takes {expected}")
    if any(len(each) != HASH_BYTES for each in (*hashes, *siblings)):
        raise ProtocolError(f"a hash of the proof has not {HASH_BYTES} bytes")
    rest = iter(siblings)
    level, hasher = list(hashes), hasher or piece_hasher()
    for step in steps:
        if step.left:
            level.insert(0, next(rest))
        if step.right:
            level.append(next(rest))
        level = parents(level, hasher)
    return level[0]


def verify_range(root: Root, piece_length: int, first_leaf: int, data: Buffer, siblings: Sequence[bytes]) -> None:
    """Check that ``data`` is the leaves from ``first_leaf`` on of the piece with this root and length.

    Raises ProtocolError if it is not whole leaves of such a piece or has other than the right number of
    siblings, IntegrityError if it is but does not lead to the root.
    """
    _check_whole_leaves(piece_length, first_leaf, memoryview(data).nbytes)
    top = fold(leaf_hashes(data), first_leaf, leaf_count(piece_length), siblings)
    if root_over(top, piece_length) != root:
        raise IntegrityError(f"leaves from {first_leaf} on do not belong to piece {root.hex()}")


@dataclass(frozen=True, slots=True)
class RangeProof:
    """A run of whole leaves of a piece with its siblings, as a ranged read answers it.

    Raises ProtocolError unless the range is in the piece and the siblings are as many as it takes.
    """

    piece_length: int
    first_leaf: int
    data: Buffer
    siblings: tuple[bytes, ...]

    def __post_init__(self) -> None:
        count = _check_whole_leaves(self.piece_length, self.first_leaf, memoryview(self.data).nbytes)
        expected = sibling_count(self.first_leaf, count, leaf_count(self.piece_length))
        if len(self.siblings) != expected or any(len(each) != HASH_BYTES for each in self.siblings):
            raise ProtocolError(f"the proof needs {expected} siblings of {HASH_BYTES} bytes")

    @property
    def count(self) -> int:
        """Number of leaves in ``data``."""
        return leaf_count(memoryview(self.data).nbytes)


def encode_range(proof: RangeProof) -> list[Buffer]:
    """Return the body of a ranged read as buffers to send in turn; the leaf bytes are not copied."""
    header = _HEADER.pack(RANGE_MAGIC, proof.piece_length, proof.first_leaf, proof.count, len(proof.siblings))
    return [header + b"".join(proof.siblings), proof.data]


def parse_range(body: Buffer) -> RangeProof:
    """Parse the body of a ranged read; its leaf bytes stay a view of ``body``.

    Work and memory are bounded by the body's own length. Raises ProtocolError unless it is well formed to the
    last byte.
    """
    view = memoryview(body)
    if len(view) < _HEADER.size:
        raise ProtocolError(f"a ranged read of {len(view)} bytes is shorter than its header")
    magic, piece_length, first, count, siblings = _HEADER.unpack_from(view)
    if magic != RANGE_MAGIC:
        raise ProtocolError(f"a ranged read starts with {RANGE_MAGIC!r}, not {magic!r}")
    data_at = _HEADER.size + siblings * HASH_BYTES
    places = range(_HEADER.size, min(data_at, len(view)), HASH_BYTES)
    proof = RangeProof(piece_length, first, view[data_at:], tuple(bytes(view[at : at + HASH_BYTES]) for at in places))
    if proof.count != count:
        raise ProtocolError(f"a ranged read says {count} leaves and carries {proof.count}")
    return proof


@dataclass(frozen=True, slots=True)
class _Step:
    """One level on the way up: the places of the range's first and last node, and which siblings it takes."""

    low: int
    high: int
    left: bool
    right: bool


def _steps(first: int, count: int, total: int) -> Iterator[_Step]:
    if first < 0 or count < 1 or first + count > total:
        raise ProtocolError(f"{count} leaves from {first} on are not in a tree of {total}")
    low, high, width = first, first + count - 1, total
    while width > 1:
        yield _Step(low, high, left=low % 2 == 1, right=high % 2 == 0 and high + 1 < width)
        low, high, width = low // 2, high // 2, (width + 1) // 2


def _check_whole_leaves(piece_length: int, first_leaf: int, length: int) -> int:
    """Return how many leaves these bytes from ``first_leaf`` on are; only the piece's last may be short."""
    _, count = covering_leaves(first_leaf * LEAF_BYTES, length, piece_length)
    if length % LEAF_BYTES and first_leaf * LEAF_BYTES + length != piece_length:
        raise ProtocolError(f"{length} bytes from leaf {first_leaf} on are not whole leaves")
    return count
