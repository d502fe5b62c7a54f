"""What a miner owes in an epoch, with every leaf numbered (PROTOCOL §5.2).

Owns the order of the pieces and the numbering of their leaves. Which roots are owed, and when, is the
registry's; which numbers are asked is hippy.proofs.challenge's.

Invariants: roots are distinct and sorted bytewise, so the numbering depends on the set alone; the numbers
0 … total_leaves-1 are the leaves of the first piece, then of the second, and so on. A million pieces keep 48 MB
(160 MB while they are sorted, which takes three seconds); finding a leaf takes 2 µs, a length 10.

Example::

    inventory = Inventory([(root, 4_194_304), (other, 20_000)])
    root, leaf = inventory.locate(inventory.total_leaves - 1)
    inventory[root]        # the piece's length
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import NamedTuple

from hippy.errors import IntegrityError, UsageError
from hippy.ids import ID_BYTES, Root
from hippy.proofs.tree import leaf_count


class PieceLeaf(NamedTuple):
    """One leaf of one piece; ``leaf`` counts from 0 within the piece."""

    root: Root
    leaf: int


class Inventory(Mapping[Root, int]):
    """The length in bytes of every piece, by root, and the number of every leaf.

    Raises ProtocolError for a piece without bytes, IntegrityError for a root with two lengths: it commits to
    one, so one of the two is a lie.
    """

    __slots__ = ("_ends", "_lengths", "_roots")

    def __init__(self, pieces: Iterable[tuple[Root, int]]) -> None:
        lengths = _distinct(pieces)
        roots = sorted(lengths)
        assert {ID_BYTES}.issuperset(map(len, roots))
        # One run of bytes and two of integers: a list of as many roots would take twice the memory.
        self._roots = b"".join(roots)
        self._lengths = array("Q", (lengths[root] for root in roots))
        self._ends = array("Q", accumulate(leaf_count(length) for length in self._lengths))

    @property
    def total_leaves(self) -> int:
        """Number of leaves of all pieces."""
        return self._ends[-1] if self._ends else 0

    def locate(self, number: int) -> PieceLeaf:
        """Return the leaf with this number.

        Raises UsageError unless it is below ``total_leaves``.
        """
        if not 0 <= number < self.total_leaves:
            raise UsageError(f"no leaf {number} in an inventory of {self.total_leaves}")
        place = bisect_right(self._ends, number)
        return PieceLeaf(self._root(place), number - (self._ends[place - 1] if place else 0))

    def __getitem__(self, root: Root) -> int:
        place = bisect_left(range(len(self)), root, key=self._root)
        if place == len(self) or self._root(place) != root:
            raise KeyError(root)
        return self._lengths[place]

    def __iter__(self) -> Iterator[Root]:
        return map(self._root, range(len(self)))

    def __len__(self) -> int:
        return len(self._ends)

    def _root(self, place: int) -> Root:
        return Root(self._roots[place * ID_BYTES : (place + 1) * ID_BYTES])


def _distinct(pieces: Iterable[tuple[Root, int]]) -> dict[Root, int]:
    lengths: dict[Root, int] = {}
    for root, length in pieces:
        if lengths.setdefault(root, length) != length:
            raise IntegrityError(f"piece {root.hex()} is recorded with {lengths[root]} and with {length} bytes")
    return lengths
