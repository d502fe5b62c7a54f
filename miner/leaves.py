"""One leaf of a piece with its path, and a tree kept level by level so that a path is picked, not computed.

An audit asks for several leaves of a piece (PROTOCOL §5.2). The nodes over all leaves are computed anyway when the
stored leaf hashes are held against the root; kept, they hold every path.

Example::

    levels = levels_of(hashes)
    assert root_over(levels[-1][0], length) == root
    proven(levels, 3, data).path
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hippy.errors import IntegrityError
from hippy.proofs.tree import parents, piece_hasher

Levels = Sequence[Sequence[bytes]]
"""The nodes of a tree from its leaf hashes up to its top, which is alone in the last level; 32 bytes each."""


@dataclass(frozen=True, slots=True)
class ProvenLeaf:
    """A leaf's bytes, 1 … 16,384, and its siblings from the leaf up, 32 bytes each, joined."""

    data: bytes
    path: bytes


def proven(levels: Levels, leaf: int, data: bytes) -> ProvenLeaf:
    """Return leaf ``leaf`` with its path.

    Raises IntegrityError when these are not its bytes.
    """
    if piece_hasher().leaf(data) != levels[0][leaf]:
        raise IntegrityError(f"leaf {leaf} is damaged")
    return ProvenLeaf(data, path_of(levels, leaf))


def levels_of(hashes: Sequence[bytes]) -> Levels:
    """Return all levels of the tree over leaf hashes, of which there is at least one."""
    assert hashes, "a tree has at least one leaf"
    levels, hasher = [hashes], piece_hasher()
    while len(levels[-1]) > 1:
        levels.append(parents(levels[-1], hasher))
    return levels


def path_of(levels: Levels, leaf: int) -> bytes:
    """Return the siblings of one leaf, joined: what hippy.proofs.ranges.prove makes for a count of one."""
    places = ((level, (leaf >> height) ^ 1) for height, level in enumerate(levels))
    return b"".join(level[place] for level, place in places if place < len(level))
