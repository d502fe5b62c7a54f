"""Repeated requests: done once, answered the same, forgotten after a day."""

from __future__ import annotations

import pytest

from hippy.errors import ConflictError, QuotaError
from hippy.ids import MessageId, PublicKey
from hippy.kv import Database, Transaction
from hippy.validator.once import ANSWER_SECONDS, REQUEST, REQUEST_DUE, RequestKey, answered, forget_answers, once
from tests.validator.world import NOW

KEY = RequestKey(PublicKey(b"a" * 32), b"r" * 16, MessageId(b"m" * 32))


def count(txn: Transaction) -> bytes:
    """Work whose repetition would show."""
    number = len(txn.get(b"runs") or b"") + 1
    txn.put(b"runs", bytes(number))
    return f"run {number}".encode()


async def run(database: Database, key: RequestKey = KEY, now: int = NOW) -> bytes:
    return await database.transact(lambda txn: once(txn, key, now, lambda: count(txn)))


async def test_repeat_within_a_day_gets_the_stored_answer(database: Database) -> None:
    assert await run(database) == await run(database, now=NOW + ANSWER_SECONDS - 1) == b"run 1"
    assert await database.read(lambda reader: answered(reader, KEY, NOW)) == b"run 1"


async def test_another_body_under_the_same_id_is_a_conflict(database: Database) -> None:
    await run(database)
    with pytest.raises(ConflictError):
        await run(database, RequestKey(KEY.account, KEY.request_id, MessageId(b"x" * 32)))


async def test_ids_of_different_accounts_do_not_meet(database: Database) -> None:
    await run(database)
    other = RequestKey(PublicKey(b"b" * 32), KEY.request_id, MessageId(b"x" * 32))
    assert await run(database, other) == b"run 2"


async def test_failed_request_is_tried_again(database: Database) -> None:
    def fail() -> bytes:
        raise QuotaError("full")

    with pytest.raises(QuotaError):
        await database.transact(lambda txn: once(txn, KEY, NOW, fail))
    assert await run(database) == b"run 1"


async def test_answers_are_forgotten_after_a_day(database: Database) -> None:
    await run(database)

    async def forget(now: int) -> int:
        return await database.transact(lambda txn: forget_answers(txn, now, 10))

    assert await forget(NOW + ANSWER_SECONDS - 1) == 0
    assert await forget(NOW + ANSWER_SECONDS) == 1
    left = await database.read(lambda reader: [*reader.scan(REQUEST), *reader.scan(REQUEST_DUE)])
    assert left == []
    assert await run(database, now=NOW + ANSWER_SECONDS) == b"run 2"


async def test_id_used_again_after_a_day_lives_a_day_from_then(database: Database) -> None:
    await run(database)
    assert await run(database, now=NOW + ANSWER_SECONDS) == b"run 2"
    assert await database.transact(lambda txn: forget_answers(txn, NOW + ANSWER_SECONDS, 10)) == 0
    assert await run(database, now=NOW + ANSWER_SECONDS + 1) == b"run 2"
