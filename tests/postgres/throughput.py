"""How fast transactions are on RocksDB and on PostgreSQL, on this machine: the figures of docs/adr/0013.

    python -m tests.postgres.throughput

One transaction is about a segment's commit: it reads three keys and writes thirty of 300 bytes. ``at once`` is how many
wait together, so that they share writes; "two" is PostgreSQL with two databases open, as two processes have it.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from hippy.kv import Database, Transaction, open_database
from hippy.postgres.database import open_postgres
from tests.postgres.server import own_server

SECONDS: Final = 4.0
AT_ONCE: Final = (1, 16, 256)
ROWS: Final = 30
VALUE: Final = bytes(range(100)) * 3


async def main() -> None:
    """Measure and print."""
    print(f"{'':<12} {'at once':>7} {'commits/s':>10} {'median ms':>10} {'p99 ms':>8} {'read ms':>8}")
    with tempfile.TemporaryDirectory() as folder, own_server() as server:
        async with open_database(Path(folder) / "db") as rocks:
            await _report("RocksDB", [rocks])
        async with open_postgres(server.url) as one, open_postgres(server.url) as other:
            await _report("PostgreSQL", [one])
            await _report("two", [one, other])


async def _report(name: str, databases: Sequence[Database]) -> None:
    read_ms = await _read_ms(databases[0])
    for at_once in AT_ONCE:
        seconds = await _commit_for_a_while(databases, at_once)
        ordered = sorted(seconds)
        median, slowest = ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100]
        rate = len(seconds) / SECONDS
        print(f"{name:<12} {at_once:>7} {rate:>10.0f} {median * 1e3:>10.2f} {slowest * 1e3:>8.1f} {read_ms:>8.2f}")


async def _commit_for_a_while(databases: Sequence[Database], at_once: int) -> list[float]:
    """Return how long each commit took."""
    taken = list[float]()
    end = time.perf_counter() + SECONDS

    async def work(number: int) -> None:
        database, count = databases[number % len(databases)], 0
        while (began := time.perf_counter()) < end:
            count += 1
            await database.transact(partial(_commit, name=b"%d/%d" % (number, count)))
            taken.append(time.perf_counter() - began)

    await asyncio.gather(*(work(number) for number in range(at_once)))
    return taken


def _commit(txn: Transaction, name: bytes) -> None:
    for key in (b"head", b"alloc/" + name, b"life/" + name):
        txn.get(key)
    txn.put(b"head", name)
    for row in range(ROWS - 1):
        txn.put(b"row/%s/%d" % (name, row), VALUE)


async def _read_ms(database: Database) -> float:
    """Return the mean time of a read of one key."""
    began, reads = time.perf_counter(), 300
    for _ in range(reads):
        await database.read(lambda reader: reader.get(b"head"))
    return (time.perf_counter() - began) / reads * 1e3


if __name__ == "__main__":
    asyncio.run(main())
