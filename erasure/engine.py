"""The seam between the code's rules and whoever multiplies in GF(2^8).

An engine gets arguments that hippy.erasure.codec has already checked and fills outputs in place. All engines
compute the same bytes: systematic Reed-Solomon with zfec's generator matrix (polynomial 0x11d), whose rows
are numbered like the pieces: row i < k is data piece i itself, row i >= k a parity piece.

What an engine may rely on: 1 <= k <= n <= 255; every view is a contiguous run of bytes, all of one length, at
least one; outputs are writable and overlap neither each other nor an input. Calls are synchronous, keep no
reference to a buffer, and may come from several threads at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol


class Engine(Protocol):
    """Computes sums of pieces: rows of the code, and plain ones."""

    def encode(
        self,
        k: int,
        n: int,
        data: Sequence[memoryview],
        indices: Sequence[int],
        outputs: Sequence[memoryview],
    ) -> None:
        """Write parity row ``indices[j]`` of the k ``data`` pieces to ``outputs[j]``; k <= row < n, distinct."""

    def decode(self, k: int, n: int, have: Mapping[int, memoryview], want: Mapping[int, memoryview]) -> None:
        """Write the rows that ``want`` names from exactly k other rows in ``have``."""

    def add(self, target: memoryview, other: memoryview) -> None:
        """Add ``other`` to ``target``, which in this field is XOR."""
