"""One simulated miner: who it is, where it stands, what it holds and what it cost so far."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hippy.ids import PublicKey
from hippy.sim.faults import Outages
from hippy.sim.network import Link
from hippy.sim.shelf import Shelf
from hippy.sim.strategy import Strategy


@dataclass(slots=True)
class SimMiner:
    """One identity. ``operator`` names whose it is.

    ``served_bytes`` went to validators, ``sold_bytes`` to customers; ``asked_bytes`` is what an honest miner would have
    served of what validators asked for without escalation.
    """

    uid: int
    hotkey: PublicKey
    coldkey: PublicKey
    group: str
    operator: str
    strategy: Strategy
    link: Link
    outages: Outages
    shelf: Shelf
    revenue: float = 0.0
    served_bytes: int = 0
    asked_bytes: int = 0
    sold_bytes: float = 0.0
    disk_byte_epochs: float = 0.0
    seen_time: float = -math.inf

    def is_there(self, now: float) -> bool:
        """Whether it answers now."""
        return self.outages.is_up(now) and self.strategy.is_there(now)

    def live_through_epoch(self, customers_read: float) -> None:
        """Keep what is kept for an epoch, and serve customers who read this share of it."""
        shelf = self.shelf
        self.disk_byte_epochs += shelf.disk_bytes
        if self.strategy.serves_customers:
            self.sold_bytes += customers_read * shelf.disk_bytes
