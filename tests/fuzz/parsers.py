"""Every parser that reads a stranger's bytes, with valid samples of what it reads.

Each is called with bytes and may raise HippyError and nothing else. A parser here does what its callers do next, too:
shapes, ids and signatures of what was parsed, and encoding it again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

from multidict import CIMultiDict

from hippy.endpoint import Endpoint
from hippy.errors import ProtocolError
from hippy.identity import ss58_decode
from hippy.ids import PublicKey, id_from_hex
from hippy.proofs.cursor import Cursor
from hippy.proofs.evidence import encode_evidence, evidence_of, parse_evidence
from hippy.proofs.inventory import PieceLeaf
from hippy.proofs.ranges import RangeProof, encode_range, parse_range, prove, verify_range
from hippy.proofs.request import AuditRequest, encode_request, parse_request
from hippy.proofs.response import AuditResponse, ResponseEntry, Status, encode_response, parse_response
from hippy.proofs.transcript import Transcript, TranscriptScope, encode_transcript, parse_transcript, transcript_root
from hippy.proofs.transcript_entry import Outcome, TranscriptEntry, encode_entry, read_entry
from hippy.proofs.tree import leaf_hashes, root_of
from hippy.proofs.verify import Verdict
from hippy.wire.audit import EpochHeader
from hippy.wire.btauth import NonceWindow, SignedRequest, sign_request, verify_request
from hippy.wire.canonical import Message
from hippy.wire.object import ObjectRow, ReadAnswer, WriteRequest
from hippy.wire.pace import pace_of
from hippy.wire.parts import encode_parts, parse_parts
from hippy.wire.release import Release
from hippy.wire.segment import SegmentRecord, SegmentSpec
from hippy.wire.ticket import TicketProof
from tests.wire.samples import ACCOUNT, MESSAGES, MINER, NETWORK, ROW, TIME, VALIDATOR, ticket

PIECE = bytes(range(256)) * 256
LEAVES = leaf_hashes(PIECE)
ROOT = root_of(PIECE)
NOW_NS = TIME * 10**9


@dataclass(frozen=True, slots=True)
class Parser:
    """A parser, what it is called here, and what it accepts."""

    name: str
    parse: Callable[[bytes], object]
    samples: Sequence[bytes]


def _message_parser(kind: type[Message]) -> Callable[[bytes], object]:
    def parse(raw: bytes) -> object:
        message = kind.parse(raw, limit=2**21)
        message.id(NETWORK)
        match message:
            case SegmentSpec() | ObjectRow() | EpochHeader():
                message.check_shape()
            case SegmentRecord():
                assert message.segment_id
            case TicketProof():
                message.check(NETWORK)
            case Release():
                message.check(ticket(), NETWORK, TIME, pace_of(3600))
        return message

    return parse


def _messages() -> list[Parser]:
    by_kind = sorted(MESSAGES, key=lambda message: message.TYPE)
    return [
        Parser(name, _message_parser(type(found[0])), [message.encode() for message in found])
        for name, found in ((name, list(group)) for name, group in groupby(by_kind, key=lambda message: message.TYPE))
    ]


def _parts() -> list[Parser]:
    write = next(message for message in MESSAGES if isinstance(message, WriteRequest))
    write = write.model_copy(update={"rows": (ROW, ROW.model_copy(update={"version": 3}))})
    read = next(message for message in MESSAGES if isinstance(message, ReadAnswer))
    samples = [encode_parts(write, [b"12345"] * len(write.blob_lengths()))]
    answers = [encode_parts(read, [b"12345"] * len(read.blob_lengths()))]
    return [
        Parser("objects-write, with parts", lambda body: parse_parts(WriteRequest, body), samples),
        Parser("objects-found, with parts", lambda body: parse_parts(ReadAnswer, body), answers),
    ]


SIGNED = SignedRequest("POST", "/v1/x?y=z", b"body")


def _verify_headers(raw: bytes) -> object:
    """Read header lines as a server has them after aiohttp, and check the request's signature."""
    pairs = (one.partition(": ") for one in raw.decode("utf-8", "surrogateescape").split("\n"))
    headers = CIMultiDict((name, value) for name, colon, value in pairs if colon)
    return verify_request(
        headers, SIGNED, receiver=PublicKey(VALIDATOR.public_key), nonces=NonceWindow(), now_ns=NOW_NS
    )


def _btauth() -> Parser:
    headers = sign_request(ACCOUNT, SIGNED, receiver=VALIDATOR.public_key, now_ns=NOW_NS)
    return Parser("btauth headers", _verify_headers, ["\n".join(f"{key}: {headers[key]}" for key in headers).encode()])


def _audit() -> list[Parser]:
    leaves = (0, 3, 3)
    request = AuditRequest(
        epoch=7,
        batch=2,
        round=9,
        attempt=1,
        token=b"t" * 32,
        entries=tuple(PieceLeaf(ROOT, leaf) for leaf in leaves),
    )
    shown = tuple(
        ResponseEntry(Status.OK, PIECE[leaf * 16_384 :][:16_384], b"".join(prove(LEAVES, leaf, 1)))
        for leaf in leaves[:2]
    )
    entries = (*shown, ResponseEntry(Status.LOST, b"", b""))
    response = AuditResponse(b"q" * 32, entries, b"r" * 32, b"s" * 64)
    evidence = evidence_of(b"q" * 32, entries)
    return [
        Parser("audit request", lambda body: encode_request(parse_request(body)), [encode_request(request)]),
        Parser(
            "audit response",
            lambda body: evidence_of(b"q" * 32, parse_response(body, len(leaves)).entries),
            [b"".join(encode_response(response))],
        ),
        Parser("evidence", lambda body: encode_evidence(parse_evidence(body)), [encode_evidence(evidence)]),
    ]


def _transcript() -> list[Parser]:
    entry = TranscriptEntry(
        epoch=7,
        miner=PublicKey(MINER.public_key),
        batch=2,
        round=9,
        attempt=0,
        time=TIME,
        outcome=Outcome.PASS,
        request_hash=b"q" * 32,
        response_hash=b"r" * 32,
        signature=b"s" * 64,
        verdicts=(Verdict.OK,) * 3,
    )
    scope = TranscriptScope(NETWORK, 7, PublicKey(VALIDATOR.public_key), 7)
    return [
        Parser(
            "transcript",
            lambda body: transcript_root(parse_transcript(body)),
            [encode_transcript(Transcript(scope, (entry,)))],
        ),
        Parser("transcript entry", lambda body: encode_entry(read_entry(Cursor(body, "entry"))), [encode_entry(entry)]),
    ]


def _read_range(body: bytes) -> object:
    proof = parse_range(body)
    verify_range(ROOT, len(PIECE), proof.first_leaf, proof.data, proof.siblings)
    return proof


def _range() -> Parser:
    proof = RangeProof(len(PIECE), 1, memoryview(PIECE)[16_384 : 3 * 16_384], tuple(prove(LEAVES, 1, 2)))
    return Parser("range proof", _read_range, [b"".join(encode_range(proof))])


def _text(parse: Callable[[str], object]) -> Callable[[bytes], object]:
    def parse_bytes(raw: bytes) -> object:
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            raise ProtocolError("no text") from None
        return parse(text)

    return parse_bytes


PARSERS = [
    *_messages(),
    *_parts(),
    _btauth(),
    *_audit(),
    *_transcript(),
    _range(),
    Parser("endpoint", _text(Endpoint.parse), [b"192.0.2.1:80", b"[2001:db8::1]:8080"]),
    Parser("ss58", _text(ss58_decode), [ACCOUNT.ss58.encode(), MINER.ss58.encode()]),
    Parser("id", _text(id_from_hex), [b"ab" * 32]),
]
