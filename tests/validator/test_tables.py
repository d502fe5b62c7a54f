"""A validator's database says whose it is and of which format, and lets in nobody else."""

from __future__ import annotations

import pytest

from hippy.errors import ConfigError
from hippy.kv import Database
from hippy.validator.tables import FORMAT, FORMAT_BEFORE, HOME, claim, mark_current
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


async def test_database_of_the_format_before_is_let_in_and_marked_when_that_is_said(database: Database) -> None:
    before = FORMAT_BEFORE + NETWORK + HOTKEY
    await database.transact(lambda txn: txn.put(HOME, before))
    await claimed(database)
    assert await mark(database) == before  # a crash now, and the next start still knows what is to be done
    await database.transact(lambda txn: mark_current(txn, NETWORK, HOTKEY))
    assert await mark(database) == FORMAT + NETWORK + HOTKEY


@pytest.mark.parametrize(
    "found",
    [
        FORMAT + b"x" * 32 + HOTKEY,
        FORMAT + NETWORK + world.STRANGER.public_key,
        FORMAT_BEFORE + NETWORK + world.STRANGER.public_key,
        b"hippy validator 0" + NETWORK + HOTKEY,
        b"hippy validator 3" + NETWORK + HOTKEY,
        b"",
    ],
    ids=["other network", "other hotkey", "other hotkey before", "older", "newer", "nobody's"],
)
async def test_any_other_database_is_refused_and_left_alone(database: Database, found: bytes) -> None:
    await database.transact(lambda txn: txn.put(HOME, found))
    with pytest.raises(ConfigError, match="belongs to another"):
        await claimed(database)
    assert await mark(database) == found
