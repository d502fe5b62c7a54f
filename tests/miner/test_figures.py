"""What a miner counts: every outcome once, and the space of a full disk."""

from __future__ import annotations

from typing import Any

import pytest

from hippy.errors import NoSpaceError
from hippy.ids import Root
from hippy.miner.options import Extras
from hippy.miner.store import open_store
from hippy.proofs.tree import root_of
from hippy.transport.client import Call
from tests.miner.world import (
    LARGE,
    MIB,
    SMALL,
    World,
    add,
    piece,
    refusal_of,
    ticket,
)

DATA, MORE = piece("a", SMALL), piece("b", LARGE)


@pytest.mark.parametrize("data", [DATA, MORE])
async def test_uploads_are_counted_by_what_became_of_them(world: World, data: bytes) -> None:
    async with world.serving(capacity_bytes=LARGE) as miner:
        counted = miner.store.figures.uploads
        await miner.stored(data)
        await miner.stored(data)
        assert counted == {"stored": 1, "repeated": 1}
        full = piece("too much", LARGE)
        assert (await miner.put(miner.proof(full), full)).status == 507
        assert (await miner.put(miner.proof(data), data, http=miner.other)).status == 401
        assert (await miner.put(miner.proof(data, serial=2), data[:-1] + b"?")).status == 422
        assert counted == {"stored": 1, "repeated": 1, "no_space": 1, "auth": 1, "integrity": 1}


async def test_reads_are_counted_by_what_became_of_them(world: World) -> None:
    async with world.serving() as miner:
        await miner.stored(DATA)
        await miner.get(root_of(DATA))
        await miner.get(root_of(DATA), "?offset=0&length=1&proof=1")
        await miner.get(Root(b"x" * 32))
        await miner.get(root_of(DATA), "?offset=0")
        world.files().path(root_of(DATA)).unlink()
        await miner.get(root_of(DATA))
        assert miner.store.figures.reads == {"read": 2, "not_found": 1, "protocol": 1, "integrity": 1}


async def test_audits_are_counted_by_what_became_of_them(world: World) -> None:
    async with world.serving() as miner:
        call = Call("POST", "/v1/audit", body=b"nonsense", answer_bytes_max=MIB)
        await miner.asker.request(miner.peer, call)
        await miner.http.request(miner.peer, call)
        assert miner.store.figures.audits == {"protocol": 1, "auth": 1}


async def test_full_index_is_no_space_with_a_refusal_and_recovers_by_itself(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    extras = Extras(ballast_bytes=MIB)
    opened = open_store(world.data_dir, capacity_bytes=64 * MIB, disk_reserve_bytes=0, extras=extras, clock=world.clock)
    monkeypatch.setattr(World, "store", lambda *_: opened)
    async with world.serving() as miner:
        await miner.store.keep_ballast()
        assert miner.store.figures.has_ballast
        assert miner.store.figures.free_bytes is not None
        with monkeypatch.context() as patch:

            async def full(_: Any) -> None:
                raise NoSpaceError("the disk is full")

            patch.setattr(miner.store._index, "add", full)
            answer = await miner.put(miner.proof(DATA), DATA)
            assert answer.status == 507
            assert refusal_of(answer).code == "no_space"
            assert not (world.data_dir / "ballast").exists()
            assert miner.store.space()[1] == 0
        await miner.stored(DATA)
        await miner.store.keep_ballast()
        assert miner.store.figures.has_ballast


async def test_totals_are_those_of_the_index_after_a_restart(world: World) -> None:
    async with world.store() as store:
        await add(store, DATA, ticket(DATA, world.clock))
        await add(store, DATA, ticket(DATA, world.clock, serial=2))
        seen = store.figures.totals
        assert (seen.used_bytes, seen.pieces, seen.obligations) == (SMALL, 1, 2)
    async with world.store() as store:
        assert store.figures.totals == seen
