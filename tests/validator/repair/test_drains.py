"""A miner says that it leaves: who may, what is recorded, and what it is told."""

from __future__ import annotations

import pytest

from hippy.errors import AuthError, HippyError, ProtocolError
from hippy.ids import PublicKey
from hippy.kv import Database
from hippy.testing.kv import MemoryDatabase
from hippy.validator.log import position, scan_log
from hippy.validator.repair.drains import check_drain, draining, left_of, next_pieces, record_drain
from hippy.wire.repair import Drain, DrainAnswer
from tests.validator.repair.registry import drain_word, lose
from tests.validator.world import HOME, MINERS, NOW, committed

MINER = MINERS[2]


@pytest.fixture
def database() -> Database:
    return MemoryDatabase()


async def say(database: Database, action: str, time: int = NOW) -> DrainAnswer:
    word = drain_word(MINER, action, time=time)
    return await database.transact(lambda txn: record_drain(txn, HOME, word, time))


async def test_a_miner_is_told_what_it_still_holds(database: Database) -> None:
    first = await committed(database, 0)
    await committed(database, 1)
    assert await say(database, "start") == DrainAnswer(pieces=2, bytes=200)
    await lose(database, first.segment_id, 2)
    assert await say(database, "start") == DrainAnswer(pieces=1, bytes=100)
    assert await database.read(lambda reader: left_of(reader, MINERS[15].public_key)) == DrainAnswer(pieces=0, bytes=0)


async def test_it_is_recorded_once_however_often_it_is_said(database: Database) -> None:
    await committed(database)
    await say(database, "stop")
    before = (await database.read(position)).seq
    for time in (NOW, NOW + 1):
        await say(database, "start", time)
    assert (await database.read(position)).seq == before + 1
    assert await database.read(draining) == {MINER.public_key}
    await say(database, "stop", NOW + 2)
    assert await database.read(draining) == frozenset()
    entries = await database.read(lambda reader: list(scan_log(reader, before)))
    assert [(entry.record.kind, entry.drain and entry.drain.action) for entry in entries] == [
        ("drain", "start"),
        ("drain", "stop"),
    ]


async def test_pieces_of_a_miner_are_told_in_portions(database: Database) -> None:
    allocations = [await committed(database, number) for number in range(3)]
    first = await database.read(lambda reader: next_pieces(reader, MINER.public_key, None, 2))
    rest = await database.read(lambda reader: next_pieces(reader, MINER.public_key, first[-1], 2))
    assert {piece.segment_id for piece in (*first, *rest)} == {each.segment_id for each in allocations}
    assert [len(first), len(rest)] == [2, 1]


WORDS: list[tuple[Drain, PublicKey, int, type[HippyError] | None]] = [
    (drain_word(MINER), MINER.public_key, NOW + 100, None),
    (drain_word(MINER), MINERS[3].public_key, NOW, AuthError),
    (drain_word(MINER), MINER.public_key, NOW + 121, ProtocolError),
    (drain_word(MINER).model_copy(update={"action": "stop"}), MINER.public_key, NOW, AuthError),
    (drain_word(MINER).model_copy(update={"validator": MINER.public_key}), MINER.public_key, NOW, AuthError),
]


@pytest.mark.parametrize(
    ("word", "sender", "now", "error"), WORDS, ids=["good", "another's", "old", "altered", "to another validator"]
)
def test_a_word_counts_only_from_its_miner_to_us_and_just_now(
    word: Drain, sender: PublicKey, now: int, error: type[HippyError] | None
) -> None:
    if error is None:
        check_drain(word, sender, HOME, now)
        return
    with pytest.raises(error):
        check_drain(word, sender, HOME, now)
