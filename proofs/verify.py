"""Whether a miner's answer to an audit is one, and what it is worth, entry by entry (PROTOCOL §5.3).

Owns the verdicts. :func:`verify_response` is for the validator that has the whole response,
:func:`verify_evidence` for everybody who has what was kept of it; both come to :func:`judge`, so the two cannot
differ. What a verdict costs is the score's; whether a release is a true one, the registry's.

Invariants: every entry of the request has exactly one verdict, OK only for the leaf that was asked at its place;
roots come from the request and lengths from the verifier's records, nothing that decides comes from the miner; an
answer to another request (network, netuid, validator, miner, epoch, batch, attempt or leaves) is no answer.

Example::

    verified = verify_response(request, scope, inventory, body, hippy.identity.verify)
    if set(verified.verdicts) == {Verdict.OK}:
        keep(encode_evidence(verified.evidence), verified.signature)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, assert_never

from hippy.errors import IntegrityError, ProtocolError, UsageError
from hippy.ids import PublicKey, Root
from hippy.proofs.evidence import Evidence, EvidenceEntry, evidence_of, response_hash
from hippy.proofs.inventory import PieceLeaf
from hippy.proofs.paths import PathHasher, leads_to_root, path_hasher
from hippy.proofs.request import AuditRequest, Scope, encode_request, request_hash
from hippy.proofs.response import Status, parse_response
from hippy.proofs.tree import LEAF_BYTES

if TYPE_CHECKING:
    from typing_extensions import Buffer

CheckSignature = Callable[[PublicKey, bytes, bytes], bool]
"""Public key, message, signature: whether the key signed exactly the message (hippy.identity.verify)."""


class Verdict(IntEnum):
    """What became of one entry; the numbers are those of transcripts (PROTOCOL §5.4)."""

    OK = 0
    LOST = 1
    RELEASED = 2
    NEVER_RECEIVED = 3
    WRONG = 4


@dataclass(frozen=True, slots=True)
class Verified:
    """A response that the miner signed to this request.

    ``releases`` holds the canonical Release of every entry that says RELEASED, by its place; it was neither parsed
    nor checked.
    """

    verdicts: tuple[Verdict, ...]
    evidence: Evidence
    response_hash: bytes
    signature: bytes
    releases: Mapping[int, bytes]


def verify_response(
    request: AuditRequest,
    scope: Scope,
    piece_lengths: Mapping[Root, int],
    body: Buffer,
    check_signature: CheckSignature,
) -> Verified:
    """Return the verdicts of a response and what to keep of it.

    Raises ProtocolError for a malformed one, IntegrityError for one to another request, whose hash is not that of
    its content or which the miner did not sign, and UsageError where ``piece_lengths`` does not fit the request.
    """
    response = parse_response(body, len(request.entries))
    _check_request_hash(request, scope, response.request_hash)  # before a megabyte is hashed
    evidence = evidence_of(response.request_hash, response.entries)
    signed = response_hash(evidence)
    if signed != response.response_hash:
        raise IntegrityError(f"the audit response of miner {scope.miner.hex()} is not what its hash says")
    _check_signed(scope, signed, response.signature, check_signature)
    verdicts = judge(request, piece_lengths, evidence)
    entries = enumerate(response.entries)
    releases = {place: bytes(entry.data) for place, entry in entries if entry.status is Status.RELEASED}
    return Verified(verdicts, evidence, signed, response.signature, releases)


def verify_evidence(
    request: AuditRequest,
    scope: Scope,
    piece_lengths: Mapping[Root, int],
    evidence: Evidence,
    signature: bytes,
    check_signature: CheckSignature,
) -> tuple[Verdict, ...]:
    """Return the verdicts of what was kept of a response.

    Raises IntegrityError if it is of another request or the miner did not sign it, ProtocolError if it does not
    have the request's entries, and UsageError where ``piece_lengths`` does not fit the request.
    """
    _check_request_hash(request, scope, evidence.request_hash)
    _check_signed(scope, response_hash(evidence), signature, check_signature)
    return judge(request, piece_lengths, evidence)


def judge(request: AuditRequest, piece_lengths: Mapping[Root, int], evidence: Evidence) -> tuple[Verdict, ...]:
    """Return the verdict of every entry, given that the miner signed this evidence to this request.

    Raises ProtocolError if it does not have the request's entries, UsageError where ``piece_lengths`` lacks a
    piece of the request or gives it a length without the leaf.
    """
    if len(evidence.entries) != len(request.entries):
        raise ProtocolError(f"{len(evidence.entries)} entries answer a request of {len(request.entries)}")
    hasher = path_hasher()
    pairs = zip(request.entries, evidence.entries, strict=True)
    return tuple([_verdict(asked, _length_of(asked, piece_lengths), answer, hasher) for asked, answer in pairs])


def _verdict(asked: PieceLeaf, piece_length: int, answer: EvidenceEntry, hasher: PathHasher) -> Verdict:
    match answer.status:
        case Status.OK:
            root, leaf = asked
            true = leads_to_root(root, piece_length, leaf, answer.length, answer.digest, answer.path, hasher)
            return Verdict.OK if true else Verdict.WRONG
        case Status.LOST:
            return Verdict.LOST
        case Status.RELEASED:
            return Verdict.RELEASED
        case Status.NEVER_RECEIVED:
            return Verdict.NEVER_RECEIVED
        case never:
            assert_never(never)


def _length_of(asked: PieceLeaf, piece_lengths: Mapping[Root, int]) -> int:
    """Return the length of the piece that is asked for; a request beyond it is never the miner's fault."""
    length = piece_lengths.get(asked.root)
    if length is None:
        raise UsageError(f"no length is recorded for piece {asked.root.hex()}, which the audit asks for")
    if asked.leaf * LEAF_BYTES >= length:
        raise UsageError(f"the audit asks for leaf {asked.leaf} of piece {asked.root.hex()}, which has {length} bytes")
    return length


def _check_request_hash(request: AuditRequest, scope: Scope, found: bytes) -> None:
    if request_hash(scope, encode_request(request)) != found:
        raise IntegrityError(f"the audit response of miner {scope.miner.hex()} answers another request")


def _check_signed(scope: Scope, message: bytes, signature: bytes, check_signature: CheckSignature) -> None:
    if not check_signature(scope.miner, message, signature):
        raise IntegrityError(f"the audit response is not signed by miner {scope.miner.hex()}")
