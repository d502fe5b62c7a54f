"""Answers miners that ask what has become of their obligations: ``POST /v1/inventory`` (PROTOCOL §4.2).

Miners of the subnet only, each about its own tickets and at a rate; pages are read and signed in threads, a few at a
time, because one costs some 0.1 s where all of its tickets ended (each ends once); one of live tickets takes 5 ms.
"""

from __future__ import annotations

import asyncio
from typing import Final

from hippy.clock import Clock
from hippy.errors import AuthError
from hippy.ids import PublicKey
from hippy.kv import Database
from hippy.transport.turns import Turns
from hippy.validator.directory import MinerDirectory
from hippy.validator.inventory import answer, check_inventory, states_of
from hippy.validator.log import Home
from hippy.validator.rates import INVENTORIES, Rates
from hippy.wire.release import InventoryRequest

PAGES_AT_ONCE: Final = 2
PAGES_WAITING_MAX: Final = 64
WAIT_SECONDS: Final = 10.0


class InventoryDesk:
    """Says what became of tickets, to who has them."""

    def __init__(self, home: Home, database: Database, directory: MinerDirectory, clock: Clock) -> None:
        self._home = home
        self._database = database
        self._directory = directory
        self._clock = clock
        self._rates = Rates(INVENTORIES, "inventories")
        self._turns = Turns(PAGES_AT_ONCE, "inventories", waiting_max=PAGES_WAITING_MAX, wait_seconds=WAIT_SECONDS)

    def admit(self, sender: PublicKey) -> None:
        """Check that a miner may ask now, before its message is parsed.

        Raises AuthError for who is not registered, RateLimitedError for who asks too often.
        """
        if self._directory.metagraph.by_hotkey(sender) is None:
            raise AuthError("only registered miners ask about their tickets")
        self._rates.take(sender, 1, self._clock.now())

    async def inventory(self, request: InventoryRequest, sender: PublicKey) -> bytes:
        """Answer a page of an inventory: a state for every ticket, with releases.

        Raises AuthError for another miner's tickets, RateLimitedError when too many wait.
        """
        check_inventory(request, sender)
        async with self._turns.turn():
            now = int(self._clock.now())
            states = await self._database.read(lambda reader: states_of(reader, self._home, request, now))
            return await asyncio.to_thread(lambda: answer(self._home, request, states, now).encode())
