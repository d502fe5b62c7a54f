"""Strategies that are silent, away or say nothing to the point when they would fail, and one that comes and goes."""

from __future__ import annotations

from typing import Final

from hippy.proofs.verify import Verdict
from hippy.sim.shelf import Shelf
from hippy.sim.strategies_missing import drop_once
from hippy.sim.strategy import ALL_SHOWN, Answer, Morning, Question, Strategy, truthful

AWAY_SECONDS: Final = 165.0
"""Longer than the 150 s after an asking in which a contact shows that the miner was there."""

HOUR: Final = 3_600.0
DOWN_SECONDS: Final = 300.0


def _lacks(shelf: Shelf, question: Question) -> bool:
    if shelf.has_all_of(question.inventory):
        return False
    return any(entry.root in shelf.missing for entry in question.entries)


class Silent(Strategy):
    """Lack a share of the pieces and answer only batches that ask for none of them.

    Whoever sends an old answer instead has sent none (§5.3): that is the same strategy.
    """

    def __init__(self, share: float) -> None:
        self._share = share

    def begin_epoch(self, shelf: Shelf, morning: Morning) -> None:
        """Delete once."""
        drop_once(shelf, morning, self._share)

    def answer(self, shelf: Shelf, question: Question, now: float) -> Answer:
        """Say nothing rather than fail."""
        return None if _lacks(shelf, question) else ALL_SHOWN[: question.count]


class Absent(Strategy):
    """Lack a share of the pieces and unplug for a moment whenever a batch asks for one of them."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._back_time = 0.0

    def begin_epoch(self, shelf: Shelf, morning: Morning) -> None:
        """Delete once."""
        drop_once(shelf, morning, self._share)

    def answer(self, shelf: Shelf, question: Question, now: float) -> Answer:
        """Unplug rather than fail."""
        if not _lacks(shelf, question):
            return ALL_SHOWN[: question.count]
        self._back_time = now + AWAY_SECONDS
        return None

    def is_there(self, now: float) -> bool:
        """Come back when the asking has been forgotten."""
        return now >= self._back_time


class DarkExit(Absent):
    """Be honest for half of the time, then delete everything and unplug for a moment at every question."""

    def __init__(self) -> None:
        super().__init__(share=1.0)

    def begin_epoch(self, shelf: Shelf, morning: Morning) -> None:
        """Delete everything half-way."""
        if morning.epoch == morning.epochs // 2:
            shelf.drop(list(shelf.owed))


class Flapper(Strategy):
    """Keep everything, but be away for five minutes of every hour."""

    def answer(self, shelf: Shelf, question: Question, now: float) -> Answer:
        """Show every leaf."""
        return truthful(shelf, question, Verdict.LOST)

    def is_there(self, now: float) -> bool:
        """Be there for the rest of the hour."""
        return now % HOUR >= DOWN_SECONDS
