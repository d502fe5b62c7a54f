"""Everything a registry knows is a fold over its log: folding one into nothing gives the same tables again.

Key by key, but for what :mod:`hippy.validator.following.fold` lists as not told by a log.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hippy.errors import HippyError, IntegrityError
from hippy.ids import MessageId
from hippy.kv import Reader, Transaction
from hippy.testing.kv import MemoryDatabase
from hippy.validator.accounts import apply_accounts
from hippy.validator.buckets import write_bucket
from hippy.validator.following.fold import fold
from hippy.validator.holdings import depart, is_known_holder, mark_lost
from hippy.validator.leases import Life, get_life, is_released
from hippy.validator.log import append, scan_log
from hippy.validator.losses import record_loss
from hippy.validator.once import REQUEST, REQUEST_DUE
from hippy.validator.repair.drains import is_draining, record_drain
from hippy.validator.repair.moves import current_holder, fold_flawed, fold_moved, missing_indices
from hippy.validator.statistics import Statistic, get_statistic
from hippy.validator.tables import (
    ALLOCATION,
    CHURN,
    DROP,
    DUE,
    ENDS,
    HEAD,
    LIFE,
    LOG,
    MANIFEST,
    PRIVATE,
    SERIAL,
    SETTING,
    SINCE,
    STATISTIC,
    USED,
    Allocation,
    get_segment,
)
from hippy.validator.tables import HOME as META_HOME
from hippy.wire.audit import LostReport
from hippy.wire.log import AccountRecord, LogEntry
from hippy.wire.object import BucketRow
from hippy.wire.pace import DAY, USUAL_PACE
from hippy.wire.repair import Drain, PieceMoved, SegmentFlawed
from hippy.wire.segment import Holding
from tests.validator.test_quota_model import COUNT, IDS, NAMES, Account
from tests.validator.world import ACCOUNT, HOME, MINERS, NETWORK, NOW, N, component, spec

NOT_TOLD = (
    META_HOME,
    SERIAL,
    HEAD,
    LOG,
    PRIVATE,
    SETTING,
    ALLOCATION,
    DUE,
    DROP,
    ENDS,
    SINCE,
    REQUEST,
    REQUEST_DUE,
    CHURN,
)
"""The last two of the log itself are what is folded."""

COUNTED = (USED, STATISTIC)
"""Where 0 and nothing say the same."""

segments, names, miners = st.integers(0, COUNT - 1), st.sampled_from(NAMES), st.integers(0, N - 1)
steps = st.one_of(
    st.tuples(st.just("allocate"), segments, st.sampled_from([0, 2, 20])),
    st.tuples(st.just("commit"), segments),
    st.tuples(st.just("put"), names, st.frozensets(segments)),
    st.tuples(st.just("delete"), names),
    st.tuples(st.just("renew"), segments),
    st.tuples(st.just("lose"), segments, miners),
    st.tuples(st.just("report"), segments, miners),
    st.tuples(st.just("depart"), miners),
    st.tuples(st.just("bucket"), names, st.sampled_from(["create", "delete"])),
    st.tuples(st.just("quota"), st.integers(1, 3)),
    st.tuples(st.just("drain"), miners, st.sampled_from(["start", "stop"])),
    st.tuples(st.just("move"), segments, miners, st.integers(N, len(MINERS) - 1)),
    st.tuples(st.just("flaw"), segments, miners),
    st.tuples(st.just("wait"), st.sampled_from([3_599, 2 * 3_600, DAY, 3 * DAY, 8 * DAY])),
)


class Registry(Account):
    """A real registry and what can be done to it; what is refused changes nothing."""

    async def report(self, number: int, miner: int) -> None:
        """A miner loses its piece of a segment and says so."""
        await self.lose(number, miner, reported=True)

    async def lose(self, number: int, miner: int, *, reported: bool = False) -> None:
        """A miner loses its piece of a segment and fails an audit."""
        hotkey, root = MINERS[miner].public_key, spec(number).roots[miner]
        report = LostReport(miner=hotkey, validator=HOME.hotkey, roots=(root,), time=self.now)
        told = report.signed(MINERS[miner], NETWORK)

        def work(txn: Transaction) -> None:
            if reported:
                record_loss(txn, HOME, hotkey, [root], reason="reported", now=self.now, report=told, beacon_round=5)
            else:
                record_loss(txn, HOME, hotkey, [root], reason="failed", now=self.now, epoch=3, batch=1)

        await self.database.transact(work)

    async def depart(self, miner: int) -> None:
        """A miner leaves the subnet."""
        hotkey = MINERS[miner].public_key
        await self.database.transact(lambda txn: depart(txn, HOME, hotkey, 7, self.now))
        await self.database.transact(lambda txn: mark_lost(txn, 1_000))

    async def drain(self, miner: int, action: str) -> None:
        """A miner wants to leave, or to stay."""
        unsigned = {"miner": MINERS[miner].public_key, "validator": HOME.hotkey, "action": action, "time": self.now}
        drain = Drain.model_validate(unsigned).signed(MINERS[miner], NETWORK)
        await self.database.transact(lambda txn: record_drain(txn, HOME, drain, self.now))

    async def move(self, number: int, index: int, miner: int) -> None:
        """Another miner gets a piece that was lost, or whose miner wants to leave."""

        def work(txn: Transaction) -> None:
            record = get_segment(txn, IDS[number])
            if record is None or is_released(txn, IDS[number]):
                return
            holder, hotkey, root = (
                current_holder(txn, record, index),
                MINERS[miner].public_key,
                spec(number).roots[index],
            )
            is_free = holder is None or is_draining(txn, holder)
            if not is_free or is_known_holder(txn, hotkey, root, IDS[number], index):
                return
            holding = Holding(
                index=index, ticket_id=MessageId(b"t" * 32), miner=hotkey, time=self.now, signature=bytes(64)
            )
            moved = PieceMoved(
                segment_id=IDS[number],
                root=root,
                holding=holding,
                drained=holder,
                placement_round=5,
                epoch=1,
                candidates_seq=1,
            )
            fold_moved(txn, record, moved, append(txn, HOME, [moved], self.now))

        await self.database.transact(work)

    async def flaw(self, number: int, index: int) -> None:
        """A piece that was lost turns out to be badly coded."""

        def work(txn: Transaction) -> None:
            record = get_segment(txn, IDS[number])
            if record is None or is_released(txn, IDS[number]) or index not in missing_indices(txn, record):
                return
            sources = tuple(each for each in range(N) if each != index)[:4]
            flawed = SegmentFlawed(segment_id=IDS[number], index=index, sources=sources)
            fold_flawed(txn, flawed, append(txn, HOME, [flawed], self.now))

        await self.database.transact(work)

    async def bucket(self, name: str, action: str) -> None:
        """The account makes or unmakes a bucket."""
        row = BucketRow.model_validate(
            {"account": ACCOUNT.public_key, "bucket": component(name), "action": action, "time": self.now}
        ).signed(ACCOUNT, NETWORK)
        await self.database.transact(lambda txn: write_bucket(txn, HOME, row, self.now))

    async def quota(self, gigabytes: int) -> None:
        """The operator sets the account."""
        terms = AccountRecord(account=ACCOUNT.public_key, pay_class="paid", quota_bytes=gigabytes * 10**9)
        await self.database.transact(lambda txn: apply_accounts(txn, HOME, [terms], self.now))

    async def step(self, each: tuple[object, ...]) -> None:
        """Do one thing."""
        name, *arguments = each
        numbers = [sorted(each) if isinstance(each, frozenset) else each for each in arguments]
        await getattr(self, str(name))(*numbers)


async def folded(entries: list[LogEntry], manifests: dict[bytes, bytes]) -> MemoryDatabase:
    """Return a database with nothing but what a log tells."""
    database = MemoryDatabase()
    for entry in entries:
        manifest = manifests.get(entry.record.body_id)
        work = partial(fold, entry=entry, network=NETWORK, pace=USUAL_PACE, manifest=manifest)
        await database.transact(work)
        await database.transact(lambda txn: mark_lost(txn, 1_000))
    return database


def manifests_of(reader: Reader) -> dict[bytes, bytes]:
    return {key[len(MANIFEST) :]: value for key, value in reader.scan(MANIFEST)}


def told(reader: Reader) -> dict[bytes, bytes]:
    """Return the tables that a log tells; of lives what it tells of them, of charges what is not an allocation's."""
    found = {key: value for key, value in reader.scan(b"") if not key.startswith(NOT_TOLD)}
    for key in found:
        if key.startswith(LIFE):
            found[key] = replace(Life.parse(found[key]), end_time=0).encode()
    for _, value in reader.scan(ALLOCATION):
        allocation = Allocation.parse(value)
        if allocation.state == "open":
            key = USED + allocation.account
            found[key] = (int.from_bytes(found[key], "little") - allocation.charged_bytes).to_bytes(8, "little")
    return {key: value for key, value in found.items() if any(value) or not key.startswith(COUNTED)}


async def run(history: list[tuple[object, ...]]) -> MemoryDatabase:
    """Do things to a registry, and check that its log tells what it knows then."""
    registry = Registry()
    for each in history:
        with suppress(HippyError):
            await registry.step(each)
    database = registry.database
    entries = await database.read(lambda reader: list(scan_log(reader)))
    again = await folded(entries, await database.read(manifests_of))
    assert await again.read(told) == await database.read(told)
    return again


@settings(derandomize=True, deadline=None, max_examples=25)
@given(before=st.permutations(range(COUNT)), history=st.lists(steps, min_size=5, max_size=25))
def test_a_log_folded_into_nothing_gives_the_registry_again(
    before: list[int], history: list[tuple[object, ...]]
) -> None:
    opening = [step for number in before[:2] for step in (("allocate", number, 0), ("commit", number))]
    asyncio.run(run([*opening, *history]))


async def test_a_history_with_every_kind_of_record_is_folded() -> None:
    """So that the one above can be trusted to get anywhere."""
    again = await run(
        [
            ("quota", 1),
            *(step for number in range(COUNT) for step in (("allocate", number, 2), ("commit", number))),
            ("bucket", "a", "create"),
            ("bucket", "b", "create"),
            ("bucket", "b", "delete"),
            ("put", "a", frozenset({0, 1})),
            ("put", "a", frozenset({1})),
            ("put", "b", frozenset({2})),
            ("delete", "b"),
            ("lose", 0, 1),
            ("report", 1, 2),
            ("depart", 3),
            ("move", 0, 1, 9),
            ("move", 1, 3, 10),
            ("flaw", 2, 3),
            ("drain", 5, "start"),
            ("move", 0, 5, 11),
            ("drain", 6, "start"),
            ("drain", 6, "stop"),
            ("wait", DAY),
            ("wait", 8 * DAY),
        ]
    )
    assert await again.read(lambda reader: get_statistic(reader, Statistic.RELEASED)) == COUNT
    assert await again.read(lambda reader: get_statistic(reader, Statistic.OBJECTS)) == 1
    assert await again.read(lambda reader: get_statistic(reader, Statistic.MOVED)) == 3
    assert await again.read(lambda reader: get_statistic(reader, Statistic.FLAWED)) == 1


async def test_every_difference_between_home_and_fold_is_one_that_the_log_does_not_tell() -> None:
    """Of a segment that no row names the fold knows neither drop nor renewal: it gives it one lease."""
    registry = Registry()
    for each in (("allocate", 0, 0), ("commit", 0), ("put", "a", frozenset({0})), ("delete", "a")):
        await registry.step(each)
    entries = await registry.database.read(lambda reader: list(scan_log(reader)))
    again = await folded(entries, {})
    life = await again.read(lambda reader: get_life(reader, IDS[0]))
    assert life is not None
    assert life.end_time == NOW + USUAL_PACE.lease_seconds
    assert not await again.read(lambda reader: list(reader.scan(DROP)))


def _entries_with(change: dict[str, object], kind: str) -> list[LogEntry]:
    """Return the log of a commit, a row and a release with one body changed."""

    async def logged() -> list[LogEntry]:
        registry = Registry()
        history = [("allocate", 0, 2), ("commit", 0), ("put", "a", frozenset({0})), ("lose", 0, 1), ("wait", 3 * DAY)]
        for each in history:
            await registry.step(each)
        return await registry.database.read(lambda reader: list(scan_log(reader)))

    entries = asyncio.run(logged())
    place = next(i for i, entry in enumerate(entries) if entry.record.kind == kind)
    body = getattr(entries[place], kind).model_copy(update=change)
    entries[place] = entries[place].model_copy(update={kind: body})
    return entries


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("row", {"version": 2}),
        ("row", {"prev_row_id": MessageId(b"p" * 32)}),
        ("row", {"segment_ids": (IDS[1],)}),
        ("loss", {"miner": MINERS[5].public_key}),
        ("released", {"segment_id": IDS[1]}),
        ("released", {"reason": "deleted"}),
    ],
)
def test_a_body_that_does_not_fit_what_is_there_is_refused(kind: str, change: dict[str, object]) -> None:
    with pytest.raises(IntegrityError):
        asyncio.run(folded(_entries_with(change, kind), {}))


def test_a_segment_is_not_committed_twice() -> None:
    entries = _entries_with({}, "segment")
    segment = next(entry for entry in entries if entry.segment is not None)
    with pytest.raises(IntegrityError, match="is committed"):
        asyncio.run(folded([segment, segment], {}))
