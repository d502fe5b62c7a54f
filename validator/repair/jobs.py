"""Repairs under way: what was ordered of whom, stored before it is sent (PROTOCOL §7).

Functions on a transaction, and what they store. A job is one attempt at one piece: an order to one miner, or that the
validator makes the piece itself to see whether it can be made at all. A job's row is there from its plan until it came
to an end, so a validator that starts again finds all orders that are out, and goes on with them; who works on a job is
told by a lease of its row (hippy.kv).

What outlives a job: every ticket that was given out (:class:`Tried`), because its miner gets no other piece of the
segment and will ask what became of it; and what went wrong with the piece (:class:`Notes`).

Invariants: a piece has at most one job; an order is delivered at most DELIVERIES_MAX times, and counted before it is;
the ticket of a job is the newest TRIED row of its piece; a ticket's row goes when its miner holds the piece.

Example::

    plan(txn, job)
    if count_delivery(txn, job):        # before every time it is sent
        ...
    finish(txn, job.segment_id, job.index)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from hippy.errors import ConflictError
from hippy.ids import MessageId, PublicKey, SegmentId
from hippy.kv import Reader, Transaction
from hippy.validator.log import TERM, Home
from hippy.validator.tables import (
    JOB,
    NOTES,
    SERIAL,
    TRIED,
    get_count,
    get_message,
    ordered,
    put_count,
)
from hippy.wire.canonical import Message
from hippy.wire.fields import Address, Count, Index, Key, Message32, RootId, Seconds, Segment
from hippy.wire.repair import DELIVERIES_MAX, RepairOrder, RepairSource
from hippy.wire.segment import SegmentRecord
from hippy.wire.ticket import Ticket

Sources = Annotated[tuple[RepairSource, ...], Field(min_length=1, max_length=255)]


class JobChangedError(ConflictError):
    """What a repair was planned from is so no longer; plan again."""


class Attempt(Message):
    """What a ticket says beyond its segment, and what its miner was drawn from."""

    TYPE = "repair-attempt"
    serial: Count
    miner: Key
    endpoint: Address
    upload_by: Seconds
    mask_root: RootId | None = None
    placement_round: Count
    epoch: Count
    candidates_seq: Count
    deliveries: Count = 0


class RepairJob(Message):
    """The repair of one piece as it stands; without an attempt the validator makes the piece itself, to try.

    ``drained`` is the miner that holds the piece and wants to leave. ``piece_length`` and ``k`` are the segment's: an
    order costs what it has its miner read.
    """

    TYPE = "repair-job"
    segment_id: Segment
    index: Index
    k: Count
    piece_length: Count
    sources: Sources
    drained: Key | None = None
    attempt: Attempt | None = None

    @property
    def read_bytes(self) -> int:
        """What whoever makes the piece has to read."""
        return len(self.sources) * self.piece_length


class Tried(Message):
    """A repair ticket that was given out."""

    TYPE = "repair-tried"
    miner: Key
    ticket_id: Message32
    upload_by: Seconds


class Notes(Message):
    """What went wrong with the repair of a piece.

    ``mismatches`` counts the miners that found that their sources make something else, ``suspects`` are the sources of
    the last; ``proven`` is 1 once the validator made the piece itself. ``no_copy`` is 1 when the miner that drains did
    not give it away: then it is made of others.
    """

    TYPE = "repair-notes"
    mismatches: Count = 0
    suspects: Annotated[tuple[Index, ...], Field(max_length=255)] = ()
    proven: Annotated[int, Field(ge=0, le=1)] = 0
    no_copy: Annotated[int, Field(ge=0, le=1)] = 0


def piece_key(segment_id: SegmentId, index: int) -> bytes:
    """Return the key of a piece, behind its table."""
    return segment_id + bytes([index])


def get_job(reader: Reader, segment_id: SegmentId, index: int) -> RepairJob | None:
    """Return the repair of a piece that is under way."""
    return get_message(reader, JOB + piece_key(segment_id, index), RepairJob)


def jobs(reader: Reader) -> Iterator[RepairJob]:
    """Yield all repairs under way; a few for every process that works on them."""
    for _, value in reader.scan(JOB):
        yield RepairJob.parse(value)


def jobs_of(reader: Reader, segment_id: SegmentId) -> Iterator[RepairJob]:
    """Yield those of one segment."""
    for _, value in reader.scan(JOB + segment_id):
        yield RepairJob.parse(value)


def get_notes(reader: Reader, segment_id: SegmentId, index: int) -> Notes:
    """Return what went wrong with a piece, nothing where nothing did."""
    return get_message(reader, NOTES + piece_key(segment_id, index), Notes) or Notes()


def put_notes(txn: Transaction, segment_id: SegmentId, index: int, notes: Notes) -> None:
    """Note what went wrong with a piece."""
    txn.put(NOTES + piece_key(segment_id, index), notes.encode())


def tried(reader: Reader, segment_id: SegmentId, index: int | None = None) -> Iterator[Tried]:
    """Yield the repair tickets of a segment, or of one piece, that came to nothing yet, oldest first."""
    for _, value in reader.scan(TRIED + segment_id + (b"" if index is None else bytes([index]))):
        yield Tried.parse(value)


def next_serial(txn: Transaction) -> int:
    """Return a serial for a ticket, never given out before."""
    serial = get_count(txn, SERIAL) + 1
    put_count(txn, SERIAL, serial)
    return serial


def ticket_of(home: Home, record: SegmentRecord, job: RepairJob) -> Ticket:
    """Return the ticket of a job's attempt; the same job gives the same ticket."""
    attempt = job.attempt
    assert attempt is not None, "only orders have tickets"
    return Ticket(
        serial=attempt.serial,
        network=home.network,
        netuid=home.netuid,
        validator=home.hotkey,
        term=TERM,
        account=record.account,
        segment_id=job.segment_id,
        index=job.index,
        root=record.spec.roots[job.index],
        piece_length=record.spec.piece_length,
        miner=attempt.miner,
        endpoint=attempt.endpoint,
        pay_class=record.pay_class,
        upload_by=attempt.upload_by,
        keep_until=record.keep_until,
    )


def order_of(home: Home, record: SegmentRecord, job: RepairJob) -> RepairOrder:
    """Return the order of a job, unsigned."""
    assert job.attempt is not None
    order = RepairOrder(
        ticket=ticket_of(home, record, job),
        k=record.spec.k,
        n=record.spec.n,
        sources=job.sources,
        mask_root=job.attempt.mask_root,
    )
    order.check_shape()
    return order


def plan(txn: Transaction, home: Home, record: SegmentRecord, job: RepairJob) -> None:
    """Store a new job, and that its miner was given a ticket.

    Raises JobChangedError when the piece has one already.
    """
    key = piece_key(job.segment_id, job.index)
    if txn.get(JOB + key) is not None:
        raise JobChangedError(f"piece {job.index} of segment {job.segment_id.hex()} is being repaired already")
    if job.attempt is not None:
        attempt = job.attempt
        given = Tried(
            miner=attempt.miner,
            ticket_id=ticket_of(home, record, job).id(home.network),
            upload_by=attempt.upload_by,
        )
        txn.put(TRIED + key + ordered(attempt.serial), given.encode())
    txn.put(JOB + key, job.encode())


def count_delivery(txn: Transaction, job: RepairJob, now: int) -> RepairJob | None:
    """Return a job as it is once its order was sent once more, None where that may not be.

    It may not after DELIVERIES_MAX times, nor when the time to store the piece has run out, nor when the job is over.
    """
    stored = get_job(txn, job.segment_id, job.index)
    if stored is None or stored.attempt is None or job.attempt is None or stored.attempt.serial != job.attempt.serial:
        return None
    if stored.attempt.deliveries >= DELIVERIES_MAX or now >= stored.attempt.upload_by:
        return None
    attempt = stored.attempt.model_copy(update={"deliveries": stored.attempt.deliveries + 1})
    sent = stored.model_copy(update={"attempt": attempt})
    txn.put(JOB + piece_key(job.segment_id, job.index), sent.encode())
    return sent


def is_current(reader: Reader, job: RepairJob) -> bool:
    """Return whether a job is still what is being done for its piece."""
    stored = get_job(reader, job.segment_id, job.index)
    return stored is not None and _serial(stored) == _serial(job)


def finish(txn: Transaction, job: RepairJob) -> None:
    """End a job; its ticket stays known."""
    txn.delete(JOB + piece_key(job.segment_id, job.index))


def forget(txn: Transaction, job: RepairJob) -> None:
    """End a job whose miner holds the piece now: its ticket is in the segment's record, and what went wrong is past."""
    finish(txn, job)
    key = piece_key(job.segment_id, job.index)
    txn.delete(NOTES + key)
    if job.attempt is not None:
        txn.delete(TRIED + key + ordered(job.attempt.serial))


def is_under_way(reader: Reader, home: Home, record: SegmentRecord, index: int, ticket_id: MessageId) -> bool:
    """Return whether a ticket is that of the repair of a piece that is under way."""
    job = get_job(reader, record.segment_id, index)
    return job is not None and job.attempt is not None and ticket_of(home, record, job).id(home.network) == ticket_id


def miners_of(job: RepairJob) -> tuple[PublicKey, ...]:
    """Return who is to make the piece of a job: nobody, where the validator does it itself."""
    return () if job.attempt is None else (job.attempt.miner,)


def _serial(job: RepairJob) -> int | None:
    return None if job.attempt is None else job.attempt.serial
