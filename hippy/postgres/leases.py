"""Who works on which entry of a queue, among processes that share a database (hippy.kv.Database.lease). Blocking.

A lease is a row beside the entries, so that nobody needs the writers' lock to take one. ``SKIP LOCKED`` lets those who
ask at the same moment take different entries; that no entry is leased twice rests on the unique key of the leases and
on the condition of the update, which sees the newest row whatever the statement's snapshot was. An entry that a writer
changes at this moment is passed over.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from hippy.postgres.session import Session
from hippy.transactions import following

_TAKE: Final = """
WITH free AS (
    SELECT entry.key, entry.value FROM hippy_row AS entry
    WHERE entry.key >= $1 {end}
      AND NOT EXISTS (SELECT FROM hippy_lease AS lease WHERE lease.key = entry.key AND lease.until > $2)
    ORDER BY entry.key LIMIT $3
    FOR NO KEY UPDATE OF entry SKIP LOCKED
), taken AS (
    INSERT INTO hippy_lease (key, holder, until) SELECT free.key, $4::bytea, $5::double precision FROM free
    ON CONFLICT (key) DO UPDATE SET holder = EXCLUDED.holder, until = EXCLUDED.until WHERE hippy_lease.until <= $2
    RETURNING key
)
SELECT free.key, free.value FROM free JOIN taken USING (key) ORDER BY free.key"""
TAKE: Final = _TAKE.format(end="AND entry.key < $6")
TAKE_ALL: Final = _TAKE.format(end="")

RENEW: Final = "UPDATE hippy_lease SET until = $4 WHERE key = ANY($1) AND holder = $2 AND until > $3 RETURNING key"

GIVE_BACK: Final = "DELETE FROM hippy_lease WHERE key = ANY($1) AND holder = $2"

FORGET: Final = """
DELETE FROM hippy_lease WHERE key IN (
    SELECT lease.key FROM hippy_lease AS lease
    WHERE lease.until <= $1 AND NOT EXISTS (SELECT FROM hippy_row AS entry WHERE entry.key = lease.key)
    LIMIT 1000 FOR UPDATE SKIP LOCKED)"""
"""Leases of entries that are done: nobody will take them again."""


def take(
    session: Session, queue: bytes, holder: bytes, *, now: float, seconds: float, limit: int
) -> list[tuple[bytes, bytes]]:
    """Lease the first free entries of a queue; see hippy.kv.Database.lease. Raises TemporaryError."""
    end = following(queue)
    query, rest = (TAKE_ALL, []) if end is None else (TAKE, [end])
    session.begin("BEGIN")
    found = session.rows(query, queue, float(now), limit, holder, float(now + seconds), *rest)
    session.run("COMMIT")
    return [(row["key"], row["value"]) for row in found]


def renew(session: Session, keys: Sequence[bytes], holder: bytes, *, now: float, seconds: float) -> list[bytes]:
    """Lengthen the leases of a holder that have not run out; return which. Raises TemporaryError."""
    session.begin("BEGIN")
    found = {row["key"] for row in session.rows(RENEW, list(keys), holder, float(now), float(now + seconds))}
    session.run("COMMIT")
    return [key for key in keys if key in found]


def give_back(session: Session, keys: Sequence[bytes], holder: bytes) -> None:
    """End leases of a holder. Raises TemporaryError."""
    session.begin("BEGIN")
    session.rows(GIVE_BACK, list(keys), holder)
    session.run("COMMIT")


def forget(session: Session, now: float) -> None:
    """Remove leases that ran out, of entries that are gone. Raises TemporaryError."""
    session.begin("BEGIN")
    session.rows(FORGET, float(now))
    session.run("COMMIT")
