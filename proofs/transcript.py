"""A validator's account of an epoch's audits: entries, chained under one root (PROTOCOL §5.4).

Owns the chain and the file. Entries are hippy.proofs.transcript_entry's; whether they are true is for whoever
draws the requests again (hippy.proofs.challenge) and judges the evidence (hippy.proofs.verify).

Invariants: the root names network, subnet, validator and epoch besides every entry, so no transcript can be
shown as another; a batch's attempt is entered once, so nothing counts twice; a validator appends with two hashes
and no list.

File (integers little-endian)::

    "HPT1" ‖ network ‖ u16 netuid ‖ validator ‖ u64 epoch ‖ u32 entry_count ‖ entries

Example::

    transcript = parse_transcript(body)
    check_transcript(transcript, published_root)
    for entry in transcript.entries: ...
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import TYPE_CHECKING, Final

from hippy.errors import IntegrityError, ProtocolError, TooLargeError
from hippy.hashing import dk, keyed, u16, u64
from hippy.ids import ID_BYTES, NetworkId, PublicKey
from hippy.proofs.cursor import Cursor
from hippy.proofs.transcript_entry import TranscriptEntry, encode_entry, read_entry

if TYPE_CHECKING:
    from typing_extensions import Buffer

TRANSCRIPT_MAGIC: Final = b"HPT1"
TRANSCRIPT_ENTRIES_MAX: Final = 65_536
"""1,024 miners with 32 batches each, which is what a failure brings, and as many again asked twice."""

_HEADER: Final = Struct(f"<{ID_BYTES}sH{ID_BYTES}sQI")
_SCOPE_KEY: Final = dk("transcript")
_ENTRY_KEY: Final = dk("transcript-entry")


@dataclass(frozen=True, slots=True)
class TranscriptScope:
    """Whose account of which epoch it is, and on which network."""

    network: NetworkId
    netuid: int
    validator: PublicKey
    epoch: int

    def __post_init__(self) -> None:
        assert len(self.network) == ID_BYTES  # they are hashed in a row
        assert len(self.validator) == ID_BYTES


@dataclass(frozen=True, slots=True)
class Transcript:
    """The entries of an epoch, in the order they were entered.

    Raises ProtocolError if one is of a later epoch or stands for an attempt that another entry has, TooLargeError
    for more than 65,536 entries.
    """

    scope: TranscriptScope
    entries: tuple[TranscriptEntry, ...]

    def __post_init__(self) -> None:
        if len(self.entries) > TRANSCRIPT_ENTRIES_MAX:
            raise TooLargeError(f"a transcript has at most {TRANSCRIPT_ENTRIES_MAX} entries, not {len(self.entries)}")
        seen: set[tuple[int, bytes, int, int]] = set()
        for entry in self.entries:
            if entry.epoch > self.scope.epoch:
                raise ProtocolError(f"the transcript of epoch {self.scope.epoch} has a batch of epoch {entry.epoch}")
            asking = (entry.epoch, entry.miner, entry.batch, entry.attempt)
            if asking in seen:
                raise ProtocolError(f"batch {entry.batch} of miner {entry.miner.hex()} is entered twice")
            seen.add(asking)


def first_link(scope: TranscriptScope) -> bytes:
    """Return link 0, which is the root of a transcript without entries."""
    return keyed(_SCOPE_KEY, scope.network + u16(scope.netuid) + scope.validator + u64(scope.epoch))


def next_link(link: bytes, encoded_entry: bytes) -> bytes:
    """Return the link after an entry: H(dk(transcript-entry); link before ‖ entry)."""
    return keyed(_ENTRY_KEY, link, encoded_entry)


def transcript_root(transcript: Transcript) -> bytes:
    """Return the last link."""
    link = first_link(transcript.scope)
    for entry in transcript.entries:
        link = next_link(link, encode_entry(entry))
    return link


def check_transcript(transcript: Transcript, root: bytes) -> None:
    """Check that this is the transcript its validator published.

    Raises IntegrityError if it is not.
    """
    if transcript_root(transcript) != root:
        scope = transcript.scope
        raise IntegrityError(
            f"the transcript of epoch {scope.epoch} is not the one validator {scope.validator.hex()} published"
        )


def encode_transcript(transcript: Transcript) -> bytes:
    """Return the file."""
    scope = transcript.scope
    header = _HEADER.pack(scope.network, scope.netuid, scope.validator, scope.epoch, len(transcript.entries))
    return TRANSCRIPT_MAGIC + header + b"".join(map(encode_entry, transcript.entries))


def parse_transcript(body: Buffer) -> Transcript:
    """Parse a transcript's file: a kilobyte of memory and 30 µs for a full entry, at most 65,536 of them.

    Raises ProtocolError unless it is well formed to the last byte.
    """
    cursor = Cursor(body, "transcript")
    cursor.expect(TRANSCRIPT_MAGIC)
    network, netuid, validator, epoch, count = cursor.read(_HEADER)
    if count > TRANSCRIPT_ENTRIES_MAX:
        raise TooLargeError(f"a transcript has at most {TRANSCRIPT_ENTRIES_MAX} entries, not {count}")
    scope = TranscriptScope(network, netuid, validator, epoch)
    entries = tuple(read_entry(cursor) for _ in range(count))
    cursor.finish()
    return Transcript(scope, entries)
