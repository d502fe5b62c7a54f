"""Masks: what a miner needs besides k pieces to make another, and no piece in it (PROTOCOL §7). Pure, but slow.

The validator opens its envelope, makes the seal streams of the sources and of the missing piece, and adds them up as
the code would. It does so a range at a time: k + 1 streams of RANGE_BYTES are in memory, and the mask. A mask of 4 MiB
at 10/24 takes some 30 ms and belongs in a thread.

Example::

    mask = make_mask(opened_key(record, envelopes, home, key), k, n, sources=(0, 1, 2, 4), index=3, piece_length=4096)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from hippy.erasure.codec import Codec
from hippy.erasure.repair import repair_mask
from hippy.errors import IntegrityError
from hippy.seal import envelope_info, open_envelope, xor_seal
from hippy.validator.commit import EnvelopeKey
from hippy.validator.log import Home
from hippy.wire.log import Envelopes
from hippy.wire.segment import SegmentRecord

RANGE_BYTES: Final = 256 * 1024
"""Of each stream at a time: 3 MB at 10/24, 66 MB at k = 255."""


def opened_key(record: SegmentRecord, envelopes: Envelopes | None, home: Home, key: EnvelopeKey) -> bytes:
    """Return the seal key of a segment, 32 bytes.

    Raises IntegrityError when none of its envelopes was made for this key.
    """
    found = () if envelopes is None else envelopes.envelopes
    ours = next((each for each in found if (each.validator, each.key_id) == (home.hotkey, key.key_id)), None)
    if ours is None:
        raise IntegrityError(
            "the segment has no envelope for the key that this validator has",
            hint="restore envelope.key from the backup",
        )
    info = envelope_info(home.network, home.netuid, record.account, record.segment_id, home.hotkey, key.key_id)
    return open_envelope(ours.ciphertext, key.private_key, info)


def make_mask(seal_key: bytes, k: int, n: int, *, sources: Sequence[int], index: int, piece_length: int) -> bytearray:
    """Return the mask with which piece ``index`` is made of exactly k ``sources``."""
    mask = bytearray(piece_length)
    view = memoryview(mask)
    for start in range(0, piece_length, RANGE_BYTES):
        part = view[start : start + RANGE_BYTES]
        fill_mask(seal_key, Codec(k, n), sources=sources, index=index, offset=start, mask=part)
    return mask


def fill_mask(
    seal_key: bytes, codec: Codec, *, sources: Sequence[int], index: int, offset: int, mask: memoryview
) -> None:
    """Fill the range of a mask that begins at ``offset``."""
    streams = {each: _stream(seal_key, each, offset, len(mask)) for each in sources}
    repair_mask(codec, streams, index, _stream(seal_key, index, offset, len(mask)), mask)


def _stream(seal_key: bytes, index: int, offset: int, length: int) -> bytearray:
    stream = bytearray(length)
    xor_seal(seal_key, index, stream, offset)
    return stream
