"""A registry below a prefix keeps the contract of a database, and to itself."""

from __future__ import annotations

from functools import partial

import pytest

from hippy.ids import PublicKey
from hippy.kv import Database, Transaction
from hippy.testing.kv import MemoryDatabase
from hippy.validator.following.replica import followed_homes, prefix_of
from hippy.validator.following.views import DatabaseBelow

HOMES = [PublicKey(bytes([number]) * 32) for number in (1, 47, 48, 255)]


def _put(txn: Transaction, key: bytes) -> None:
    txn.put(key, key)


@pytest.fixture
def whole() -> MemoryDatabase:
    return MemoryDatabase()


async def test_what_is_written_through_a_view_is_below_its_prefix_alone(whole: Database) -> None:
    await whole.transact(lambda txn: txn.put(b"key", b"ours"))
    view = DatabaseBelow(whole, prefix_of(HOMES[0]))
    await view.transact(lambda txn: txn.put(b"key", b"theirs"))
    assert await view.read(lambda r: (r.get(b"key"), list(r.scan(b"")))) == (b"theirs", [(b"key", b"theirs")])
    assert await whole.read(lambda r: r.get(b"key")) == b"ours"
    await view.transact(lambda txn: txn.delete(b"key"))
    assert await whole.read(lambda r: list(r.scan(b""))) == [(b"key", b"ours")]


async def test_a_scan_goes_on_behind_a_key(whole: Database) -> None:
    view = DatabaseBelow(whole, prefix_of(HOMES[1]))
    for key in (b"a1", b"a2", b"a3", b"b"):
        await view.transact(partial(_put, key=key))
    assert [k for k, _ in await view.read(lambda r: list(r.scan(b"a", b"a1")))] == [b"a2", b"a3"]


async def test_leases_of_a_queue_are_those_of_the_view(whole: Database) -> None:
    one, other = (DatabaseBelow(whole, prefix_of(home)) for home in HOMES[:2])
    for view in (one, other):
        await view.transact(lambda txn: txn.put(b"queue/a", b"work"))
    taken = await one.lease(b"queue/", b"h" * 16, now=0.0, seconds=10.0, limit=5)
    assert taken == [(b"queue/a", b"work")]
    assert await one.renew([b"queue/a"], b"h" * 16, now=1.0, seconds=10.0) == [b"queue/a"]
    assert await one.lease(b"queue/", b"i" * 16, now=2.0, seconds=10.0, limit=5) == []
    assert len(await other.lease(b"queue/", b"i" * 16, now=2.0, seconds=10.0, limit=5)) == 1
    await one.unlease([b"queue/a"], b"h" * 16)
    assert len(await one.lease(b"queue/", b"i" * 16, now=3.0, seconds=10.0, limit=5)) == 1


async def test_the_homes_that_are_followed_are_found_without_reading_their_tables(whole: Database) -> None:
    for home in HOMES:
        for key in (b"at", b"log/1", b"\xff"):
            await DatabaseBelow(whole, prefix_of(home)).transact(partial(_put, key=key))
    assert await whole.read(lambda r: list(followed_homes(r))) == HOMES
