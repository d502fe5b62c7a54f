"""What an audit asks: the body of ``POST /v1/audit`` and its hash (PROTOCOL §5.2).

Owns the request's bytes and what they are bound to. Which leaves are asked is hippy.proofs.challenge's, the
answer hippy.proofs.response's.

Invariants: a request has one spelling; its hash names network, validator and miner besides the body, so no
answer to one request is an answer to another.

Body (integers little-endian)::

    "HPA1" ‖ u64 epoch ‖ u32 batch ‖ u64 round ‖ u8 attempt ‖ u16 count ‖ token ‖ count times (root ‖ u32 leaf)

Example::

    request = parse_request(body)
    bound_to = request_hash(Scope(network, netuid, validator, miner), body)
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import TYPE_CHECKING, Final

from hippy.errors import ProtocolError
from hippy.hashing import HASH_BYTES, dk, keyed, u16
from hippy.ids import ID_BYTES, NetworkId, PublicKey
from hippy.proofs.cursor import Cursor
from hippy.proofs.inventory import PieceLeaf

if TYPE_CHECKING:
    from typing_extensions import Buffer

ENTRIES_MAX: Final = 64
"""Leaves of one batch: their answer is at most 1.1 MB, which a slow miner still sends within its deadline."""

REQUEST_MAGIC: Final = b"HPA1"
_HEADER: Final = Struct(f"<QIQBH{HASH_BYTES}s")
_ENTRY: Final = Struct(f"<{ID_BYTES}sI")
_REQUEST_KEY: Final = dk("audit-request")


@dataclass(frozen=True, slots=True)
class AuditRequest:
    """A batch of leaves to be shown; ``attempt`` counts from 0, entries may repeat.

    ``round`` is the beacon round the batch was drawn from, also when it is asked again.
    Raises ProtocolError for a number that does not fit its field, a token that is no hash, other than 1 … 64
    entries.
    """

    epoch: int
    batch: int
    round: int
    attempt: int
    token: bytes
    entries: tuple[PieceLeaf, ...]

    def __post_init__(self) -> None:
        check_width(self.epoch, 64, "the epoch of an audit request")
        check_width(self.batch, 32, "the batch of an audit request")
        check_width(self.round, 64, "the round of an audit request")
        check_width(self.attempt, 8, "the attempt of an audit request")
        if len(self.token) != HASH_BYTES:
            raise ProtocolError(f"the token of an audit request has {HASH_BYTES} bytes, not {len(self.token)}")
        if not 1 <= len(self.entries) <= ENTRIES_MAX:
            raise ProtocolError(f"an audit asks for 1 to {ENTRIES_MAX} leaves, not {len(self.entries)}")
        for root, leaf in self.entries:
            check_width(leaf, 32, "a leaf of an audit request")
            if len(root) != ID_BYTES:
                raise ProtocolError(f"a root has {ID_BYTES} bytes, not {len(root)}")


@dataclass(frozen=True, slots=True)
class Scope:
    """Who asks whom, and on which network: what a request is bound to besides its body.

    Raises ProtocolError for a netuid that does not fit its field.
    """

    network: NetworkId
    netuid: int
    validator: PublicKey
    miner: PublicKey

    def __post_init__(self) -> None:
        # They are hashed in a row: with other lengths two scopes could share a hash.
        assert all(len(each) == ID_BYTES for each in (self.network, self.validator, self.miner))
        check_width(self.netuid, 16, "the netuid of an audit")


def encode_request(request: AuditRequest) -> bytes:
    """Return the body of ``POST /v1/audit``."""
    counted = len(request.entries)
    header = _HEADER.pack(request.epoch, request.batch, request.round, request.attempt, counted, request.token)
    return REQUEST_MAGIC + header + b"".join(_ENTRY.pack(root, leaf) for root, leaf in request.entries)


def parse_request(body: Buffer) -> AuditRequest:
    """Parse the body of ``POST /v1/audit``.

    Raises ProtocolError unless it is well formed to the last byte.
    """
    cursor = Cursor(body, "audit request")
    cursor.expect(REQUEST_MAGIC)
    epoch, batch, beacon_round, attempt, count, token = cursor.read(_HEADER)
    entries = tuple(PieceLeaf(*cursor.read(_ENTRY)) for _ in range(count))
    cursor.finish()
    return AuditRequest(epoch, batch, beacon_round, attempt, token, entries)


def request_hash(scope: Scope, body: Buffer) -> bytes:
    """Return H(dk(audit-request); network ‖ u16 netuid ‖ validator ‖ miner ‖ body)."""
    return keyed(_REQUEST_KEY, scope.network, u16(scope.netuid), scope.validator, scope.miner, body)


def check_width(value: int, bits: int, what: str) -> None:
    """Accept a number that a field of so many bits can hold; ``what`` names it in the error.

    Raises ProtocolError for any other.
    """
    if not 0 <= value < 1 << bits:
        raise ProtocolError(f"{what} is {value}, which does not fit {bits} bits")
