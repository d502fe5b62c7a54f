"""An order is stored before it is sent, counted each time, and sent twice at most."""

from __future__ import annotations

import pytest

from hippy.ids import SegmentId
from hippy.kv import Database
from hippy.testing.kv import MemoryDatabase
from hippy.validator.repair.jobs import (
    JobChangedError,
    RepairJob,
    count_delivery,
    finish,
    get_job,
    is_current,
    order_of,
    plan,
    ticket_of,
    tried,
)
from tests.validator.repair.registry import lose, planned, record_of
from tests.validator.world import HOME, MINERS, NETWORK, NOW, committed, endpoint

NEW, NEWER = MINERS[10], MINERS[11]


@pytest.fixture
def database() -> Database:
    return MemoryDatabase()


@pytest.fixture
async def segment_id(database: Database) -> SegmentId:
    found = (await committed(database)).segment_id
    await lose(database, found, 2, 3)
    return found


async def delivered(database: Database, job: RepairJob, now: int = NOW) -> RepairJob | None:
    return await database.transact(lambda txn: count_delivery(txn, job, now))


async def test_the_same_job_gives_the_same_order(database: Database, segment_id: SegmentId) -> None:
    job, record = await planned(database, segment_id, 3, NEW), await record_of(database, segment_id)
    order = order_of(HOME, record, job)
    stored = await database.read(lambda reader: get_job(reader, segment_id, 3))
    assert stored == job
    assert order_of(HOME, record, stored) == order
    assert (order.ticket.miner, order.ticket.endpoint, order.ticket.index) == (NEW.public_key, endpoint(99), 3)
    assert order.ticket.root == record.spec.roots[3]


async def test_every_ticket_has_a_serial_of_its_own(database: Database, segment_id: SegmentId) -> None:
    one, other = await planned(database, segment_id, 3, NEW), await planned(database, segment_id, 2, NEWER)
    assert one.attempt is not None
    assert other.attempt is not None
    assert other.attempt.serial == one.attempt.serial + 1 > 8


async def test_a_piece_has_one_job(database: Database, segment_id: SegmentId) -> None:
    job, record = await planned(database, segment_id, 3, NEW), await record_of(database, segment_id)
    with pytest.raises(JobChangedError):
        await database.transact(lambda txn: plan(txn, HOME, record, job))


async def test_an_order_is_sent_twice_and_no_more(database: Database, segment_id: SegmentId) -> None:
    job = await planned(database, segment_id, 3, NEW)
    first = await delivered(database, job)
    assert first is not None
    second = await delivered(database, job)  # by a process that knows of no delivery
    assert second is not None
    assert [each.attempt and each.attempt.deliveries for each in (first, second)] == [1, 2]
    assert await delivered(database, second) is None


async def test_an_order_is_not_sent_when_its_time_is_over(database: Database, segment_id: SegmentId) -> None:
    job = await planned(database, segment_id, 3, NEW)
    assert await delivered(database, job, NOW + 3_600) is None
    assert await delivered(database, job, NOW + 3_599) is not None


async def test_an_order_is_not_sent_when_its_job_is_over(database: Database, segment_id: SegmentId) -> None:
    job = await planned(database, segment_id, 3, NEW)
    await database.transact(lambda txn: finish(txn, job))
    assert await delivered(database, job) is None
    assert not await database.read(lambda reader: is_current(reader, job))
    other = await planned(database, segment_id, 3, NEWER)
    assert await delivered(database, job) is None
    assert await database.read(lambda reader: is_current(reader, other))


async def test_tickets_that_came_to_nothing_stay_known(database: Database, segment_id: SegmentId) -> None:
    record = await record_of(database, segment_id)
    given = []
    for miner in (NEW, NEWER):
        job = await planned(database, segment_id, 3, miner)
        given.append(ticket_of(HOME, record, job).id(NETWORK))
        await database.transact(lambda txn, job=job: finish(txn, job))  # type: ignore[misc]
    known = await database.read(lambda reader: list(tried(reader, segment_id, 3)))
    assert [each.ticket_id for each in known] == given
    assert [each.miner for each in known] == [NEW.public_key, NEWER.public_key]
    assert await database.read(lambda reader: list(tried(reader, segment_id, 2))) == []
