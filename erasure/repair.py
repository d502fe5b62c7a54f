"""The repair equation: a sealed piece from k sealed pieces and one mask (PROTOCOL §7).

Sealed pieces are code plus key stream, c_i = (code)_i + s_i. The code is linear, so for sources S and their
coefficients a, c_j = Σ a_i c_i + mask with mask = Σ a_i s_i + s_j. Whoever has the seal key makes the mask and
sees no piece; the new holder reads k pieces and the mask, sees no key, and gets the very bytes that were
lost. Outputs must not overlap anything else. Roots are the caller's: wrong sources give wrong bytes, which the root
of piece j tells.

Example::

    repair_mask(codec, {i: stream(i) for i in sources}, j, stream(j), mask)       # at the key holder
    repaired_piece(codec, {i: sealed[i] for i in sources}, j, mask, piece)        # at the new holder
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from hippy.erasure.codec import Codec, bytes_view
from hippy.erasure.matrix import recovery_rows
from hippy.errors import UsageError

if TYPE_CHECKING:
    from typing_extensions import Buffer


def coefficients(k: int, n: int, sources: Sequence[int], index: int) -> bytes:
    """Return a_i for each of exactly k ``sources``: piece ``index`` is Σ a_i · piece i, before sealing.

    Raises UsageError unless the sources are k other pieces of a k/n code.
    """
    if len(sources) != k or len({*sources, index}) != k + 1 or not all(0 <= each < n for each in (*sources, index)):
        raise UsageError(f"piece {index} of a {k}/{n} code is made of {k} others, not of {list(sources)}")
    return recovery_rows(k, n, sources, (index,))[0]


def repair_mask(codec: Codec, streams: Mapping[int, Buffer], index: int, stream: Buffer, mask: memoryview) -> None:
    """Fill ``mask`` from the seal streams of exactly k sources and the one of piece ``index``, all of one length.

    Raises UsageError for other than k sources, or lengths that differ.
    """
    _combine(codec, streams, index, stream, mask)


def repaired_piece(codec: Codec, sealed: Mapping[int, Buffer], index: int, mask: Buffer, piece: memoryview) -> None:
    """Fill ``piece`` with sealed piece ``index`` from exactly k sealed pieces and their mask, all of one length.

    Raises UsageError for other than k sources, or lengths that differ.
    """
    _combine(codec, sealed, index, mask, piece)


def _combine(codec: Codec, sources: Mapping[int, Buffer], index: int, addend: Buffer, output: memoryview) -> None:
    """output = Σ a_i · source i + addend: mask and piece are the same sum of other things."""
    if len(sources) != codec.k:
        raise UsageError(f"a repair at {codec.k}/{codec.n} has {codec.k} sources, not {len(sources)}")
    added = bytes_view(addend)
    if added.nbytes != output.nbytes:
        raise UsageError(f"{added.nbytes} bytes to add to a piece of {output.nbytes} bytes")
    codec.reconstruct(sources, {index: output})
    codec.engine.add(bytes_view(output), added)
