"""The newest version seen of every object, so that no older one is taken for it (docs/PROTOCOL.md §3.4).

Owns the memory of a session and, given a file, what outlives it: an SQLite table of digests of names, versions and
row ids, read when a name first comes up and written when the session ends. The file is a second line of defence: if
it cannot be used the client says so in its log and goes on without it.

An answer takes time, and meanwhile other calls and other sessions see newer rows. So an answer is measured by what
was known before its request was sent: :meth:`SeenRows.known` is called first, its result is passed to ``note``.

Invariants: a version never goes down, whoever writes last; names are not in the file, only their digests.
"""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from weakref import WeakSet

from hippy.client.names import Place
from hippy.errors import IntegrityError
from hippy.hashing import digest
from hippy.ids import ZERO_ID, MessageId, NetworkId, PublicKey

log = logging.getLogger("hippy.client")

SEEN_FILE: Final = "seen.sqlite"
BUSY_SECONDS: Final = 5.0
_TABLE: Final = "CREATE TABLE IF NOT EXISTS seen (name BLOB PRIMARY KEY, version INTEGER, row_id BLOB) WITHOUT ROWID"
_READ: Final = "SELECT version, row_id FROM seen WHERE name = ?"
_WRITE: Final = """
    INSERT INTO seen VALUES (?, ?, ?) ON CONFLICT (name)
    DO UPDATE SET version = excluded.version, row_id = excluded.row_id WHERE excluded.version > seen.version
"""


@dataclass(frozen=True, slots=True)
class SeenRow:
    """The newest version of a name that we know, and its row's id."""

    version: int
    row_id: MessageId


FIRST: Final = SeenRow(0, MessageId(ZERO_ID))
"""What precedes the first row of a name."""


class Known:
    """What was known at one moment. Keeps only what was replaced since."""

    def __init__(self, rows: SeenRows, file_version: int) -> None:
        self.file_version = file_version
        self.replaced: dict[bytes, SeenRow] = {}
        self._rows = rows

    def get(self, place: Place) -> SeenRow:
        """Return the newest row of a name that was seen by then."""
        newest = self._rows.get(place)
        return self.replaced.get(self._rows.key(place), newest)


class SeenRows:
    """The newest row seen of every name of one account. With a ``file``, also in sessions before."""

    def __init__(self, file: Path | None = None, network: NetworkId | None = None, account: PublicKey | None = None):
        self._file = file
        self._owner = (network or b"") + (account or b"")
        self._rows: dict[bytes, SeenRow] = {}
        self._changed: set[bytes] = set()
        self._moments: WeakSet[Known] = WeakSet()
        self._database: sqlite3.Connection | None = None

    def get(self, place: Place) -> SeenRow:
        """Return the newest row seen of a name; :data:`FIRST` where none was."""
        key = self.key(place)
        if key not in self._rows:
            self._rows[key] = self._remembered(key)
            file_version = self._file_version()
            for moment in self._moments:
                if moment.file_version != file_version:  # another session has written to it since: perhaps this row
                    moment.replaced.setdefault(key, FIRST)
        return self._rows[key]

    def known(self) -> Known:
        """Return what is known now; to be called before a request whose answer has rows."""
        moment = Known(self, self._file_version())
        self._moments.add(moment)
        return moment

    def note(self, place: Place, row: SeenRow, known: Known) -> None:
        """Remember a row of an answer, unless a newer one was seen while the answer was on its way.

        Raises IntegrityError when a newer one was known before, or another of the same version is.
        """
        seen, before = self.get(place), known.get(place)
        if row.version < before.version or (
            row.version in (before.version, seen.version) and row not in (before, seen)
        ):
            raise IntegrityError(
                f"the validator serves version {row.version} of an object whose version "
                f"{max(row.version, before.version)} was seen",
                hint=f"it has lost or withheld a write: tell its operator; to accept it, remove {self._file}"
                if self._file
                else "it has lost or withheld a write: tell its operator",
            )
        if row.version > seen.version:
            key = self.key(place)
            for moment in self._moments:
                moment.replaced.setdefault(key, seen)
            self._rows[key] = row
            self._changed.add(key)

    def key(self, place: Place) -> bytes:
        """Return what a name goes by here."""
        return digest(self._owner + place.ordered())

    def close(self) -> None:
        """Write what is new to the file. Takes milliseconds: in a thread."""
        rows = [(key, self._rows[key].version, self._rows[key].row_id) for key in self._changed]
        self._changed.clear()
        try:
            database = self._open() if rows else self._database
            if database is None:
                return
            with closing(database):
                database.executemany(_WRITE, rows)
                database.commit()
        except (sqlite3.Error, OSError) as error:
            self._give_up(error)
        self._database = None

    def _file_version(self) -> int:
        """Return a number that changes when another session writes to the file."""
        try:
            database = self._open()
            return int(database.execute("PRAGMA data_version").fetchone()[0]) if database is not None else 0
        except (sqlite3.Error, OSError) as error:
            self._give_up(error)
            return 0

    def _remembered(self, key: bytes) -> SeenRow:
        try:
            database = self._open()
            found = database.execute(_READ, (key,)).fetchone() if database is not None else None
        except (sqlite3.Error, OSError) as error:
            self._give_up(error)
            return FIRST
        return SeenRow(found[0], MessageId(found[1])) if found else FIRST

    def _open(self) -> sqlite3.Connection | None:
        if self._database is None and self._file is not None:
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._database = sqlite3.connect(self._file, timeout=BUSY_SECONDS, check_same_thread=False)
            self._database.execute(_TABLE)
        return self._database

    def _give_up(self, error: Exception) -> None:
        log.warning("cannot remember the versions of objects in %s: %s", self._file, error)
        if self._database is not None:
            self._database.close()
        self._database, self._file = None, None
