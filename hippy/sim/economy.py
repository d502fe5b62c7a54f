"""Who earned what: revenue by incentive, costs by prices, and how each compares with an honest peer in the same run.

Prices are such that honest miners spend a given share of what they earn: 7/10 of it on disk, 2/10 on bandwidth, 1/10
on registration. A cheater's peer is an honest operator with one identity that was entrusted with the same bytes and
asked for the same; all operators have the same capacity, and luck in placement is taken out by counting per byte.

Invariants: for an honest operator every ratio is 1, up to noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from hippy.sim.miner import SimMiner

DISK_PART: Final = 0.7
BANDWIDTH_PART: Final = 0.2
REGISTRATION_PART: Final = 0.1


@dataclass(frozen=True, slots=True)
class Peer:
    """The honest mean of a run: what one operator was entrusted with, earned, kept and moved."""

    bytes: float
    revenue: float
    disk_byte_epochs: float
    served_bytes: float
    sold_bytes: float

    @property
    def moved_bytes(self) -> float:
        """What was sent to anybody."""
        return self.served_bytes + self.sold_bytes


@dataclass(frozen=True, slots=True)
class Account:
    """What one operator earned and spent, in units of what an honest peer earns (1)."""

    revenue: float
    disk: float
    bandwidth: float
    registration: float
    fee: float
    peer_bandwidth: float
    """What an honest peer would have spent on what this one was asked for."""

    def cost(self, cost_share: float) -> float:
        """Return all costs if an honest miner spends ``cost_share`` of its revenue."""
        running = DISK_PART * self.disk + BANDWIDTH_PART * self.bandwidth + REGISTRATION_PART * self.registration
        return cost_share * running + self.fee

    def profit(self, cost_share: float) -> float:
        """Return revenue less costs."""
        return self.revenue - self.cost(cost_share)

    def against_honesty(self, cost_share: float) -> float:
        """Return the profit divided by that of an honest peer."""
        peer_cost = DISK_PART + BANDWIDTH_PART * self.peer_bandwidth + REGISTRATION_PART
        return self.profit(cost_share) / (1 - cost_share * peer_cost)


def honest_peer(miners: Sequence[SimMiner]) -> Peer:
    """Return the mean over honest miners."""
    count = len(miners)
    return Peer(
        sum(miner.shelf.entrusted_bytes for miner in miners) / count,
        sum(miner.revenue for miner in miners) / count,
        sum(miner.disk_byte_epochs for miner in miners) / count,
        sum(miner.served_bytes for miner in miners) / count,
        sum(miner.sold_bytes for miner in miners) / count,
    )


def account_of(miners: Sequence[SimMiner], peer: Peer, *, fee: float = 0.0) -> Account:
    """Return the account of one operator with these miners.

    ``fee`` is what its colluding account paid, in units of an honest peer's revenue.
    """
    scale = peer.bytes / sum(miner.shelf.entrusted_bytes for miner in miners)
    served, sold = sum(miner.served_bytes for miner in miners), scale * sum(miner.sold_bytes for miner in miners)
    asked = sum(miner.asked_bytes for miner in miners) / len(miners)
    return Account(
        revenue=scale * sum(miner.revenue for miner in miners) / peer.revenue,
        disk=scale * sum(miner.disk_byte_epochs for miner in miners) / peer.disk_byte_epochs,
        bandwidth=(served + sold) / peer.moved_bytes,
        registration=float(len(miners)),
        fee=scale * fee,
        peer_bandwidth=(asked + peer.sold_bytes) / peer.moved_bytes,
    )
