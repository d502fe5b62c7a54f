"""One piece made of ranges of others, each held against its root before it counts (PROTOCOL §7). Blocking, no I/O.

The code works byte by byte, so a range of the piece is made of the same range of its sources and of the mask
(hippy.erasure.repair). A copy is the one range there is. Leaf hashes are taken as bytes come, so the root of what was
made is known with its last byte.

Example::

    building = Rebuilding(order, mask)
    bad = building.take({3: body, 5: body})     # in a thread, in the order of offsets
    if building.is_done and piece_root(building.leaf_hashes(), length) == order.ticket.root: ...
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from hippy.erasure.codec import Codec
from hippy.erasure.repair import repaired_piece
from hippy.errors import HippyError, ProtocolError
from hippy.ids import Root
from hippy.proofs.ranges import parse_range, verify_range
from hippy.proofs.tree import LEAF_BYTES, TreeBuilder
from hippy.wire.repair import RepairOrder

if TYPE_CHECKING:
    from typing_extensions import Buffer


RANGE_BYTES_MAX: Final = 512 * 1024
"""Of one source at a time. A range costs its source a look at the piece's tree and us a round trip."""

RANGES_BYTES_MAX: Final = 4 * 1024 * 1024
"""Of all sources at a time, whatever k is: 10 give 400 KiB each, so a piece of 4 MiB takes eleven rounds."""


def range_bytes(k: int) -> int:
    """Return how many bytes of each of ``k`` sources are read at a time: whole leaves.

    >>> range_bytes(1) // 1024, range_bytes(10) // 1024, range_bytes(255) // 1024
    (512, 400, 16)
    """
    return max(1, min(RANGE_BYTES_MAX, RANGES_BYTES_MAX // k) // LEAF_BYTES) * LEAF_BYTES


def working_bytes(order: RepairOrder) -> int:
    """Return how much memory an order takes while it is worked on: mask, piece, and twice the ranges under way."""
    length = order.ticket.piece_length
    ranges = min(length, range_bytes(len(order.sources))) * len(order.sources)
    return length + sum(order.blob_lengths()) + 2 * ranges


class Rebuilding:
    """The piece of one order while it is made; used by one thread at a time."""

    def __init__(self, order: RepairOrder, mask: Buffer | None) -> None:
        assert (mask is None) == order.is_copy
        self._order = order
        self._mask = None if mask is None else memoryview(mask)
        self._codec = Codec(order.k, order.n)
        self._tree = TreeBuilder()
        self.piece = bytearray(order.ticket.piece_length)
        """What was made; whole when :attr:`is_done`."""

    @property
    def is_done(self) -> bool:
        """Whether the whole piece was made."""
        return self._tree.length == len(self.piece)

    def next_range(self) -> tuple[int, int]:
        """Return offset and length of what is to be read next, of every source."""
        assert not self.is_done
        offset = self._tree.length
        return offset, min(range_bytes(len(self._order.sources)), len(self.piece) - offset)

    def take(self, bodies: Mapping[int, Buffer]) -> frozenset[int]:
        """Make the next range of the bodies of ranged reads, one of each source by index.

        Returns the sources whose answers are not what they were asked for: then nothing was made.
        """
        offset, length = self.next_range()
        ranges: dict[int, Buffer] = {}
        bad: set[int] = set()
        for source in self._order.sources:
            try:
                ranges[source.index] = self._checked(bodies[source.index], source.root, offset, length)
            except HippyError:
                bad.add(source.index)
        if not bad:
            self._make(ranges, offset, length)
        return frozenset(bad)

    def leaf_hashes(self) -> list[bytes]:
        """Return the leaf hashes of the piece, whose root is still to be compared."""
        assert self.is_done
        return self._tree.finish()

    def _checked(self, body: Buffer, root: Root, offset: int, length: int) -> Buffer:
        """Return the bytes of a ranged read. Raises ProtocolError, IntegrityError when they are not those asked for."""
        proof = parse_range(body)
        asked_for = self._order.ticket.piece_length, offset, length
        if (proof.piece_length, proof.first_leaf * LEAF_BYTES, memoryview(proof.data).nbytes) != asked_for:
            raise ProtocolError("a source answered another range than it was asked for")
        verify_range(root, proof.piece_length, proof.first_leaf, proof.data, proof.siblings)
        return proof.data

    def _make(self, ranges: Mapping[int, Buffer], offset: int, length: int) -> None:
        made = memoryview(self.piece)[offset : offset + length]
        if self._mask is None:
            made[:] = memoryview(ranges[self._order.ticket.index])
        else:
            mask = self._mask[offset : offset + length]
            repaired_piece(self._codec, ranges, self._order.ticket.index, mask, made)
        self._tree.update(made)
