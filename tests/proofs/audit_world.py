"""A miner with a few pieces, for tests of audits: it answers any request for them, or wrongly where told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache

from blake3 import blake3
from hypothesis import strategies as st

from hippy.ids import NetworkId, PublicKey, Root
from hippy.proofs.evidence import evidence_of, response_hash
from hippy.proofs.inventory import PieceLeaf
from hippy.proofs.ranges import prove
from hippy.proofs.request import AuditRequest, Scope, encode_request, request_hash
from hippy.proofs.response import AuditResponse, ResponseEntry, Status, encode_response
from hippy.proofs.tree import LEAF_BYTES, leaf_hashes, piece_root
from hippy.proofs.verify import Verdict, Verified, verify_response
from tests.reference.audit import stand_in_signature

EDGES = (1, 16_383, 16_384, 16_385, 3 * LEAF_BYTES + 1, 5 * LEAF_BYTES, 256 * LEAF_BYTES)
"""Lengths of pieces at which trees change their shape, up to the longest piece there is."""


def named(name: str, length: int = 32) -> bytes:
    return blake3(name.encode()).digest(length=length)


SCOPE = Scope(NetworkId(named("network")), 3, PublicKey(named("validator")), PublicKey(named("miner")))


class Piece:
    """A piece with its leaf hashes."""

    def __init__(self, data: bytes) -> None:
        self.data = memoryview(data)
        self.hashes = leaf_hashes(data)
        self.root = piece_root(self.hashes, len(data))

    def show(self, leaf: int) -> ResponseEntry:
        data = self.data[leaf * LEAF_BYTES : (leaf + 1) * LEAF_BYTES]
        return ResponseEntry(Status.OK, data, b"".join(prove(self.hashes, leaf, 1)))


@cache
def piece_of(length: int) -> Piece:
    return Piece(named(f"piece {length}", length))


def lengths_of(pieces: Iterable[Piece]) -> dict[Root, int]:
    return {piece.root: len(piece.data) for piece in pieces}


def request_for(leaves: Sequence[tuple[Root, int]], attempt: int = 0) -> AuditRequest:
    return AuditRequest(7, 2, 1_042, attempt, named("token"), tuple(PieceLeaf(*leaf) for leaf in leaves))


def honest_entries(request: AuditRequest, pieces: Iterable[Piece]) -> list[ResponseEntry]:
    by_root = {piece.root: piece for piece in pieces}
    return [by_root[root].show(leaf) for root, leaf in request.entries]


def answer(request: AuditRequest, entries: Sequence[ResponseEntry], scope: Scope = SCOPE) -> bytes:
    """The body of a response with these entries, signed by the scope's miner."""
    bound_to = request_hash(scope, encode_request(request))
    signed = response_hash(evidence_of(bound_to, entries))
    response = AuditResponse(bound_to, tuple(entries), signed, stand_in_signature(scope.miner, signed))
    return b"".join(bytes(part) for part in encode_response(response))


def signed_by(signer: PublicKey, message: bytes, signature: bytes) -> bool:
    return signature == stand_in_signature(signer, message)


def verified(request: AuditRequest, lengths: Mapping[Root, int], body: bytes, scope: Scope = SCOPE) -> Verified:
    return verify_response(request, scope, lengths, body, signed_by)


def verdicts(
    request: AuditRequest, lengths: Mapping[Root, int], entries: Sequence[ResponseEntry]
) -> tuple[Verdict, ...]:
    """What a validator makes of these entries when the miner signed them."""
    return verified(request, lengths, answer(request, entries)).verdicts


@st.composite
def mutations(draw: st.DrawFn, body: bytes) -> bytes:
    """The body cut, extended, with a bit flipped, or with a run of it written over another place."""
    at = draw(st.integers(0, len(body) - 1))
    match draw(st.sampled_from(("cut", "extend", "flip", "splice"))):
        case "cut":
            return body[:at]
        case "extend":
            return body + draw(st.binary(min_size=1, max_size=40))
        case "flip":
            return body[:at] + bytes([body[at] ^ 1 << draw(st.integers(0, 7))]) + body[at + 1 :]
        case _:
            start = draw(st.integers(0, len(body) - 1))
            run = body[start : start + draw(st.integers(1, 80))]
            return body[:at] + run + body[at + draw(st.sampled_from((0, len(run)))) :]
