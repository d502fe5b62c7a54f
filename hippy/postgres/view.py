"""Reads of the state within one transaction of a session: a :class:`hippy.transactions.Reader`. Blocking.

The transaction decides what is seen: one snapshot for reads; for the writer, who holds the lock of all writers, the
newest state. Each get is a round trip, so a view that is told to keeps what it has read (nobody else writes while it
lives); scans fetch pages that grow.

A B-tree of PostgreSQL takes keys of up to 2,704 bytes, and names of objects may have 8 KiB (PROTOCOL §3.4). Keys beyond
:data:`SHORT_KEY_BYTES` are in a table of their own, found by their SHA-256 and ordered by their beginnings.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from hippy.postgres.session import Session
from hippy.transactions import following

SHORT_KEY_BYTES: Final = 2_048

PAGE_ROWS_MIN: Final = 8
PAGE_ROWS_MAX: Final = 512
PAGE_GROWTH: Final = 4
PAGE_BYTES: Final = 4 * 1024 * 1024
"""About what a page may have, judged by the rows of the one before."""

KEPT_BYTES_MAX: Final = 32 * 1024 * 1024
"""Of values that a view keeps; what is beyond is asked for again."""

GET: Final = "SELECT value FROM hippy_row WHERE key = $1"
GET_LONG: Final = "SELECT value FROM hippy_long_row WHERE digest = sha256($1)"

_PAGE: Final = f"""
SELECT key, value FROM (
    (SELECT key, value FROM hippy_row WHERE key >= $1 {{end}} ORDER BY key LIMIT $2)
    UNION ALL
    (SELECT key, value FROM hippy_long_row
     WHERE substring(key FOR {SHORT_KEY_BYTES}) >= substring($1::bytea FOR {SHORT_KEY_BYTES}) AND key >= $1 {{end}}
     ORDER BY substring(key FOR {SHORT_KEY_BYTES}), key LIMIT $2)
) AS found ORDER BY key LIMIT $2"""  # noqa: S608 - a number of ours
PAGE_BELOW: Final = _PAGE.format(end="AND key < $3")
PAGE: Final = _PAGE.format(end="")


class View:
    """The state as a session's transaction sees it."""

    def __init__(self, session: Session, *, keeps: bool) -> None:
        """``keeps``: nobody can change what was read while this view lives."""
        self._session = session
        self._kept: dict[bytes, bytes | None] = {}
        self._room = KEPT_BYTES_MAX if keeps else 0

    def get(self, key: bytes) -> bytes | None:
        """See Reader."""
        if key in self._kept:
            return self._kept[key]
        rows = self._session.rows(GET if len(key) <= SHORT_KEY_BYTES else GET_LONG, key)
        value: bytes | None = rows[0]["value"] if rows else None
        size = len(key) + len(value or b"")
        if size <= self._room:
            self._room -= size
            self._kept[key] = value
        return value

    def scan(self, prefix: bytes, after: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        """See Reader."""
        first = prefix if after is None else max(prefix, after + b"\x00")
        end = following(prefix)
        limit = PAGE_ROWS_MIN
        while True:
            rows = self._page(first, end, limit)
            yield from rows
            if len(rows) < limit:
                return
            first = rows[-1][0] + b"\x00"
            limit = _next_limit(limit, rows)

    def _page(self, first: bytes, end: bytes | None, limit: int) -> list[tuple[bytes, bytes]]:
        if end is None:
            found = self._session.rows(PAGE, first, limit)
        else:
            found = self._session.rows(PAGE_BELOW, first, limit, end)
        return [(row["key"], row["value"]) for row in found]


def _next_limit(limit: int, rows: list[tuple[bytes, bytes]]) -> int:
    """Return how many rows the next page has: more, unless they are long."""
    mean_bytes = max(1, sum(len(key) + len(value) for key, value in rows) // len(rows))
    return max(1, min(PAGE_GROWTH * limit, PAGE_ROWS_MAX, PAGE_BYTES // mean_bytes))
