"""What remains of a response when its leaves are left out, and what the miner signs (PROTOCOL §5.3).

Owns the evidence's bytes and the response hash over them. Judging it is hippy.proofs.verify's.

A validator throws a megabyte of leaves away and keeps 18 KiB from which everybody draws the same verdicts. It
shows what the miner signed, not that the leaf bytes were there: a hash can be had without them, so that is the
word of the validator that received them (ADR 7).

Invariants: evidence has one spelling; two responses with one hash say the same about the same request.

Bytes (integers little-endian)::

    request_hash ‖ count times (u8 status ‖ u16 length ‖ digest ‖ u8 sibling_count ‖ siblings)

Example::

    evidence = evidence_of(request_hash, entries)
    assert parse_evidence(encode_evidence(evidence)) == evidence
    signed = response_hash(evidence)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from struct import Struct
from typing import TYPE_CHECKING, Final, assert_never

from hippy.errors import ProtocolError
from hippy.hashing import HASH_BYTES, dk, keyed
from hippy.proofs.cursor import Cursor
from hippy.proofs.request import ENTRIES_MAX
from hippy.proofs.response import ResponseEntry, Status, check_entry, status_of
from hippy.proofs.tree import piece_hasher

if TYPE_CHECKING:
    from typing_extensions import Buffer

_ENTRY: Final = Struct(f"<BH{HASH_BYTES}sB")
_RELEASE_KEY: Final = dk("audit-release")
_RESPONSE_KEY: Final = dk("audit-response")
_NOTHING: Final = bytes(HASH_BYTES)


@dataclass(frozen=True, slots=True)
class EvidenceEntry:
    """What was answered for one leaf: length and digest in place of the bytes.

    ``digest`` is the leaf's hash for OK, H(dk(audit-release); bytes) for RELEASED, else zero.
    Raises ProtocolError for a length, path or digest that the status does not have.
    """

    status: Status
    length: int
    digest: bytes
    path: bytes = b""

    def __post_init__(self) -> None:
        check_entry(self.status, self.length, self.path)
        if len(self.digest) != HASH_BYTES:
            raise ProtocolError(f"a digest has {HASH_BYTES} bytes, not {len(self.digest)}")
        if self.length == 0 and self.digest != _NOTHING:
            raise ProtocolError(f"an audit entry that says {self.status.name} has no digest")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was answered to a request.

    Raises ProtocolError for other than 1 … 64 entries, or a request hash that is none.
    """

    request_hash: bytes
    entries: tuple[EvidenceEntry, ...]

    def __post_init__(self) -> None:
        if len(self.request_hash) != HASH_BYTES:
            raise ProtocolError(f"a request hash has {HASH_BYTES} bytes, not {len(self.request_hash)}")
        if not 1 <= len(self.entries) <= ENTRIES_MAX:
            raise ProtocolError(f"an audit has 1 to {ENTRIES_MAX} entries, not {len(self.entries)}")


def evidence_of(request_hash: bytes, entries: Sequence[ResponseEntry]) -> Evidence:
    """Return the evidence of a response; hashes its leaves, 4 µs each.

    Raises ProtocolError for other than 1 … 64 entries.
    """
    leaf_hash = piece_hasher().leaf
    return Evidence(request_hash, tuple([_evidence_of(entry, leaf_hash) for entry in entries]))


def response_hash(evidence: Evidence) -> bytes:
    """Return what the miner signs: H(dk(audit-response); evidence)."""
    return keyed(_RESPONSE_KEY, encode_evidence(evidence))


def encode_evidence(evidence: Evidence) -> bytes:
    """Return the bytes of evidence, at most 68 KB, 18 KiB for 64 leaves of 4 MiB pieces."""
    parts = [evidence.request_hash]
    for entry in evidence.entries:
        parts += (_ENTRY.pack(entry.status, entry.length, entry.digest, len(entry.path) // HASH_BYTES), entry.path)
    return b"".join(parts)


def parse_evidence(body: Buffer) -> Evidence:
    """Parse evidence of 1 … 64 entries.

    Raises ProtocolError unless it is well formed to the last byte.
    """
    cursor = Cursor(body, "audit evidence")
    bound_to = cursor.take(HASH_BYTES)
    entries: list[EvidenceEntry] = []
    while not cursor.done and len(entries) < ENTRIES_MAX:
        number, length, digest, siblings = cursor.read(_ENTRY)
        entries.append(EvidenceEntry(status_of(number), length, digest, cursor.take(siblings * HASH_BYTES)))
    cursor.finish()
    return Evidence(bound_to, tuple(entries))


def _evidence_of(entry: ResponseEntry, leaf_hash: Callable[[Buffer], bytes]) -> EvidenceEntry:
    match entry.status:
        case Status.OK:
            digest = leaf_hash(entry.data)
        case Status.RELEASED:
            digest = keyed(_RELEASE_KEY, entry.data)
        case Status.LOST | Status.NEVER_RECEIVED:
            digest = _NOTHING
        case never:
            assert_never(never)
    return EvidenceEntry(entry.status, len(entry.data), digest, entry.path)
