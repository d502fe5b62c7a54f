"""A running miner's background work, all of it together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from hippy.miner.background import background, repeat
from hippy.miner.housekeeping import keeping_house
from hippy.miner.options import Chores
from hippy.miner.store import PieceStore
from hippy.testing.clock import VirtualClock
from hippy.transport.client import open_http
from hippy.wire.pace import DAY
from tests.miner.issuing import issuing, settled
from tests.miner.telling import DATA as PIECE
from tests.miner.telling import OTHER_ROOT, ROOT, listening
from tests.miner.world import MINER, SMALL, VALIDATOR, World, piece_files, ticket

EPOCH_SECONDS = 4.32
"""A thousandth of the usual, and so are all waiting times."""


@asynccontextmanager
async def kept(world: World, chores: Chores) -> AsyncIterator[PieceStore]:
    async with (
        world.store() as store,
        open_http(MINER, world.clock) as http,
        keeping_house(store, world.chain, http, MINER, world.clock, EPOCH_SECONDS, chores),
    ):
        yield store


async def passes_until(world: World, condition: Callable[[], bool], step: float = 5) -> float:
    """Let time pass until something has come about, whoever lags behind in threads, and return when."""
    async with asyncio.timeout(60):
        while not condition():
            await world.clock.advance(step)
            await asyncio.sleep(0.0005)
    return world.clock.now()


async def test_released_piece_is_gone_in_the_end_and_its_neighbour_is_not(stored: World) -> None:
    await stored.clock.advance(9 * DAY)
    async with issuing(stored) as issuer:
        issuer.release(ticket(PIECE, VirtualClock(stored.clock.now() - 9 * DAY)))
        async with kept(stored, Chores()) as store:
            await settled(lambda: store.figures.totals.trash_bytes == SMALL)
            start = stored.clock.now()
            end = await passes_until(stored, lambda: store.figures.removed_pieces == 1)
            assert end >= start + 7 * DAY // 1000
            assert store.space()[1] == SMALL
            await settled(lambda: piece_files(stored.data_dir) == [OTHER_ROOT.hex(), OTHER_ROOT.hex() + ".tree"])


async def test_piece_that_the_check_finds_bad_is_reported_and_set_aside(stored: World) -> None:
    path = stored.files().path(ROOT)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    async with listening(stored, VALIDATOR) as validator, kept(stored, Chores(scrub_seconds=60)) as store:
        await passes_until(stored, lambda: store.figures.scrub_bad == 1)
        assert await validator.heard() == (ROOT,)
        await settled(lambda: store.figures.quarantine_pieces == 1)
    assert not path.exists()


async def test_repeated_work_goes_on_after_errors_of_any_kind(caplog: pytest.LogCaptureFixture) -> None:
    clock, tries = VirtualClock(), list[int]()

    async def work() -> None:
        tries.append(len(tries))
        if len(tries) < 3:
            raise ValueError("surprise")

    async with background(repeat(work, 10, clock, "nothing was done")):
        await clock.advance(45)
        assert len(tries) == 5
    assert "nothing was done, unexpectedly" in caplog.text
    assert "surprise" in caplog.text


async def test_error_of_the_block_keeps_its_class_and_ends_the_work() -> None:
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def fail() -> None:
        async with background(work()):
            await asyncio.sleep(0)
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await fail()
    assert ended.is_set()
