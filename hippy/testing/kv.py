"""State that lives as long as its object: the verified in-memory twin of hippy.kv.RocksDatabase.

It keeps the contract of the seam (hippy.testing.kv_contract), one transaction after the other and none by
halves, without threads and files, so that tests with it are deterministic. It does what a disk makes a database do:

* :meth:`MemoryDatabase.crash` ends it and returns what the next start finds: all that was acknowledged, and no
  batch by halves. Every use of the old one raises MachineDown. The points of hippy.points are passed as RocksDatabase
  passes them, so a watcher may crash it between writing and answering.
* :meth:`MemoryDatabase.fill` has transactions that write refused, as on a full disk, until
  :meth:`MemoryDatabase.free`.
* Leases are forgotten with it, as an embedded database forgets them.
* ``pause`` is awaited before every transaction and read, and again before a transaction is answered: a slow disk.

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
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TypeVar

from hippy.errors import NoSpaceError
from hippy.kv import Overlay, Reader, Transaction
from hippy.points import reached
from hippy.testing.crash import MachineDown
from hippy.work_leases import WorkLeases, check_lease

T = TypeVar("T")
Pause = Callable[[], Awaitable[None]]


async def one_turn() -> None:
    """Let others come first: the shortest pause."""
    await asyncio.sleep(0)


class MemoryDatabase:
    """A Database in a dictionary; see the module's docstring."""

    def __init__(self, *, pause: Pause = one_turn) -> None:
        self.pause = pause
        """Awaited where a disk would be waited for."""
        self._rows = _Rows()
        self._leases = WorkLeases()
        self._refusals: float = 0
        self._is_down = False

    def crash(self) -> MemoryDatabase:
        """End this database and return what the next start finds; it pauses as this one did, and its disk is free."""
        self._is_down = True
        after = MemoryDatabase(pause=self.pause)
        after._rows = self._rows
        return after

    def fill(self, writes: int | None = None) -> None:
        """Have the next ``writes`` transactions that write refused with NoSpaceError, None: until :meth:`free`."""
        self._refusals = float("inf") if writes is None else writes

    def free(self) -> None:
        """Take writes again."""
        self._refusals = 0

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        """See hippy.kv.Database. Runs and writes in one piece, after a pause, as others may come first."""
        await self._pause()
        layer = Overlay(self._rows)
        result = work(layer)
        if layer.changes:
            self._write(layer)
            await self._pause()
        return result

    async def read(self, work: Callable[[Reader], T]) -> T:
        """See hippy.kv.Database."""
        await self._pause()
        return work(self._rows)

    async def lease(
        self, queue: bytes, holder: bytes, *, now: float, seconds: float, limit: int
    ) -> list[tuple[bytes, bytes]]:
        """See hippy.kv.Database."""
        check_lease(holder, seconds=seconds, limit=limit)
        await self._pause()
        return self._leases.take(self._rows.scan(queue), holder, now=now, seconds=seconds, limit=limit)

    async def renew(self, keys: Sequence[bytes], holder: bytes, *, now: float, seconds: float) -> list[bytes]:
        """See hippy.kv.Database."""
        check_lease(holder, seconds=seconds, limit=max(1, len(keys)))
        await self._pause()
        return self._leases.renew(keys, holder, now=now, seconds=seconds)

    async def unlease(self, keys: Sequence[bytes], holder: bytes) -> None:
        """See hippy.kv.Database."""
        await self._pause()
        self._leases.give_back(keys, holder)

    def _write(self, layer: Overlay) -> None:
        if self._refusals:
            self._refusals -= 1
            raise NoSpaceError("the disk is full", hint="free space: the node goes on by itself")
        reached("kv.before_batch")
        self._check_up()
        for key, value in layer.changes.items():
            self._rows.set(key, value)
        reached("kv.batch")
        self._check_up()

    async def _pause(self) -> None:
        self._check_up()
        await self.pause()
        self._check_up()

    def _check_up(self) -> None:
        if self._is_down:
            raise MachineDown("the database's machine is down")


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
