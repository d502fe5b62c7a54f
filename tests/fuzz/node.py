"""A real miner or validator in a process of its own, so that its memory and its log can be watched from outside.

Run from the checkout as ``python -m tests.fuzz.node miner DIRECTORY``; it prints its port and ends when its standard
input does. ``--short`` gives connections seconds where they have ten.

:func:`running` starts one for the duration of a block.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import uvloop

from hippy.chain.local import LocalChain, open_local_chain
from hippy.clock import SystemClock
from hippy.endpoint import Endpoint
from hippy.ids import Root
from hippy.miner.server import build_miner
from hippy.miner.store import open_store
from hippy.testing.clock import VirtualClock
from hippy.transport import limits
from hippy.transport.limits import ServerLimits
from hippy.transport.server import serving
from hippy.wire.ticket import Ticket
from tests.miner.world import ACCOUNT, MIB, MINER, NETUID, NETWORK, SMALL, VALIDATOR, add, grant, piece, ticket
from tests.validator.network import local_network

ROOT = Path(__file__).parents[2]
CLOCK = SystemClock()
SHORT = ServerLimits(silent_seconds=2.0, head_seconds=2.0, look_seconds=0.1)
SHORT_BODY_SECONDS = 2.0
STORED = piece("stored", SMALL)
"""The one piece that the miner has."""


@asynccontextmanager
async def miner(folder: Path, allowed: ServerLimits) -> AsyncIterator[int]:
    """Serve a miner that holds STORED; yields its port."""
    path = folder / "chain.sqlite"
    LocalChain.create(path, clock=CLOCK, network=NETWORK, genesis_secret=b"g" * 32, netuid=NETUID)
    async with (
        open_local_chain(path, hotkey=MINER.public_key, clock=CLOCK) as chain,
        open_store(folder / "miner", capacity_bytes=64 * MIB, disk_reserve_bytes=0) as store,
    ):
        for hotkey, permit in ((MINER, False), (VALIDATOR, True)):
            await chain.register(hotkey.public_key, ACCOUNT.public_key, validator_permit=permit, stake_rao=9)
        await add(store, STORED, ticket_here(STORED))
        app = build_miner(MINER, chain, store, CLOCK, body_bytes_in_flight_max=64 * MIB)
        async with serving(app, "127.0.0.1", 0, allowed=allowed) as endpoint:
            yield endpoint.port


@asynccontextmanager
async def validator(folder: Path, _: ServerLimits) -> AsyncIterator[int]:
    """Serve a validator with two miners that only greet; yields its port."""
    async with local_network(folder, miners=2) as network, network.validator() as client:
        yield client.validator.endpoint.port


async def _serve(kind: str, folder: Path, *, short: bool) -> None:
    if short:
        limits.BASE_DEADLINE_SECONDS = SHORT_BODY_SECONDS  # type: ignore[misc]  # a process of our own
    make = {"miner": miner, "validator": validator}[kind]
    async with make(folder, SHORT if short else ServerLimits()) as port:
        print(port, flush=True)
        await asyncio.to_thread(sys.stdin.read)


@dataclass(slots=True)
class Node:
    """A node's process."""

    process: subprocess.Popen[str]
    endpoint: Endpoint
    folder: Path

    def rss_bytes(self) -> int:
        """Return the memory that the process has."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) * 1024

    def log(self) -> str:
        """Return what it said on standard error."""
        return (self.folder / "log").read_text()

    def files(self) -> list[str]:
        """Return the pieces and uploads in progress of a miner."""
        data = self.folder / "miner"
        return sorted(
            str(path.relative_to(data)) for part in ("pieces", "incoming") for path in (data / part).rglob("*")
        )


@contextmanager
def running(kind: str, folder: Path, *, short: bool = False) -> Iterator[Node]:
    """Run a node for the duration of the block."""
    command = [sys.executable, "-m", "tests.fuzz.node", kind, str(folder), *(["--short"] if short else [])]
    with (folder / "log").open("w") as log:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": log}
        with subprocess.Popen(command, cwd=ROOT, text=True, **pipes) as process:  # type: ignore[call-overload]
            try:
                yield Node(process, Endpoint("127.0.0.1", _port(process.stdout, folder)), folder)
            finally:
                process.stdin.close()
                try:
                    process.wait(timeout=20)
                except subprocess.TimeoutExpired:
                    process.kill()


def _port(output: IO[str], folder: Path) -> int:
    told = output.readline()
    assert told, (folder / "log").read_text()
    return int(told)


def ticket_here(data: bytes, **changes: Any) -> Ticket:
    """Return a ticket that the miner takes for another hour."""
    return ticket(data, VirtualClock(), upload_by=int(CLOCK.now()) + 3600, **changes)


def granted_elsewhere(root: Root) -> bytes:
    """Return such a ticket for a root that no body here has, as a header has it."""
    return grant(ticket_here(STORED, root=root), VirtualClock()).encode()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=["miner", "validator"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--short", action="store_true")
    chosen = parser.parse_args()
    uvloop.run(_serve(chosen.kind, chosen.folder, short=chosen.short))
