"""What audits are told of released pieces: their leaves while the bytes are there, then the release (PROTOCOL §5.3)."""

from __future__ import annotations

from hippy.ids import Root
from hippy.proofs.inventory import PieceLeaf
from hippy.proofs.request import AuditRequest, encode_request
from hippy.proofs.response import ResponseEntry, Status, parse_response
from hippy.proofs.tree import root_of
from hippy.transport.client import Call
from hippy.wire.pace import USUAL_PACE
from hippy.wire.release import Release
from hippy.wire.ticket import Ticket
from tests.miner.issuing import drop_of, release_of
from tests.miner.world import LARGE, MIB, OTHER, Miner, World, piece, ticket

DATA, MORE = piece("a", LARGE), piece("b", LARGE)
ROOT, OTHER_ROOT = root_of(DATA), root_of(MORE)


async def asked(miner: Miner, *entries: tuple[Root, int]) -> tuple[ResponseEntry, ...]:
    request = AuditRequest(5, 2, 1234, 0, b"t" * 32, tuple(PieceLeaf(*entry) for entry in entries))
    call = Call("POST", "/v1/audit", body=encode_request(request), answer_bytes_max=2 * MIB)
    answer = await miner.asker.request(miner.peer, call)
    assert answer.error() is None
    return parse_response(answer.body, len(entries)).entries


async def end(miner: Miner, one: Ticket) -> Release:
    now = int(miner.world.clock.now())
    release = release_of(one, now, drop=drop_of(one, 1))
    ended = await miner.store.releases.end([release], now, now + 10**6)
    miner.store.recount(ended.totals)
    return release


async def test_leaf_of_released_bytes_is_shown_while_they_are_there_and_the_release_when_they_are_gone(
    world: World,
) -> None:
    async with world.serving() as miner:
        await miner.stored(DATA)
        await miner.stored(MORE, serial=2)
        release = await end(miner, ticket(DATA, world.clock))
        assert [entry.status for entry in await asked(miner, (ROOT, 0), (OTHER_ROOT, 0))] == [Status.OK] * 2
        answer = await miner.get(ROOT)
        assert answer.body == DATA
        await miner.store.trash.remove(int(world.clock.now()) + USUAL_PACE.trash_seconds)
        first, second, third = await asked(miner, (ROOT, 0), (OTHER_ROOT, 0), (ROOT, 2))
        assert (first.status, second.status, third.status) == (Status.RELEASED, Status.OK, Status.RELEASED)
        assert Release.parse(bytes(first.data)) == Release.parse(bytes(third.data)) == release
        assert (await miner.get(ROOT)).status == 404
        assert miner.store.figures.leaves == {"ok": 3, "released": 2}


async def test_released_piece_that_is_damaged_is_said_to_be_released_and_one_that_is_owed_lost(world: World) -> None:
    async with world.serving() as miner:
        for data in (DATA, MORE):
            await miner.stored(data)
            world.files().path(root_of(data)).unlink()
        await end(miner, ticket(DATA, world.clock))
        statuses = [entry.status for entry in await asked(miner, (ROOT, 0), (OTHER_ROOT, 0), (Root(b"x" * 32), 0))]
        assert statuses == [Status.RELEASED, Status.LOST, Status.NEVER_RECEIVED]


async def test_release_of_one_account_excuses_no_loss_that_another_is_owed(world: World) -> None:
    async with world.serving() as miner:
        await miner.stored(DATA)
        theirs = miner.proof(DATA, account=OTHER.public_key, serial=2)
        assert (await miner.put(theirs, DATA, http=miner.other)).error() is None
        await end(miner, ticket(DATA, world.clock))
        world.files().path(ROOT).unlink()
        assert [entry.status for entry in await asked(miner, (ROOT, 0))] == [Status.LOST]


async def test_piece_that_is_stored_again_is_shown_and_not_its_old_release(world: World) -> None:
    async with world.serving() as miner:
        await miner.stored(DATA)
        await end(miner, ticket(DATA, world.clock))
        await miner.store.trash.remove(int(world.clock.now()))
        await miner.stored(DATA, serial=2)
        assert [entry.status for entry in await asked(miner, (ROOT, 0))] == [Status.OK]
        world.files().path(ROOT).unlink()
        assert [entry.status for entry in await asked(miner, (ROOT, 0))] == [Status.LOST]
