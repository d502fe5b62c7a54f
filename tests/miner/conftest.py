"""The world fixture for tests of the miner."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.miner.telling import DATA, MORE
from tests.miner.world import World, add, make_world, ticket


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with make_world(tmp_path) as made:
        yield made


@pytest.fixture
async def stored(world: World) -> World:
    """Two pieces in a closed store."""
    async with world.store() as store:
        for data in (DATA, MORE):
            await add(store, data, ticket(data, world.clock))
    return world
