"""Repairs as a registry knows them, in short words: pieces get lost, are ordered, and are held by others."""

from __future__ import annotations

from hippy.identity import Identity
from hippy.ids import PublicKey, SegmentId
from hippy.kv import Database, Reader
from hippy.validator.holdings import end_pieces, holdings_of, lost_indices
from hippy.validator.losses import record_loss
from hippy.validator.repair.health import Health, get_health
from hippy.validator.repair.jobs import Attempt, RepairJob, next_serial, order_of, plan, ticket_of
from hippy.validator.repair.moves import record_move
from hippy.validator.tables import get_segment
from hippy.wire.repair import Drain, RepairSource
from hippy.wire.segment import Holding, SegmentRecord
from hippy.wire.ticket import Receipt
from tests.validator.world import HOME, MINERS, NETWORK, NOW, endpoint

__all__ = ["end_pieces", "holdings_of", "order_of"]


async def record_of(database: Database, segment_id: SegmentId) -> SegmentRecord:
    """Return a segment as it is stored."""
    found = await database.read(lambda reader: get_segment(reader, segment_id))
    assert found is not None
    return found


async def health_of(database: Database, segment_id: SegmentId) -> Health | None:
    """Return how healthy a segment is."""
    return await database.read(lambda reader: get_health(reader, segment_id))


async def lose(database: Database, segment_id: SegmentId, *indices: int, now: int = NOW) -> None:
    """Have pieces recorded as lost."""
    for index in indices:
        record = await record_of(database, segment_id)
        holding = next(each for each in record.holdings if each.index == index)
        lost = await database.transact(
            lambda txn, miner=holding.miner, root=record.spec.roots[index]: record_loss(  # type: ignore[misc]
                txn, HOME, miner, [root], reason="failed", now=now, epoch=1, batch=0
            )
        )
        assert lost == 1


async def planned(
    database: Database,
    segment_id: SegmentId,
    index: int,
    miner: Identity,
    *,
    drained: PublicKey | None = None,
    upload_by: int = NOW + 3_600,
) -> RepairJob:
    """Store a job that has a miner make a piece of others."""
    record = await record_of(database, segment_id)
    job = RepairJob(
        segment_id=segment_id,
        index=index,
        k=record.spec.k,
        piece_length=record.spec.piece_length,
        sources=await sources(database, record, index),
        drained=drained,
    )
    attempt = Attempt(
        serial=await database.transact(next_serial),
        miner=miner.public_key,
        endpoint=endpoint(99),
        upload_by=upload_by,
        mask_root=record.spec.roots[index],
        placement_round=6,
        epoch=2,
        candidates_seq=1,
    )
    job = job.model_copy(update={"attempt": attempt})
    await database.transact(lambda txn: plan(txn, HOME, record, job))
    return job


async def sources(database: Database, record: SegmentRecord, index: int) -> tuple[RepairSource, ...]:
    """Return the first k other pieces that are held."""

    def work(reader: Reader) -> list[Holding]:
        lost = lost_indices(reader, record.segment_id)
        return [each for each in record.holdings if each.index not in lost and each.index != index]

    return tuple(
        RepairSource(
            index=each.index, root=record.spec.roots[each.index], miner=each.miner, endpoint=endpoint(each.index)
        )
        for each in (await database.read(work))[: record.spec.k]
    )


def receipt_for(record: SegmentRecord, job: RepairJob, *, now: int = NOW, signer: Identity | None = None) -> Receipt:
    """Return the receipt of an honest miner, or what another signed in its place."""
    ticket = ticket_of(HOME, record, job)
    unsigned = Receipt(
        ticket_id=ticket.id(NETWORK),
        root=ticket.root,
        piece_length=ticket.piece_length,
        miner=ticket.miner,
        time=now,
    )
    miner = next(each for each in MINERS if each.public_key == ticket.miner)
    return unsigned.signed(signer or miner, NETWORK)


async def moved(
    database: Database,
    segment_id: SegmentId,
    index: int,
    miner: Identity,
    *,
    drained: PublicKey | None = None,
    now: int = NOW,
) -> RepairJob:
    """Have a piece made by another miner, and return the job that did it."""
    job = await planned(database, segment_id, index, miner, drained=drained)
    receipt = receipt_for(await record_of(database, segment_id), job, now=now)
    assert await database.transact(lambda txn: record_move(txn, HOME, job, receipt, now))
    return job


def drain_word(miner: Identity, action: str = "start", *, time: int = NOW) -> Drain:
    """Return a miner's word that it leaves, or stays."""
    word = Drain.model_validate({"miner": miner.public_key, "validator": HOME.hotkey, "action": action, "time": time})
    return word.signed(miner, NETWORK)
