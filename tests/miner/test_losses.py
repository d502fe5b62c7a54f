"""What a miner knows of its losses: noted, looked at once, to be told until they were."""

from __future__ import annotations

import pytest

from hippy.errors import ConfigError, TemporaryError
from hippy.ids import Root
from hippy.miner import losses
from hippy.miner.losses import Losses
from hippy.miner.obligations import ObligationIndex
from hippy.miner.store import PieceStore
from hippy.proofs.inventory import PieceLeaf
from hippy.proofs.tree import root_of
from hippy.testing.kv import MemoryDatabase
from tests.miner.telling import AGAIN_SECONDS, DATA, MORE, OTHER_ROOT, ROOT, UPLOAD_SECONDS
from tests.miner.world import ACCOUNT, OTHER, VALIDATOR, World, add, obligation, piece, ticket


async def audit(store: PieceStore) -> None:
    assert await store.leaves([PieceLeaf(ROOT, 0)]) == {PieceLeaf(ROOT, 0): None}


async def leave(_: Root) -> None:
    """What is left of a lost piece stays where it is."""


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

    found = Losses(index, is_whole, leave)
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

    found = Losses(index, is_whole, leave)
    found.note(ROOT)
    found.note(OTHER_ROOT)  # no room: it will be met again
    await found.settle()
    assert await found.to_tell(VALIDATOR.public_key) == [ROOT]
    found.note(OTHER_ROOT)
    await found.settle()
    assert await found.to_tell(VALIDATOR.public_key) == sorted([ROOT, OTHER_ROOT])


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
