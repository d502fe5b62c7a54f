"""Commits: what an honest client shows is stored, and everything short of it is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hippy.errors import AuthError, ConflictError, HippyError, IntegrityError, NotFoundError, ProtocolError
from hippy.kv import Database, open_database
from hippy.validator.allocation import COMMIT_GRACE_SECONDS, Assignment, move
from hippy.validator.commit import CheckedCommit, check_commit, commit_segments, pending
from hippy.validator.log import scan_log, verify_chain
from hippy.validator.tables import ENVELOPES, Allocation, get_message, get_segment
from hippy.wire.log import Envelopes
from hippy.wire.segment import SegmentCommit, SegmentRecord
from tests.validator.world import (
    ACCOUNT,
    ENVELOPE_KEY,
    HOME,
    MINERS,
    NETWORK,
    NOW,
    STRANGER,
    N,
    allocated,
    commit,
    committed,
    endpoint,
    envelope,
    holding,
    plan,
)

Change = Callable[[SegmentCommit, Allocation], SegmentCommit]


def check(asked: SegmentCommit, allocation: Allocation) -> CheckedCommit:
    return check_commit(asked, allocation, HOME, ENVELOPE_KEY)


async def store(database: Database, *checked: CheckedCommit) -> None:
    await database.transact(lambda txn: commit_segments(txn, HOME, checked, NOW))


async def record_of(database: Database, allocation: Allocation) -> SegmentRecord | None:
    return await database.read(lambda reader: get_segment(reader, allocation.segment_id))


async def test_committed_segment_is_in_the_registry_and_the_log(database: Database) -> None:
    allocation = await committed(database)
    record = await record_of(database, allocation)
    assert record is not None
    assert (record.segment_id, record.spec, record.committed_time) == (allocation.segment_id, allocation.spec, NOW)
    assert (record.placement_round, record.candidates_seq) == (5, 1)
    for each in record.holdings:
        each.receipt(record.spec.roots[each.index], record.spec.piece_length).check_signature(each.miner, NETWORK)
    entries = await database.read(lambda reader: list(scan_log(reader)))
    verify_chain(entries, NETWORK)
    kept = await database.read(lambda r: get_message(r, ENVELOPES + allocation.segment_id, Envelopes))
    assert kept is not None
    assert (entries[-1].segment, entries[-1].envelopes) == (record, kept)


async def test_seven_receipts_of_eight_are_enough_and_six_are_not(database: Database) -> None:
    allocation = await allocated(database)
    check(commit(allocation, range(7)), allocation)
    with pytest.raises(ProtocolError, match=r"needs 7 receipts, this one has 6"):
        check(commit(allocation, range(6)), allocation)


def _replace_first(**change: object) -> Change:
    def apply(asked: SegmentCommit, _: Allocation) -> SegmentCommit:
        first, *rest = asked.holdings
        return asked.model_copy(update={"holdings": (first.model_copy(update=change), *rest)})

    return apply


def _doubled(asked: SegmentCommit, _: Allocation) -> SegmentCommit:
    return asked.model_copy(update={"holdings": (*asked.holdings, asked.holdings[0])})


def _same_miner(asked: SegmentCommit, _: Allocation) -> SegmentCommit:
    first, second, *rest = asked.holdings
    return asked.model_copy(update={"holdings": (first, second.model_copy(update={"miner": first.miner}), *rest)})


def _swapped(asked: SegmentCommit, _: Allocation) -> SegmentCommit:
    first, second, *rest = asked.holdings
    swapped = (first.model_copy(update={"index": 1}), second.model_copy(update={"index": 0}))
    return asked.model_copy(update={"holdings": (*swapped, *rest)})


def _other_network(asked: SegmentCommit, allocation: Allocation) -> SegmentCommit:
    foreign = holding(allocation, 0, network=b"x" * 32)
    return asked.model_copy(update={"holdings": (foreign, *asked.holdings[1:])})


def _no_envelope(asked: SegmentCommit, _: Allocation) -> SegmentCommit:
    theirs = asked.envelopes[0].model_copy(update={"validator": STRANGER.public_key})
    return asked.model_copy(update={"envelopes": (theirs,)})


def _old_key(asked: SegmentCommit, allocation: Allocation) -> SegmentCommit:
    return asked.model_copy(update={"envelopes": (envelope(allocation, key_id=2),)})


def _two_envelopes(asked: SegmentCommit, _: Allocation) -> SegmentCommit:
    return asked.model_copy(update={"envelopes": asked.envelopes * 2})


def _envelope_of_another_segment(asked: SegmentCommit, allocation: Allocation) -> SegmentCommit:
    other = allocation.model_copy(update={"spec": allocation.spec.model_copy(update={"nonce": b"o" * 16})})
    return asked.model_copy(update={"envelopes": (envelope(other),)})


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (_doubled, ProtocolError),
        (_same_miner, ProtocolError),
        (_swapped, ConflictError),
        (_replace_first(ticket_id=b"t" * 32), ConflictError),
        (_replace_first(miner=MINERS[12].public_key), ConflictError),
        (_replace_first(index=N), ProtocolError),
        (_replace_first(signature=bytes(64)), AuthError),
        (_replace_first(time=NOW + 1), AuthError),
        (_other_network, AuthError),
        (_no_envelope, ProtocolError),
        (_old_key, ProtocolError),
        (_two_envelopes, ProtocolError),
        (_envelope_of_another_segment, IntegrityError),
    ],
)
async def test_commit_that_shows_something_else_is_refused(
    database: Database, change: Change, error: type[HippyError]
) -> None:
    allocation = await allocated(database)
    with pytest.raises(error):
        check(change(commit(allocation), allocation), allocation)


async def test_receipt_for_a_ticket_that_was_replaced_is_refused(database: Database) -> None:
    before = await allocated(database)
    asked = commit(before)
    to = {0: Assignment(MINERS[9].public_key, endpoint(9))}
    after = await database.transact(lambda txn: move(txn, HOME, before, to, plan().pool, NOW))
    with pytest.raises(ConflictError):
        check(asked, after)
    with pytest.raises(ConflictError, match="meanwhile"):
        await store(database, check(asked, before))
    await store(database, check(commit(after), after))
    record = await record_of(database, after)
    assert record is not None
    assert record.holdings[0].miner == MINERS[9].public_key


async def test_commit_is_accepted_ten_minutes_after_upload_by_and_no_later(database: Database) -> None:
    allocation = await allocated(database)
    asked, last = [commit(allocation)], allocation.upload_by + COMMIT_GRACE_SECONDS
    assert await database.read(lambda reader: pending(reader, ACCOUNT.public_key, asked, last))
    with pytest.raises(ConflictError, match="has ended"):
        await database.read(lambda reader: pending(reader, ACCOUNT.public_key, asked, last + 1))


async def test_segment_without_allocation_or_of_another_account_is_not_found(database: Database) -> None:
    allocation = await allocated(database)
    unknown = commit(allocation).model_copy(update={"segment_id": b"u" * 32})
    for account, asked in ((ACCOUNT, unknown), (STRANGER, commit(allocation))):
        with pytest.raises(NotFoundError):
            await database.read(lambda r, a=account, c=asked: pending(r, a.public_key, [c], NOW))  # type: ignore[misc]


async def test_segment_named_twice_is_refused(database: Database) -> None:
    asked = commit(await allocated(database))
    with pytest.raises(ProtocolError, match="once"):
        await database.read(lambda reader: pending(reader, ACCOUNT.public_key, [asked, asked], NOW))


async def test_committing_again_is_success_and_changes_nothing(database: Database) -> None:
    allocation = await committed(database)
    before = await record_of(database, allocation)
    assert await database.read(lambda r: pending(r, ACCOUNT.public_key, [commit(allocation)], NOW + 10**6)) == []
    await store(database, check(commit(allocation, range(7)), allocation))
    assert await record_of(database, allocation) == before
    assert await database.read(lambda reader: len(list(scan_log(reader)))) == 2


async def test_all_segments_are_committed_or_none(database: Database) -> None:
    one, two = await allocated(database, 1), await allocated(database, 2)
    stale = two.model_copy(update={"upload_by": two.upload_by + 1})
    with pytest.raises(ConflictError):
        await store(database, check(commit(one), one), CheckedCommit(commit(two), stale))
    assert await record_of(database, one) is None
    await store(database, check(commit(one), one), check(commit(two), two))
    assert await record_of(database, one)
    assert await record_of(database, two)


async def test_committed_segment_survives_a_restart(tmp_path: Path) -> None:
    async with open_database(tmp_path / "registry") as database:
        allocation = await committed(database)
        before = await record_of(database, allocation)
    async with open_database(tmp_path / "registry") as database:
        assert await record_of(database, allocation) == before is not None
