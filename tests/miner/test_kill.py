"""kill -9 while a store is at work: a real process, its acknowledgements, and what is there afterwards."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from hippy.miner.store import open_store
from hippy.proofs.tree import leaf_hashes, root_of
from hippy.testing.clock import VirtualClock
from tests.miner.world import LARGE, NETWORK, obligation, piece, piece_files, ticket

ACKNOWLEDGED_MIN = 20
TOGETHER = 4


async def store_for_ever(folder: Path) -> None:
    """What the child does: store piece after piece, and say which are acknowledged."""
    async with open_store(folder, capacity_bytes=2**40, disk_reserve_bytes=0) as store:

        async def worker(number: int) -> None:
            while True:
                data = piece(str(number), LARGE)
                await store.add(obligation(ticket(data, VirtualClock())), data, leaf_hashes(data))
                print(number, flush=True)
                number += TOGETHER

        await asyncio.gather(*(worker(number) for number in range(TOGETHER)))


CHILD = "import asyncio, sys, pathlib; from tests.miner.test_kill import store_for_ever as run; "
CHILD += "asyncio.run(run(pathlib.Path(sys.argv[1])))"


@pytest.mark.e2e
async def test_kill_9_loses_nothing_acknowledged_and_leaves_nothing_half_visible(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHILD, str(tmp_path / "data"), stdout=asyncio.subprocess.PIPE, cwd=root
    )
    assert child.stdout is not None
    try:
        async with asyncio.timeout(60):
            lines = [await child.stdout.readline() for _ in range(ACKNOWLEDGED_MIN)]
    finally:
        child.kill()
    async with asyncio.timeout(10):
        lines += (await child.stdout.read()).splitlines(keepends=True)
        await child.wait()
    acknowledged = [int(line) for line in lines if line.endswith(b"\n")]
    assert len(acknowledged) >= ACKNOWLEDGED_MIN
    await check(tmp_path / "data", acknowledged)


async def check(folder: Path, acknowledged: list[int]) -> None:
    """Every acknowledged piece reads back; every file has its row; every row has its bytes counted."""
    async with open_store(folder, capacity_bytes=2**40, disk_reserve_bytes=0) as store:
        for number in acknowledged:
            data = piece(str(number), LARGE)
            assert await store.read(root_of(data), LARGE) == data
            assert await store.receipt(root_of(data), ticket(data, VirtualClock()).id(NETWORK)) is not None
        names = [name for name in piece_files(folder) if not name.endswith(".tree")]
        assert store.space()[1] == len(names) * LARGE
        assert list((folder / "incoming").iterdir()) == []
