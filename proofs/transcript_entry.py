"""One entry of a transcript: what became of one asking of one batch (PROTOCOL §5.4).

Owns the entry's bytes and the rules by which its fields agree, which outsiders check as the validator does.
Joining entries is hippy.proofs.transcript's; what an outcome costs is the score's.

Invariants: an entry has one spelling; a response is there altogether (hash, signature, verdicts) or not at all; a
pass has only entries that are OK or void, a fail with a response has one that is neither; silence and absence have
no response. A fail without one is a batch that stayed unanswered to the end: the validator's word, as silence is.

Bytes (integers little-endian)::

    u64 epoch ‖ miner ‖ u32 batch ‖ u64 round ‖ u8 attempt ‖ u64 time ‖ u8 outcome
    ‖ request_hash ‖ response_hash ‖ signature ‖ u16 verdict_count ‖ verdicts, u8 each ‖ u16 void_count ‖ voids
    void = u8 entry ‖ u8 reason ‖ reference

Example::

    entry = TranscriptEntry(7, miner, 0, 1_204, 0, now, Outcome.SILENT, request_hash)
    link = next_link(link, encode_entry(entry))
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise
from struct import Struct
from typing import Final, TypeVar, assert_never

from hippy.errors import ProtocolError
from hippy.hashing import HASH_BYTES
from hippy.ids import ID_BYTES, ZERO_ID, PublicKey
from hippy.proofs.cursor import Cursor
from hippy.proofs.request import ENTRIES_MAX
from hippy.proofs.response import SIGNATURE_BYTES
from hippy.proofs.verify import Verdict

_HEADER: Final = Struct(f"<Q{ID_BYTES}sIQBQB{HASH_BYTES}s{HASH_BYTES}s{SIGNATURE_BYTES}sH")
_COUNT: Final = Struct("<H")
_VOID: Final = Struct(f"<BB{ID_BYTES}s")
_NO_SIGNATURE: Final = bytes(SIGNATURE_BYTES)

ENTRY_BYTES_MAX: Final = _HEADER.size + _COUNT.size + ENTRIES_MAX * (1 + _VOID.size)


class Outcome(IntEnum):
    """What became of a batch: UNKNOWN is our own failure, OFFLINE a miner that no liveness check found either.

    FAIL is a bad answer, or none to the last asking: after three that were SILENT, or 24 hours after the batch was due.
    """

    PASS = 0
    FAIL = 1
    SILENT = 2
    OFFLINE = 3
    UNKNOWN = 4


class VoidReason(IntEnum):
    """Why an entry counts for nothing: released before the epoch it was asked in, or reported lost before the round."""

    ENDED = 0
    REPORTED_LOST = 1


_VERDICTS: Final = tuple(Verdict)
_OUTCOMES: Final = tuple(Outcome)
_REASONS: Final = tuple(VoidReason)


@dataclass(frozen=True, slots=True)
class Void:
    """An entry of the batch that counts for nothing; ``reference`` is the id of the SegmentReleased or LostReport."""

    entry: int
    reason: VoidReason
    reference: bytes


@dataclass(frozen=True, slots=True)
class TranscriptEntry:
    """One asking of one batch; ``epoch`` and ``round`` are the batch's own, ``time`` when it was asked, Unix seconds.

    Zeros stand for a request that was never sent and for a response that never came. Raises ProtocolError unless
    the fields fit their width and agree with each other.
    """

    epoch: int
    miner: PublicKey
    batch: int
    round: int
    attempt: int
    time: int
    outcome: Outcome
    request_hash: bytes = ZERO_ID
    response_hash: bytes = ZERO_ID
    signature: bytes = _NO_SIGNATURE
    verdicts: tuple[Verdict, ...] = ()
    voids: tuple[Void, ...] = ()

    def __post_init__(self) -> None:
        self._check_widths()
        self._check_request()
        self._check_response()
        self._check_voids()
        self._check_outcome()

    @property
    def asked(self) -> bool:
        """Whether a request was sent."""
        return self.request_hash != ZERO_ID

    @property
    def answered(self) -> bool:
        """Whether there is a response."""
        return bool(self.verdicts)

    @property
    def settled(self) -> bool:
        """Whether the batch is not asked again."""
        match self.outcome:
            case Outcome.PASS | Outcome.FAIL:
                return True
            case Outcome.SILENT | Outcome.OFFLINE | Outcome.UNKNOWN:
                return False
            case never:
                assert_never(never)

    def _check_widths(self) -> None:
        numbers = ((self.epoch, 64), (self.batch, 32), (self.round, 64), (self.attempt, 8), (self.time, 64))
        fit = all(0 <= number < 1 << bits for number, bits in numbers)
        hashes = (self.miner, self.request_hash, self.response_hash, *(void.reference for void in self.voids))
        if not fit or any(len(each) != HASH_BYTES for each in hashes) or len(self.signature) != SIGNATURE_BYTES:
            raise self._wrong("has a field that does not fit")
        if len(self.verdicts) > ENTRIES_MAX:
            raise self._wrong(f"has {len(self.verdicts)} verdicts, more than a batch")

    def _check_request(self) -> None:
        if not self.asked and (self.outcome is not Outcome.UNKNOWN or self.attempt or self.voids):
            raise self._wrong("was not asked, and yet something came of it")

    def _check_response(self) -> None:
        signs = {self.answered, self.response_hash != ZERO_ID, self.signature != _NO_SIGNATURE}
        if len(signs) > 1:
            raise self._wrong("has a part of a response")

    def _check_voids(self) -> None:
        limit = len(self.verdicts) or ENTRIES_MAX
        places = [void.entry for void in self.voids]
        if any(not 0 <= place < limit for place in places) or any(low >= high for low, high in pairwise(places)):
            raise self._wrong("voids entries that are not there, or out of order")

    def _check_outcome(self) -> None:
        void = {void.entry for void in self.voids}
        passed = all(verdict is Verdict.OK or place in void for place, verdict in enumerate(self.verdicts))
        match self.outcome:
            case Outcome.PASS:
                right = self.answered and passed
            case Outcome.FAIL:
                right = not self.answered or not passed
            case Outcome.SILENT | Outcome.OFFLINE | Outcome.UNKNOWN:
                right = not self.answered
            case never:
                assert_never(never)
        if not right:
            raise self._wrong(f"has an outcome, {self.outcome.name}, that its verdicts do not have")

    def _wrong(self, what: str) -> ProtocolError:
        batch = f"batch {self.batch} of epoch {self.epoch}, miner {self.miner.hex()}, attempt {self.attempt}"
        return ProtocolError(f"the transcript's entry for {batch} {what}")


def encode_entry(entry: TranscriptEntry) -> bytes:
    """Return the bytes of an entry, at most ENTRY_BYTES_MAX."""
    header = _HEADER.pack(
        entry.epoch,
        entry.miner,
        entry.batch,
        entry.round,
        entry.attempt,
        entry.time,
        entry.outcome,
        entry.request_hash,
        entry.response_hash,
        entry.signature,
        len(entry.verdicts),
    )
    voids = b"".join(_VOID.pack(void.entry, void.reason, void.reference) for void in entry.voids)
    return header + bytes(entry.verdicts) + _COUNT.pack(len(entry.voids)) + voids


def entry_bytes(entry: TranscriptEntry) -> int:
    """Return how many bytes :func:`encode_entry` makes of an entry."""
    return _HEADER.size + len(entry.verdicts) + _COUNT.size + len(entry.voids) * _VOID.size


def read_entry(cursor: Cursor) -> TranscriptEntry:
    """Parse the next entry; nothing is made of more verdicts or voids than a batch has.

    Raises ProtocolError unless it is well formed and its fields agree.
    """
    epoch, miner, batch, beacon_round, attempt, time, outcome, asked, answered, signature, count = cursor.read(_HEADER)
    _check_count(count, "verdicts")
    verdicts = tuple([_member(_VERDICTS, number) for number in cursor.take(count)])
    (void_count,) = cursor.read(_COUNT)
    _check_count(void_count, "voids")
    # All at once: reading void by void took half of the time of an entry that has 64.
    voids = tuple([_void_of(*fields) for fields in _VOID.iter_unpack(cursor.view(void_count * _VOID.size))])
    return TranscriptEntry(
        epoch,
        miner,
        batch,
        beacon_round,
        attempt,
        time,
        _member(_OUTCOMES, outcome),
        asked,
        answered,
        signature,
        verdicts,
        voids,
    )


def _check_count(count: int, what: str) -> None:
    if count > ENTRIES_MAX:
        raise ProtocolError(f"a transcript's entry has {count} {what}, more than a batch has entries")


def _void_of(entry: int, reason: int, reference: bytes) -> Void:
    return Void(entry, _member(_REASONS, reason), reference)


_Member = TypeVar("_Member", bound=IntEnum)


def _member(members: tuple[_Member, ...], number: int) -> _Member:
    """Return the member with this number; an entry has up to 128 of them, and calling the enum is slow."""
    if number >= len(members):
        raise ProtocolError(f"a transcript has no {type(members[0]).__name__} {number}")
    return members[number]
