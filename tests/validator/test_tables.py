"""A validator's database says whose it is and of which format, and lets in nobody else."""

from __future__ import annotations

import pytest

from hippy.errors import ConfigError
from hippy.kv import Database
from hippy.validator.tables import FORMAT, FORMATS_BEFORE, HOME, claim, owner_of
from tests.validator import world

NETWORK, HOTKEY = world.NETWORK, world.HOME.hotkey


async def mark(database: Database) -> bytes | None:
    return await database.read(lambda reader: reader.get(HOME))


async def claimed(database: Database, network: bytes = NETWORK) -> None:
    await database.transact(lambda txn: claim(txn, network, HOTKEY))


async def test_new_database_is_of_this_format(database: Database) -> None:
    await claimed(database)
    await claimed(database)
    assert await mark(database) == FORMAT + NETWORK + HOTKEY


@pytest.mark.parametrize("earlier", FORMATS_BEFORE)
async def test_database_of_an_earlier_format_is_refused_and_left_alone(database: Database, earlier: bytes) -> None:
    found = earlier + NETWORK + HOTKEY
    await database.transact(lambda txn: txn.put(HOME, found))
    with pytest.raises(ConfigError, match="earlier pre-release version") as refusal:
        await claimed(database)
    assert refusal.value.hint == "start with a new data_dir"
    assert await mark(database) == found


@pytest.mark.parametrize(
    "found",
    [
        FORMAT + b"x" * 32 + HOTKEY,
        FORMAT + NETWORK + world.STRANGER.public_key,
        b"hippy validator 0" + NETWORK + HOTKEY,
        b"hippy validator 6" + NETWORK + HOTKEY,
        b"",
    ],
    ids=["other network", "other hotkey", "older", "newer", "nobody's"],
)
async def test_any_other_database_is_refused_and_left_alone(database: Database, found: bytes) -> None:
    await database.transact(lambda txn: txn.put(HOME, found))
    with pytest.raises(ConfigError, match="belongs to another"):
        await claimed(database)
    assert await mark(database) == found


async def test_owner_is_whose_hotkey_claimed_it(database: Database) -> None:
    await claimed(database)
    assert await database.read(owner_of) == HOTKEY
