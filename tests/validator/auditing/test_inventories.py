"""What miners are audited on and read from: as of the header, whatever happens since."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

import pytest

from hippy.hashing import digest
from hippy.ids import PublicKey, Root
from hippy.kv import Transaction
from hippy.testing.kv import MemoryDatabase
from hippy.validator.auditing import inventories
from hippy.validator.auditing.inventories import Inventories
from hippy.validator.commit import record_segments
from hippy.validator.log import position
from hippy.validator.losses import record_loss
from hippy.wire.score import ScoreRules
from tests.validator.world import HOME, MINERS, NOW, unsigned_segment

ANN, BEN, CLEO = (miner.public_key for miner in MINERS[:3])
MIB = 2**20


class World:
    """A registry that counts who reads it."""

    def __init__(self) -> None:
        self.database = MemoryDatabase()
        self.inventories = Inventories(self.database, ScoreRules())
        self.segments = 0

    async def commit(self, miner: PublicKey, *names: str, length: int = 4 * MIB) -> list[Root]:
        roots = [Root(digest(name.encode())) for name in names]
        self.segments += 1
        segment = unsigned_segment(self.segments, dict.fromkeys(range(len(roots)), miner), roots, piece_length=length)
        await self.database.transact(lambda txn: record_segments(txn, HOME, [segment], NOW))
        return roots

    async def lose(self, miner: PublicKey, roots: Iterable[Root]) -> None:
        def work(txn: Transaction) -> None:
            record_loss(txn, HOME, miner, roots, reason="failed", now=NOW, epoch=1, batch=1)

        await self.database.transact(work)

    async def begin(self) -> tuple[PublicKey, ...]:
        return await self.inventories.begin((await self.database.read(position)).seq)


@pytest.fixture
def world() -> World:
    return World()


async def test_before_the_first_epoch_nobody_holds_anything(world: World) -> None:
    assert world.inventories.audited() == ()
    assert len(await world.inventories.of(ANN)) == 0
    assert await world.inventories.draw_pieces(ANN, Random(1)) == []


async def test_an_inventory_is_as_of_the_header_though_pieces_are_lost_and_committed_since(world: World) -> None:
    roots = await world.commit(ANN, "a", "b")
    expected = tuple(sorted([ANN]))
    assert await world.begin() == expected
    await world.lose(ANN, roots[:1])
    await world.commit(ANN, "c")
    await world.commit(BEN, "d")
    assert set(await world.inventories.of(ANN)) == set(roots)
    assert world.inventories.audited() == expected
    assert len(await world.inventories.of(BEN)) == 0
    assert await world.begin() == tuple(sorted([ANN, BEN]))
    assert len(await world.inventories.of(ANN)) == 2
    assert len(await world.inventories.of(BEN)) == 1


async def test_an_inventory_is_read_once_in_an_epoch(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.commit(ANN, "a")
    await world.begin()
    first = await world.inventories.of(ANN)

    async def read(_: object) -> None:
        raise AssertionError("it is known")

    monkeypatch.setattr(world.database, "read", read)
    assert await world.inventories.of(ANN) is first


async def test_what_was_not_used_for_longest_is_forgotten(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventories, "PIECES_MAX", 4)
    for miner in (ANN, BEN, CLEO):
        await world.commit(miner, f"{miner.hex()}1", f"{miner.hex()}2")
    await world.begin()
    found = {miner: await world.inventories.of(miner) for miner in (ANN, BEN)}
    assert await world.inventories.of(ANN) is found[ANN]
    await world.inventories.of(CLEO)  # BEN's goes
    assert await world.inventories.of(ANN) is found[ANN]
    again = await world.inventories.of(BEN)
    assert again is not found[BEN]
    assert dict(again) == dict(found[BEN])


async def test_one_that_is_too_long_alone_is_kept_all_the_same(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventories, "PIECES_MAX", 1)
    await world.commit(ANN, "a", "b")
    await world.begin()
    assert await world.inventories.of(ANN) is await world.inventories.of(ANN)


async def test_what_was_read_for_an_epoch_that_is_over_is_not_kept(world: World) -> None:
    await world.commit(ANN, "a")
    await world.begin()
    reading = world.inventories.of(ANN)
    slow = await reading
    await world.commit(ANN, "b")
    await world.begin()
    assert len(slow) == 1
    assert len(await world.inventories.of(ANN)) == 2


class TestDrawing:
    async def test_pieces_are_drawn_by_bytes(self, world: World) -> None:
        (long,) = await world.commit(ANN, "long")
        (short,) = await world.commit(ANN, "short", length=MIB)
        await world.begin()
        rng = Random(7)
        drawn = [(await world.inventories.draw_pieces(ANN, rng))[0] for _ in range(500)]
        assert {piece.root: piece.length for piece in drawn} == {long: 4 * MIB, short: MIB}
        assert sum(piece.root == long for piece in drawn) == pytest.approx(400, abs=30)

    async def test_only_what_is_still_held_is_read(self, world: World) -> None:
        kept, gone = await world.commit(ANN, "kept", "gone")
        await world.begin()
        await world.lose(ANN, [gone])
        rng = Random(7)
        drawn = [piece.root for _ in range(20) for piece in await world.inventories.draw_pieces(ANN, rng)]
        assert 0 < len(drawn) < 20
        assert set(drawn) == {kept}
        await world.lose(ANN, [kept])
        assert await world.inventories.draw_pieces(ANN, rng) == []

    @pytest.mark.parametrize(("stream_bps", "pieces"), [(25_000_000, 1), (24_999_999, 2), (6_250_000, 4), (1, 8)])
    async def test_a_miner_is_read_in_as_many_streams_as_it_takes_to_measure_it(
        self, world: World, monkeypatch: pytest.MonkeyPatch, stream_bps: int, pieces: int
    ) -> None:
        """25 Mbit/s are required of a miner with so few bytes."""
        monkeypatch.setattr(inventories, "STREAM_BPS", stream_bps)
        await world.commit(ANN, *map(str, range(64)))
        await world.begin()
        counts = [len(await world.inventories.draw_pieces(ANN, Random(seed))) for seed in range(20)]
        assert max(counts) == pieces

    async def test_the_same_piece_is_not_read_twice_at_once(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(inventories, "STREAM_BPS", 1_000_000)
        (root,) = await world.commit(ANN, "only")
        await world.begin()
        assert [piece.root for piece in await world.inventories.draw_pieces(ANN, Random(1))] == [root]
