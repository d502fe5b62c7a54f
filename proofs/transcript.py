"""A validator's account of an epoch's audits: entries, chained under one root (PROTOCOL §5.4).

Owns the chain and the file. Entries are hippy.proofs.transcript_entry's; whether they are true is for whoever
draws the requests again (hippy.proofs.challenge) and judges the evidence (hippy.proofs.verify).

Invariants: the root names network, subnet, validator and epoch besides every entry, so no transcript can be
shown as another; no two entries share a request, a batch keeps its round, its attempts ascend, and nothing follows
its pass or fail, so it counts once; a validator appends to the chain with one hash, without the entries before.

The rules hold within a transcript. That a batch which is asked in two epochs counts once is for whoever joins
transcripts, and a fail without a response is the validator's word (ADR 7).

File (integers little-endian)::

    "HPT1" ‖ network ‖ u16 netuid ‖ validator ‖ u64 epoch ‖ u32 entry_count ‖ entries

Example::

    transcript = parse_transcript(body)
    check_transcript(transcript, published_root)
    for entry in transcript.entries: ...
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct
from typing import TYPE_CHECKING, Final

from hippy.errors import IntegrityError, ProtocolError, TooLargeError
from hippy.hashing import dk, keyed, u16, u64
from hippy.ids import ID_BYTES, NetworkId, PublicKey
from hippy.proofs.cursor import Cursor
from hippy.proofs.request import check_width
from hippy.proofs.transcript_entry import TranscriptEntry, encode_entry, entry_bytes, read_entry

if TYPE_CHECKING:
    from typing_extensions import Buffer

TRANSCRIPT_MAGIC: Final = b"HPT1"
TRANSCRIPT_ENTRIES_MAX: Final = 65_536
"""1,024 miners with 32 batches each, which is what a failure brings, and as many again asked twice."""

TRANSCRIPT_BYTES_MAX: Final = 32 * 1024 * 1024
"""65,536 entries without voids have 17 MB; 256 miners with 32 batches each, which answer at the fourth asking, have
7 MB, or 25 if every entry of their answers is void."""

_HEADER: Final = Struct(f"<{ID_BYTES}sH{ID_BYTES}sQI")
_SCOPE_KEY: Final = dk("transcript")
_ENTRY_KEY: Final = dk("transcript-entry")
_BEFORE_ENTRIES: Final = len(TRANSCRIPT_MAGIC) + _HEADER.size


@dataclass(frozen=True, slots=True)
class TranscriptScope:
    """Whose account of which epoch it is, and on which network.

    Raises ProtocolError for a number that does not fit its field.
    """

    network: NetworkId
    netuid: int
    validator: PublicKey
    epoch: int

    def __post_init__(self) -> None:
        assert len(self.network) == ID_BYTES  # they are hashed in a row
        assert len(self.validator) == ID_BYTES
        check_width(self.netuid, 16, "the netuid of a transcript")
        check_width(self.epoch, 64, "the epoch of a transcript")


@dataclass(frozen=True, slots=True)
class Transcript:
    """The entries of an epoch, in the order they were entered.

    Raises ProtocolError if one is of a later epoch, has the request of another entry or does not follow from the
    entry before it of the same batch; TooLargeError for more than 65,536 entries or a file above 32 MiB.
    """

    scope: TranscriptScope
    entries: tuple[TranscriptEntry, ...]

    def __post_init__(self) -> None:
        if len(self.entries) > TRANSCRIPT_ENTRIES_MAX:
            raise TooLargeError(f"a transcript has at most {TRANSCRIPT_ENTRIES_MAX} entries, not {len(self.entries)}")
        _check_size(_BEFORE_ENTRIES + sum(map(entry_bytes, self.entries)))
        newest: dict[tuple[int, bytes, int], TranscriptEntry] = {}
        requests: set[bytes] = set()
        for entry in self.entries:
            if entry.epoch > self.scope.epoch:
                raise ProtocolError(f"the transcript of epoch {self.scope.epoch} has a batch of epoch {entry.epoch}")
            batch = (entry.epoch, entry.miner, entry.batch)
            if batch in newest:
                _check_follows(newest[batch], entry)
            newest[batch] = entry
            if entry.request_hash in requests:
                raise _wrong(entry, "has the request of another entry")
            if entry.asked:
                requests.add(entry.request_hash)


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
    return join_transcript(transcript.scope, [encode_entry(entry) for entry in transcript.entries])


def join_transcript(scope: TranscriptScope, encoded_entries: Sequence[bytes]) -> bytes:
    """Return the file of entries that are encoded already, as a validator keeps them."""
    header = _HEADER.pack(scope.network, scope.netuid, scope.validator, scope.epoch, len(encoded_entries))
    return TRANSCRIPT_MAGIC + header + b"".join(encoded_entries)


def parse_transcript(body: Buffer) -> Transcript:
    """Parse a transcript's file of at most 32 MiB and 65,536 entries.

    An entry of 64 verdicts without voids takes 30 to 46 µs and 1.3 KB of memory (1.0 of them kept), one with 64 voids
    160 to 220 µs and 9.5 KB: a full file of the first kind 2 to 3 s and 84 MB, the worst of 32 MiB 3 s and 131 MB.

    Raises TooLargeError above either limit, ProtocolError unless it is well formed to the last byte.
    """
    _check_size(memoryview(body).nbytes)
    cursor = Cursor(body, "transcript")
    cursor.expect(TRANSCRIPT_MAGIC)
    network, netuid, validator, epoch, count = cursor.read(_HEADER)
    if count > TRANSCRIPT_ENTRIES_MAX:
        raise TooLargeError(f"a transcript has at most {TRANSCRIPT_ENTRIES_MAX} entries, not {count}")
    scope = TranscriptScope(network, netuid, validator, epoch)
    entries = tuple(read_entry(cursor) for _ in range(count))
    cursor.finish()
    return Transcript(scope, entries)


def _check_follows(before: TranscriptEntry, entry: TranscriptEntry) -> None:
    """Accept an entry after an earlier one of its batch; raises ProtocolError for what no asking comes to."""
    if before.settled:
        raise _wrong(entry, f"follows its {before.outcome.name}")
    if entry.attempt <= before.attempt:
        raise _wrong(entry, f"follows attempt {before.attempt}")
    if entry.round != before.round:
        raise _wrong(entry, f"has round {entry.round}, which was {before.round}")


def _wrong(entry: TranscriptEntry, what: str) -> ProtocolError:
    return ProtocolError(f"attempt {entry.attempt} at batch {entry.batch} of miner {entry.miner.hex()} {what}")


def _check_size(length: int) -> None:
    if length > TRANSCRIPT_BYTES_MAX:
        raise TooLargeError(f"a transcript has at most {TRANSCRIPT_BYTES_MAX} bytes, not {length}")
