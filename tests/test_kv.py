"""RocksDatabase and its in-memory twin keep one contract; only RocksDB has a disk to lose."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hippy.errors import ConfigError, NoSpaceError, TemporaryError
from hippy.kv import Database, Reader, Transaction, open_database
from hippy.rocks import Rocks
from hippy.testing.kv import MemoryDatabase
from hippy.testing.kv_contract import DatabaseContract, fill, increment, rows, stored
from hippy.testing.lease_contract import LeaseContract

ACKNOWLEDGED_MIN = 50

WRITE_UNTIL_KILLED = """
import asyncio, sys
from pathlib import Path
from hippy.kv import open_database

async def main() -> None:
    async with open_database(Path(sys.argv[1])) as database:
        async def write(name: int) -> None:
            for number in range(1_000_000):
                key = b"%d/%d" % (name, number)
                await database.transact(lambda state: state.put(key, key))
                sys.stdout.write(key.decode() + "\\n")
                sys.stdout.flush()
        await asyncio.gather(*(write(name) for name in range(4)))

asyncio.run(main())
"""


class TestMemoryDatabase(DatabaseContract, LeaseContract):
    @pytest.fixture
    async def database(self) -> Database:
        return MemoryDatabase()


class TestRocksDatabase(DatabaseContract, LeaseContract):
    @pytest.fixture
    async def database(self, tmp_path: Path) -> AsyncIterator[Database]:
        async with open_database(tmp_path / "db") as database:
            yield database


async def test_reopened_database_has_everything(tmp_path: Path) -> None:
    keys = [b"%03d" % number for number in range(200)]
    async with open_database(tmp_path / "db") as database:
        await fill(database, keys)
        await database.transact(lambda state: state.delete(keys[7]))
    async with open_database(tmp_path / "db") as database:
        assert await rows(database) == stored(keys[:7] + keys[8:])


async def test_second_opener_is_told_that_it_is_open(tmp_path: Path) -> None:
    async with open_database(tmp_path / "db"):
        with pytest.raises(ConfigError, match="open in another process"):
            async with open_database(tmp_path / "db"):
                pass
    async with open_database(tmp_path / "db") as database:
        assert await rows(database) == []


async def test_broken_database_is_not_taken_for_an_open_one(tmp_path: Path) -> None:
    path = tmp_path / "lock block"
    async with open_database(path) as database:
        await fill(database, [b"key"])
    (path / "CURRENT").write_text("garbage")
    with pytest.raises(ConfigError, match="cannot open the database"):
        async with open_database(path):
            pass


async def test_file_in_the_place_of_the_directory_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "db").write_text("a file")
    with pytest.raises(ConfigError, match="cannot open the database"):
        async with open_database(tmp_path / "db"):
            pass


async def test_unreadable_block_is_an_error_and_not_the_end_of_a_scan(tmp_path: Path) -> None:
    async with open_database(tmp_path / "db") as database:
        await fill(database, [b"key"])
        assert database._rocks._rocks is not None
        database._rocks._rocks.flush()
    [table] = (tmp_path / "db").glob("*.sst")
    data = bytearray(table.read_bytes())
    data[3] ^= 0xFF
    table.write_bytes(data)
    async with open_database(tmp_path / "db") as database:
        with pytest.raises(TemporaryError, match="cannot be read"):
            await rows(database)
        with pytest.raises(TemporaryError, match="cannot be read"):
            await database.read(lambda state: state.get(b"key"))
        with pytest.raises(TemporaryError, match="cannot be read"):
            await database.transact(lambda state: list(state.scan(b"")))


async def test_refused_write_fails_all_that_waited_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_self: Rocks, _changes: object) -> None:
        raise NoSpaceError("the disk is full")

    async with open_database(tmp_path / "db") as database:
        with monkeypatch.context() as patch:
            patch.setattr(Rocks, "write", full)
            outcomes = await asyncio.gather(*(database.transact(increment) for _ in range(5)), return_exceptions=True)
        assert [str(outcome) for outcome in outcomes] == ["the disk is full"] * 5
        assert await database.transact(increment) == 0


async def test_fault_of_the_writer_itself_is_told_and_leaves_it_at_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_self: Rocks, _changes: object) -> None:
        raise ZeroDivisionError

    async with open_database(tmp_path / "db") as database:
        with monkeypatch.context() as patch:
            patch.setattr(Rocks, "write", broken)
            with pytest.raises(ZeroDivisionError):
                await database.transact(increment)
        assert await database.transact(increment) == 0


async def test_close_finishes_waiting_transactions(tmp_path: Path) -> None:
    started, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def slow(state: Transaction) -> None:
        loop.call_soon_threadsafe(started.set)
        go_on.wait(10)
        state.put(b"slow", b"")

    async with open_database(tmp_path / "db") as database:
        first = asyncio.create_task(database.transact(slow))
        await started.wait()
        waiting = [asyncio.create_task(database.transact(increment)) for _ in range(20)]
        await asyncio.sleep(0)
        assert database._commits.waiting == 20
        go_on.set()
    await first
    assert sorted(await asyncio.gather(*waiting)) == list(range(20))
    async with open_database(tmp_path / "db") as database:
        assert await rows(database) == [(b"count", b"20"), (b"slow", b"")]


async def test_closed_database_says_so_instead_of_hanging(tmp_path: Path) -> None:
    async with open_database(tmp_path / "db") as database:
        pass
    with pytest.raises(TemporaryError, match="closed"):
        await asyncio.wait_for(database.transact(increment), 5)
    with pytest.raises(TemporaryError):
        await rows(database)


async def test_a_read_sees_one_state_whatever_is_written_meanwhile(tmp_path: Path) -> None:
    async with open_database(tmp_path / "db") as database:
        await database.transact(lambda txn: txn.put(b"live/x", b"old"))
        looked, written = threading.Event(), threading.Event()

        def look(reader: Reader) -> tuple[bytes | None, list[bytes], bytes | None]:
            before = reader.get(b"live/x")
            looked.set()
            assert written.wait(5)
            return before, [key for key, _ in reader.scan(b"")], reader.get(b"dead/x")

        def move(txn: Transaction) -> None:
            txn.delete(b"live/x")
            txn.put(b"dead/x", b"new")

        reading = asyncio.create_task(database.read(look))
        assert await asyncio.to_thread(looked.wait, 5)
        await database.transact(move)
        written.set()
        assert await reading == (b"old", [b"live/x"], None)
        assert await database.read(lambda reader: reader.get(b"dead/x")) == b"new"


async def test_scans_of_one_read_do_not_disturb_each_other(tmp_path: Path) -> None:
    async with open_database(tmp_path / "db") as database:
        await fill(database, [b"k%d" % number for number in range(5)])

        def look(reader: Reader) -> list[tuple[bytes, bytes | None, int]]:
            return [(key, reader.get(b"k0"), len(list(reader.scan(b"k", key)))) for key, _ in reader.scan(b"k")]

        assert await database.read(look) == [(b"k%d" % number, b"k0!", 4 - number) for number in range(5)]


async def test_cancelled_waiter_does_not_disturb_the_others(tmp_path: Path) -> None:
    async with open_database(tmp_path / "db") as database:
        tasks = [asyncio.create_task(database.transact(increment)) for _ in range(3)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert [outcomes[0], type(outcomes[1]), outcomes[2]] == [0, asyncio.CancelledError, 2]


def acknowledged_until_killed(path: Path) -> set[bytes]:
    """Return the keys that a writing process had printed when it was killed."""
    command = [sys.executable, "-c", WRITE_UNTIL_KILLED, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(ACKNOWLEDGED_MIN)]
        os.kill(process.pid, signal.SIGKILL)
        lines += [line for line in process.stdout if line.endswith("\n")]
    return {line.strip().encode() for line in lines}


async def test_killed_process_loses_nothing_it_acknowledged(tmp_path: Path) -> None:
    keys = acknowledged_until_killed(tmp_path / "db")
    assert len(keys) >= ACKNOWLEDGED_MIN
    async with open_database(tmp_path / "db") as database:
        assert keys - {key for key, _ in await rows(database)} == set()
