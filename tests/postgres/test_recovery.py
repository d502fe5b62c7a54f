"""A server that goes away, restarts, dies at a COMMIT or has a full disk: nothing by halves, nothing twice."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from hippy.errors import TemporaryError
from hippy.kv import Database, Transaction
from hippy.postgres import database as databases
from hippy.postgres.database import COMMIT, PostgresDatabase, open_postgres
from hippy.postgres.session import Session
from hippy.testing.kv_contract import FillableNode, RecoveryContract, fill, increment, keys_of
from tests.postgres.server import OwnServer, fresh_schema, own_server, run_script

pytestmark = pytest.mark.postgres

KILL_OTHERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'hippy' AND pid <> pg_backend_pid()"
)
"""On a server of the test's own: who else is connected is the database under test."""


@pytest.fixture
def mortal_url(mortal: OwnServer) -> Iterator[str]:
    """An empty place on a server that may be ended."""
    with fresh_schema(mortal.url) as url:
        yield url


@pytest.fixture
async def on_mortal(mortal_url: str) -> AsyncIterator[PostgresDatabase]:
    async with open_postgres(mortal_url) as database:
        yield database


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGQUIT])
async def test_server_that_was_restarted_while_nobody_asked_goes_unnoticed(
    mortal: OwnServer, on_mortal: PostgresDatabase, end: signal.Signals
) -> None:
    await fill(on_mortal, [b"a"])
    assert await keys_of(on_mortal) == [b"a"]
    mortal.restart(end)
    await fill(on_mortal, [b"b"])
    assert await keys_of(on_mortal) == [b"a", b"b"]
    mortal.restart(end)
    assert await keys_of(on_mortal) == [b"a", b"b"]
    assert await on_mortal.lease(b"", b"me", now=1, seconds=1, limit=1) == [(b"a", b"a!")]


async def test_absent_server_is_said_to_be_away_and_used_again_when_it_is_back(
    mortal: OwnServer, on_mortal: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hippy.postgres.session.RECONNECT_SECONDS", 0.0)
    await fill(on_mortal, [b"a"])
    mortal.stop()
    try:
        for _ in range(2):
            with pytest.raises(TemporaryError, match="the database server is away"):
                await fill(on_mortal, [b"b"])
            with pytest.raises(TemporaryError, match="the database server is away"):
                await keys_of(on_mortal)
            with pytest.raises(TemporaryError, match="the database server is away"):
                await on_mortal.lease(b"", b"me", now=1, seconds=1, limit=1)
    finally:
        mortal.start()
    await fill(on_mortal, [b"c"])
    assert await keys_of(on_mortal) == [b"a", b"c"]


async def test_connection_lost_between_reading_and_writing_fails_the_whole_group(
    mortal_url: str, on_mortal: PostgresDatabase
) -> None:
    def lose(state: Transaction) -> None:
        state.put(b"lost", b"")
        run_script(mortal_url, KILL_OTHERS)

    outcomes = await asyncio.gather(
        on_mortal.transact(increment), on_mortal.transact(lose), on_mortal.transact(increment), return_exceptions=True
    )
    assert isinstance(outcomes[1], TemporaryError)
    written = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
    count = await on_mortal.read(lambda reader: reader.get(b"count"))
    assert int(count or b"0") == len(written)
    assert b"lost" not in await keys_of(on_mortal)


async def test_connection_lost_within_a_function_fails_it_even_if_it_goes_on(
    mortal_url: str, on_mortal: PostgresDatabase
) -> None:
    def stubborn(state: Transaction) -> str:
        run_script(mortal_url, KILL_OTHERS)
        try:
            state.get(b"any")
        except TemporaryError:
            state.put(b"half", b"")
        return "done"

    with pytest.raises(TemporaryError):
        await on_mortal.transact(stubborn)
    assert await keys_of(on_mortal) == []


class BrokenCommit:
    """Has the connection of the next COMMIT broken: before the server hears of it, or before it answers."""

    def __init__(self, patch: pytest.MonkeyPatch, url: str, *, is_written: bool) -> None:
        self._usual = Session.run
        self._url = url
        self._is_written = is_written
        self.is_due = True
        self.broken = threading.Event()
        patch.setattr(Session, "run", lambda session, script: self._run(session, script))

    def _run(self, session: Session, script: str) -> None:
        if script != COMMIT or not self.is_due:
            return self._usual(session, script)
        self.is_due = False
        if self._is_written:
            self._usual(session, script)
        self.break_connection()
        self.broken.set()
        return self._usual(session, COMMIT)

    def break_connection(self) -> None:
        run_script(self._url, KILL_OTHERS)


@pytest.mark.parametrize("is_written", [True, False])
async def test_commit_without_an_answer_is_looked_up(
    mortal_url: str, on_mortal: PostgresDatabase, monkeypatch: pytest.MonkeyPatch, is_written: bool
) -> None:
    await on_mortal.transact(increment)
    broken = BrokenCommit(monkeypatch, mortal_url, is_written=is_written)
    if is_written:
        assert await on_mortal.transact(increment) == 1
    else:
        with pytest.raises(TemporaryError):
            await on_mortal.transact(increment)
    assert not broken.is_due
    assert await on_mortal.transact(increment) == 1 + is_written


async def test_nobody_is_answered_before_it_is_known_what_became_of_a_commit(
    mortal: OwnServer, mortal_url: str, on_mortal: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(databases, "SETTLE_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr("hippy.postgres.session.RECONNECT_SECONDS", 0.0)
    broken = BrokenCommit(monkeypatch, mortal_url, is_written=True)
    monkeypatch.setattr(broken, "break_connection", lambda: mortal.stop(signal.SIGQUIT))
    uncertain = asyncio.create_task(on_mortal.transact(increment))
    try:
        await _until_broken(broken)
        with pytest.raises(TemporaryError, match="away"):
            await fill(on_mortal, [b"others"])
        assert not uncertain.done()
    finally:
        mortal.start()
    assert await uncertain == 0
    assert await on_mortal.transact(increment) == 1


async def test_node_that_ends_before_it_knows_what_became_of_a_commit_says_so(
    mortal: OwnServer, mortal_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(databases, "SETTLE_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr("hippy.postgres.session.RECONNECT_SECONDS", 0.0)
    try:
        async with open_postgres(mortal_url) as database:
            broken = BrokenCommit(monkeypatch, mortal_url, is_written=True)
            monkeypatch.setattr(broken, "break_connection", lambda: mortal.stop(signal.SIGQUIT))
            uncertain = asyncio.create_task(database.transact(increment))
            await _until_broken(broken)
        with pytest.raises(TemporaryError, match="it is not known whether it did"):
            await uncertain
    finally:
        mortal.start()
    async with open_postgres(mortal_url) as database:
        assert await database.transact(increment) == 1


async def _until_broken(broken: BrokenCommit) -> None:
    assert await asyncio.to_thread(broken.broken.wait, 30)


MOUNT_SECONDS = 10
CHUNK = bytes(64 * 1024)


@pytest.fixture(scope="module")
def small_disk() -> Iterator[tuple[OwnServer, Path]]:
    """A server with a tablespace on a filesystem that is small enough to fill."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root may mount a filesystem that is small enough to fill")
    with own_server() as server:
        disk = server.folder / "disk"
        disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)]
        mounted = subprocess.run(mount, capture_output=True, text=True, timeout=MOUNT_SECONDS, check=False)
        if mounted.returncode != 0:
            pytest.skip(f"this machine lets nobody mount a tmpfs: {mounted.stderr.strip()}")
        try:
            space = disk / "space"
            space.mkdir()
            shutil.chown(space, "postgres")
            run_script(server.url, f"CREATE TABLESPACE small LOCATION '{space}'")
            yield server, disk
        finally:
            server.stop(signal.SIGQUIT)
            subprocess.run(["umount", "--lazy", str(disk)], timeout=MOUNT_SECONDS, check=True)


class SmallNode:
    """A database whose tables are on a small disk of the server."""

    def __init__(self, url: str, disk: Path) -> None:
        self._url = f"{url}&default_tablespace=small"
        self._others = disk / "others"
        self._stack = AsyncExitStack()
        self.database: Database

    async def restart(self) -> None:
        await self._stack.aclose()
        self.database = await self._stack.enter_async_context(open_postgres(self._url))

    async def stop(self) -> None:
        await self._stack.aclose()
        self._others.unlink(missing_ok=True)

    def fill(self) -> None:
        with self._others.open("wb", buffering=0) as file:
            try:
                while file.write(CHUNK):
                    pass
            except OSError:
                pass

    def free(self) -> None:
        self._others.unlink()


class TestPostgresRecovery(RecoveryContract):
    @pytest.fixture
    async def node(self, small_disk: tuple[OwnServer, Path]) -> AsyncIterator[FillableNode]:
        server, disk = small_disk
        with fresh_schema(server.url) as url:
            node = SmallNode(url, disk)
            await node.restart()
            try:
                yield node
            finally:
                await node.stop()
