"""A stranger with the public log knows who held what, as the validator's own tables do; lies in bodies are caught."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hippy.errors import IntegrityError
from hippy.identity import Identity
from hippy.ids import PublicKey, Root, SegmentId
from hippy.kv import Database, Reader, Transaction
from hippy.testing.kv import MemoryDatabase
from hippy.validator.commit import record_segments
from hippy.validator.history import History
from hippy.validator.holdings import (
    bytes_at,
    depart,
    former_miners,
    holders,
    holders_at,
    inventory_at,
    is_holder,
    lose_departed,
    lost_indices,
    mark_lost,
)
from hippy.validator.leases import is_released
from hippy.validator.log import (
    BEGINNING,
    Body,
    CommittedSegment,
    append,
    position,
    read_page,
    scan_log,
    verify_chain,
    verify_head,
)
from hippy.validator.losses import record_loss, reported
from hippy.validator.releases import released_at
from hippy.validator.tables import claim, get_segment
from hippy.wire.audit import LostReport
from hippy.wire.log import AllocationClosed, Departure, LogEntry, Loss, LostPiece, SegmentReleased
from hippy.wire.object import BucketRow, Drop
from hippy.wire.ticket import PayClass
from tests.validator.moves_written import drain_of, move, moved_to
from tests.validator.releases_written import released
from tests.validator.world import ACCOUNT, HOME, MINERS, NETWORK, NOW, STRANGER, TERMS, component, row, unsigned_segment

KEYS = [miner.public_key for miner in MINERS[:5]]
ROOTS = [Root(bytes([number]) * 32) for number in range(6)]
Step = Callable[[Transaction, int], object]

miners = st.sampled_from(MINERS[:3])
newcomers = st.sampled_from(MINERS[:5])
some_roots = st.lists(st.sampled_from(ROOTS), min_size=1, max_size=4, unique=True)


def commits(roots: list[Root], at: list[Identity], length: int, pay_class: PayClass, account: Identity) -> Step:
    def step(txn: Transaction, number: int) -> None:
        holders = {index: miner.public_key for index, miner in enumerate(at[: len(roots)])}
        segment = unsigned_segment(
            number,
            holders,
            roots,
            piece_length=length,
            pay_class=pay_class,
            account=account.public_key,
        )
        record_segments(txn, HOME, [segment], NOW)

    return step


def reports(miner: Identity, roots: list[Root], beacon_round: int) -> Step:
    def step(txn: Transaction, number: int) -> None:
        unsigned = LostReport(miner=miner.public_key, validator=HOME.hotkey, roots=tuple(roots), time=NOW + number)
        record_loss(
            txn,
            HOME,
            miner.public_key,
            roots,
            reason="reported",
            now=NOW,
            report=unsigned.signed(miner, NETWORK),
            beacon_round=beacon_round,
        )

    return step


def fails(miner: Identity, roots: list[Root]) -> Step:
    return lambda txn, _: record_loss(txn, HOME, miner.public_key, roots, reason="failed", now=NOW, epoch=1, batch=2)


def loses(miner: Identity, place: int) -> Step:
    """A failed audit takes one of the pieces that a miner holds, if it holds any."""

    def step(txn: Transaction, number: int) -> None:
        held = [root for root, _ in inventory_at(txn, miner.public_key, position(txn).seq).items()]
        if held:
            fails(miner, [held[place % len(held)]])(txn, number)

    return step


def releases(place: int, account: Identity) -> Step:
    """Release one of the segments that are owed, if there are so many."""

    def step(txn: Transaction, number: int) -> None:
        owed = [
            entry.segment
            for entry in scan_log(txn)
            if entry.segment is not None and not is_released(txn, entry.segment.segment_id)
        ]
        if place < len(owed) and owed[place].account == account.public_key:
            segment_id = owed[place].segment_id
            drop = Drop(account=account.public_key, segment_id=segment_id, time=NOW).signed(account, NETWORK)
            released(txn, SegmentReleased(segment_id=segment_id, reason="deleted", drop=drop), NOW)

    return step


def hands_over(place: int, index: int) -> Step:
    """Have another miner hold a piece of a segment that is owed: one that was lost, else one whose miner drains."""

    def step(txn: Transaction, number: int) -> None:
        owed = [
            entry.segment.segment_id
            for entry in scan_log(txn)
            if entry.segment is not None and not is_released(txn, entry.segment.segment_id)
        ]
        if not owed:
            return
        record = get_segment(txn, owed[place % len(owed)])
        assert record is not None
        spec, segment_id = record.spec, record.segment_id
        holders_of = {each.index: each.miner for each in record.holdings}
        known = {*holders_of.values(), *former_miners(txn, segment_id)}
        to = next((miner for miner in MINERS[:5] if miner.public_key not in known), None)
        chosen = min(lost_indices(txn, segment_id), default=index % spec.n)
        if to is None:
            return
        before, root = holders_of.get(chosen), spec.roots[chosen]
        drained = before if before and is_holder(txn, before, root, segment_id, chosen) else None
        if drained is not None:
            leaver = next(miner for miner in MINERS if miner.public_key == drained)
            append(txn, HOME, [drain_of(leaver, NOW)], NOW)
        elif before is not None:
            lose_departed(txn, before, root, segment_id, chosen)
        body = moved_to(segment_id, chosen, root, spec.piece_length, to, candidates_seq=1, now=NOW, drained=drained)
        move(txn, body, NOW)

    return step


def departs(miner: Identity) -> Step:
    return lambda txn, _: depart(txn, HOME, miner.public_key, 77, NOW)


def notes(private: bool) -> Step:
    """A record that is nothing to holdings, with a body that strangers see or not."""
    body = TERMS if private else AllocationClosed(segment_id=SegmentId(b"s" * 32), upload_by=NOW)
    return lambda txn, _: append(txn, HOME, [body], NOW)


steps = st.one_of(
    st.builds(
        commits,
        some_roots,
        st.lists(miners, min_size=4, max_size=4),
        st.sampled_from([100, 20_000]),
        st.sampled_from(["paid", "unpaid", "canary"]),
        st.sampled_from([ACCOUNT, STRANGER]),
    ),
    st.builds(reports, miners, some_roots, st.integers(1, 9)),
    st.builds(fails, miners, some_roots),
    st.builds(loses, newcomers, st.integers(0, 5)),
    st.builds(departs, newcomers),
    st.builds(releases, st.integers(0, 2), st.sampled_from([ACCOUNT, STRANGER])),
    st.builds(hands_over, st.integers(0, 2), st.integers(0, 3)),
    st.builds(notes, st.booleans()),
    st.integers(1, 3).map(lambda portion: lambda txn, _: mark_lost(txn, portion)),
)


@settings(derandomize=True, deadline=None, max_examples=80)
@given(st.lists(steps, min_size=4, max_size=14))
def test_the_public_log_tells_what_the_tables_tell(history: list[Step]) -> None:
    asyncio.run(compare(history))


async def compare(history: Sequence[Step]) -> None:
    database = MemoryDatabase()
    await database.transact(lambda txn: claim(txn, NETWORK, HOME.hotkey))
    for number, step in enumerate(history):
        await database.transact(lambda txn, step=step, number=number: step(txn, number))  # type: ignore[misc]
    follower = await followed(database)
    await database.read(lambda reader: assert_same(reader, follower))
    while await database.transact(lambda txn: mark_lost(txn, 1)):
        pass
    await database.read(lambda reader: assert_same(reader, follower))


async def followed(database: Database) -> History:
    """What a stranger knows who has read and checked all pages."""
    follower, at, page = History(NETWORK), BEGINNING, None
    while page is None or page.head is None:
        page = await database.read(lambda reader: read_page(reader, follower.seq))
        if page.head is None and not page.entries:
            return follower
        at = verify_chain(page.entries, NETWORK, after=at)
        for entry in page.entries:
            follower.apply(entry)
    verify_head(page.head, at, HOME.hotkey, NETWORK)
    return follower


def assert_same(reader: Reader, follower: History) -> None:
    for seq in range(follower.seq + 2):
        assert follower.miners_at(seq) == list(holders_at(reader, seq))
        for miner in KEYS:
            assert list(follower.inventory_at(miner, seq).items()) == list(inventory_at(reader, miner, seq).items())
            assert follower.bytes_at(miner, seq) == bytes_at(reader, miner, seq)
            known = reported(reader, miner, ROOTS, after_seq=seq)
            for by_seq in range(seq, follower.seq + 1):
                ends = {root: released_at(reader, miner, root, seq, by_seq=by_seq) for root in ROOTS}
                found = follower.released(miner, seq, by_seq)
                assert found == {root: body_id for root, body_id in ends.items() if body_id is not None}
            for root in ROOTS:
                assert follower.reported(miner, root, after_seq=seq) == known.get(root)
    assert follower.miners_at(follower.seq) == list(holders(reader))


SEGMENT = unsigned_segment(1, {0: KEYS[0], 2: KEYS[1]}, ROOTS[:3])
PIECE = LostPiece(segment_id=SEGMENT.record.segment_id, index=0, root=ROOTS[0])
REPORT = LostReport(miner=KEYS[0], validator=HOME.hotkey, roots=(ROOTS[0], ROOTS[4]), time=NOW).signed(
    MINERS[0], NETWORK
)
LOSS = Loss(miner=KEYS[0], reason="reported", pieces=(PIECE,), report=REPORT, round=9)


async def entries(*bodies: Body) -> list[LogEntry]:
    """The log of a validator that writes what it likes."""
    database = MemoryDatabase()
    await database.transact(lambda txn: append(txn, HOME, bodies, NOW))
    return await database.read(lambda reader: list(scan_log(reader)))


def folded(log: Iterable[LogEntry]) -> History:
    history = History(NETWORK)
    for entry in log:
        history.apply(entry)
    return history


async def test_a_loss_ends_what_it_names_and_is_known_as_reported() -> None:
    history = folded(await entries(SEGMENT, LOSS))
    assert [history.miners_at(seq) for seq in range(3)] == [[], sorted(KEYS[:2]), [KEYS[1]]]
    assert history.reported(KEYS[0], ROOTS[0]) == (9, REPORT.id(NETWORK))
    assert history.reported(KEYS[0], ROOTS[0], after_seq=2) is None
    assert history.reported(KEYS[0], ROOTS[4]) is None


async def test_a_release_ends_every_holding_of_the_segment_and_of_no_other() -> None:
    history = folded(await entries(SEGMENT, AGAIN, RELEASED))
    assert [len(list(history.pieces_at(KEYS[0], seq))) for seq in range(4)] == [0, 1, 2, 1]
    assert history.released(KEYS[0], 1, 3) == {ROOTS[0]: RELEASED.id(NETWORK)}
    assert history.released(KEYS[0], 1, 2) == {}, "the release is behind that record"
    assert history.released(KEYS[0], 2, 3) == {}, "it is owed for the other segment"
    assert history.released(KEYS[0], 3, 3) == {}
    assert history.reported(KEYS[0], ROOTS[0]) is None


async def test_what_was_lost_before_a_release_is_not_released() -> None:
    history = folded(await entries(SEGMENT, LOSS, RELEASED))
    assert history.released(KEYS[0], 1, 3) == {}
    assert history.released(KEYS[1], 1, 3) == {ROOTS[2]: RELEASED.id(NETWORK)}


async def test_the_newest_release_is_told_where_a_piece_was_held_often() -> None:
    history = folded(await entries(SEGMENT, AGAIN, RELEASED_AGAIN, RELEASED))
    assert history.released(KEYS[0], 2, 4)[ROOTS[0]] == RELEASED.id(NETWORK)
    assert history.released(KEYS[0], 1, 4)[ROOTS[0]] == RELEASED.id(NETWORK)
    assert ROOTS[0] not in history.released(KEYS[0], 2, 3), "one of the two is still owed"


async def test_a_report_of_a_piece_that_is_held_often_takes_records_one_behind_the_other() -> None:
    history = folded(await entries(SEGMENT, AGAIN, LOSS, loss(pieces=(SAME,))))
    assert history.miners_at(4) == [KEYS[1]]


async def test_holdings_have_numbers_in_the_order_of_the_log() -> None:
    history = folded(await entries(SEGMENT, AGAIN, LOSS))
    assert history.holding_count == 4
    assert list(history.numbers_of(KEYS[0], {ROOTS[0]})) == [(ROOTS[0], 0), (ROOTS[0], 2)]
    assert list(history.numbers_of(KEYS[0], {ROOTS[0]}, 1)) == [(ROOTS[0], 0)]
    assert list(history.numbers_of(KEYS[0], {ROOTS[0]}, 3)) == [(ROOTS[0], 2)]
    assert list(history.numbers_of(KEYS[0], {ROOTS[2]})) == []
    miner, seq, piece = history.holding(3)
    assert (miner, seq, piece.root, piece.index, piece.piece_length) == (KEYS[1], 2, ROOTS[2], 2, 100)


async def test_the_oldest_record_of_what_a_miner_holds_now_is_known() -> None:
    log = await entries(SEGMENT, AGAIN, LOSS)
    assert [folded(log[:count]).first_held_seq(KEYS[0]) for count in range(4)] == [None, 1, 1, 2]
    assert folded(log).first_held_seq(STRANGER.public_key) is None


async def test_what_a_stranger_to_the_log_holds_is_nothing() -> None:
    history = folded(await entries(SEGMENT, Departure(hotkey=STRANGER.public_key, block=1)))
    assert len(history.inventory_at(STRANGER.public_key, 2)) == 0
    assert history.bytes_at(STRANGER.public_key, 2).by_account == {}


def release(**change: object) -> SegmentReleased:
    return RELEASED.model_copy(update=change)


def loss(**change: object) -> Loss:
    return LOSS.model_copy(update=change)


def segment(**change: object) -> CommittedSegment:
    return CommittedSegment(SEGMENT.record.model_copy(update=change), SEGMENT.envelopes)


def report(
    *roots: Root, signer: Identity = MINERS[0], validator: PublicKey = HOME.hotkey, time: int = NOW
) -> LostReport:
    unsigned = LostReport(miner=signer.public_key, validator=validator, roots=roots or (ROOTS[0],), time=time)
    return unsigned.signed(signer, NETWORK)


FIRST, SECOND = SEGMENT.record.holdings
AGAIN = unsigned_segment(2, {0: KEYS[0], 2: KEYS[1]}, ROOTS[:3])
"""The same pieces once more."""

DROP = Drop(account=ACCOUNT.public_key, segment_id=SEGMENT.record.segment_id, time=NOW).signed(ACCOUNT, NETWORK)
RELEASED = SegmentReleased(segment_id=SEGMENT.record.segment_id, reason="deleted", drop=DROP)
RELEASED_AGAIN = SegmentReleased(segment_id=AGAIN.record.segment_id, reason="lapsed")

SAME = LostPiece(segment_id=AGAIN.record.segment_id, index=0, root=ROOTS[0])


@pytest.mark.parametrize(
    ("bodies", "error"),
    [
        ([SEGMENT, SEGMENT], "committed already"),
        ([segment(holdings=(FIRST, FIRST))], "distinct indices"),
        ([segment(holdings=(FIRST.model_copy(update={"index": 3}),))], "below n"),
        ([segment(spec=SEGMENT.record.spec.model_copy(update={"roots": (ROOTS[0],) * 3}))], "distinct roots"),
        ([segment(spec=SEGMENT.record.spec.model_copy(update={"piece_length": 99}))], "piece_length"),
        ([LOSS], "does not hold"),
        ([SEGMENT, LOSS, LOSS], "does not hold"),
        ([SEGMENT, Departure(hotkey=KEYS[0], block=1), LOSS], "does not hold"),
        ([SEGMENT, loss(pieces=(PIECE, PIECE))], "each piece once"),
        ([SEGMENT, loss(pieces=(PIECE.model_copy(update={"index": 2}),))], "does not hold"),
        ([SEGMENT, loss(pieces=(PIECE.model_copy(update={"index": 254}),))], "does not hold"),
        ([SEGMENT, loss(pieces=(PIECE.model_copy(update={"root": ROOTS[4]}),))], "does not hold"),
        ([SEGMENT, loss(miner=KEYS[1], report=report(signer=MINERS[1]))], "does not hold"),
        ([SEGMENT, loss(report=None)], "does not tell"),
        ([SEGMENT, loss(round=None)], "does not tell"),
        ([SEGMENT, loss(report=REPORT.signed(STRANGER, NETWORK))], "not signed by"),
        ([SEGMENT, loss(report=report(signer=STRANGER))], "not signed by"),
        ([SEGMENT, loss(report=report(validator=STRANGER.public_key))], "another validator"),
        ([SEGMENT, loss(report=report(ROOTS[1]))], "does not name these pieces"),
        ([SEGMENT, loss(report=report(time=NOW - 122))], f"the lost report is of {NOW - 122}, its record of {NOW}"),
        ([SEGMENT, loss(report=report(time=NOW + 122))], f"the lost report is of {NOW + 122}, its record of {NOW}"),
        ([RELEASED], "never committed"),
        ([SEGMENT, RELEASED, RELEASED], "released twice: record 2 did it"),
        ([SEGMENT, RELEASED, LOSS], "does not hold"),
        ([SEGMENT, RELEASED, SEGMENT], "committed already"),
        ([SEGMENT, release(drop=None)], "carries a drop"),
        ([SEGMENT, release(reason="lapsed")], "carries a drop"),
        ([SEGMENT, AGAIN, release(segment_id=AGAIN.record.segment_id)], "another segment"),
        ([SEGMENT, release(drop=DROP.signed(STRANGER, NETWORK))], "not signed by"),
        ([SEGMENT, release(drop=DROP.model_copy(update={"account": KEYS[0]}))], "does not belong to"),
        ([SEGMENT, release(reason="expired", drop=None)], "without keep_until"),
        ([SEGMENT, LOSS, AGAIN, loss(pieces=(SAME,))], "used again: record 2 has it for the same piece"),
    ],
)
async def test_a_log_that_says_what_cannot_be_is_caught(bodies: list[Body], error: str) -> None:
    log = await entries(*bodies)
    verify_chain(log, NETWORK)  # as a chain it is in order
    history = folded(log[:-1])
    with pytest.raises(IntegrityError, match=f"record {len(bodies)}.*{error}"):
        history.apply(log[-1])


async def test_entries_out_of_order_are_refused() -> None:
    one, two = await entries(SEGMENT, LOSS)
    for wrong in ([two], [one, one]):
        with pytest.raises(IntegrityError, match="does not follow"):
            folded(wrong)


async def test_private_bodies_are_not_needed() -> None:
    database = MemoryDatabase()
    bucket = BucketRow(account=ACCOUNT.public_key, bucket=component("b"), action="create", time=NOW)
    bodies: list[Body] = [TERMS, SEGMENT, row("a"), bucket.signed(ACCOUNT, NETWORK)]
    await database.transact(lambda txn: append(txn, HOME, bodies, NOW))
    history = await followed(database)
    assert (history.seq, history.miners_at(3)) == (4, sorted(KEYS[:2]))
