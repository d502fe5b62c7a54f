"""A small world for the validator's tests: who is who, and values as an honest client and honest miners make them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from hippy.endpoint import Endpoint
from hippy.hashing import digest
from hippy.identity import Identity
from hippy.ids import ZERO_ID, MessageId, NetworkId, PublicKey, Root, SegmentId
from hippy.kv import Database
from hippy.seal import envelope_info, envelope_public_key, seal_envelope
from hippy.validator.allocation import Assignment, CandidatePool, Plan, allocate
from hippy.validator.commit import EnvelopeKey, check_commit, commit_segments
from hippy.validator.log import CommittedSegment, Home
from hippy.validator.tables import Allocation, get_allocation
from hippy.validator.tickets import ticket_id
from hippy.wire.log import AccountRecord, Candidate, CandidateSet, Envelopes
from hippy.wire.object import Drop, ObjectRow
from hippy.wire.segment import AllocateRequest, Holding, SealEnvelope, SegmentCommit, SegmentRecord, SegmentSpec
from hippy.wire.ticket import PayClass, Receipt

NOW = 1_800_000_000
NETWORK = NetworkId(b"n" * 32)
HOME = Home(Identity.from_seed(b"v" * 32), NETWORK, 7)
ACCOUNT, STRANGER = Identity.from_seed(b"a" * 32), Identity.from_seed(b"b" * 32)
MINERS = [Identity.from_seed(bytes([number]) * 32) for number in range(1, 17)]
ENVELOPE_KEY = EnvelopeKey(1, b"e" * 32)
SEAL_KEY = b"k" * 32
TERMS = AccountRecord(account=ACCOUNT.public_key, pay_class="paid", quota_bytes=10_000)
K, N = 4, 8


def endpoint(number: int) -> Endpoint:
    """Return where the miner of this number listens."""
    return Endpoint("127.0.0.1", 4000 + number)


def candidate(number: int, *, coldkey: int | None = None, group: str | None = None, weight: int = 1) -> Candidate:
    """Return a candidate; by default each has a coldkey and a group of its own."""
    return Candidate(
        hotkey=PublicKey(bytes([1, number]) * 16),
        coldkey=PublicKey(bytes([2, number if coldkey is None else coldkey]) * 16),
        group=f"{number:06x}" if group is None else group,
        weight=weight,
    )


def spec(number: int = 0, *, data_length: int = 400) -> SegmentSpec:
    """Return a 4/8 segment of its own nonce and roots."""
    return SegmentSpec(
        nonce=bytes([number]) * 16,
        roots=tuple(Root(digest(bytes([number, index]))) for index in range(N)),
        data_length=data_length,
        piece_length=-(-data_length // K),
        k=K,
        n=N,
    )


def request(*specs: SegmentSpec, account: Identity = ACCOUNT, upload_by: int = NOW + 3600) -> AllocateRequest:
    """Return an allocation of these segments."""
    return AllocateRequest(
        request_id=bytes(16), account=account.public_key, segments=specs or (spec(),), upload_by=upload_by
    )


def plan(first_miner: int = 0) -> Plan:
    """Return a plan that gives the pieces to MINERS in order."""
    members = CandidateSet(candidates=(candidate(first_miner),))
    miners = MINERS[first_miner : first_miner + N]
    assignments = tuple(Assignment(miner.public_key, endpoint(index)) for index, miner in enumerate(miners))
    return Plan(5, b"r" * 32, 1, CandidatePool(members, members.id(NETWORK)), assignments)


async def allocated(
    database: Database,
    number: int = 0,
    *,
    terms: AccountRecord = TERMS,
    now: int = NOW,
    account: Identity = ACCOUNT,
    keep_until: int | None = None,
) -> Allocation:
    """Allocate ``spec(number)`` and return the allocation."""
    segment_id = spec(number).segment_id(account.public_key)
    asked = request(spec(number), account=account, upload_by=now + 3600)
    asked = asked.model_copy(update={"keep_until": keep_until})
    await database.transact(lambda txn: allocate(txn, HOME, asked, terms, {segment_id: plan()}, now))
    found = await database.read(lambda reader: get_allocation(reader, segment_id))
    assert found is not None
    return found


def holding(allocation: Allocation, index: int, *, network: bytes = NETWORK) -> Holding:
    """Return the receipt that the piece's miner gives, as a commit shows it."""
    miner = next(each for each in MINERS if each.public_key == allocation.places[index].miner)
    receipt = Receipt(
        ticket_id=ticket_id(HOME, allocation, index),
        root=allocation.spec.roots[index],
        piece_length=allocation.spec.piece_length,
        miner=miner.public_key,
        time=NOW,
    ).signed(miner, network)
    return Holding(index=index, ticket_id=receipt.ticket_id, miner=receipt.miner, time=NOW, signature=receipt.signature)


def envelope(allocation: Allocation, *, key_id: int = 1) -> SealEnvelope:
    """Return the seal key, encrypted to HOME."""
    info = envelope_info(NETWORK, HOME.netuid, allocation.account, allocation.segment_id, HOME.hotkey, key_id)
    public = envelope_public_key(ENVELOPE_KEY.private_key)
    return SealEnvelope(validator=HOME.hotkey, key_id=key_id, ciphertext=seal_envelope(SEAL_KEY, public, info))


def commit(allocation: Allocation, indices: Iterable[int] = range(N)) -> SegmentCommit:
    """Return a commit with receipts for these pieces."""
    return SegmentCommit(
        segment_id=allocation.segment_id,
        holdings=tuple(holding(allocation, index) for index in indices),
        envelopes=(envelope(allocation),),
    )


async def committed(
    database: Database,
    number: int = 0,
    *,
    account: Identity = ACCOUNT,
    indices: Iterable[int] = range(N),
    keep_until: int | None = None,
    now: int = NOW,
) -> Allocation:
    """Allocate and commit ``spec(number)``; return the allocation as it was committed."""
    terms = TERMS.model_copy(update={"account": account.public_key})
    allocation = await allocated(database, number, terms=terms, account=account, keep_until=keep_until, now=now)
    checked = check_commit(commit(allocation, indices), allocation, HOME, ENVELOPE_KEY)
    await database.transact(lambda txn: commit_segments(txn, HOME, [checked], now))
    return allocation


def unsigned_segment(
    number: int,
    miners: Mapping[int, PublicKey],
    roots: Sequence[Root],
    *,
    piece_length: int = 100,
    pay_class: PayClass = "paid",
    account: PublicKey = ACCOUNT.public_key,
) -> CommittedSegment:
    """Return a segment as it is logged, with the miners of its pieces by index; nobody signed its receipts."""
    spec = SegmentSpec(
        nonce=number.to_bytes(16, "big"),
        roots=tuple(roots),
        data_length=piece_length,
        piece_length=piece_length,
        k=1,
        n=len(roots),
    )
    record = SegmentRecord(
        account=account,
        spec=spec,
        pay_class=pay_class,
        committed_time=NOW,
        placement_round=5,
        candidates_seq=1,
        holdings=tuple(
            Holding(index=index, ticket_id=MessageId(b"t" * 32), miner=miner, time=NOW, signature=bytes(64))
            for index, miner in miners.items()
        ),
    )
    sealed = SealEnvelope(validator=HOME.hotkey, key_id=1, ciphertext=bytes(80))
    return CommittedSegment(record, Envelopes(envelopes=(sealed,)))


def component(text: str) -> bytes:
    """Return a stand-in for an encrypted name component: 32 bytes that sort like ``text``."""
    return text.encode().ljust(32, b"\0")


def row(
    name: str,
    *,
    replaces: ObjectRow | None = None,
    manifest: bytes | None = b"manifest",
    segment_ids: tuple[SegmentId, ...] = (),
    signer: Identity = ACCOUNT,
    time: int = NOW,
) -> ObjectRow:
    """Return a signed row of ``a/b``-like name; without a manifest it is a deletion."""
    unsigned = ObjectRow(
        account=signer.public_key,
        bucket=component("bucket"),
        name=tuple(component(part) for part in name.split("/")),
        version=1 if replaces is None else replaces.version + 1,
        prev_row_id=MessageId(ZERO_ID) if replaces is None else replaces.id(NETWORK),
        action="delete" if manifest is None else "put",
        head=None if manifest is None else b"h" * 48,
        manifest_hash=None if manifest is None else digest(manifest),
        manifest_length=None if manifest is None else len(manifest),
        segment_ids=segment_ids,
        time=time,
    )
    return unsigned.signed(signer, NETWORK)


def drop(segment_id: SegmentId, *, signer: Identity = ACCOUNT, time: int = NOW) -> Drop:
    """Return an account's word that it needs a segment no longer."""
    return Drop(account=signer.public_key, segment_id=segment_id, time=time).signed(signer, NETWORK)
