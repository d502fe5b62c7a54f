"""All that a miner does beside serving, put together: what :func:`hippy.miner.server.run_miner` runs, and simulations.

Example::

    async with keeping_house(store, chain, http, identity, clock, epoch_seconds, Chores()):
        ...
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from hippy.chain.protocol import Chain
from hippy.clock import Clock
from hippy.identity import Identity
from hippy.miner.background import background, repeat
from hippy.miner.inventory import Inventory
from hippy.miner.issuers import Issuers
from hippy.miner.options import Chores
from hippy.miner.reports import LossReporter
from hippy.miner.scrub import Scrub
from hippy.miner.store import PieceStore
from hippy.miner.usage import Usage
from hippy.transport.client import Http
from hippy.wire.pace import pace_of, scaled

REMOVE_SECONDS: Final = 600.0
"""Between two looks for trash whose time has come, on a subnet."""

STRAYS_SECONDS: Final = 10.0
"""Between two looks for files of uploads that failed: they come when an index is full, and make a full disk fuller."""

BALLAST_SECONDS: Final = 10.0
"""Between two looks at the free space: a disk that is written at 500 MB/s loses 5 GB in between, and the reserve with
it; then the index meets the full disk first and the ballast goes at the next upload."""

QUARANTINE_SECONDS: Final = 3_600.0


@asynccontextmanager
async def keeping_house(
    store: PieceStore,
    chain: Chain,
    http: Http,
    identity: Identity,
    clock: Clock,
    epoch_seconds: float,
    chores: Chores,
) -> AsyncIterator[None]:
    """Do a miner's background work for the duration of the block."""
    trash_seconds = pace_of(epoch_seconds).trash_seconds
    issuers = Issuers(chain, http, clock)
    scrub = Scrub(
        store,
        clock,
        round_seconds=chores.scrub_seconds,
        bytes_per_second_max=chores.scrub_bytes_per_second_max,
    )

    async def remove() -> None:
        now = int(clock.now())
        await store.trash.remove(now - trash_seconds)
        await store.releases.forget(now)

    async with background(
        LossReporter(store.losses, issuers, http, identity, chain.network, clock).run(),
        Inventory(store, issuers, http, identity, clock, chain.network, epoch_seconds).run(),
        repeat(remove, scaled(REMOVE_SECONDS, epoch_seconds), clock, "what nobody is owed was not removed"),
        repeat(store.trash.remove_strays, STRAYS_SECONDS, clock, "what failed uploads left was not removed"),
        repeat(store.keep_ballast, BALLAST_SECONDS, clock, "the ballast was not looked after"),
        repeat(store.aside.trim, QUARANTINE_SECONDS, clock, "the quarantine was not looked after"),
        scrub.run(),
        Usage(store, clock).run(),
    ):
        yield
