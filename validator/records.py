"""Segment records as clients are answered them, made of stored bytes (PROTOCOL §4.1, §5.1).

Anybody may ask for 256 records at once, and parsing them would take a quarter of a second; so only those that lost
pieces are parsed, whose holdings an answer leaves out. :func:`records_bytes` says beforehand how long an answer gets.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hippy.ids import SegmentId
from hippy.kv import Reader
from hippy.validator.holdings import lost_indices, without_lost
from hippy.validator.tables import SEGMENT, STORED_BYTES_MAX
from hippy.wire.segment import SegmentRecord

_OPENING, _CLOSING = b'{"segments":[', b"]}"


def records_bytes(registries: Sequence[Reader], segment_ids: Sequence[SegmentId]) -> int:
    """Return how many bytes :func:`encode_records` returns at most."""
    return len(_OPENING) + len(_CLOSING) + sum(len(value) + 1 for _, _, value in _stored(registries, segment_ids))


def encode_records(registries: Sequence[Reader], segment_ids: Sequence[SegmentId]) -> bytes:
    """Return a SegmentsAnswer in canonical spelling: the records there are, in this order, without lost pieces.

    A segment's record is that of the first registry that has it.
    """
    records = (
        _without_lost(reader, value) if lost_indices(reader, segment_id) else value
        for reader, segment_id, value in _stored(registries, segment_ids)
    )
    return _OPENING + b",".join(records) + _CLOSING


def _stored(
    registries: Sequence[Reader], segment_ids: Sequence[SegmentId]
) -> Iterator[tuple[Reader, SegmentId, bytes]]:
    for segment_id in segment_ids:
        for reader in registries:
            value = reader.get(SEGMENT + segment_id)
            if value is not None:
                yield reader, segment_id, value
                break


def _without_lost(reader: Reader, value: bytes) -> bytes:
    return without_lost(reader, SegmentRecord.parse(value, limit=STORED_BYTES_MAX)).encode()
