"""RocksDB on disks that fill up and fail: what was acknowledged stays, what was refused never comes, all goes on."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from rocksdict import Rdict

from hippy import rocks
from hippy.errors import ConfigError, NoSpaceError, TemporaryError
from hippy.kv import Database, Reader, Transaction, open_database
from hippy.rocks import MIB, Rocks, open_rocks
from hippy.testing.kv import MemoryDatabase
from hippy.testing.kv_contract import FillableNode, RecoveryContract, fill, keys_of, rows, stored

FILESYSTEM_BYTES = 32 * MIB
CHUNK = bytes(64 * 1024)
MOUNT_SECONDS = 10


@contextmanager
def small_filesystem(path: Path) -> Iterator[None]:
    """Have a filesystem of its own at ``path``, or skip the test."""
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={FILESYSTEM_BYTES}", "tmpfs", str(path)]
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root may mount a filesystem that is small enough to fill")
    mounted = subprocess.run(mount, capture_output=True, text=True, timeout=MOUNT_SECONDS, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"this machine lets nobody mount a tmpfs: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(path)], timeout=MOUNT_SECONDS, check=True)


class RocksNode:
    """RocksDatabase on a small tmpfs."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stack = AsyncExitStack()
        self.database: Database

    async def restart(self) -> None:
        await self.stop()
        self.database = await self._stack.enter_async_context(open_database(self._path / "db"))

    async def stop(self) -> None:
        await self._stack.aclose()

    def fill(self) -> None:
        with (self._path / "others").open("wb", buffering=0) as file:
            try:
                while file.write(CHUNK):
                    pass
            except OSError:
                pass

    def free(self) -> None:
        (self._path / "others").unlink()


class TestRocksRecovery(RecoveryContract):
    @pytest.fixture
    async def node(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FillableNode]:
        monkeypatch.setattr("hippy.kv.REOPEN_SECONDS", 0.0)
        with small_filesystem(tmp_path / "disk"):
            node = RocksNode(tmp_path / "disk")
            await node.restart()
            try:
                yield node
            finally:
                await node.stop()


class MemoryNode:
    """MemoryDatabase, whose disk is as full as it says."""

    def __init__(self) -> None:
        self.database = MemoryDatabase()

    def fill(self) -> None:
        self.database.fill()

    def free(self) -> None:
        self.database.free()

    async def restart(self) -> None:
        self.database = self.database.crash()


class TestMemoryRecovery(RecoveryContract):
    @pytest.fixture
    async def node(self) -> FillableNode:
        return MemoryNode()


async def refuse_one_write(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have one transaction refused, and nobody open the database again before the next."""

    def full(*_: object) -> None:
        raise NoSpaceError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Rocks, "write", full)
        patch.setattr(Rocks, "has_room", lambda _: False)
        with pytest.raises(NoSpaceError):
            await fill(database, [b"kept", b"refused"])


async def test_batch_that_opening_brings_back_is_undone_before_anybody_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a failed sync: the whole batch is in the log, and opening replays it."""
    real, refused = rocks._open, {b"kept": b"new", b"deleted": None, b"refused": b"new"}

    def replaying(path: Path) -> Rdict:
        opened = real(path)
        rocks._write_synced(opened, refused)
        return opened

    def failing(*_: object) -> None:
        raise TemporaryError("the sync failed")

    def work(state: Transaction) -> None:
        for key, value in refused.items():
            state.delete(key) if value is None else state.put(key, value)

    async with open_database(tmp_path / "db") as database:
        await fill(database, [b"deleted", b"kept"])
        with monkeypatch.context() as patch:
            patch.setattr(rocks, "_open", replaying)
            patch.setattr(Rocks, "write", failing)
            with pytest.raises(TemporaryError, match="the sync failed"):
                await database.transact(work)
        assert await rows(database) == stored([b"deleted", b"kept"])
        await fill(database, [b"later"])
    async with open_database(tmp_path / "db") as database:
        assert await rows(database) == stored([b"deleted", b"kept", b"later"])


async def test_undoing_that_fails_lets_nobody_read_and_is_done_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hippy.kv.REOPEN_SECONDS", 0.0)
    real = rocks._open

    def replaying(path: Path) -> Rdict:
        opened = real(path)
        opened.put(b"refused", b"new")
        return opened

    def failing(*_: object) -> None:
        raise TemporaryError("the disk failed")

    async with open_database(tmp_path / "db") as database:
        await fill(database, [b"kept"])
        await refuse_one_write(database, monkeypatch)
        with monkeypatch.context() as patch:
            patch.setattr(rocks, "_open", replaying)
            patch.setattr(rocks, "_write_synced", failing)
            with pytest.raises(TemporaryError):
                await fill(database, [b"later"])
            with pytest.raises(TemporaryError, match="not open"):
                await rows(database)
        await fill(database, [b"later"])
        assert await rows(database) == stored([b"kept", b"later"])


async def can_be_read(database: Database) -> bool:
    with suppress(TemporaryError):
        await rows(database)
        return True
    return False


async def test_database_that_could_not_be_opened_comes_back_though_nobody_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hippy.kv.REOPEN_SECONDS", 0.0)
    monkeypatch.setattr("hippy.kv.UNASKED_SECONDS", 0.02)

    def failing(*_: object) -> Rdict:
        raise ConfigError("cannot open the database")

    async with open_database(tmp_path / "db") as database:
        await fill(database, [b"kept"])
        with monkeypatch.context() as patch:
            patch.setattr(rocks, "_open", failing)
            await refuse_one_write(database, monkeypatch)
            async with asyncio.timeout(10):
                while await can_be_read(database):
                    pass
        async with asyncio.timeout(10):
            while not await can_be_read(database):
                pass
        assert await rows(database) == stored([b"kept"])


async def test_database_is_not_opened_again_more_often_than_the_time_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, now = list[Path](), 1000.0
    monkeypatch.setattr("hippy.kv.time.monotonic", lambda: now)

    def failing(path: Path) -> Rdict:
        opened.append(path)
        raise ConfigError("the disk is gone")

    async with open_database(tmp_path / "db") as database:
        await fill(database, [b"kept"])
        await refuse_one_write(database, monkeypatch)
        with monkeypatch.context() as patch:
            patch.setattr(rocks, "_open", failing)
            for at, times in ((1000.0, 1), (1000.9, 1), (1001.0, 2), (1001.9, 2)):
                now = at
                with pytest.raises(TemporaryError):
                    await fill(database, [b"later"])
                assert len(opened) == times
        now = 1003.0
        await fill(database, [b"later"])
        assert await rows(database) == stored([b"kept", b"later"])


async def test_database_is_opened_again_when_its_readers_are_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hippy.kv.REOPEN_SECONDS", 0.0)
    reading, go_on = threading.Event(), threading.Event()

    def slow(reader: Reader) -> list[bytes]:
        first = reader.get(b"kept")
        reading.set()
        assert go_on.wait(5)
        assert first == reader.get(b"kept")
        return [key for key, _ in reader.scan(b"")]

    async with open_database(tmp_path / "db") as database:
        await fill(database, [b"kept"])
        await refuse_one_write(database, monkeypatch)
        slow_read = asyncio.create_task(database.read(slow))
        assert await asyncio.to_thread(reading.wait, 5)
        with monkeypatch.context() as patch:
            patch.setattr(rocks, "READERS_SECONDS", 0.01)
            with pytest.raises(NoSpaceError):
                await fill(database, [b"later"])
        later = asyncio.create_task(fill(database, [b"later"]))
        go_on.set()
        assert await slow_read == [b"kept"]
        await later
        assert await keys_of(database) == [b"kept", b"later"]


def test_error_that_is_kept_holds_no_lock(tmp_path: Path) -> None:
    opened, kept = open_rocks(tmp_path / "db"), list[Exception]()
    try:
        with opened.view() as view:
            next(view.scan(b""), None)
            raise KeyError
    except KeyError as error:
        kept.append(error)
    opened.close()
    open_rocks(tmp_path / "db").close()


FAILING_SYNC = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
static int failing(void) { const char *flag = getenv("FAIL_FLAG"); return flag && access(flag, F_OK) == 0; }
int fdatasync(int fd) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    int result = real(fd);
    if (failing()) { errno = EIO; return -1; }
    return result;
}
"""

WRITE_WITH_FAILED_SYNC = """
import asyncio, sys
from pathlib import Path
from hippy import kv
from hippy.errors import TemporaryError
from hippy.testing.kv_contract import fill, keys_of

async def main() -> None:
    path, flag = Path(sys.argv[1]), Path(sys.argv[2])
    kv.REOPEN_SECONDS = 0.0
    async with kv.open_database(path) as database:
        await fill(database, [b"kept"])
        flag.touch()
        try:
            await fill(database, [b"refused"])
        except TemporaryError:
            print("refused")
        flag.unlink()
        await fill(database, [b"later"])
        print(await keys_of(database))
    async with kv.open_database(path) as database:
        print(await keys_of(database))

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux" or shutil.which("cc") is None, reason="needs a C compiler and LD_PRELOAD")
def test_batch_whose_sync_really_failed_does_not_appear(tmp_path: Path) -> None:
    (tmp_path / "failing.c").write_text(FAILING_SYNC)
    library = tmp_path / "failing.so"
    build = ["cc", "-shared", "-fPIC", "-o", str(library), str(tmp_path / "failing.c"), "-ldl"]
    subprocess.run(build, check=True, timeout=60)
    environment: Mapping[str, str] = {
        **os.environ,
        "LD_PRELOAD": str(library),
        "FAIL_FLAG": str(tmp_path / "flag"),
    }
    run = [sys.executable, "-c", WRITE_WITH_FAILED_SYNC, str(tmp_path / "db"), str(tmp_path / "flag")]
    told = subprocess.run(run, env=environment, capture_output=True, text=True, timeout=60, check=True).stdout
    assert told.splitlines() == ["refused", "[b'kept', b'later']", "[b'kept', b'later']"]
