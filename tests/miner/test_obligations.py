"""The index: an older one is taken over as it is, its sums follow every change, a newer one is refused."""

from __future__ import annotations

import pytest

from hippy.errors import ConfigError
from hippy.hashing import u64
from hippy.kv import Reader, Transaction
from hippy.miner.obligations import ObligationIndex, _open
from hippy.miner.releases import ReleaseIndex
from hippy.miner.tables import Totals, totals_of
from hippy.miner.trash import TrashIndex
from hippy.testing.kv import MemoryDatabase
from tests.miner.issuing import release_of
from tests.miner.telling import DATA, MORE, ROOT
from tests.miner.world import OTHER, SMALL, World, obligation, ticket


def everything(state: Reader) -> dict[bytes, bytes]:
    return dict(state.scan(b""))


async def before(world: World) -> MemoryDatabase:
    """An index of format 1 with two pieces and three obligations, as that version wrote it."""
    database = MemoryDatabase()
    tickets = [ticket(DATA, world.clock), ticket(DATA, world.clock, serial=2), ticket(MORE, world.clock)]

    def write(state: Transaction) -> None:
        state.put(b"meta/format", b"1")
        state.put(b"meta/used", u64(2 * SMALL))
        for one in tickets:
            owed = obligation(one)
            state.put(b"obl/" + one.root + owed.receipt.ticket_id, owed.encode())
            state.put(b"piece/" + one.root, u64(one.piece_length))

    await database.transact(write)
    return database


async def test_index_of_the_format_before_is_taken_over_in_one_transaction(world: World) -> None:
    database = await before(world)
    old = await database.read(everything)
    totals = await ObligationIndex(database).open(fresh_allowed=False)
    assert totals == Totals(used_bytes=2 * SMALL, trash_bytes=0, pieces=2, obligations=3)
    new = await database.read(everything)
    assert new[b"meta/format"] == b"2"
    changed = {b"meta/format", b"meta/used", b"meta/totals"}
    assert {key: row for key, row in new.items() if key not in changed} == {
        key: row for key, row in old.items() if key not in changed
    }
    assert b"meta/used" not in new
    assert await ObligationIndex(database).open(fresh_allowed=False) == totals


async def test_opening_an_index_of_this_format_writes_nothing() -> None:
    database = MemoryDatabase()
    await ObligationIndex(database).open(fresh_allowed=True)

    def write_nothing(state: Transaction) -> None:
        before = everything(state)
        _open(state, fresh_allowed=False)
        assert everything(state) == before
        assert getattr(state, "changes", {}) == {}

    await database.transact(write_nothing)


@pytest.mark.parametrize("version", [b"0", b"3", b"22", b""])
async def test_index_of_another_format_is_refused_and_left_as_it_is(version: bytes) -> None:
    database = MemoryDatabase()
    await database.transact(lambda state: state.put(b"meta/format", version))
    with pytest.raises(ConfigError, match="format") as caught:
        await ObligationIndex(database).open(fresh_allowed=True)
    assert caught.value.hint is not None
    assert await database.read(everything) == {b"meta/format": version}


async def test_sums_follow_every_change(world: World) -> None:
    database = MemoryDatabase()
    index, releases, trash = ObligationIndex(database), ReleaseIndex(database), TrashIndex(database)
    await index.open(fresh_allowed=True)
    mine = ticket(DATA, world.clock)
    theirs = ticket(DATA, world.clock, account=OTHER.public_key)
    seen = []

    async def see() -> None:
        seen.append(await database.read(totals_of))

    for one in (mine, mine, theirs):
        await index.add(obligation(one))
        await see()
    for one in (mine, mine, theirs):
        await releases.end([release_of(one, 10**6)], 100, 200)
        await see()
    await index.add(obligation(mine))
    await see()
    await releases.end([release_of(mine, 10**6)], 150, 200)
    assert await trash.unindex([ROOT], 149) == ([], Totals(SMALL, SMALL, 1, 0))
    assert await trash.unindex([ROOT], 150) == ([ROOT], Totals())
    owed_by_one, owed_by_two = Totals(SMALL, 0, 1, 1), Totals(SMALL, 0, 1, 2)
    trashed = Totals(SMALL, SMALL, 1, 0)
    assert seen == [owed_by_one, owed_by_one, owed_by_two, owed_by_one, owed_by_one, trashed, owed_by_one]
