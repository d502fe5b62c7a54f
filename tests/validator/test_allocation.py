"""Allocations against the real database: charges, tickets, moves, the close."""

from __future__ import annotations

from pathlib import Path

import pytest

from hippy.errors import ConflictError, NotFoundError, ProtocolError, QuotaError, TemporaryError, UsageError
from hippy.hashing import digest
from hippy.kv import Database, open_database
from hippy.validator.accounts import status_of
from hippy.validator.allocation import (
    CLOSE_AFTER_SECONDS,
    COMMIT_GRACE_SECONDS,
    Assignment,
    allocate,
    check_moves,
    check_request,
    close_due,
    move,
    open_allocation,
)
from hippy.validator.log import scan_log
from hippy.validator.tables import Allocation, claim, get_allocation
from hippy.validator.tickets import grant, ticket_id, tickets
from hippy.wire.segment import FailedPiece
from hippy.wire.ticket import prove_tickets
from tests.validator.world import (
    ACCOUNT,
    HOME,
    MINERS,
    NETWORK,
    NOW,
    STRANGER,
    TERMS,
    N,
    allocated,
    committed,
    endpoint,
    plan,
    request,
    spec,
)

BYTES = 8 * 100
UPLOAD_BY = NOW + 3600


async def used(database: Database) -> int:
    return (await database.read(lambda reader: status_of(reader, TERMS, HOME.hotkey))).used_bytes


async def kinds(database: Database) -> list[str]:
    return await database.read(lambda reader: [entry.record.kind for entry in scan_log(reader)])


def failed(allocation: Allocation, *indices: int) -> list[FailedPiece]:
    return [FailedPiece(index=index, ticket_id=ticket_id(HOME, allocation, index)) for index in indices]


async def moved(database: Database, allocation: Allocation, index: int, miner: int) -> Allocation:
    to = {index: Assignment(MINERS[miner].public_key, endpoint(miner))}
    return await database.transact(lambda txn: move(txn, HOME, allocation, to, plan().pool, NOW))


async def test_allocation_charges_n_pieces_and_logs_the_candidates_once(database: Database) -> None:
    first, second = await allocated(database, 0), await allocated(database, 1)
    assert await used(database) == 2 * BYTES
    assert await kinds(database) == ["candidates"]
    assert first.candidates_seq == second.candidates_seq == 1


async def test_tickets_name_their_pieces_and_verify_under_the_grant(database: Database) -> None:
    allocation = await allocated(database)
    answer = grant(HOME, tickets(HOME, allocation), NOW)
    for index, proof in enumerate(prove_tickets(answer.tickets, answer.grant, NETWORK)):
        assert proof.check(NETWORK) == ticket_id(HOME, allocation, index)
        assert (proof.ticket.index, proof.ticket.root) == (index, spec().roots[index])
        assert (proof.ticket.miner, proof.ticket.endpoint) == (MINERS[index].public_key, endpoint(index))
        assert (proof.ticket.upload_by, proof.ticket.pay_class) == (UPLOAD_BY, "paid")


async def test_same_segment_again_gets_the_same_tickets_at_no_charge(database: Database) -> None:
    first = await allocated(database)
    again = request(spec(), upload_by=UPLOAD_BY + 60)
    plans = {first.segment_id: plan(first_miner=4)}
    await database.transact(lambda txn: allocate(txn, HOME, again, TERMS, plans, NOW + 5))
    assert await database.read(lambda reader: get_allocation(reader, first.segment_id)) == first
    assert await used(database) == BYTES


async def test_serials_are_never_given_twice(database: Database) -> None:
    first, second = await allocated(database, 0), await allocated(database, 1)
    assert [place.serial for place in (*first.places, *second.places)] == list(range(1, 2 * N + 1))


async def test_quota_is_for_the_whole_request_or_nothing_is_allocated(database: Database) -> None:
    specs = [spec(number) for number in range(13)]
    plans = {each.segment_id(ACCOUNT.public_key): plan() for each in specs}
    with pytest.raises(QuotaError):
        await database.transact(lambda txn: allocate(txn, HOME, request(*specs), TERMS, plans, NOW))
    assert await used(database) == 0
    assert await kinds(database) == []


@pytest.mark.parametrize("upload_by", [NOW, NOW - 1, NOW + 24 * 3600 + 1])
def test_upload_by_lies_within_a_day(upload_by: int) -> None:
    with pytest.raises(UsageError, match="upload_by"):
        check_request(request(upload_by=upload_by), NOW)


def test_keep_until_is_later_than_upload_by() -> None:
    with pytest.raises(UsageError, match="keep_until"):
        check_request(request().model_copy(update={"keep_until": UPLOAD_BY}), NOW)


@pytest.mark.parametrize(
    "change",
    [{"k": 9}, {"piece_length": 99}, {"n": 7}, {"roots": (bytes(32),) * N}],
    ids=lambda change: next(iter(change)),
)
def test_segment_that_does_not_add_up_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ProtocolError):
        check_request(request(spec().model_copy(update=change)), NOW)


def test_segment_named_twice_is_refused() -> None:
    with pytest.raises(ProtocolError, match="once"):
        check_request(request(spec(), spec()), NOW)


async def test_moved_piece_has_a_new_ticket_and_the_others_keep_theirs(database: Database) -> None:
    before = await allocated(database)
    after = await moved(database, before, 3, 9)
    assert await database.read(lambda reader: get_allocation(reader, before.segment_id)) == after
    old, new = tickets(HOME, before), tickets(HOME, after)
    assert [index for index in range(N) if old[index] != new[index]] == [3]
    assert (new[3].miner, new[3].serial) == (MINERS[9].public_key, N + 1)
    assert after.tried == (MINERS[3].public_key,)
    assert await used(database) == BYTES


async def test_piece_moved_meanwhile_is_not_moved_again(database: Database) -> None:
    before = await allocated(database)
    await moved(database, before, 3, 9)
    with pytest.raises(ConflictError):
        await moved(database, before, 3, 10)


async def test_only_the_current_ticket_can_fail(database: Database) -> None:
    before = await allocated(database)
    check_moves(HOME, before, failed(before, 3))
    after = await moved(database, before, 3, 9)
    with pytest.raises(ConflictError):
        check_moves(HOME, after, failed(before, 3))
    check_moves(HOME, after, failed(after, 3))


async def test_a_quarter_of_the_pieces_can_move(database: Database) -> None:
    allocation = await allocated(database)
    check_moves(HOME, allocation, failed(allocation, 0, 1))
    with pytest.raises(TemporaryError):
        check_moves(HOME, allocation, failed(allocation, 0, 1, 2))
    for miner in (9, 10):
        allocation = await moved(database, allocation, 0, miner)
    with pytest.raises(TemporaryError):
        check_moves(HOME, allocation, failed(allocation, 1))


async def test_one_piece_moves_three_times_at_most(database: Database) -> None:
    small = await allocated(database)
    roots = tuple(digest(bytes([index])) for index in range(16))
    wide = small.model_copy(
        update={"spec": small.spec.model_copy(update={"n": 16, "roots": roots}), "places": small.places * 2}
    )
    for moves in (2, 3):
        allocation = wide.model_copy(update={"moves": (moves, *[0] * 15)})
        if moves == 2:
            check_moves(HOME, allocation, failed(allocation, 0))
        else:
            check_moves(HOME, allocation, failed(allocation, 1))
            with pytest.raises(TemporaryError):
                check_moves(HOME, allocation, failed(allocation, 0))


async def test_impossible_indices_are_refused(database: Database) -> None:
    allocation = await allocated(database)
    (piece,) = failed(allocation, 0)
    for pieces in ([piece, piece], [piece.model_copy(update={"index": N})]):
        with pytest.raises(ProtocolError):
            check_moves(HOME, allocation, pieces)


async def test_allocation_is_closed_an_hour_after_upload_by_with_its_charge_given_back(database: Database) -> None:
    allocation = await allocated(database)

    async def close(now: int) -> int:
        return await database.transact(lambda txn: close_due(txn, HOME, now, 10))

    assert await close(UPLOAD_BY + CLOSE_AFTER_SECONDS) == 0
    assert await used(database) == BYTES
    assert await close(UPLOAD_BY + CLOSE_AFTER_SECONDS + 1) == 1
    assert await used(database) == 0
    assert await kinds(database) == ["candidates", "closed"]
    with pytest.raises(NotFoundError):
        await database.read(lambda r: open_allocation(r, ACCOUNT.public_key, allocation.segment_id, NOW))
    assert await close(UPLOAD_BY + CLOSE_AFTER_SECONDS + 1) == 0


async def test_committed_segment_stays_charged_after_the_close(database: Database) -> None:
    allocation = await committed(database)
    later = UPLOAD_BY + CLOSE_AFTER_SECONDS + 1
    assert await database.transact(lambda txn: close_due(txn, HOME, later, 10)) == 1
    assert await used(database) == BYTES
    assert await kinds(database) == ["candidates", "segment"]
    again, plans = request(spec(), upload_by=later + 60), {allocation.segment_id: plan()}
    with pytest.raises(ConflictError, match="committed already"):
        await database.transact(lambda txn: allocate(txn, HOME, again, TERMS, plans, later))


async def test_close_takes_no_more_than_its_limit(database: Database) -> None:
    for number in range(5):
        await allocated(database, number)
    later = UPLOAD_BY + CLOSE_AFTER_SECONDS + 1
    assert [await database.transact(lambda txn: close_due(txn, HOME, later, 2)) for _ in range(4)] == [2, 2, 1, 0]
    assert await used(database) == 0


async def test_allocation_past_its_grace_is_replaced_by_a_new_one(database: Database) -> None:
    first = await allocated(database)
    later = UPLOAD_BY + COMMIT_GRACE_SECONDS + 1
    second = await allocated(database, now=later)
    assert second.upload_by == later + 3600
    assert {place.serial for place in first.places}.isdisjoint(place.serial for place in second.places)
    assert await used(database) == BYTES
    assert await kinds(database) == ["candidates", "closed"]
    assert await database.transact(lambda txn: close_due(txn, HOME, later + 2 * 3600 + 1, 10)) == 1


async def test_allocation_is_its_accounts_alone(database: Database) -> None:
    allocation = await allocated(database)
    with pytest.raises(NotFoundError):
        await database.read(lambda r: open_allocation(r, STRANGER.public_key, allocation.segment_id, NOW))


async def test_allocations_survive_a_restart(tmp_path: Path) -> None:
    async with open_database(tmp_path / "registry") as database:
        await database.transact(lambda txn: claim(txn, NETWORK, HOME.hotkey))
        before = await allocated(database)
    async with open_database(tmp_path / "registry") as database:
        await database.transact(lambda txn: claim(txn, NETWORK, HOME.hotkey))
        assert await database.read(lambda reader: get_allocation(reader, before.segment_id)) == before
        assert (await allocated(database, 1)).places[0].serial == N + 1
