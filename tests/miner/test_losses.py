"""Lost pieces: found at start and on reading, told to their validators until they answered, and not again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from hippy.chain.local import open_local_chain
from hippy.endpoint import Endpoint
from hippy.errors import ConfigError, IntegrityError, TemporaryError
from hippy.identity import Identity, save_keyfile
from hippy.ids import PublicKey, Root
from hippy.kv import Reader, Transaction, open_database
from hippy.miner import files, losses, lost_rows
from hippy.miner.losses import Losses
from hippy.miner.obligations import ObligationIndex
from hippy.miner.reports import PAUSE_SECONDS_MAX, PAUSE_SECONDS_MIN, LossReporter, reporting
from hippy.miner.server import run_miner
from hippy.miner.settings import MinerSettings
from hippy.miner.store import PieceStore
from hippy.proofs.inventory import PieceLeaf
from hippy.proofs.tree import leaf_hashes, root_of
from hippy.testing.kv import MemoryDatabase
from hippy.transport.client import open_http
from hippy.transport.hello import HelloDesk
from hippy.transport.server import Guard, Route, build_app, message_response, read_body, serving
from hippy.wire.audit import REPORTED_ROOTS_MAX, LostAnswer, LostReport
from hippy.wire.btauth import NonceWindow
from hippy.wire.canonical import CLOCK_TOLERANCE_SECONDS
from tests.miner.world import (
    ACCOUNT,
    MIB,
    MINER,
    NETUID,
    NETWORK,
    OTHER,
    VALIDATOR,
    World,
    add,
    identity,
    obligation,
    piece,
    ticket,
)

DATA, MORE = piece("a"), piece("b")
ROOT, OTHER_ROOT = root_of(DATA), root_of(MORE)


@dataclass
class Listener:
    """A validator as far as lost reports go: it answers handshakes and keeps the reports it gets."""

    who: Identity
    world: World
    is_failing: bool = False
    holds_none: bool = False
    """Nothing of what it is told about was committed."""
    asked: int = 0
    reports: asyncio.Queue[LostReport] = field(default_factory=asyncio.Queue)

    async def lost(self, request: web.Request) -> web.StreamResponse:
        body = await read_body(request, 64 * 1024)
        guard = Guard(self.who.public_key, self.world.clock, NonceWindow())
        assert guard.sender(request, body) == MINER.public_key
        self.asked += 1
        if self.is_failing:
            raise TemporaryError("not now")
        report = LostReport.parse(body)
        report.check_signature(MINER.public_key, NETWORK)
        assert (report.miner, report.validator) == (MINER.public_key, self.who.public_key)
        assert report.time == int(self.world.clock.now())
        self.reports.put_nowait(report)
        return message_response(LostAnswer(recorded=0 if self.holds_none else len(report.roots)))

    async def heard(self) -> tuple[Root, ...]:
        async with asyncio.timeout(10):
            return tuple(Root(root) for root in (await self.reports.get()).roots)


@asynccontextmanager
async def listening(
    world: World, who: Identity = VALIDATOR, *, signs_as: Identity | None = None
) -> AsyncIterator[Listener]:
    """Serve a listener and publish its endpoint; ``signs_as``: somebody else answers its handshakes."""
    listener = Listener(who, world)
    desk = HelloDesk(signs_as or who, "validator", NETWORK, NETUID, world.clock)
    app = build_app([desk.route(), Route("POST", "/v1/lost", listener.lost)])
    async with serving(app, "127.0.0.1", 0) as endpoint:
        await publish(world, who, endpoint)
        yield listener


async def publish(world: World, who: Identity, endpoint: Endpoint) -> None:
    path = world.data_dir.parent / "chain.sqlite"
    async with open_local_chain(path, hotkey=who.public_key, clock=world.clock) as chain:
        await chain.publish_endpoint(endpoint)


@asynccontextmanager
async def telling(world: World) -> AsyncIterator[PieceStore]:
    """Open the store and tell its losses."""
    async with (
        world.store() as store,
        open_http(MINER, world.clock) as http,
        reporting(LossReporter(store.losses, world.chain, http, MINER, world.clock)),
    ):
        yield store


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while not await condition():  # noqa: ASYNC110 - the index and the sockets are real
            await asyncio.sleep(0.001)


async def all_told(store: PieceStore) -> None:
    async def is_told() -> bool:
        return not await store.losses.validators()

    await eventually(is_told)


async def asleep(world: World) -> None:
    """Wait until the reporter pauses."""

    async def is_asleep() -> bool:
        return any(not woken.done() for _, _, woken in world.clock._sleepers)

    await eventually(is_asleep)


@pytest.fixture
async def stored(world: World) -> World:
    """Two pieces in a closed store."""
    async with world.store() as store:
        for data in (DATA, MORE):
            await add(store, data, ticket(data, world.clock))
    return world


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
async def test_damage_met_while_serving_is_reported_and_stays_on_disk(
    stored: World, meet: Callable[[PieceStore], Awaitable[None]]
) -> None:
    async with listening(stored) as validator, telling(stored) as store:
        damaged = bytes([DATA[0] ^ 1]) + DATA[1:]
        stored.files().path(ROOT).write_bytes(damaged)
        await meet(store)
        assert await validator.heard() == (ROOT,)
        await all_told(store)
        await meet(store)
        assert await store.losses.settle()
        assert await store.losses.validators() == []
        assert stored.files().path(ROOT).read_bytes() == damaged


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


UPLOAD_SECONDS = 3_600
AGAIN_SECONDS = UPLOAD_SECONDS + 600 + 2 * CLOCK_TOLERANCE_SECONDS
"""The tickets of these tests can be committed until then, by whatever clock."""


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


async def test_piece_that_is_stored_anew_is_not_told_again(stored: World) -> None:
    async with stored.store() as store:
        stored.files().path(ROOT).unlink()
        await audit(store)
        assert await store.losses.settle()
        now = stored.clock.now()
        await store.losses.told(VALIDATOR.public_key, [ROOT], recorded=0, now=now)
        assert await store.losses.fall_due(now) == now + AGAIN_SECONDS
        await add(store, DATA, ticket(DATA, stored.clock, account=OTHER.public_key))
        assert await store.losses.fall_due(now + AGAIN_SECONDS) is None
        assert await store.losses.validators() == []


async def test_what_is_told_again_falls_due_in_order_and_in_portions(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "LOOKED_AT_ONCE", 2)
    now = int(world.clock.now())
    pieces = [piece(f"piece {number}", 50) for number in range(5)]
    roots = [root_of(data) for data in pieces]
    async with world.store() as store:
        for number, data in enumerate(pieces):
            await add(store, data, ticket(data, world.clock, upload_by=now + 10 * number))
            store.losses.note(roots[number])
        for root in roots:
            world.files().path(root).unlink()
        await store.losses.settle()
        await store.losses.told(VALIDATOR.public_key, roots, recorded=4, now=now)
        grace = AGAIN_SECONDS - UPLOAD_SECONDS
        assert await store.losses.fall_due(now) == now + grace
        assert await store.losses.fall_due(now + grace + 25) == now + grace + 20
        assert await store.losses.to_tell(VALIDATOR.public_key) == sorted(roots[:2])
        assert await store.losses.fall_due(now + grace + 25) == now + grace + 30
        assert await store.losses.to_tell(VALIDATOR.public_key) == sorted(roots[:3])


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


async def test_piece_that_is_whole_after_all_is_not_reported(stored: World) -> None:
    async with stored.store() as store:
        store.losses.note(ROOT)
        assert await store.losses.settle()
        assert await store.losses.validators() == []
        assert await store._index.unchecked(None, 9) == []


async def test_piece_that_is_stored_anew_is_not_reported_and_can_be_lost_again(stored: World) -> None:
    async with stored.store() as store:
        for account in (OTHER, ACCOUNT):
            stored.files().path(ROOT).unlink()
            await audit(store)
            assert await store.losses.settle()
            assert await store.losses.to_tell(VALIDATOR.public_key) == [ROOT]
            await add(store, DATA, ticket(DATA, stored.clock, account=account.public_key))
            assert await store.losses.validators() == []
            assert await store.read(ROOT, len(DATA)) == DATA


async def test_look_that_began_before_new_bytes_settles_nothing(world: World) -> None:
    index = ObligationIndex(MemoryDatabase())
    await index.open(fresh_allowed=True)
    one = obligation(ticket(DATA, world.clock))
    await index.add(one)
    await index.note_lost([ROOT])
    await index.add(one)  # the piece is stored anew while somebody looks
    await index.settle_lost([ROOT], [])
    assert await index.validators_to_tell() == []


async def test_piece_that_cannot_be_looked_at_now_is_looked_at_later_and_delays_no_other(world: World) -> None:
    index = ObligationIndex(MemoryDatabase())
    await index.open(fresh_allowed=True)
    for data in (DATA, MORE):
        await index.add(obligation(ticket(data, world.clock)))
    unreadable = {ROOT}

    async def is_whole(root: Root, length: int) -> bool:
        assert length == len(DATA)
        if root in unreadable:
            raise TemporaryError("too many open files")
        return False

    found = Losses(index, is_whole)
    for root in (ROOT, OTHER_ROOT):
        found.note(root)
    assert not await found.settle()
    assert await found.to_tell(VALIDATOR.public_key) == [OTHER_ROOT]
    unreadable.clear()
    assert await found.settle()
    assert await found.to_tell(VALIDATOR.public_key) == sorted([ROOT, OTHER_ROOT])


async def test_notes_have_a_limit_and_make_room_when_they_are_settled(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "NOTED_MAX", 1)
    index = ObligationIndex(MemoryDatabase())
    await index.open(fresh_allowed=True)
    for data in (DATA, MORE):
        await index.add(obligation(ticket(data, world.clock)))

    async def is_whole(_root: Root, _length: int) -> bool:
        return False

    found = Losses(index, is_whole)
    found.note(ROOT)
    found.note(OTHER_ROOT)  # no room: it will be met again
    await found.settle()
    assert await found.to_tell(VALIDATOR.public_key) == [ROOT]
    found.note(OTHER_ROOT)
    await found.settle()
    assert await found.to_tell(VALIDATOR.public_key) == sorted([ROOT, OTHER_ROOT])


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


def test_rows_name_validators_once_and_in_order() -> None:
    validators = [PublicKey(bytes([number]) * 32) for number in (0, 7, 255)]
    roots = [Root(bytes([number]) * 32) for number in (0, 3, 255)]

    async def run() -> tuple[list[PublicKey], list[Root], list[bytes]]:
        database = MemoryDatabase()

        def write(state: Transaction) -> None:
            lost_rows.note(state, roots)
            for root in roots:
                lost_rows.confirm(state, root, validators)
            lost_rows.note(state, roots)  # known
            lost_rows.told(state, validators[1], roots[:2])

        def read(state: Reader) -> tuple[list[PublicKey], list[Root]]:
            return lost_rows.validators_to_tell(state), lost_rows.to_tell(state, validators[1], 9)

        await database.transact(write)
        everyone, second = await database.read(read)

        def forget(state: Transaction) -> list[bytes]:
            for root in roots:
                lost_rows.forget(state, root)
            return [key for key, _ in state.scan(b"")]

        return everyone, second, await database.transact(forget)

    assert asyncio.run(run()) == (validators, roots[2:], [])


async def test_miner_whose_piece_folders_are_all_gone_does_not_start(stored: World) -> None:
    """A disk that is not mounted is not a disk that is lost."""
    pieces = stored.data_dir / "pieces"
    pieces.rename(stored.data_dir / "away")
    with pytest.raises(ConfigError, match="folders"):
        async with stored.store():
            pass
    (stored.data_dir / "away").rename(pieces)
    async with stored.store() as store:
        assert await store.read(ROOT, len(DATA)) == DATA


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


async def test_rows_of_losses_are_durable(stored: World) -> None:
    stored.files().write(ROOT, DATA, leaf_hashes(DATA))
    stored.files().path(ROOT).unlink()
    async with stored.store() as store:
        assert await store.losses.settle()
        await store.losses.told(VALIDATOR.public_key, [ROOT], recorded=1, now=0)
    async with open_database(stored.data_dir / "index") as database:

        def keys(state: Reader) -> list[bytes]:
            return [key for prefix in (b"check/", b"lost/", b"tell/") for key, _ in state.scan(prefix)]

        assert await database.read(keys) == [b"lost/" + ROOT]
