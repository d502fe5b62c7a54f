"""Lost pieces: found at start and on reading, told to their validators until they answered, and not again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from hippy.errors import IntegrityError, TemporaryError
from hippy.identity import save_keyfile
from hippy.ids import Root
from hippy.miner import files, losses
from hippy.miner.reports import PAUSE_SECONDS_MAX, PAUSE_SECONDS_MIN
from hippy.miner.server import run_miner
from hippy.miner.settings import MinerSettings
from hippy.miner.store import PieceStore
from hippy.proofs.inventory import PieceLeaf
from hippy.proofs.tree import root_of
from hippy.wire.audit import REPORTED_ROOTS_MAX, LostReport
from tests.miner.telling import (
    AGAIN_SECONDS,
    DATA,
    MORE,
    OTHER_ROOT,
    ROOT,
    all_told,
    asleep,
    eventually,
    listening,
    telling,
)
from tests.miner.world import MIB, MINER, NETUID, NETWORK, OTHER, VALIDATOR, World, add, identity, piece, ticket


async def test_piece_without_a_file_is_reported_at_start_and_only_once(stored: World) -> None:
    stored.files().path(ROOT).unlink()
    async with listening(stored) as validator:
        async with telling(stored) as store:
            assert await validator.heard() == (ROOT,)
            await all_told(store)
        async with telling(stored) as store:
            stored.files().path(OTHER_ROOT).unlink()
            with pytest.raises(IntegrityError):
                await store.read(OTHER_ROOT, len(MORE))
            assert await validator.heard() == (OTHER_ROOT,)
            await all_told(store)
        assert validator.asked == 2


async def read_whole(store: PieceStore) -> None:
    with pytest.raises(IntegrityError):
        await store.read(ROOT, len(DATA))


async def read_range(store: PieceStore) -> None:
    with pytest.raises(IntegrityError):
        await store.read_range(ROOT, len(DATA), 0, 1)


async def audit(store: PieceStore) -> None:
    assert await store.leaves([PieceLeaf(ROOT, 0)]) == {PieceLeaf(ROOT, 0): None}


@pytest.mark.parametrize("meet", [read_whole, read_range, audit])
async def test_damage_met_while_serving_is_reported_and_what_is_left_is_set_aside(
    stored: World, meet: Callable[[PieceStore], Awaitable[None]]
) -> None:
    async with listening(stored) as validator, telling(stored) as store:
        damaged = bytes([DATA[0] ^ 1]) + DATA[1:]
        stored.files().path(ROOT).write_bytes(damaged)
        await meet(store)
        assert await validator.heard() == (ROOT,)
        await all_told(store)
        kept = stored.data_dir / "quarantine" / f"{ROOT.hex()}.{int(stored.clock.now())}"
        await eventually(lambda: is_there(kept))
        assert kept.read_bytes() == damaged
        await meet(store)
        assert await store.losses.settle()
        assert await store.losses.validators() == []


async def is_there(path: Path) -> bool:
    return path.exists()


async def test_report_is_repeated_until_it_is_answered(stored: World) -> None:
    stored.files().path(ROOT).unlink()
    async with listening(stored) as validator:
        validator.is_failing = True
        async with telling(stored) as store:
            pause = PAUSE_SECONDS_MIN
            for asked in (1, 2, 3):
                await asleep(stored)
                assert validator.asked == asked
                await stored.clock.advance(pause)
                pause *= 2
            await asleep(stored)
            validator.is_failing = False
            await stored.clock.advance(pause)
            assert await validator.heard() == (ROOT,)
            await all_told(store)


async def test_pauses_between_tries_have_a_limit(stored: World) -> None:
    stored.files().path(ROOT).unlink()
    async with listening(stored) as validator, telling(stored):
        validator.is_failing = True
        for tries in range(12):
            await asleep(stored)
            assert validator.asked == tries + 1
            await stored.clock.advance(min(PAUSE_SECONDS_MIN * 2**tries, PAUSE_SECONDS_MAX))


async def test_validator_that_was_away_hears_of_it_when_it_is_back_and_serving_goes_on(stored: World) -> None:
    stored.files().path(ROOT).unlink()
    async with telling(stored) as store:  # the validator has no endpoint yet
        await asleep(stored)
        assert await store.read(OTHER_ROOT, len(MORE)) == MORE
    async with telling(stored):  # and what was not answered is told after a restart
        await asleep(stored)
        async with listening(stored) as validator:
            await stored.clock.advance(PAUSE_SECONDS_MIN)
            assert await validator.heard() == (ROOT,)


async def test_nobody_but_the_validator_itself_is_told(stored: World) -> None:
    stored.files().path(ROOT).unlink()
    async with listening(stored, signs_as=OTHER) as impostor, telling(stored):
        await asleep(stored)
        assert impostor.asked == 0


async def test_every_validator_that_issued_an_obligation_is_told_and_none_waits_for_another(world: World) -> None:
    away = identity("away")
    for validator in (away, OTHER):
        await world.chain.register(validator.public_key, OTHER.public_key, validator_permit=True, stake_rao=9)
    async with world.store() as store:
        for validator in (VALIDATOR, OTHER, away):
            await add(store, DATA, ticket(DATA, world.clock, validator=validator.public_key))
    world.files().path(ROOT).unlink()
    async with listening(world) as first, listening(world, OTHER) as second, telling(world) as store:
        assert [await first.heard(), await second.heard()] == [(ROOT,), (ROOT,)]

        async def only_one_is_left() -> bool:
            return await store.losses.validators() == [away.public_key]

        await eventually(only_one_is_left)


async def test_piece_that_was_lost_before_its_commit_is_told_once_more_when_it_can_be_committed_no_longer(
    stored: World,
) -> None:
    stored.files().path(ROOT).unlink()
    async with listening(stored) as validator:
        validator.holds_none = True
        async with telling(stored) as store:
            assert await validator.heard() == (ROOT,)
            await asleep(stored)
            assert await store.losses.validators() == []
        async with telling(stored) as store:  # a restart does not forget it
            await asleep(stored)
            await stored.clock.advance(AGAIN_SECONDS - 1)
            assert validator.asked == 1
            await asleep(stored)
            await stored.clock.advance(60)
            assert await validator.heard() == (ROOT,)
            await all_told(store)
        async with telling(stored) as store:  # however little it recorded: now it knows of all there can be
            assert await store.losses.fall_due(stored.clock.now() + 10**6) is None
            assert await store.losses.validators() == []


async def test_pieces_that_can_be_committed_no_longer_are_not_told_again(stored: World) -> None:
    stored.files().path(ROOT).unlink()
    await stored.clock.advance(AGAIN_SECONDS)
    async with listening(stored) as validator:
        validator.holds_none = True
        async with telling(stored) as store:
            assert await validator.heard() == (ROOT,)
            await all_told(store)
            assert await store.losses.fall_due(stored.clock.now() + 10**6) is None


async def test_many_losses_are_told_in_several_reports(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MISSING_NAMED_MAX", 3)
    monkeypatch.setattr(losses, "LOOKED_AT_ONCE", 4)
    monkeypatch.setattr(losses, "REPORTED_ROOTS_MAX", 5)
    pieces = [piece(f"piece {number}", 50) for number in range(12)]
    async with world.store() as store:
        for data in pieces:
            await add(store, data, ticket(data, world.clock))
    for data in pieces:
        world.files().path(root_of(data)).unlink()
    async with listening(world) as validator, telling(world) as store:
        reports = [await validator.heard() for _ in range(3)]
        await all_told(store)
    assert [len(roots) for roots in reports] == [5, 5, 2]
    assert sorted(root for roots in reports for root in roots) == sorted(map(root_of, pieces))


def test_report_of_the_most_roots_fits_a_message() -> None:
    roots = tuple(Root(number.to_bytes(32, "big")) for number in range(REPORTED_ROOTS_MAX))
    report = LostReport(miner=MINER.public_key, validator=VALIDATOR.public_key, roots=roots, time=1)
    assert LostReport.parse(report.signed(MINER, NETWORK).encode()).roots == roots


async def test_index_that_takes_nothing_ends_neither_reporter_nor_notes(
    stored: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with listening(stored) as validator, telling(stored) as store:
        with monkeypatch.context() as patch:

            async def full(_: Any) -> None:
                raise TemporaryError("the disk is full")

            patch.setattr(store._index, "note_lost", full)
            stored.files().path(ROOT).unlink()
            await audit(store)
            await asleep(stored)
        await stored.clock.advance(60)
        assert await validator.heard() == (ROOT,)
        assert "the disk is full" in caplog.text


async def test_running_miner_reports_what_it_lost(world: World, tmp_path: Path) -> None:
    save_keyfile(MINER, tmp_path / "hotkey")
    chosen = MinerSettings(
        network=f"local:{tmp_path}",
        netuid=NETUID,
        hotkey_file=tmp_path / "hotkey",
        data_dir=world.data_dir,
        capacity_bytes=MIB,
        disk_reserve_bytes=0,
    )
    async with world.store() as store:
        await add(store, DATA, ticket(DATA, world.clock))
    world.files().path(ROOT).unlink()
    async with listening(world) as validator, AsyncExitStack() as stack:
        task = asyncio.create_task(run_miner(chosen, clock=world.clock, ready=lambda _: None))
        stack.callback(task.cancel)
        assert await validator.heard() == (ROOT,)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_ending_a_reporter_leaves_no_task(stored: World) -> None:
    before = asyncio.all_tasks()
    stored.files().path(ROOT).unlink()
    async with telling(stored):
        await asleep(stored)
    assert asyncio.all_tasks() <= before
