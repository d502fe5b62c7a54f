"""How fast pieces are hashed, proved and checked: what an upload and an audit cost a miner, and a validator.

Trees are compared with one BLAKE3 over the same bytes, the most that a tree could reach. The audit is what a validator
does with a miner's answer about 64 leaves, the signature included. Speeds are in bytes of the piece, or of the leaves
that are proved.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from hippy.bench.measure import Case, Pace, RoundTeller, Timer, measure, speed_ratio
from hippy.bench.report import Group, Ratio
from hippy.bench.shape import KIB, MIB, size_title
from hippy.erasure.geometry import PIECE_LENGTH_MAX
from hippy.errors import UsageError
from hippy.hashing import HASH_BYTES, digest, dk, xof
from hippy.identity import Identity, verify
from hippy.ids import NetworkId, PublicKey
from hippy.proofs.evidence import evidence_of, response_hash
from hippy.proofs.inventory import PieceLeaf
from hippy.proofs.ranges import RangeProof, encode_range, parse_range, prove, verify_range
from hippy.proofs.request import ENTRIES_MAX, AuditRequest, Scope, encode_request, request_hash
from hippy.proofs.response import AuditResponse, ResponseEntry, Status, encode_response
from hippy.proofs.tree import LEAF_BYTES, TreeBuilder, leaf_hashes, piece_root, root_of
from hippy.proofs.verify import Verdict, verify_response

CHUNK_BYTES: Final = 256 * KIB
"""What a miner is handed by its socket at a time (hippy.transport.limits)."""

RANGE_BYTES: Final = MIB
"""A ranged read: as many leaves as an audit asks for, but one behind the other."""

BLAKE3: Final = "BLAKE3"
TREES: Final = ("tree", "tree in chunks")


def measure_proofs(
    pace: Pace, *, timer: Timer, telling: RoundTeller | None = None, piece_bytes: int = PIECE_LENGTH_MAX
) -> Group:
    """Time trees, proofs and their verification over one piece.

    Raises UsageError for a piece that is shorter than a ranged read, IntegrityError when a case computes something
    wrong.
    """
    if piece_bytes < 2 * RANGE_BYTES:
        raise UsageError(f"a piece of {size_title(piece_bytes)} is too short", hint=f"use {2 * RANGE_BYTES:,} or more")
    piece = xof(dk("bench-data"), piece_bytes)
    cases = [*_tree_cases(piece), *_proof_cases(piece), _audit_case(piece)]
    measured = {each.name: each for each in measure(cases, pace, timer=timer, telling=telling)}
    ratios = tuple(Ratio(name, BLAKE3, speed_ratio(measured[name], measured[BLAKE3])) for name in TREES)
    title = f"a piece of {size_title(piece_bytes)}"
    return Group(title, {"piece_bytes": piece_bytes}, tuple(measured.values()), ratios)


def _tree_cases(piece: bytes) -> Iterator[Case]:
    view, root = memoryview(piece), root_of(piece)

    def built() -> bytes:
        builder = TreeBuilder()
        for start in range(0, len(view), CHUNK_BYTES):
            builder.update(view[start : start + CHUNK_BYTES])
        return piece_root(builder.finish(), builder.length)

    whole, chunks = TREES
    yield Case(BLAKE3, lambda: digest(piece), len(piece), lambda made: len(made) == HASH_BYTES)
    yield Case(whole, lambda: root_of(piece), len(piece), lambda made: made == root)
    yield Case(chunks, built, len(piece), lambda made: made == root)


def _proof_cases(piece: bytes) -> Iterator[Case]:
    view, root, hashes = memoryview(piece), root_of(piece), leaf_hashes(piece)
    middle, count = len(hashes) // 2, RANGE_BYTES // LEAF_BYTES

    def run_of(leaves: int) -> memoryview:
        return view[middle * LEAF_BYTES :][: leaves * LEAF_BYTES]

    def proves(siblings: list[bytes]) -> bool:
        verify_range(root, len(piece), middle, run_of(1), siblings)
        return True

    siblings = tuple(prove(hashes, middle, count))
    body = b"".join(encode_range(RangeProof(len(piece), middle, run_of(count), siblings)))

    def read() -> RangeProof:
        proof = parse_range(body)
        verify_range(root, len(piece), middle, proof.data, proof.siblings)
        return proof

    yield Case("leaf proved", lambda: prove(hashes, middle, 1), LEAF_BYTES, proves)
    yield Case("ranged read verified", read, RANGE_BYTES, lambda made: made.data == run_of(count))


def _audit_case(piece: bytes) -> Case:
    """Return the verification of a full response: 64 leaves spread over the piece, all there."""
    view, root, hashes = memoryview(piece), root_of(piece), leaf_hashes(piece)
    leaves = [place * len(hashes) // ENTRIES_MAX for place in range(ENTRIES_MAX)]
    request = AuditRequest(
        epoch=1,
        batch=0,
        round=1,
        attempt=0,
        token=dk("bench-token"),
        entries=tuple(PieceLeaf(root, at) for at in leaves),
    )
    miner = Identity.from_seed(dk("bench-miner"))
    scope = Scope(NetworkId(dk("bench-network")), 1, PublicKey(dk("bench-validator")), miner.public_key)
    entries = tuple(
        ResponseEntry(Status.OK, view[at * LEAF_BYTES :][:LEAF_BYTES], b"".join(prove(hashes, at, 1))) for at in leaves
    )
    answers = request_hash(scope, encode_request(request))
    signed = response_hash(evidence_of(answers, entries))
    body = b"".join(encode_response(AuditResponse(answers, entries, signed, miner.sign(signed))))
    return Case(
        f"audit of {ENTRIES_MAX} verified",
        lambda: verify_response(request, scope, {root: len(piece)}, body, verify),
        sum(len(entry.data) for entry in entries),
        lambda made: set(made.verdicts) == {Verdict.OK},
    )
