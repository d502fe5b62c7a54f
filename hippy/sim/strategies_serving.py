"""Strategies that keep everything and save on serving it."""

from __future__ import annotations

from hippy.ids import Root
from hippy.proofs.verify import Verdict
from hippy.sim.shelf import Shelf
from hippy.sim.strategy import Answer, Question, Strategy, truthful


class AuditsOnly(Strategy):
    """Answer every audit and refuse every read."""

    serves_customers = False

    def answer(self, shelf: Shelf, question: Question, now: float) -> Answer:
        """Show every leaf."""
        return truthful(shelf, question, Verdict.LOST)

    def serves(self, shelf: Shelf, root: Root, length: int) -> bool:
        """Refuse."""
        return False


class Slow(Strategy):
    """Answer and serve everything through a pipe that is too narrow."""

    def __init__(self, bps: int) -> None:
        """``bps`` is what is left of the pipe."""
        self.bps = bps

    def answer(self, shelf: Shelf, question: Question, now: float) -> Answer:
        """Show every leaf."""
        return truthful(shelf, question, Verdict.LOST)


class Late(Strategy):
    """Sit on the first byte of every piece, then send the rest as fast as the pipe allows."""

    def __init__(self, late_seconds: float) -> None:
        self.late_seconds = late_seconds

    def answer(self, shelf: Shelf, question: Question, now: float) -> Answer:
        """Show every leaf."""
        return truthful(shelf, question, Verdict.LOST)
