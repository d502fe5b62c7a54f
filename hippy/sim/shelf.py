"""The pieces of one miner: what it owes, what of that it really has, and what it pays a disk for.

Invariants: ``missing`` are pieces that are not there though they are owed or were; ``free`` ones are there and cost no
disk (a friend's zeros can be made again); an inventory is the one of an epoch's beginning, whatever is lost later.
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from hippy.ids import Root
from hippy.proofs.inventory import Inventory


class Shelf:
    """What one miner owes and has."""

    def __init__(self, pieces: dict[Root, int], free: Iterable[Root] = ()) -> None:
        """``pieces`` is the length in bytes of every piece that was placed here."""
        self.owed = pieces
        self.free = set(free)
        self.missing: set[Root] = set()
        self.reported: dict[Root, int] = {}
        """Root → beacon round when its loss was reported."""

        self.inventory = Inventory(pieces.items())
        self.owed_bytes = sum(pieces.values())
        self.washed_bytes = sum(pieces[root] for root in self.free)
        self.entrusted_bytes = self.owed_bytes - self.washed_bytes
        """What strangers placed here at the beginning."""

        self._kept_bytes = 0
        """Of what is owed no longer and kept all the same."""

        self.disk_bytes = 0.0
        self._is_stale = True
        self._is_whole = True
        self.begin_epoch()

    def begin_epoch(self) -> None:
        """Take the inventory of an epoch."""
        if not self._is_stale:
            return
        self._is_stale = False
        if len(self.inventory) != len(self.owed):
            self.inventory = Inventory(self.owed.items())
        self._is_whole = self._has_inventory()
        self._count()

    def drop(self, roots: Iterable[Root]) -> None:
        """Delete pieces and say nothing."""
        self.missing.update(root for root in roots if root in self.owed)
        self._is_whole = self._has_inventory()
        self._count()

    def report(self, roots: Iterable[Root], newest_round: int) -> None:
        """Tell the validator that pieces are lost, before it asks."""
        for root in sorted(roots):
            self.reported.setdefault(root, newest_round)
        self.lose(self.reported)

    def lose(self, roots: Iterable[Root]) -> None:
        """Strike pieces from what is owed: a loss record names them."""
        for root in roots:
            length = self.owed.pop(root, None)
            if length is not None:
                self.owed_bytes -= length
                self._is_stale = True
        self._count()

    def release(self, roots: Iterable[Root]) -> None:
        """Strike pieces from what is owed because their accounts dropped them; they stay on the disk."""
        released = [root for root in roots if root in self.owed]
        self._kept_bytes += sum(self.owed[root] for root in released)
        self.lose(released)

    def has_all_of(self, inventory: Inventory) -> bool:
        """Whether nothing of an inventory is known to be missing, which is quick to say of the epoch's own alone."""
        return self._is_whole and inventory is self.inventory

    def draw_pieces(self, count: int, rng: Random) -> list[tuple[Root, int]]:
        """Return up to so many distinct pieces that are owed now, with their lengths, drawn by the inventory's leaves.

        Raises UsageError where the inventory is empty.
        """
        inventory = self.inventory
        total = inventory.total_leaves
        drawn: dict[Root, int] = {}
        for _ in range(count):
            root = inventory.locate(int(rng.random() * total)).root
            length = self.owed.get(root)
            if length is not None:
                drawn[root] = length
        return sorted(drawn.items())

    def _has_inventory(self) -> bool:
        return not self.missing or self.missing.isdisjoint(self.inventory)

    def _count(self) -> None:
        spared = sum(self.owed[root] for root in (self.missing | self.free) & self.owed.keys())
        self.disk_bytes = float(self.owed_bytes - spared + self._kept_bytes)
