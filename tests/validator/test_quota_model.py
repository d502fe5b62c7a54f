"""Whatever an account does in whatever order: it is charged what is live, once, and what is owed is what a model says.

The model is plain: dictionaries, no tables of what is due, no counts of references, nothing that is given back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from hippy.errors import HippyError
from hippy.kv import Reader, Transaction
from hippy.testing.kv import MemoryDatabase
from hippy.validator.allocation import CLOSE_AFTER_SECONDS, COMMIT_GRACE_SECONDS, allocate, close_due
from hippy.validator.commit import check_commit, commit_segments, pending
from hippy.validator.holdings import held_at
from hippy.validator.leases import get_life, renew
from hippy.validator.log import position
from hippy.validator.statistics import Statistic, get_statistic
from hippy.validator.tables import get_allocation
from hippy.wire.object import Drop, ObjectRow
from hippy.wire.pace import DAY, USUAL_PACE
from hippy.wire.segment import SegmentCommit
from tests.validator.releasing import GRACE, LEASE, RICH, sweep, used, write
from tests.validator.world import ACCOUNT, ENVELOPE_KEY, HOME, MINERS, NOW, N, commit, drop, plan, request, row, spec

COUNT, NAMES = 3, ("a", "b")
SEGMENT_BYTES = N * 100
IDS = [spec(number).segment_id(ACCOUNT.public_key) for number in range(COUNT)]

segments, names = st.integers(0, COUNT - 1), st.sampled_from(NAMES)
store = st.tuples(st.just("allocate"), segments, st.sampled_from([0, 0, 2, 20]))
steps = st.one_of(
    store,
    st.tuples(st.just("commit"), segments),
    st.tuples(st.just("put"), names, st.frozensets(segments)),
    st.tuples(st.just("delete"), names),
    st.tuples(st.just("renew"), segments),
    st.tuples(st.just("pass"), st.sampled_from([3_599, 2 * 3_600, DAY // 2, DAY, 3 * DAY, 8 * DAY])),
)


@dataclass
class Committed:
    """A segment that is not released: ``until`` is when its lease or grace ends, None while a row names it."""

    until: int | None
    keep_until: int | None


@dataclass
class Account:
    """The registry, and what a plain account of it says."""

    database: MemoryDatabase = field(default_factory=MemoryDatabase)
    now: int = NOW
    open_until: dict[int, tuple[int, int | None]] = field(default_factory=dict)
    """Open allocations: upload_by and keep_until."""

    kept: dict[int, Committed] = field(default_factory=dict)
    released: set[int] = field(default_factory=set)
    rows: dict[str, ObjectRow] = field(default_factory=dict)

    async def allocate(self, number: int, days: int) -> None:
        """Allocate a segment that has no usable allocation and was never committed."""
        keep_until = self.now + days * DAY if days else None
        asked = request(spec(number), upload_by=self.now + 3_600).model_copy(update={"keep_until": keep_until})
        plans = {IDS[number]: plan()}

        def work(txn: Transaction) -> None:
            allocate(txn, HOME, asked, RICH, plans, self.now)

        done = await succeeds(self.database.transact(work))
        if number not in self.kept and number not in self.released:
            assert done
            if not self._is_open(number):
                self.open_until[number] = (self.now + 3_600, keep_until)
        elif number in self.released:
            assert not done

    def _is_open(self, number: int) -> bool:
        return number in self.open_until and self.now <= self.open_until[number][0] + COMMIT_GRACE_SECONDS

    async def commit(self, number: int) -> None:
        """Commit a segment as the service does; what is committed already stays as it is."""
        found = await self.database.read(lambda reader: get_allocation(reader, IDS[number]))
        if found is None:
            return

        async def work(told: SegmentCommit) -> None:
            waiting = await self.database.read(lambda reader: pending(reader, ACCOUNT.public_key, [told], self.now))
            checked = [check_commit(each, allocation, HOME, ENVELOPE_KEY) for each, allocation in waiting]
            await self.database.transact(lambda txn: commit_segments(txn, HOME, checked, self.now))

        done = await succeeds(work(commit(found)))
        assert done == (self._is_open(number) or number in self.kept)
        if self._is_open(number):
            _, keep_until = self.open_until.pop(number)
            self.kept[number] = Committed(self.now + LEASE, keep_until)

    async def put(self, name: str, numbers: list[int]) -> None:
        """Write an object that is in these segments, over what is there; the word for all it may leave goes along."""
        ids = tuple(IDS[number] for number in numbers)
        one = row(name, replaces=self.rows.get(name), segment_ids=ids, time=self.now)
        (status,) = await write(self.database, one, drops=self._drops(), now=self.now)
        if not all(number in self.kept or number in self.released for number in numbers):
            assert status == "not_found"
        elif not self.released.isdisjoint(numbers):
            assert status == "conflict"
        else:
            assert status == "stored"
            self._replace(name, one)

    async def delete(self, name: str) -> None:
        """Delete an object."""
        before = self.rows.get(name)
        one = row(name, replaces=before, manifest=None, time=self.now)
        (status,) = await write(self.database, one, drops=self._drops(), now=self.now)
        assert (status == "stored") == (before is not None and before.action == "put")
        if status == "stored":
            self._replace(name, one)

    def _drops(self) -> list[Drop]:
        return [drop(segment_id, time=self.now) for segment_id in IDS]

    def _replace(self, name: str, one: ObjectRow) -> None:
        were_named = {number for number in self.kept if self._is_named(number)}
        self.rows[name] = one
        for number, kept in self.kept.items():
            if self._is_named(number):
                kept.until = None
            elif number in were_named:
                kept.until = self.now + GRACE

    def _is_named(self, number: int) -> bool:
        return any(IDS[number] in one.segment_ids for one in self.rows.values())

    async def renew(self, number: int) -> None:
        """Renew a lease."""

        def work(txn: Transaction) -> None:
            renew(txn, ACCOUNT.public_key, [IDS[number]], self.now, USUAL_PACE)

        assert await succeeds(self.database.transact(work)) == (number in self.kept)
        if number in self.kept and not self._is_named(number):
            kept = self.kept[number]
            kept.until = max(kept.until or 0, self.now + LEASE)

    async def wait(self, seconds: int) -> None:
        """Let time pass, then sweep."""
        self.now += seconds
        await self.database.transact(lambda txn: close_due(txn, HOME, self.now, 100))
        await sweep(self.database, self.now, portion=1)
        self.open_until = {
            number: opened for number, opened in self.open_until.items() if opened[0] >= self.now - CLOSE_AFTER_SECONDS
        }
        for number, kept in list(self.kept.items()):
            ends = [end for end in (kept.until, kept.keep_until) if end is not None]
            if min(ends, default=self.now + 1) <= self.now:
                del self.kept[number]
                self.released.add(number)

    async def agrees(self) -> None:
        """Check that the registry is what the model says."""
        live = [one for one in self.rows.values() if one.action == "put"]
        rows_bytes = sum(len(one.encode()) + len(b"manifest") for one in live)
        assert await used(self.database) == SEGMENT_BYTES * (len(self.open_until) + len(self.kept)) + rows_bytes
        await self.database.read(lambda reader: self._check(reader, len(live)))

    def _check(self, reader: Reader, objects: int) -> None:
        lives = {number: get_life(reader, IDS[number]) for number in range(COUNT)}
        assert {number for number, life in lives.items() if life and life.is_released} == self.released
        ends = {number: life.end_time for number, life in lives.items() if life and not life.is_released}
        assert ends == {number: kept.until or 0 for number, kept in self.kept.items()}
        seq = position(reader).seq
        for index, miner in enumerate(MINERS[:N]):
            held = {piece.root for piece in held_at(reader, miner.public_key, seq)}
            assert held == {spec(number).roots[index] for number in self.kept}
        assert get_statistic(reader, Statistic.SEGMENTS) == len(self.kept)
        assert get_statistic(reader, Statistic.RELEASED) == len(self.released)
        assert get_statistic(reader, Statistic.OBJECTS) == objects


async def succeeds(work: Awaitable[object]) -> bool:
    """Return whether something is not refused."""
    try:
        await work
    except HippyError:
        return False
    return True


async def run(history: list[tuple[object, ...]]) -> Account:
    account = Account()
    for each in history:
        match each:
            case ("allocate", int(number), int(days)):
                await account.allocate(number, days)
            case ("commit", int(number)):
                await account.commit(number)
            case ("put", str(name), frozenset() as numbers):
                await account.put(name, sorted(numbers))
            case ("delete", str(name)):
                await account.delete(name)
            case ("renew", int(number)):
                await account.renew(number)
            case ("pass", int(seconds)):
                await account.wait(seconds)
            case _:
                raise AssertionError(each)
        await account.agrees()
    return account


@settings(derandomize=True, deadline=None, max_examples=60)
@given(before=st.permutations(range(COUNT)), history=st.lists(steps, min_size=5, max_size=25))
def test_an_account_is_charged_for_what_is_live_and_owed_what_is_kept(
    before: list[int], history: list[tuple[object, ...]]
) -> None:
    opening = [step for number in before[:2] for step in (("allocate", number, 0), ("commit", number))]
    asyncio.run(run([*opening, *history]))


def test_a_history_of_everything_ends_with_nothing_charged() -> None:
    """So that the one above can be trusted to get anywhere."""
    history = [
        ("allocate", 0, 0),
        ("allocate", 1, 20),
        ("allocate", 2, 0),
        ("commit", 0),
        ("commit", 1),
        ("put", "a", frozenset({0, 1})),
        ("pass", 8 * DAY),
        ("put", "b", frozenset({1})),
        ("delete", "a"),
        ("pass", DAY // 2),
        ("renew", 0),
        ("pass", 8 * DAY),
        ("pass", 8 * DAY),
        ("put", "a", frozenset({0})),
        ("delete", "b"),
    ]
    account = asyncio.run(run(list(history)))
    assert (account.kept, account.open_until, account.released) == ({}, {}, {0, 1})
    assert asyncio.run(used(account.database)) == 0
