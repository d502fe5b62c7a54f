"""One RocksDB directory: views of one state, synced batches, and opening it again after a refused write. Blocking.

The one module that knows RocksDB; hippy.kv makes transactions of it. Any thread reads, one thread writes.

RocksDB keeps a write error until it is opened again: free space alone does not help (docs/adr/0003), and closing it
raises the same error, though it does let go of its lock. :meth:`Rocks.reopen` keeps readers out meanwhile, since an
iterator that lives keeps the lock: opening takes 6 to 50 ms, closing after an error up to a second, for which RocksDB
waits for its own attempts to recover.

What a refused batch leaves behind, measured with rocksdict 0.3.29. Where the log found no space: half a record, which
opening drops, so the batch is wholly out (tmpfs of 16 and 32 MiB, batches of 1 to 20 rows). Where the *sync* failed
(fdatasync with EIO): a whole record, and the batch is **wholly in** once the database is opened again, so that a
transaction that was told "failed" would appear later. Against that :meth:`Rocks.reopen` reads the batch's keys before
it closes, and sets them back, synced, after opening and before any reader sees the new state; hippy.kv does that
before it answers, if the disk lets it. What remains is a node that is killed between a failed sync and the opening:
its next start shows the batch, whole, as after any crash between writing and answering.

Example::

    rocks = open_rocks(path)
    rocks.write({b"key": b"value"})
    with rocks.view() as view:
        value = view.get(b"key")
    rocks.close()
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, cast

from rocksdict import (
    AccessType,
    BlockBasedOptions,
    Cache,
    Options,
    Rdict,
    WriteBatch,
    WriteOptions,
)

from hippy.errors import ConfigError, NoSpaceError, TemporaryError

log = logging.getLogger("hippy.kv")

MIB: Final = 1024 * 1024

REOPEN_FREE_BYTES: Final = 4 * MIB
"""Free space without which nobody tries, besides the log's size, which opening writes into a table once more."""

READERS_SECONDS: Final = 5.0
"""How long readers wait for a database that is being opened again, and that for the readers before it."""


def open_rocks(path: Path) -> Rocks:
    """Open (or create) the database in the directory ``path``.

    Raises ConfigError when another process has it open or it cannot be read.
    """
    return Rocks(path, _open(path))


class Rocks:
    """The open RocksDB: shared by readers, written by the writer thread, which alone may open it again."""

    def __init__(self, path: Path, rocks: Rdict) -> None:
        self._path = path
        self._rocks: Rdict | None = rocks
        self._turn = threading.Condition()
        self._before: dict[bytes, bytes | None] = {}  # what a refused batch's keys have in the acknowledged state
        self._readers = 0
        self._is_opening = False

    @contextmanager
    def view(self) -> Iterator[View]:
        """Give one unchanging state. Raises TemporaryError when there is no database to read now."""
        with self._turn:
            if self._is_opening:
                self._turn.wait_for(lambda: not self._is_opening, READERS_SECONDS)
            rocks = self._rocks
            if rocks is None or self._is_opening:
                raise TemporaryError("the database is not open now", hint="try again in a moment")
            self._readers += 1
        try:
            view = View(rocks)
            try:
                yield view
            finally:
                view.close()
        finally:
            with self._turn:
                self._readers -= 1
                self._turn.notify_all()

    def write(self, changes: Mapping[bytes, bytes | None]) -> None:
        """Write all changes or none, synced; None deletes. Raises NoSpaceError, TemporaryError."""
        assert self._rocks is not None, "a view of it was had"
        _write_synced(self._rocks, changes)

    def has_room(self) -> bool:
        """Return whether the filesystem has the space that opening takes."""
        try:
            status = os.statvfs(self._path)
            logs = sum(log_file.stat().st_size for log_file in self._path.glob("*.log"))
        except OSError:  # it is not mounted, or a log went meanwhile: there is another time
            return False
        return status.f_bavail * status.f_frsize >= REOPEN_FREE_BYTES + logs

    def reopen(self, refused: Collection[bytes]) -> None:
        """Close and open, and set back the keys of a refused batch if opening brought it back.

        Raises TemporaryError, ConfigError; then the old one goes on, or there is none to read until the next call
        for the same batch.
        """
        with self._without_readers():
            if self._rocks is not None:
                self._before = _values(self._rocks, refused)
            self._let_go()
            rocks = _open(self._path)
            try:
                _set_back(rocks, self._before)
            except BaseException:
                _close(rocks)
                raise
            self._rocks, self._before = rocks, {}

    def close(self) -> None:
        """Let go of the directory, after the readers that are at it."""
        try:
            with self._without_readers():
                self._let_go()
        except TemporaryError:
            self._let_go()  # a reader that does not end keeps the lock until it does

    def _let_go(self) -> None:
        rocks, self._rocks = self._rocks, None
        if rocks is not None:
            _close(rocks)

    @contextmanager
    def _without_readers(self) -> Iterator[None]:
        """Keep new readers out and wait for the others: an iterator that lives keeps RocksDB's lock."""
        with self._turn:
            self._is_opening = True
            are_gone = self._turn.wait_for(lambda: not self._readers, READERS_SECONDS)
        try:
            if not are_gone:
                raise TemporaryError("somebody reads the database for too long")
            yield
        finally:
            with self._turn:
                self._is_opening = False
                self._turn.notify_all()


class View:
    """One unchanging state of a database: a single iterator, which sees what was there when it was made.

    A rocksdict snapshot would be the obvious thing, but its iterators see later writes (measured, 0.3.29).
    Not for several threads.
    """

    def __init__(self, rocks: Rdict) -> None:
        try:
            self._iterator = rocks.iter()
        except Exception as error:  # noqa: BLE001 - rocksdict raises bare Exception for everything
            raise _unreadable(error) from None
        self._seeks = 0

    def close(self) -> None:
        """Let go of RocksDB, whoever still holds this view (the traceback of an error does)."""
        del self._iterator

    def get(self, key: bytes) -> bytes | None:
        """See Reader."""
        found = self._seek(key)
        return found[1] if found is not None and found[0] == key else None

    def scan(self, prefix: bytes, after: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        """See Reader. The iterator may be moved between two steps: then this scan finds its place again."""
        found = self._seek(prefix if after is None else max(prefix, after + b"\x00"))
        mine = self._seeks
        while found is not None and found[0].startswith(prefix):
            yield found
            if self._seeks == mine:
                self._iterator.next()
                found = self._here()
            else:
                found = self._seek(found[0] + b"\x00")
                mine = self._seeks

    def _seek(self, key: bytes) -> tuple[bytes, bytes] | None:
        self._seeks += 1
        try:
            self._iterator.seek(key)
        except Exception as error:  # noqa: BLE001 - as above
            raise _unreadable(error) from None
        return self._here()

    def _here(self) -> tuple[bytes, bytes] | None:
        if self._iterator.valid():
            return cast(bytes, self._iterator.key()), cast(bytes, self._iterator.value())
        try:
            self._iterator.status()  # an iterator ends at a broken block as it does at the last key
        except Exception as error:  # noqa: BLE001 - as above
            raise _unreadable(error) from None
        return None


def _open(path: Path) -> Rdict:
    """Sizes keep a node small: measured 39 MiB for a million rows (reference figures in docs/adr/0003)."""
    table = BlockBasedOptions()
    table.set_block_cache(Cache(4 * MIB))
    table.set_cache_index_and_filter_blocks(True)
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_write_buffer_size(4 * MIB)
    options.set_db_write_buffer_size(8 * MIB)
    options.set_max_open_files(64)
    options.set_keep_log_file_num(2)
    options.set_block_based_table_factory(table)
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        _sync_directory(path.parent)
        return Rdict(str(path), options, access_type=AccessType.read_write())
    except Exception as error:  # noqa: BLE001 - rocksdict raises bare Exception for everything
        if "lock file" in str(error) or "lock hold" in str(error):
            raise ConfigError(f"{path} is open in another process", hint="is this node running already?") from None
        raise ConfigError(f"cannot open the database {path}: {error}") from None


def _write_synced(rocks: Rdict, changes: Mapping[bytes, bytes | None]) -> None:
    batch = WriteBatch(raw_mode=True)
    for key, value in changes.items():
        if value is None:
            batch.delete(key)
        else:
            batch.put(key, value)
    options = WriteOptions()
    options.sync = True
    try:
        rocks.write(batch, write_opt=options)
    except Exception as error:  # noqa: BLE001 - rocksdict raises bare Exception for everything
        raise _explain(error) from None


def _values(rocks: Rdict, keys: Collection[bytes]) -> dict[bytes, bytes | None]:
    view = View(rocks)
    try:
        return {key: view.get(key) for key in keys}
    finally:
        view.close()


def _set_back(rocks: Rdict, before: Mapping[bytes, bytes | None]) -> None:
    """Undo a refused batch that opening brought back; see the module's docstring. Raises TemporaryError."""
    now = _values(rocks, before)
    changed = {key: value for key, value in before.items() if now[key] != value}
    if changed:
        log.warning("a refused batch was found written; %d keys are set back", len(changed))
        _write_synced(rocks, changed)


def _close(rocks: Rdict) -> None:
    try:
        rocks.close()
    except Exception as error:  # noqa: BLE001 - as above; it is closed all the same, but its last write had failed
        log.warning("the database was closed with an error: %s", error)


def _sync_directory(path: Path) -> None:
    """Make the database's own name durable: a power cut must not take the directory with all synced writes."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _explain(error: Exception) -> TemporaryError:
    log.error("the database did not take a write: %s", error)
    if "no space" in str(error).lower():
        return NoSpaceError("the disk is full", hint="free space: the node goes on by itself")
    return TemporaryError("the database did not take a write", hint="the node's log says why, and it tries again")


def _unreadable(error: Exception) -> TemporaryError:
    log.error("the database cannot be read: %s", error)
    return TemporaryError("the database cannot be read", hint="the node's log says why; its disk may be failing")
