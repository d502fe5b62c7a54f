"""Listings: pages of live rows below a prefix, folders folded, and the buckets of an account (PROTOCOL §3.4).

Keys sort as the protocol orders names, and everything below a folder is one run of keys. So a folder is folded by
seeking behind that run, not by walking it: a page costs its own length, however much lies below.

``after`` is the name of the last row of a page, or the prefix it folded last; a row and the folder of the same
name always come in one page, so it means both.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from hippy.errors import UsageError
from hippy.ids import PublicKey
from hippy.kv import Reader
from hippy.validator.buckets import made_buckets
from hippy.validator.tables import LIVE, SUBTREE_END, StoredRow, component_end, component_key, name_key
from hippy.wire.object import ListAnswer, ListRequest, ObjectRow

PAGE_BYTES_MAX: Final = 16 * 1024 * 1024
"""Rows in one page stop here; half of what a client reads of an answer, for one row has up to 2.2 MB."""

BUCKETS_MAX: Final = 10_000
Entries = Iterator[tuple[bytes, bytes]]


class _Page:
    """What a page holds so far."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self.rows: list[ObjectRow] = []
        self.prefixes: list[bytes] = []

    @property
    def is_full(self) -> bool:
        """Whether the next name goes on another page."""
        return len(self.rows) + len(self.prefixes) >= self._limit or self._size >= PAGE_BYTES_MAX

    def add_row(self, value: bytes) -> None:
        """Take a stored row."""
        self._size += len(value)
        self.rows.append(StoredRow.parse(value).row)

    def answer(self, after: tuple[bytes, ...] | None) -> ListAnswer:
        """Return the page."""
        return ListAnswer(rows=tuple(self.rows), prefixes=tuple(self.prefixes), after=after)


def list_rows(reader: Reader, request: ListRequest) -> ListAnswer:
    """Return one page.

    Raises UsageError when ``after`` is not below the prefix, ProtocolError for impossible components.
    """
    prefix, after = request.prefix, request.after
    if after is not None and not (len(after) > len(prefix) == _common(prefix, after)):
        raise UsageError("after must be what the page before said")
    account = request.account
    below = LIVE + name_key(account, request.bucket, prefix)
    start = below if after is None else LIVE + name_key(account, request.bucket, after)
    if request.depth == "all":
        return _page_of_all(reader.scan(below, start), request.limit)
    return _page_of_children(reader, below, start if after is None else start + SUBTREE_END, request)


def _common(prefix: tuple[bytes, ...], after: tuple[bytes, ...]) -> int:
    return sum(1 for one, other in zip(prefix, after, strict=False) if one == other)


def _page_of_all(entries: Entries, limit: int) -> ListAnswer:
    page = _Page(limit)
    for _, value in entries:
        if page.is_full:
            return page.answer(page.rows[-1].name)
        page.add_row(value)
    return page.answer(None)


def _page_of_children(reader: Reader, below: bytes, start: bytes, request: ListRequest) -> ListAnswer:
    page, child = _Page(request.limit), below
    entries = reader.scan(below, start)
    while (entry := next(entries, None)) is not None:
        key, value = entry
        end = component_end(key, len(below))
        if page.is_full and key[:end] != child:
            return page.answer((*request.prefix, child[len(below) + 1 :]))
        child = key[:end]
        if len(key) == end:
            page.add_row(value)
        else:
            page.prefixes.append(child[len(below) + 1 :])
            entries = reader.scan(below, child + SUBTREE_END)
    return page.answer(None)


def list_buckets(reader: Reader, account: PublicKey) -> tuple[bytes, ...]:
    """Return the buckets with live rows and those that were made, in order, at most 10,000."""
    base, buckets = LIVE + account, list[bytes]()
    entries = reader.scan(base)
    while len(buckets) < BUCKETS_MAX and (entry := next(entries, None)) is not None:
        bucket = entry[0][: component_end(entry[0], len(base))]
        buckets.append(bucket[len(base) + 1 :])
        entries = reader.scan(base, bucket + SUBTREE_END)
    found = {*buckets, *made_buckets(reader, account)}
    return tuple(sorted(found, key=component_key)[:BUCKETS_MAX])
