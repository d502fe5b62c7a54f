"""What a miner answers to an audit: leaves with their paths, or why there is none (PROTOCOL §5.3).

Owns the response's bytes. Whether they are true is hippy.proofs.verify's, what is signed hippy.proofs.evidence's.

Invariants: a response has one spelling; entries stand in the order of the request and carry neither root nor
index, so a leaf can only be judged against what was asked at its place; leaf bytes are copied neither on the way
out nor on the way in.

Body (integers little-endian)::

    "HPR1" ‖ request_hash ‖ count entries ‖ response_hash ‖ signature
    entry = u8 status ‖ u16 length ‖ bytes ‖ u8 sibling_count ‖ siblings, 32 bytes each

Example::

    entries = (ResponseEntry(Status.OK, leaf, b"".join(prove(hashes, 3, 1))), ResponseEntry(Status.LOST))
    signed = response_hash(evidence_of(request_hash, entries))
    buffers = encode_response(AuditResponse(request_hash, entries, signed, identity.sign(signed)))
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from typing import TYPE_CHECKING, Final

from hippy.errors import ProtocolError
from hippy.hashing import HASH_BYTES
from hippy.proofs.cursor import Cursor
from hippy.proofs.paths import SIBLINGS_MAX
from hippy.proofs.tree import LEAF_BYTES

if TYPE_CHECKING:
    from typing_extensions import Buffer

RESPONSE_MAGIC: Final = b"HPR1"
RELEASE_BYTES_MAX: Final = 2_048
"""A Release is a ticket's worth of fields and a few hashes as evidence (PROTOCOL §5.3)."""

SIGNATURE_BYTES: Final = 64

_BEFORE: Final = Struct("<BH")


class Status(IntEnum):
    """What a miner says about one leaf; the numbers are the wire's."""

    OK = 0
    LOST = 1
    RELEASED = 2
    NEVER_RECEIVED = 3


_BY_NUMBER: Final = tuple(Status)
_LENGTHS: Final = (range(1, LEAF_BYTES + 1), range(1), range(1, RELEASE_BYTES_MAX + 1), range(1))
_PATH_LENGTHS: Final = (range(0, SIBLINGS_MAX * HASH_BYTES + 1, HASH_BYTES), range(1), range(1), range(1))
"""By status: how many bytes, and how many bytes of siblings, an entry may have."""


def status_of(number: int) -> Status:
    """Return the status with this number on the wire.

    Raises ProtocolError if there is none.
    """
    if number >= len(_BY_NUMBER):
        raise ProtocolError(f"an audit entry has no status {number}")
    return _BY_NUMBER[number]


def check_entry(status: Status, length: int, path: bytes) -> None:
    """Accept what an entry of this status may hold: so many bytes, and a path only beside a leaf.

    Raises ProtocolError for anything else.
    """
    if length not in _LENGTHS[status]:
        raise ProtocolError(f"an audit entry that says {status.name} does not have {length} bytes")
    if len(path) not in _PATH_LENGTHS[status]:
        raise ProtocolError(f"an audit entry that says {status.name} does not have a path of {len(path)} bytes")


@dataclass(frozen=True, slots=True)
class ResponseEntry:
    """The answer for one leaf: ``data`` is the leaf, or the canonical Release of its obligation, or nothing.

    ``path`` is the leaf's siblings, joined. Raises ProtocolError for lengths that the status does not have.
    """

    status: Status
    data: bytes | memoryview = b""
    path: bytes = b""

    def __post_init__(self) -> None:
        check_entry(self.status, len(self.data), self.path)


@dataclass(frozen=True, slots=True)
class AuditResponse:
    """The answer to a request, well formed but not yet checked; ``signature`` is over ``response_hash``."""

    request_hash: bytes
    entries: tuple[ResponseEntry, ...]
    response_hash: bytes
    signature: bytes

    def __post_init__(self) -> None:
        assert len(self.request_hash) == HASH_BYTES
        assert len(self.response_hash) == HASH_BYTES
        assert len(self.signature) == SIGNATURE_BYTES


def encode_response(response: AuditResponse) -> list[Buffer]:
    """Return the body as buffers to send in turn; leaf bytes are not copied."""
    buffers: list[Buffer] = []
    between = RESPONSE_MAGIC + response.request_hash
    for entry in response.entries:
        buffers += (between + _BEFORE.pack(entry.status, len(entry.data)), entry.data)
        between = bytes([len(entry.path) // HASH_BYTES]) + entry.path
    return [*buffers, between + response.response_hash + response.signature]


def parse_response(body: Buffer, count: int) -> AuditResponse:
    """Parse the answer to a request of ``count`` entries; leaves stay views of ``body``.

    Raises ProtocolError unless it is well formed to the last byte.
    """
    cursor = Cursor(body, "audit response")
    cursor.expect(RESPONSE_MAGIC)
    bound_to = cursor.take(HASH_BYTES)
    entries = tuple([_parse_entry(cursor) for _ in range(count)])
    signed, signature = cursor.take(HASH_BYTES), cursor.take(SIGNATURE_BYTES)
    cursor.finish()
    return AuditResponse(bound_to, entries, signed, signature)


def _parse_entry(cursor: Cursor) -> ResponseEntry:
    number, length = cursor.read(_BEFORE)
    data = cursor.view(length)
    return ResponseEntry(status_of(number), data, cursor.take(cursor.byte() * HASH_BYTES))
