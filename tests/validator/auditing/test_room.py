"""How full a transcript may be before batches wait for the next: first askings always find room."""

from __future__ import annotations

from hippy.ids import PublicKey
from hippy.proofs.transcript import TRANSCRIPT_BYTES_MAX, TRANSCRIPT_ENTRIES_MAX
from hippy.proofs.transcript_entry import (
    ENTRY_BYTES_MAX,
    Outcome,
    TranscriptEntry,
    Void,
    VoidReason,
    encode_entry,
    entry_bytes,
)
from hippy.proofs.verify import Verdict
from hippy.validator.auditing.room import FIRST_ENTRIES_MAX, TranscriptRoom

MINER = PublicKey(b"m" * 32)
SILENT = TranscriptEntry(7, MINER, 0, 9, 0, 1, Outcome.SILENT, b"q" * 32)
LONGEST = TranscriptEntry(
    7,
    MINER,
    0,
    9,
    0,
    1,
    Outcome.PASS,
    b"q" * 32,
    b"r" * 32,
    b"s" * 64,
    (Verdict.LOST,) * 64,
    tuple(Void(place, VoidReason.REPORTED_LOST, b"i" * 32) for place in range(64)),
)


def entries_until_full(entry: TranscriptEntry) -> int:
    room, count = TranscriptRoom(), 0
    while room.again_max:
        room.add(entry)
        count += 1
    return count


def test_short_entries_leave_room_for_every_first_asking() -> None:
    assert entries_until_full(SILENT) == TRANSCRIPT_ENTRIES_MAX - FIRST_ENTRIES_MAX


def test_long_entries_leave_room_for_every_first_asking_as_long_as_they_get() -> None:
    assert entry_bytes(LONGEST) == len(encode_entry(LONGEST)) == ENTRY_BYTES_MAX
    count = entries_until_full(LONGEST)
    assert count < TRANSCRIPT_ENTRIES_MAX - FIRST_ENTRIES_MAX
    rest = TRANSCRIPT_BYTES_MAX - count * ENTRY_BYTES_MAX
    assert (FIRST_ENTRIES_MAX - 1) * ENTRY_BYTES_MAX <= rest < (FIRST_ENTRIES_MAX + 1) * ENTRY_BYTES_MAX
