"""The file behind a local network's chain: what is in it, how it is made, opened and locked. Blocking.

A dozen processes share the file. Hence WAL (readers never wait), BEGIN IMMEDIATE for writes (a deferred
transaction that upgrades fails with BUSY however long the timeout is) and a busy timeout far above the worst
wait measured. The queries are hippy.chain.local_store's, blocks and the beacon hippy.chain.local's.

Invariants: the genesis row is written once, with the tables, in one transaction; a foreign database is
never written to; the file is private (mode 0600), for it holds the secret that the beacon is made of.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Final

from hippy.errors import ConfigError, TemporaryError, UsageError
from hippy.ids import ID_BYTES, NetworkId

SCHEMA_VERSION: Final = 1
APPLICATION_ID: Final = 0x48495050
"""SQLite's application id of our files, "HIPP": tells a chain from any other database."""

BUSY_TIMEOUT_SECONDS: Final = 10.0
"""Twelve processes writing as fast as they can wait 1.7 s at worst (measured)."""

HINT_UP: Final = "start a local network with: hippy net up"
_HINT_AGAIN: Final = "remove the local network's directory and make a new one with: hippy net up"

_SCHEMA: Final = (
    """CREATE TABLE genesis (
        network BLOB NOT NULL, secret BLOB NOT NULL, netuid INTEGER NOT NULL,
        genesis_microseconds INTEGER NOT NULL, block_microseconds INTEGER NOT NULL, tempo_blocks INTEGER NOT NULL)""",
    """CREATE TABLE neuron (
        uid INTEGER PRIMARY KEY, hotkey BLOB NOT NULL UNIQUE, coldkey BLOB NOT NULL, endpoint TEXT,
        validator_permit INTEGER NOT NULL, stake_rao INTEGER NOT NULL, registered_block INTEGER NOT NULL)""",
    """CREATE TABLE weight (
        validator INTEGER NOT NULL REFERENCES neuron ON DELETE CASCADE,
        target INTEGER NOT NULL REFERENCES neuron ON DELETE CASCADE,
        weight REAL NOT NULL, PRIMARY KEY (validator, target)) WITHOUT ROWID""",
    # A cascade would scan the whole table for every freed uid without it.
    "CREATE INDEX weight_target ON weight (target)",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)


@dataclass(frozen=True, slots=True)
class Genesis:
    """What a local chain is born with and never changes. Times are whole microseconds: their sums are exact.

    Raises UsageError for impossible values.
    """

    network: NetworkId
    secret: bytes
    netuid: int
    genesis_microseconds: int
    block_microseconds: int
    tempo_blocks: int

    def __post_init__(self) -> None:
        if len(self.network) != ID_BYTES or len(self.secret) != ID_BYTES:
            raise UsageError(f"a local chain's network id and genesis secret have {ID_BYTES} bytes each")
        if not 0 <= self.netuid < 2**16:
            raise UsageError(f"a netuid is a 16-bit number, not {self.netuid}")
        if self.block_microseconds < 1 or self.tempo_blocks < 1:
            raise UsageError("a block takes time and a tempo has at least one block")


def create_file(path: Path, genesis: Genesis) -> None:
    """Make a new chain file, readable by its owner only.

    Raises ConfigError when the path is taken or cannot be written.
    """
    _create_empty(path)
    try:
        with sqlite_errors(path), closing(_connect(path)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")  # kept in the file
            with transaction(connection, "BEGIN IMMEDIATE"):
                for statement in _SCHEMA:
                    connection.execute(statement)
                connection.execute("INSERT INTO genesis VALUES (?, ?, ?, ?, ?, ?)", astuple(genesis))
    except BaseException:
        path.unlink()
        raise


def open_file(path: Path) -> tuple[sqlite3.Connection, Genesis]:
    """Open a chain file for the calling thread.

    Raises ConfigError when there is none, it is something else, or another version of hippy made it.
    """
    if not path.is_file():
        raise ConfigError(f"no local chain at {path}", hint=HINT_UP)
    with sqlite_errors(path):
        connection = _connect(path)
        try:
            return connection, _read_genesis(path, connection)
        except BaseException:
            connection.close()
            raise


@contextmanager
def transaction(connection: sqlite3.Connection, begin: str) -> Iterator[None]:
    """Run the block between ``begin`` and COMMIT; any exception rolls back."""
    connection.execute(begin)
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def sqlite_errors(path: Path) -> Iterator[None]:
    """Turn what the world does to a database file into hippy's errors; our own SQL mistakes pass through."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        # The low byte is the primary code. Errors the Python module raises itself carry none.
        match getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF:
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED | sqlite3.SQLITE_PROTOCOL:
                raise TemporaryError(f"the local chain {path} is busy", hint="try again") from error
            case sqlite3.SQLITE_FULL | sqlite3.SQLITE_IOERR:
                raise TemporaryError(
                    f"the local chain {path} cannot be read or written: {error}",
                    hint="check the disk and its free space, then try again",
                ) from error
            case sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_CORRUPT:
                raise ConfigError(f"{path} is not a local chain: {error}", hint=_HINT_AGAIN) from error
            case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
                raise ConfigError(
                    f"the local chain {path} cannot be opened: {error}", hint="check who owns the file"
                ) from error
            case _:
                raise


def _create_empty(path: Path) -> None:
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        raise ConfigError(f"{path} exists already", hint="remove it or choose another directory") from None
    except OSError as error:
        raise ConfigError(f"cannot create {path}: {error.strerror}") from error


def _connect(path: Path) -> sqlite3.Connection:
    """Connect without creating a file (mode=rw) and without Python's implicit transactions."""
    uri = f"{path.absolute().as_uri()}?mode=rw"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_TIMEOUT_SECONDS)
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def _read_genesis(path: Path, connection: sqlite3.Connection) -> Genesis:
    if _pragma(connection, "application_id") != APPLICATION_ID:
        raise ConfigError(f"{path} is not a local chain", hint=_HINT_AGAIN)
    version = _pragma(connection, "user_version")
    if version != SCHEMA_VERSION:
        raise ConfigError(
            f"{path} has schema version {version}, this hippy reads version {SCHEMA_VERSION}",
            hint=_HINT_AGAIN,
        )
    return Genesis(*connection.execute("SELECT * FROM genesis").fetchone())


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    (value,) = connection.execute(f"PRAGMA {name}").fetchone()
    return int(value)
