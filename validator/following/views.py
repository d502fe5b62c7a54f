"""A whole registry below a key prefix: what works on a validator's own tables works on a followed home's unchanged.

``replica/<home>/`` holds the tables of hippy.validator.tables as that home's log tells them, apart from our own.
Nothing that is done through a view can touch a key outside of it.

Example::

    segments = await database.read(lambda reader: encode_records(ReaderBelow(reader, prefix), ids))
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from hippy.kv import Database, Reader, Transaction

T = TypeVar("T")


class ReaderBelow:
    """The part of a reader below a prefix, with keys that do not name it."""

    def __init__(self, below: Reader, prefix: bytes) -> None:
        self._below = below
        self._prefix = prefix

    def get(self, key: bytes) -> bytes | None:
        """See hippy.kv.Reader."""
        return self._below.get(self._prefix + key)

    def scan(self, prefix: bytes, after: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        """See hippy.kv.Reader."""
        start = len(self._prefix)
        behind = None if after is None else self._prefix + after
        return ((key[start:], value) for key, value in self._below.scan(self._prefix + prefix, behind))


class TransactionBelow(ReaderBelow):
    """The part of a transaction below a prefix."""

    def __init__(self, below: Transaction, prefix: bytes) -> None:
        super().__init__(below, prefix)
        self._changed = below

    def put(self, key: bytes, value: bytes) -> None:
        """See hippy.kv.Transaction."""
        self._changed.put(self._prefix + key, value)

    def delete(self, key: bytes) -> None:
        """See hippy.kv.Transaction."""
        self._changed.delete(self._prefix + key)


class DatabaseBelow:
    """The part of a database below a prefix."""

    def __init__(self, below: Database, prefix: bytes) -> None:
        self._below = below
        self._prefix = prefix

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        """See hippy.kv.Database."""
        return await self._below.transact(lambda txn: work(TransactionBelow(txn, self._prefix)))

    async def read(self, work: Callable[[Reader], T]) -> T:
        """See hippy.kv.Database."""
        return await self._below.read(lambda reader: work(ReaderBelow(reader, self._prefix)))

    async def lease(
        self, queue: bytes, holder: bytes, *, now: float, seconds: float, limit: int
    ) -> list[tuple[bytes, bytes]]:
        """See hippy.kv.Database."""
        taken = await self._below.lease(self._prefix + queue, holder, now=now, seconds=seconds, limit=limit)
        return [(key[len(self._prefix) :], value) for key, value in taken]

    async def renew(self, keys: Sequence[bytes], holder: bytes, *, now: float, seconds: float) -> list[bytes]:
        """See hippy.kv.Database."""
        ours = [self._prefix + key for key in keys]
        return [key[len(self._prefix) :] for key in await self._below.renew(ours, holder, now=now, seconds=seconds)]

    async def unlease(self, keys: Sequence[bytes], holder: bytes) -> None:
        """See hippy.kv.Database."""
        await self._below.unlease([self._prefix + key for key in keys], holder)
