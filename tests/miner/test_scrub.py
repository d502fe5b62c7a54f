"""The background check: everything once a round, evenly, going on after a restart, giving way, finding what is bad."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import pytest

from hippy.errors import TemporaryError
from hippy.ids import Root
from hippy.miner.background import background
from hippy.miner.scrub import PAUSE_SECONDS_MAX, YIELD_SECONDS, YIELDS_MAX, Mark, Scrub
from hippy.miner.store import PieceStore
from hippy.miner.threads import DISK_THREADS
from hippy.proofs.tree import root_of
from hippy.wire.pace import DAY
from tests.miner.issuing import settled
from tests.miner.telling import OTHER_ROOT, ROOT
from tests.miner.world import SMALL, VALIDATOR, World, add, piece, ticket

ROUND = DAY
FAST = 10**9


class Checked:
    """Which pieces a store's check reads, in order."""

    def __init__(self, store: PieceStore, monkeypatch: pytest.MonkeyPatch) -> None:
        self.roots: list[Root] = []
        self.fails = False
        real = store.is_whole

        async def is_whole(root: Root, length: int) -> bool:
            self.roots.append(root)
            if self.fails:
                raise TemporaryError("too many open files")
            return await real(root, length)

        monkeypatch.setattr(store, "is_whole", is_whole)


@asynccontextmanager
async def checking(world: World, store: PieceStore, bytes_per_second_max: int = FAST) -> AsyncIterator[Scrub]:
    check = Scrub(store, world.clock, round_seconds=ROUND, bytes_per_second_max=bytes_per_second_max)
    async with background(check.run()):
        await asleep(world)
        yield check


async def asleep(world: World) -> None:
    await settled(lambda: any(not woken.done() for _, _, woken in world.clock._sleepers))


async def pass_time(world: World, seconds: float, step: float = PAUSE_SECONDS_MAX) -> None:
    for _ in range(int(seconds // step)):
        await asleep(world)
        await world.clock.advance(step)
        await asleep(world)


async def fill(world: World, store: PieceStore, count: int = 10) -> list[Root]:
    """Store pieces of several lengths and return their roots, in order."""
    random = Random(7)
    pieces = [piece(f"piece {number}", random.randrange(1, SMALL)) for number in range(count)]
    for data in pieces:
        await add(store, data, ticket(data, world.clock))
    return sorted(root_of(data) for data in pieces)


async def test_every_piece_is_checked_once_in_a_round_and_evenly(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world.store() as store:
        roots, checked = await fill(world, store), Checked(store, monkeypatch)
        start = world.clock.now()
        async with checking(world, store):
            for part in (0.25, 0.5, 0.75, 1.0):
                await pass_time(world, ROUND / 4)
                figures = store.figures
                share = figures.scrub_bytes / store.space()[1] + figures.scrub_rounds
                assert part <= share + 0.01
                assert share <= part + SMALL / store.space()[1] + 0.01
            assert checked.roots[:10] == roots
            assert store.figures.scrub_rounds == 1
            await pass_time(world, ROUND)
            assert checked.roots[:20] == roots * 2
            assert len(checked.roots) <= 21
            assert store.figures.scrub_started >= start + ROUND - 1


async def test_restart_goes_on_where_the_check_was(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world.store() as store:
        roots, checked = await fill(world, store), Checked(store, monkeypatch)
        async with checking(world, store):
            await pass_time(world, ROUND / 2)
        before = checked.roots
    assert 2 <= len(before) <= 8
    async with world.store() as store:
        again = Checked(store, monkeypatch)
        async with checking(world, store):
            await pass_time(world, ROUND / 2)
        assert before + again.roots in (roots, [*roots, roots[0]])  # nothing twice: each pause is longer than a minute


async def test_check_that_fell_behind_catches_up_no_faster_than_it_may(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world.store() as store:
        await fill(world, store)
        await store.scrubbed.put_mark(Mark(int(world.clock.now()), 0, 0, Root(bytes(32))))
    await world.clock.advance(2 * ROUND)
    async with world.store() as store:
        checked, rate = Checked(store, monkeypatch), 100
        async with checking(world, store, rate):
            read = 0
            for _ in range(40):
                await asleep(world)
                await world.clock.advance(20)
                await asleep(world)
                read = sum([await store.length(root) for root in checked.roots[:-1]])
                assert read <= rate * (world.clock.now() - store.figures.scrub_started - 2 * ROUND) + 1
        assert read > 0


async def test_bad_piece_is_noted_and_becomes_a_loss(stored: World, monkeypatch: pytest.MonkeyPatch) -> None:
    path = stored.files().path(ROOT)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    async with stored.store() as store:
        async with checking(stored, store):
            await pass_time(stored, ROUND)
        assert store.figures.scrub_bad == 1
        await store.losses.settle()
        assert await store.losses.to_tell(VALIDATOR.public_key) == [ROOT]
        checked = Checked(store, monkeypatch)
        async with checking(stored, store):
            await pass_time(stored, 2 * ROUND)
        assert set(checked.roots) == {OTHER_ROOT}  # what is known to be lost is not looked at again
        assert store.figures.scrub_bad == 1


async def test_piece_that_cannot_be_read_now_is_no_loss_and_stops_nothing(
    stored: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stored.store() as store:
        checked = Checked(store, monkeypatch)
        checked.fails = True
        async with checking(stored, store):
            await pass_time(stored, ROUND)
        assert set(checked.roots) == {ROOT, OTHER_ROOT}
        assert store.figures.scrub_bad == 0
        assert not await store.losses.knows(ROOT)


async def test_check_gives_way_to_requests_but_not_for_ever(stored: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async with stored.store() as store:
        checked, go_on = Checked(store, monkeypatch), asyncio.Event()
        loop = asyncio.get_running_loop()

        def block() -> None:
            asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(10)

        # half of the threads stay free in truth, so that the check can read at last
        reads = [asyncio.create_task(store._threads.run(block)) for _ in range(DISK_THREADS // 2)]
        await asyncio.sleep(0)
        assert not store.is_busy
        monkeypatch.setattr(type(store), "is_busy", property(lambda _: not go_on.is_set()))
        async with checking(stored, store):
            await pass_time(stored, (YIELDS_MAX - 1) * YIELD_SECONDS, YIELD_SECONDS)
            assert checked.roots == []
            await stored.clock.advance(2 * YIELD_SECONDS)
            await settled(lambda: len(checked.roots) == 1)
            go_on.set()
        await asyncio.gather(*reads)


async def test_store_is_busy_when_all_its_threads_are(stored: World) -> None:
    async with stored.store() as store:
        go_on, loop = asyncio.Event(), asyncio.get_running_loop()

        def block() -> None:
            asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(10)

        reads = [asyncio.create_task(store._threads.run(block)) for _ in range(DISK_THREADS)]
        await settled(lambda: store.is_busy)
        go_on.set()
        await asyncio.gather(*reads)
        assert not store.is_busy


async def test_empty_store_is_looked_at_again_soon(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world.store() as store:
        checked = Checked(store, monkeypatch)
        async with checking(world, store):
            await pass_time(world, DAY / 2)
            roots = await fill(world, store, 1)
            await pass_time(world, 2 * PAUSE_SECONDS_MAX)
            assert checked.roots == roots


async def test_failing_index_does_not_end_the_check(stored: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async with stored.store() as store:
        checked = Checked(store, monkeypatch)
        with monkeypatch.context() as patch:

            async def fail(_: object) -> None:
                raise TemporaryError("the disk is full")

            patch.setattr(store.scrubbed, "put_mark", fail)
            async with checking(stored, store):
                await pass_time(stored, 600)
                patch.undo()
                Checked(store, monkeypatch)
                await pass_time(stored, ROUND)
        assert store.figures.scrub_rounds >= 1
        assert checked.roots


async def test_a_clock_that_was_set_back_by_years_delays_no_check(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world.store() as store:
        roots, checked = await fill(world, store), Checked(store, monkeypatch)
        started = int(world.clock.now()) + 3 * 365 * DAY
        await store.scrubbed.put_mark(Mark(started=started, pieces=1, bytes=1, after=roots[0]))
        async with checking(world, store):
            await pass_time(world, ROUND)
            assert checked.roots[:9] == roots[1:]
            await pass_time(world, ROUND)
            assert store.figures.scrub_rounds >= 1
