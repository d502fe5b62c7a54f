"""One valid message of every type, with every optional field present, for tests that go through them all."""

from __future__ import annotations

from typing import Any, Final

from hippy.endpoint import Endpoint
from hippy.identity import Identity
from hippy.ids import MessageId, NetworkId, PublicKey, Root, SegmentId
from hippy.wire.attestation import Attestation, Attestations
from hippy.wire.audit import EpochHeader, Epochs, HeadName, LostAnswer, LostReport
from hippy.wire.canonical import Message
from hippy.wire.log import (
    AccountRecord,
    AllocationClosed,
    Candidate,
    CandidateSet,
    Departure,
    Envelopes,
    LogEntry,
    LogHead,
    LogPage,
    LogRecord,
    Loss,
    LostPiece,
    SegmentReleased,
)
from hippy.wire.node import AccountStatus, Directory, EncryptionKey, Hello, MinerEntry
from hippy.wire.object import (
    BucketAnswer,
    BucketRequest,
    BucketRow,
    BucketsAnswer,
    BucketsRequest,
    Drop,
    Found,
    ListAnswer,
    ListRequest,
    ObjectRow,
    ReadAnswer,
    ReadRequest,
    RowResult,
    WriteAnswer,
    WriteRequest,
)
from hippy.wire.release import (
    InventoryAnswer,
    InventoryRequest,
    LeaseAnswer,
    LeaseRequest,
    OwedTicket,
    Release,
    TicketState,
)
from hippy.wire.segment import (
    AllocateRequest,
    CommitAnswer,
    CommitRequest,
    FailedPiece,
    Holding,
    ReallocateRequest,
    SealEnvelope,
    SegmentCommit,
    SegmentRecord,
    SegmentsAnswer,
    SegmentSpec,
    SegmentsRequest,
    TicketList,
)
from hippy.wire.ticket import Receipt, Refusal, Ticket, TicketGrant, TicketProof
from tests.wire.audit_samples import SCORE_MESSAGES
from tests.wire.chain_samples import CHAIN_MESSAGES
from tests.wire.follow_samples import ack, change, follow_messages
from tests.wire.repair_samples import drain, flawed, moved, order, repair_messages
from tests.wire.status_samples import STATUS_MESSAGES

NETWORK: Final = NetworkId(b"N" * 32)
OTHER_NETWORK: Final = NetworkId(b"O" * 32)
TIME: Final = 1_800_000_000

VALIDATOR: Final = Identity.from_seed(b"v" * 32)
MINER: Final = Identity.from_seed(b"m" * 32)
ACCOUNT: Final = Identity.from_seed(b"a" * 32)


def ticket(index: int = 0, **changes: Any) -> Ticket:
    """Return the ticket of piece ``index``."""
    fields: dict[str, Any] = {
        "serial": 1000 + index,
        "network": NETWORK,
        "netuid": 7,
        "validator": VALIDATOR.public_key,
        "term": 1,
        "account": ACCOUNT.public_key,
        "segment_id": SegmentId(b"s" * 32),
        "index": index,
        "root": Root(bytes([index, 1]) * 16),
        "piece_length": 16_385,
        "miner": MINER.public_key,
        "endpoint": Endpoint("127.0.7.1", 4000 + index),
        "pay_class": "paid",
        "upload_by": TIME + 3600,
        "keep_until": TIME + 86_400,
    }
    return Ticket(**{**fields, **changes})


def grant(root: bytes, count: int, signer: Identity = VALIDATOR) -> TicketGrant:
    """Return a signed grant over ``count`` tickets."""
    unsigned = TicketGrant(validator=signer.public_key, tickets_root=root, ticket_count=count, time=TIME)
    return unsigned.signed(signer, NETWORK)


SPEC: Final = SegmentSpec(
    nonce=bytes(range(16)),
    roots=tuple(Root(bytes([index]) * 32) for index in range(1, 9)),
    data_length=65_537,
    piece_length=16_385,
    k=4,
    n=8,
)
HOLDING: Final = Holding(
    index=3, ticket_id=MessageId(b"t" * 32), miner=MINER.public_key, time=TIME, signature=bytes(range(64))
)
ENVELOPE: Final = SealEnvelope(validator=VALIDATOR.public_key, key_id=1, ciphertext=bytes(range(80)))
REFUSAL: Final = Refusal(ticket_id=MessageId(b"t" * 32), miner=MINER.public_key, code="no_space", time=TIME).signed(
    MINER, NETWORK
)
GRANT: Final = grant(b"r" * 32, 1)
KEY: Final = EncryptionKey(
    validator=VALIDATOR.public_key, key_id=1, key=b"x" * 32, not_before=TIME, not_after=TIME + 1
).signed(VALIDATOR, NETWORK)
BUCKET: Final = b"b" * 32
NAME: Final = (b"1" * 32, b"2" * 48)
ROW: Final = ObjectRow(
    account=ACCOUNT.public_key,
    bucket=BUCKET,
    name=NAME,
    version=2,
    prev_row_id=MessageId(b"p" * 32),
    action="put",
    head=b"h" * 48,
    manifest_hash=b"m" * 32,
    manifest_length=5,
    segment_ids=(SegmentId(b"s" * 32),),
    time=TIME,
).signed(ACCOUNT, NETWORK)
RECORD: Final = SegmentRecord(
    account=ACCOUNT.public_key,
    spec=SPEC,
    pay_class="unpaid",
    keep_until=TIME + 86_400,
    committed_time=TIME,
    placement_round=5,
    candidates_seq=2,
    holdings=(HOLDING,),
)
FAILED: Final = FailedPiece(index=3, ticket_id=MessageId(b"t" * 32), refusal=REFUSAL)
COMMIT: Final = SegmentCommit(segment_id=SegmentId(b"s" * 32), holdings=(HOLDING,), envelopes=(ENVELOPE,))
ENTRY: Final = MinerEntry(
    uid=1,
    hotkey=MINER.public_key,
    coldkey=PublicKey(b"c" * 32),
    endpoint=Endpoint("2001:db8::1", 80),
    state="live",
    capacity_bytes=2**53 - 1,
    used_bytes=0,
    seen_time=TIME,
)
CANDIDATE: Final = Candidate(hotkey=MINER.public_key, coldkey=PublicKey(b"c" * 32), group="7f0007", weight=10)
ACCOUNT_RECORD: Final = AccountRecord(account=ACCOUNT.public_key, pay_class="canary", quota_bytes=1)
CANDIDATES: Final = CandidateSet(candidates=(CANDIDATE,))
CLOSED: Final = AllocationClosed(segment_id=SegmentId(b"s" * 32), upload_by=TIME)
DEPARTURE: Final = Departure(hotkey=MINER.public_key, block=1_000)
ENVELOPES: Final = Envelopes(envelopes=(ENVELOPE,))
LOST_REPORT: Final = LostReport(
    miner=MINER.public_key,
    validator=PublicKey(b"w" * 32),  # not VALIDATOR, who would be taken for the signer
    roots=(Root(b"r" * 32), Root(b"q" * 32)),
    time=TIME,
).signed(MINER, NETWORK)
LOST_PIECE: Final = LostPiece(segment_id=SegmentId(b"s" * 32), index=3, root=Root(b"r" * 32))
ATTESTATION: Final = Attestation(
    network=NETWORK,
    netuid=7,
    validator=VALIDATOR.public_key,
    miner=PublicKey(b"w" * 32),  # not MINER, who would be taken for the signer
    since=TIME - 90_000,
    time=TIME,
).signed(VALIDATOR, NETWORK)
LOSS: Final = Loss(
    miner=MINER.public_key,
    reason="reported",
    pieces=(LOST_PIECE,),
    report=LOST_REPORT,
    round=9,
    epoch=5,
    batch=3,
    attestations=(ATTESTATION,),
)
DROP: Final = Drop(account=ACCOUNT.public_key, segment_id=SegmentId(b"s" * 32), time=TIME).signed(ACCOUNT, NETWORK)
RELEASED: Final = SegmentReleased(segment_id=SegmentId(b"s" * 32), reason="deleted", drop=DROP)
RECEIPT: Final = Receipt(
    ticket_id=MessageId(b"t" * 32), root=Root(b"r" * 32), piece_length=1, miner=MINER.public_key, time=TIME
).signed(MINER, NETWORK)
ORDER: Final = order(ticket(), VALIDATOR, NETWORK)
DRAIN: Final = drain(MINER, TIME, NETWORK)
HOME_CHANGE: Final = change(ACCOUNT, TIME, NETWORK)
ACK: Final = ack(VALIDATOR, TIME, NETWORK)
RELEASE: Final = Release(
    validator=VALIDATOR.public_key,
    miner=PublicKey(b"w" * 32),  # not MINER, who would be taken for the signer
    ticket_id=MessageId(b"t" * 32),
    segment_id=SegmentId(b"s" * 32),
    index=3,
    root=Root(b"r" * 32),
    reason="deleted",
    seq=7,
    drop=DROP,
    receipt=RECEIPT,
    time=TIME,
).signed(VALIDATOR, NETWORK)
OWED: Final = OwedTicket(ticket_id=MessageId(b"t" * 32), segment_id=SegmentId(b"s" * 32), index=3, root=Root(b"r" * 32))
STATE: Final = TicketState(state="released", release=RELEASE)
BUCKET_ROW: Final = BucketRow(account=ACCOUNT.public_key, bucket=BUCKET, action="create", time=TIME).signed(
    ACCOUNT, NETWORK
)
LOG_RECORD: Final = LogRecord(
    home=VALIDATOR.public_key,
    term=1,
    seq=1,
    prev=MessageId(bytes(32)),
    time=TIME,
    kind="segment",
    body_id=MessageId(b"i" * 32),
    envelopes_id=MessageId(b"e" * 32),
)
LOG_ENTRY: Final = LogEntry(
    record=LOG_RECORD,
    account=ACCOUNT_RECORD,
    candidates=CANDIDATES,
    segment=RECORD,
    row=ROW,
    closed=CLOSED,
    departure=DEPARTURE,
    loss=LOSS,
    released=RELEASED,
    bucket=BUCKET_ROW,
    moved=moved(HOLDING),
    drain=DRAIN,
    flawed=flawed(),
    home=HOME_CHANGE,
    envelopes=ENVELOPES,
)
LOG_HEAD: Final = LogHead(home=VALIDATOR.public_key, netuid=7, term=1, seq=1, head=MessageId(b"h" * 32)).signed(
    VALIDATOR, NETWORK
)
HEAD_NAME: Final = HeadName(home=VALIDATOR.public_key, term=1, seq=1, head=MessageId(b"h" * 32))
HEADER: Final = EpochHeader(
    network=NETWORK,
    netuid=7,
    validator=VALIDATOR.public_key,
    epoch=5,
    time=TIME,
    seed_commit=b"c" * 32,
    prev_header=MessageId(b"p" * 32),
    prev_epoch=4,
    revealed=b"s" * 32,
    transcript_root=b"t" * 32,
    sheet_id=MessageId(b"x" * 32),
    first_round=9,
    rounds=360,
    heads=(HEAD_NAME,),
).signed(VALIDATOR, NETWORK)

MESSAGES: Final[list[Message]] = [
    Hello(
        role="miner",
        hotkey=MINER.public_key,
        network=NetworkId(NETWORK),
        netuid=7,
        nonce=b"n" * 32,
        time=TIME,
        protocol=1,
        software='hippy "0.1" \\ ~',
        capacity_bytes=10,
        used_bytes=5,
        encryption_key=KEY,
    ).signed(MINER, NETWORK),
    KEY,
    ENTRY,
    Directory(validator=VALIDATOR.public_key, netuid=7, time=TIME, miners=(ENTRY,)).signed(VALIDATOR, NETWORK),
    AccountStatus(
        account=ACCOUNT.public_key,
        pay_class="paid",
        quota_bytes=9,
        used_bytes=1,
        home=VALIDATOR.public_key,
        term=1,
        change=HOME_CHANGE,
    ),
    ticket(),
    GRANT,
    TicketProof(ticket=ticket(), position=0, siblings=(b"1" * 32, b"2" * 32), grant=GRANT),
    RECEIPT,
    REFUSAL,
    SPEC,
    AllocateRequest(
        request_id=b"i" * 16, account=ACCOUNT.public_key, segments=(SPEC,), upload_by=TIME, keep_until=TIME + 1
    ),
    TicketList(tickets=(ticket(0), ticket(1)), grant=GRANT),
    FAILED,
    ReallocateRequest(
        request_id=b"i" * 16, account=ACCOUNT.public_key, segment_id=SegmentId(b"s" * 32), pieces=(FAILED,)
    ),
    HOLDING,
    ENVELOPE,
    COMMIT,
    CommitRequest(request_id=b"i" * 16, account=ACCOUNT.public_key, segments=(COMMIT,)),
    CommitAnswer(copies=2, acks=(ACK,)),
    RECORD,
    SegmentsRequest(segment_ids=(SegmentId(b"s" * 32), SegmentId(b"t" * 32))),
    SegmentsAnswer(segments=(RECORD,)),
    ROW,
    DROP,
    WriteRequest(request_id=b"i" * 16, account=ACCOUNT.public_key, rows=(ROW,), drops=(DROP,)),
    RowResult(status="conflict", current=ROW, code="not_found", message='no such "segment"'),
    WriteAnswer(copies=2, acks=(ACK,), results=(RowResult(status="stored"),)),
    ReadRequest(account=ACCOUNT.public_key, bucket=BUCKET, names=(NAME,)),
    Found(row=ROW),
    ReadAnswer(results=(Found(row=ROW), Found())),
    ListRequest(account=ACCOUNT.public_key, bucket=BUCKET, prefix=(), depth="one", after=NAME, limit=1000),
    ListAnswer(rows=(ROW,), prefixes=(b"2" * 48,), after=NAME),
    BucketsRequest(account=ACCOUNT.public_key),
    BucketsAnswer(buckets=(BUCKET,)),
    BUCKET_ROW,
    BucketRequest(request_id=b"i" * 16, account=ACCOUNT.public_key, row=BUCKET_ROW),
    BucketAnswer(copies=2, acks=(ACK,), existed=1),
    RELEASED,
    RELEASE,
    OWED,
    STATE,
    InventoryRequest(miner=MINER.public_key, tickets=(OWED,)),
    InventoryAnswer(states=(STATE, TicketState(state="live"))),
    LeaseRequest(request_id=b"i" * 16, account=ACCOUNT.public_key, segment_ids=(SegmentId(b"s" * 32),)),
    LeaseAnswer(until=(TIME, 0)),
    ACCOUNT_RECORD,
    CANDIDATE,
    CANDIDATES,
    CLOSED,
    DEPARTURE,
    ENVELOPES,
    LOST_REPORT,
    LostAnswer(recorded=2),
    LOST_PIECE,
    LOSS,
    LOG_RECORD,
    LOG_ENTRY,
    LOG_HEAD,
    LogPage(home=VALIDATOR.public_key, entries=(LOG_ENTRY,), head=LOG_HEAD),
    HEAD_NAME,
    HEADER,
    Epochs(first=1, last=160),
    *SCORE_MESSAGES,
    *CHAIN_MESSAGES,
    ATTESTATION,
    Attestations(attestations=(ATTESTATION,)),
    *STATUS_MESSAGES,
    *repair_messages(ORDER, RECEIPT, HOLDING, DRAIN),
    *follow_messages(HOME_CHANGE, ACK, LOG_ENTRY, LOG_HEAD, KEY, VALIDATOR),
]
