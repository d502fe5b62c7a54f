"""Making, opening and locking the file of a local chain."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hippy.chain.local_schema import Genesis, create_file, open_file, sqlite_errors, transaction
from hippy.errors import ConfigError, TemporaryError, UsageError
from hippy.ids import NetworkId

GENESIS = Genesis(
    network=NetworkId(b"n" * 32),
    secret=b"s" * 32,
    netuid=1,
    genesis_microseconds=1_800_000_000_000_000,
    block_microseconds=1_000_000,
    tempo_blocks=20,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chain #1?.sqlite"  # characters that mean something in a URI


def test_opened_file_has_the_genesis_it_was_made_with(path: Path) -> None:
    create_file(path, GENESIS)
    connection, genesis = open_file(path)
    with closing(connection):
        assert genesis == GENESIS
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA foreign_keys").fetchone() == (1,)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_file_and_its_log_are_readable_by_the_owner_only(path: Path) -> None:
    create_file(path, GENESIS)
    connection, _ = open_file(path)
    with closing(connection):
        with transaction(connection, "BEGIN IMMEDIATE"):
            connection.execute("DELETE FROM neuron")
        modes = {entry.stat().st_mode & 0o777 for entry in path.parent.iterdir()}
    assert modes == {0o600}


def test_existing_file_is_never_overwritten(path: Path) -> None:
    path.write_bytes(b"precious")
    with pytest.raises(ConfigError, match="exists already"):
        create_file(path, GENESIS)
    assert path.read_bytes() == b"precious"


def test_missing_directory_is_reported(path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot create"):
        create_file(path / "chain.sqlite", GENESIS)


def test_missing_file_hints_at_net_up_and_is_not_made(path: Path) -> None:
    with pytest.raises(ConfigError, match="no local chain") as caught:
        open_file(path)
    assert caught.value.hint is not None
    assert "hippy net up" in caught.value.hint
    assert not path.exists()


def test_foreign_database_is_refused_and_left_alone(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE genesis (network BLOB)")
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="not a local chain"):
        open_file(path)
    assert path.read_bytes() == before


def test_file_that_is_no_database_is_refused(path: Path) -> None:
    path.write_bytes(b"not a database, but long enough to have a header of one hundred bytes" * 9)
    with pytest.raises(ConfigError, match="not a local chain"):
        open_file(path)


def test_other_schema_version_is_refused_naming_both(path: Path) -> None:
    create_file(path, GENESIS)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 7")
    with pytest.raises(ConfigError, match=r"version 7.*version 1"):
        open_file(path)


def test_failed_creation_leaves_nothing_behind(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hippy.chain.local_schema._SCHEMA", ("CREATE NONSENSE",))
    with pytest.raises(sqlite3.OperationalError, match="syntax error"):
        create_file(path, GENESIS)
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize(
    "change",
    [
        {"network": b"short"},
        {"secret": b"s" * 33},
        {"netuid": -1},
        {"netuid": 65_536},
        {"block_microseconds": 0},
        {"tempo_blocks": 0},
    ],
)
def test_impossible_genesis_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        replace(GENESIS, **change)


def test_lock_that_is_not_let_go_is_temporary(path: Path) -> None:
    create_file(path, GENESIS)
    (holder, _), (other, _) = open_file(path), open_file(path)
    with closing(holder), closing(other), transaction(holder, "BEGIN IMMEDIATE"):
        other.execute("PRAGMA busy_timeout = 0")
        with pytest.raises(TemporaryError, match="busy") as caught, sqlite_errors(path):
            other.execute("BEGIN IMMEDIATE")
    assert caught.value.hint == "try again"


def test_reader_does_not_wait_for_a_writer(path: Path) -> None:
    create_file(path, GENESIS)
    (writer, _), (reader, _) = open_file(path), open_file(path)
    with closing(writer), closing(reader), transaction(writer, "BEGIN IMMEDIATE"):
        reader.execute("PRAGMA busy_timeout = 0")
        writer.execute("DELETE FROM genesis")
        assert reader.execute("SELECT count(*) FROM genesis").fetchone() == (1,)


def test_failed_transaction_is_rolled_back_and_the_connection_usable(path: Path) -> None:
    create_file(path, GENESIS)
    connection, _ = open_file(path)
    with closing(connection):
        with pytest.raises(sqlite3.IntegrityError), transaction(connection, "BEGIN IMMEDIATE"):
            connection.execute("DELETE FROM genesis").execute("INSERT INTO genesis DEFAULT VALUES")
        with transaction(connection, "BEGIN IMMEDIATE"):
            assert connection.execute("SELECT count(*) FROM genesis").fetchone() == (1,)


def test_full_disk_is_temporary(path: Path) -> None:
    create_file(path, GENESIS)
    connection, _ = open_file(path)
    with closing(connection):
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(TemporaryError, match="full"), sqlite_errors(path):
            connection.execute("INSERT INTO neuron VALUES (1, zeroblob(100000), x'00', NULL, 0, 0, 0)")


def test_mistakes_in_our_own_sql_are_not_disguised(path: Path) -> None:
    create_file(path, GENESIS)
    connection, _ = open_file(path)
    with closing(connection), pytest.raises(sqlite3.OperationalError, match="no such table"), sqlite_errors(path):
        connection.execute("SELECT * FROM absent")
