"""PostgresDatabase keeps the contract of the seam, also where several processes have it open."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from hippy.errors import TemporaryError
from hippy.kv import Database, Reader, Transaction
from hippy.postgres import session as sessions
from hippy.postgres.database import PostgresDatabase, open_postgres
from hippy.postgres.leases import forget
from hippy.postgres.session import Session
from hippy.testing.kv_contract import DatabaseContract, fill, increment, keys_of, rows, stored
from hippy.testing.lease_contract import ENTRIES, NOW, LeaseContract, leased
from tests.postgres.server import run_script, with_session

pytestmark = pytest.mark.postgres


class TestPostgresDatabase(DatabaseContract, LeaseContract):
    @pytest.fixture
    async def database(self, url: str) -> AsyncIterator[Database]:
        async with open_postgres(url) as database:
            yield database


@pytest.fixture
async def other(url: str, database: PostgresDatabase) -> AsyncIterator[PostgresDatabase]:
    """The same database as another process has it."""
    async with open_postgres(url) as other:
        yield other


async def test_what_one_process_wrote_the_next_read_of_another_shows(
    database: PostgresDatabase, other: PostgresDatabase
) -> None:
    for number in range(5):
        await fill(database, [b"%d" % number])
        assert (await keys_of(other))[-1] == b"%d" % number
    await other.transact(lambda state: state.delete(b"3"))
    assert await database.transact(lambda state: state.get(b"3")) is None


async def test_transactions_of_all_processes_run_one_after_the_other(
    database: PostgresDatabase, other: PostgresDatabase
) -> None:
    counted = await asyncio.gather(*(each.transact(increment) for _ in range(40) for each in (database, other)))
    assert sorted(counted) == list(range(80))


async def test_a_read_sees_one_state_whatever_another_process_writes_meanwhile(
    database: PostgresDatabase, other: PostgresDatabase
) -> None:
    await database.transact(lambda txn: txn.put(b"live/x", b"old"))
    looked, written = threading.Event(), threading.Event()

    def look(reader: Reader) -> tuple[bytes | None, list[bytes], bytes | None]:
        before = reader.get(b"live/x")
        looked.set()
        assert written.wait(10)
        return before, [key for key, _ in reader.scan(b"")], reader.get(b"dead/x")

    def move(txn: Transaction) -> None:
        txn.delete(b"live/x")
        txn.put(b"dead/x", b"new")

    reading = asyncio.create_task(database.read(look))
    assert await asyncio.to_thread(looked.wait, 10)
    await other.transact(move)
    written.set()
    assert await reading == (b"old", [b"live/x"], None)
    assert await keys_of(database) == [b"dead/x"]


async def test_more_reads_than_connections_are_all_answered(database: PostgresDatabase) -> None:
    await fill(database, [b"a"])
    assert await asyncio.gather(*(rows(database) for _ in range(40))) == [stored([b"a"])] * 40


async def test_transaction_that_waits_for_another_process_for_too_long_is_refused_and_leaves_nothing(
    url: str, database: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sessions.SERVER_SETTINGS, "lock_timeout", "50")
    loop, begun, go_on = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def slow(state: Transaction) -> None:
        loop.call_soon_threadsafe(begun.set)
        assert go_on.wait(10)
        state.put(b"slow", b"")

    async with open_postgres(url) as other:
        first = asyncio.create_task(database.transact(slow))
        await begun.wait()
        with pytest.raises(TemporaryError, match="other processes of this registry write for too long"):
            await fill(other, [b"second"])
        go_on.set()
        await first
        await fill(other, [b"third"])
        assert await keys_of(other) == [b"slow", b"third"]


async def test_process_that_stops_in_a_transaction_does_not_keep_others_from_writing(
    url: str, database: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sessions.SERVER_SETTINGS, "idle_in_transaction_session_timeout", "50")
    loop, begun, go_on = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def stopped(state: Transaction) -> None:
        loop.call_soon_threadsafe(begun.set)
        assert go_on.wait(10)
        state.put(b"late", b"")

    async with open_postgres(url) as other:
        late = asyncio.create_task(other.transact(stopped))
        await begun.wait()
        await fill(database, [b"first"])
        go_on.set()
        with pytest.raises(TemporaryError):
            await late
        await fill(other, [b"second"])
    assert await keys_of(database) == [b"first", b"second"]


async def test_closed_database_says_so_instead_of_hanging(url: str) -> None:
    async with open_postgres(url) as database:
        waiting = [asyncio.create_task(database.transact(increment)) for _ in range(5)]
        await asyncio.sleep(0)
    assert sorted(await asyncio.gather(*waiting)) == list(range(5))
    with pytest.raises(TemporaryError, match="closed"):
        await database.transact(increment)
    with pytest.raises(TemporaryError, match="closed"):
        await rows(database)


async def test_workers_of_several_processes_never_have_the_same_entry(
    database: PostgresDatabase, other: PostgresDatabase
) -> None:
    entries = [b"q/%03d" % number for number in range(60)]
    await fill(database, entries)

    async def work(process: Database, holder: bytes) -> list[bytes]:
        done = list[bytes]()
        while taken := await leased(process, holder, limit=2):
            done += taken
        return done

    shares = await asyncio.gather(
        *(work(process, b"worker %d" % number) for number, process in enumerate([database, other] * 4))
    )
    rest = await leased(database, b"last", limit=60)
    assert sorted(rest + [key for share in shares for key in share]) == entries


async def test_entries_are_leased_while_somebody_writes(database: PostgresDatabase, other: PostgresDatabase) -> None:
    await fill(database, ENTRIES)
    loop, begun, go_on = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def slow(state: Transaction) -> None:
        loop.call_soon_threadsafe(begun.set)
        assert go_on.wait(10)
        state.delete(ENTRIES[0])

    writing = asyncio.create_task(other.transact(slow))
    await begun.wait()
    assert await leased(database) == ENTRIES[:2]
    go_on.set()
    await writing


async def test_leases_of_entries_that_are_done_are_forgotten(url: str, database: PostgresDatabase) -> None:
    await fill(database, ENTRIES)
    assert await leased(database, limit=2) == ENTRIES[:2]
    await database.transact(lambda state: state.delete(ENTRIES[0]))
    with_session(url, lambda session: forget(session, NOW + 10))
    left = with_session(url, lambda session: _rows(session, "SELECT key FROM hippy_lease"))
    assert [row["key"] for row in left] == ENTRIES[1:2]


def _rows(session: Session, query: str) -> list[Any]:
    session.begin("BEGIN")
    return session.rows(query)


async def test_writes_wait_for_the_servers_disk_whatever_its_operator_set(
    server_url: str, url: str, database: PostgresDatabase
) -> None:
    run_script(server_url, "ALTER ROLE CURRENT_USER SET synchronous_commit = off")
    try:
        async with open_postgres(url) as fresh:
            await fill(fresh, [b"a"])
            query = "SELECT current_setting('synchronous_commit') AS value"
            [row] = await asyncio.to_thread(fresh._session.rows, query)
            assert row["value"] == "on"
    finally:
        run_script(server_url, "ALTER ROLE CURRENT_USER RESET synchronous_commit")
