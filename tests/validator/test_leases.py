"""How long a segment is kept: by its lease, by rows, by the grace after a drop, by keep_until."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from hippy.errors import ConflictError, NotFoundError
from hippy.ids import SegmentId
from hippy.kv import Database
from hippy.validator.leases import renew
from hippy.validator.tables import DROP, ENDS
from hippy.wire.pace import USUAL_PACE
from tests.validator.releasing import DAY, GRACE, LEASE, life, released, sweep, write
from tests.validator.world import ACCOUNT, NOW, STRANGER, committed, drop, row


async def renewed(database: Database, *ids: SegmentId, now: int = NOW) -> Sequence[int]:
    return await database.transact(lambda txn: renew(txn, ACCOUNT.public_key, ids, now, USUAL_PACE))


async def waiting(database: Database) -> int:
    """Ends that something waits for, and drops that wait for theirs."""
    return await database.read(lambda reader: len([*reader.scan(ENDS), *reader.scan(DROP)]))


async def test_a_segment_that_no_row_names_is_kept_for_seven_days_and_lapses(database: Database) -> None:
    segment_id = (await committed(database)).segment_id
    await sweep(database, NOW + LEASE - 1)
    assert await released(database) == []
    await sweep(database, NOW + LEASE)
    (body,) = await released(database)
    assert (body.segment_id, body.reason, body.drop) == (segment_id, "lapsed", None)
    assert await waiting(database) == 0


async def test_a_segment_that_a_row_names_is_kept_for_ever(database: Database) -> None:
    segment_id = (await committed(database)).segment_id
    await write(database, row("a", segment_ids=(segment_id,)))
    assert await waiting(database) == 0
    await sweep(database, NOW + 1_000 * DAY)
    assert await released(database) == []


async def test_a_dropped_segment_is_deleted_a_day_after_the_last_row_went(database: Database) -> None:
    segment_id = (await committed(database)).segment_id
    first, second = row("a", segment_ids=(segment_id,)), row("b", segment_ids=(segment_id,))
    await write(database, first, second)
    word = drop(segment_id)
    await write(database, row("a", replaces=first, manifest=None), drops=[word])
    await sweep(database, NOW + 10 * DAY)
    assert await released(database) == []
    later = NOW + 10 * DAY
    await write(database, row("b", replaces=second, manifest=None), drops=[word], now=later)
    await sweep(database, later + GRACE - 1)
    assert await released(database) == []
    await sweep(database, later + GRACE)
    (body,) = await released(database)
    assert (body.reason, body.drop) == ("deleted", word)
    assert await waiting(database) == 0


async def test_the_grace_of_a_drop_from_ahead_begins_at_its_time(database: Database) -> None:
    """Or the release would come too early for the miner, which counts from the drop's time."""
    segment_id = (await committed(database)).segment_id
    first = row("a", segment_ids=(segment_id,))
    await write(database, first)
    await write(database, row("a", replaces=first, manifest=None), drops=[drop(segment_id, time=NOW + 120)])
    assert (await life(database, segment_id)).end_time == NOW + 120 + GRACE


async def test_a_row_that_names_a_dropped_segment_within_the_grace_keeps_it(database: Database) -> None:
    segment_id = (await committed(database)).segment_id
    first = row("a", segment_ids=(segment_id,))
    await write(database, first)
    await write(database, row("a", replaces=first, manifest=None), drops=[drop(segment_id)])
    copy = row("b", segment_ids=(segment_id,))
    assert await write(database, copy, now=NOW + GRACE - 1) == ["stored"]
    assert await waiting(database) == 0
    await sweep(database, NOW + 100 * DAY)
    assert await released(database) == []
    fresh = drop(segment_id, time=NOW + 100 * DAY)
    await write(database, row("b", replaces=copy, manifest=None), drops=[fresh], now=NOW + 100 * DAY)
    await sweep(database, NOW + 101 * DAY)
    assert [body.drop for body in await released(database)] == [fresh]


async def test_moving_a_name_in_one_request_drops_nothing(database: Database) -> None:
    segment_id = (await committed(database)).segment_id
    first = row("a", segment_ids=(segment_id,))
    await write(database, first)
    gone, there = row("a", replaces=first, manifest=None), row("b", segment_ids=(segment_id,))
    assert await write(database, gone, there, drops=[drop(segment_id)]) == ["stored", "stored"]
    assert (await life(database, segment_id)).references == 1
    assert await waiting(database) == 0


async def test_a_renewal_keeps_a_segment_for_another_lease(database: Database) -> None:
    segment_id = (await committed(database)).segment_id
    later = NOW + LEASE - 1
    assert await renewed(database, segment_id, now=later) == (later + LEASE,)
    await sweep(database, later + LEASE - 1)
    assert await released(database) == []
    await sweep(database, later + LEASE)
    assert [body.reason for body in await released(database)] == ["lapsed"]


async def test_a_renewal_of_what_rows_name_answers_nothing_and_changes_nothing(database: Database) -> None:
    one, two = [(await committed(database, number)).segment_id for number in (1, 2)]
    await write(database, row("a", segment_ids=(one,)))
    before = await life(database, one)
    assert await renewed(database, one, two, one, now=NOW + 5) == (0, NOW + 5 + LEASE, 0)
    assert await life(database, one) == before


async def test_a_renewal_never_shortens_a_lease(database: Database) -> None:
    segment_id = (await committed(database)).segment_id
    assert await renewed(database, segment_id, now=NOW - 50) == (NOW + LEASE,)


async def test_a_renewal_of_a_dropped_segment_forgets_the_drop(database: Database) -> None:
    segment_id = (await committed(database)).segment_id
    first = row("a", segment_ids=(segment_id,))
    await write(database, first)
    await write(database, row("a", replaces=first, manifest=None), drops=[drop(segment_id)])
    assert await renewed(database, segment_id) == (NOW + LEASE,)
    await sweep(database, NOW + LEASE - 1)
    assert await released(database) == []
    await sweep(database, NOW + LEASE)
    assert [(body.reason, body.drop) for body in await released(database)] == [("lapsed", None)]


async def test_leases_are_renewed_for_the_accounts_own_committed_segments_all_or_none(database: Database) -> None:
    own = (await committed(database)).segment_id
    theirs = (await committed(database, 1, account=STRANGER)).segment_id
    before = await life(database, own)
    for other in (theirs, SegmentId(b"u" * 32)):
        with pytest.raises(NotFoundError):
            await renewed(database, own, other, now=NOW + 5)
    assert await life(database, own) == before


async def test_a_released_segment_has_no_lease(database: Database) -> None:
    segment_id = (await committed(database)).segment_id
    await sweep(database, NOW + LEASE)
    with pytest.raises(ConflictError, match="was released"):
        await renewed(database, segment_id)


async def test_keep_until_ends_a_segment_whatever_rows_name_it(database: Database) -> None:
    end = NOW + 3 * DAY
    segment_id = (await committed(database, keep_until=end)).segment_id
    await write(database, row("a", segment_ids=(segment_id,)))
    await sweep(database, end - 1)
    assert await released(database) == []
    await sweep(database, end)
    assert [(body.reason, body.drop) for body in await released(database)] == [("expired", None)]
    assert await waiting(database) == 0


async def test_a_lease_ends_no_later_than_keep_until(database: Database) -> None:
    end = NOW + 3 * DAY
    segment_id = (await committed(database, keep_until=end)).segment_id
    assert await renewed(database, segment_id) == (end,)
    await sweep(database, NOW + 100 * DAY)
    assert [body.reason for body in await released(database)] == ["expired"]


async def test_a_segment_due_for_two_reasons_at_the_same_moment_is_released_once(database: Database) -> None:
    await committed(database, keep_until=NOW + LEASE)
    await sweep(database, NOW + LEASE)
    assert len(await released(database)) == 1
    assert await waiting(database) == 0


async def test_the_row_of_an_expired_segment_is_replaced_like_any_other(database: Database) -> None:
    segment_id = (await committed(database, keep_until=NOW + DAY)).segment_id
    first = row("a", segment_ids=(segment_id,))
    await write(database, first)
    await sweep(database, NOW + DAY)
    gone = row("a", replaces=first, manifest=None)
    assert await write(database, gone, drops=[drop(segment_id)], now=NOW + DAY) == ["stored"]
    await sweep(database, NOW + 100 * DAY)
    assert len(await released(database)) == 1
    assert (await life(database, segment_id)).references == 0
