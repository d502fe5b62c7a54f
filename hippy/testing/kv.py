"""State that lives as long as its object: the verified in-memory twin of hippy.kv.RocksDatabase.

It keeps the contract of the seam (hippy.testing.kv_contract), one transaction after the other and none by
halves, without threads and files, so that tests with it are deterministic. Two things it cannot show: what a
crash leaves behind, and a disk that fails.

>>> async def example() -> bytes | None:
...     database = MemoryDatabase()
...     await database.transact(lambda state: state.put(b"key", b"value"))
...     return await database.read(lambda state: state.get(b"key"))
>>> asyncio.run(example())
b'value'
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator
from typing import TypeVar

from hippy.kv import Overlay, Reader, Transaction

T = TypeVar("T")


class MemoryDatabase:
    """A Database in a dictionary; see the module's docstring."""

    def __init__(self) -> None:
        self._rows = _Rows()

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        """See hippy.kv.Database. Runs in one piece, after a turn of the loop, as others may come first."""
        await asyncio.sleep(0)
        layer = Overlay(self._rows)
        result = work(layer)
        for key, value in layer.changes.items():
            self._rows.set(key, value)
        return result

    async def read(self, work: Callable[[Reader], T]) -> T:
        """See hippy.kv.Database."""
        await asyncio.sleep(0)
        return work(self._rows)


class _Rows:
    """The committed state: a dictionary and its keys in order."""

    def __init__(self) -> None:
        self._values: dict[bytes, bytes] = {}
        self._keys: list[bytes] = []

    def get(self, key: bytes) -> bytes | None:
        return self._values.get(key)

    def scan(self, prefix: bytes, after: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        at = bisect_left(self._keys, prefix)
        if after is not None:
            at = max(at, bisect_right(self._keys, after))
        while at < len(self._keys) and self._keys[at].startswith(prefix):
            yield self._keys[at], self._values[self._keys[at]]
            at += 1

    def set(self, key: bytes, value: bytes | None) -> None:
        known = key in self._values
        if value is not None:
            self._values[key] = value
            if not known:
                insort(self._keys, key)
        elif known:
            del self._values[key]
            del self._keys[bisect_left(self._keys, key)]
