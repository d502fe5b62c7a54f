"""What a miner does with its pieces and with questions: honesty, and the hooks by which others deviate.

A strategy models contents: which leaves it can show. Everything else (which leaves are asked, when, what follows) is
the real validator's. Invariants: an answer has one verdict for every entry of its question; None is silence.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from hippy.ids import Root
from hippy.proofs.inventory import Inventory, PieceLeaf
from hippy.proofs.request import ENTRIES_MAX
from hippy.proofs.verify import Verdict
from hippy.sim.shelf import Shelf

Answer: TypeAlias = Sequence[Verdict] | None

ALL_SHOWN: Final = (Verdict.OK,) * ENTRIES_MAX


@dataclass(slots=True)
class Question:
    """The leaves of one batch, ``count`` of them; they are drawn and looked up when somebody has to look at them."""

    round: int
    count: int
    inventory: Inventory
    draw: Callable[[], Sequence[int]]
    """Returns the numbers of the leaves."""

    _entries: tuple[PieceLeaf, ...] = field(default=())

    @property
    def entries(self) -> tuple[PieceLeaf, ...]:
        """Piece and leaf of every entry."""
        if not self._entries:
            self._entries = tuple(map(self.inventory.locate, self.draw()))
        return self._entries


@dataclass(frozen=True, slots=True)
class Morning:
    """When an epoch begins: its number among how many, the newest beacon round."""

    epoch: int
    epochs: int
    newest_round: int


class Strategy(ABC):
    """One miner's behaviour; what is not overridden is honest."""

    bps: int | None = None
    """What it throttles its pipe to."""

    late_seconds: float = 0.0
    """How long it sits on the first byte of a piece."""

    serves_customers: bool = True
    """Whether customers can read what it has."""

    @abstractmethod
    def answer(self, shelf: Shelf, question: Question, now: float) -> Answer:
        """Return what the miner says to a batch."""

    def begin_epoch(self, shelf: Shelf, morning: Morning) -> None:  # noqa: B027 - most do nothing here
        """Do what the strategy does to its disk, just after the epoch's inventory was taken."""

    def is_there(self, now: float) -> bool:
        """Whether it answers at all, its machine being up."""
        return True

    def serves(self, shelf: Shelf, root: Root, length: int) -> bool:
        """Whether it sends the right bytes of a whole piece."""
        return root not in shelf.missing

    def extra_bytes(self, answer_bytes: int) -> int:
        """Return what answering a batch makes it move beside the answer."""
        return 0


def truthful(shelf: Shelf, question: Question, otherwise: Verdict) -> Answer:
    """Return the answer that shows every leaf there is and says something else of each that is missing."""
    if shelf.has_all_of(question.inventory):
        return ALL_SHOWN[: question.count]
    missing = shelf.missing
    return tuple(otherwise if entry.root in missing else Verdict.OK for entry in question.entries)


class Honest(Strategy):
    """Keep everything, show everything, serve everything; say of a lost leaf that it is lost."""

    def answer(self, shelf: Shelf, question: Question, now: float) -> Answer:
        """Show every leaf."""
        return truthful(shelf, question, Verdict.LOST)
