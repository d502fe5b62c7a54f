"""Strategies that lack bytes and answer all the same, and one that has more than it owes."""

from __future__ import annotations

from typing import Final

from hippy.ids import Root
from hippy.proofs.inventory import PieceLeaf
from hippy.proofs.tree import leaf_count
from hippy.proofs.verify import Verdict
from hippy.sim.shelf import Shelf
from hippy.sim.strategy import Answer, Morning, Question, Strategy, truthful

MATES: Final = 10
"""Pieces from which one is rebuilt (10/24)."""


def some_of(shelf: Shelf, share: float) -> list[Root]:
    """Return a share of the pieces, at least one of those there are; roots are as good as chance."""
    roots = sorted(shelf.owed)
    return roots[: max(1, round(share * len(roots)))] if share > 0 else []


def drop_once(shelf: Shelf, morning: Morning, share: float) -> None:
    """Delete a share of the pieces in the first epoch."""
    if morning.epoch == 0:
        shelf.drop(some_of(shelf, share))


class Dropper(Strategy):
    """Delete a share of the pieces at the beginning, and lie or confess (the price is the same) when asked."""

    def __init__(self, share: float, verdict: Verdict = Verdict.LOST) -> None:
        """``verdict`` is what comes of a leaf that is not there."""
        self._share = share
        self._verdict = verdict

    def begin_epoch(self, shelf: Shelf, morning: Morning) -> None:
        """Delete once."""
        drop_once(shelf, morning, self._share)

    def answer(self, shelf: Shelf, question: Question, now: float) -> Answer:
        """Show what is left."""
        return truthful(shelf, question, self._verdict)


class Regenerator(Strategy):
    """Keep nothing and rebuild each leaf from ten stripe-mates when asked: it comes out without the seal."""

    def begin_epoch(self, shelf: Shelf, morning: Morning) -> None:
        """Delete everything."""
        drop_once(shelf, morning, 1.0)

    def answer(self, shelf: Shelf, question: Question, now: float) -> Answer:
        """Show what was rebuilt."""
        return truthful(shelf, question, Verdict.WRONG)

    def extra_bytes(self, answer_bytes: int) -> int:
        """Fetch the same leaf of every mate."""
        return MATES * answer_bytes


class Corrupter(Strategy):
    """Keep everything on a disk that has flipped a bit in a share of the leaves."""

    def __init__(self, one_in: int) -> None:
        """One leaf in so many is corrupt."""
        self._one_in = one_in

    def answer(self, shelf: Shelf, question: Question, now: float) -> Answer:
        """Show what the disk gives."""
        return tuple(Verdict.WRONG if self._is_corrupt(entry) else Verdict.OK for entry in question.entries)

    def serves(self, shelf: Shelf, root: Root, length: int) -> bool:
        """Send a piece if every leaf of it is right."""
        return not any(self._is_corrupt(PieceLeaf(root, leaf)) for leaf in range(leaf_count(length)))

    def _is_corrupt(self, entry: PieceLeaf) -> bool:
        return (int.from_bytes(entry.root[:8], "little") + entry.leaf) % self._one_in == 0


class CopySharer(Strategy):
    """One of several identities before one disk: the first keeps its pieces, the others show them for their own."""

    def __init__(self, number: int) -> None:
        """``number`` counts the identities from 0."""
        self._has_disk = number == 0

    def begin_epoch(self, shelf: Shelf, morning: Morning) -> None:
        """Keep one copy only."""
        if not self._has_disk:
            drop_once(shelf, morning, 1.0)

    def answer(self, shelf: Shelf, question: Question, now: float) -> Answer:
        """Show leaves of the shared copy, which were sealed for another index and lead to another root."""
        return truthful(shelf, question, Verdict.WRONG)


class ExitScammer(Strategy):
    """Be honest for half of the time, then delete everything."""

    def begin_epoch(self, shelf: Shelf, morning: Morning) -> None:
        """Delete everything half-way."""
        if morning.epoch == morning.epochs // 2:
            shelf.drop(list(shelf.owed))

    def answer(self, shelf: Shelf, question: Question, now: float) -> Answer:
        """Show what is left."""
        return truthful(shelf, question, Verdict.LOST)


class SelfReporter(Strategy):
    """Lose a share of the pieces, and say so before anybody asks."""

    def __init__(self, share: float) -> None:
        self._share = share

    def begin_epoch(self, shelf: Shelf, morning: Morning) -> None:
        """Lose once and report at once."""
        if morning.epoch == 0:
            shelf.report(some_of(shelf, self._share), morning.newest_round)

    def answer(self, shelf: Shelf, question: Question, now: float) -> Answer:
        """Show what is left and say of the rest what was reported: that it is lost."""
        gone = shelf.reported
        return tuple(Verdict.LOST if entry.root in gone else Verdict.OK for entry in question.entries)

    def serves(self, shelf: Shelf, root: Root, length: int) -> bool:
        """Send what is left."""
        return root not in shelf.reported


class Hoarder(Strategy):
    """Keep what accounts have dropped, and show and serve it to whoever asks, to be paid for it.

    What is paid is what the log says is held, so this costs a disk and brings nothing; an honest miner throws it
    away after a week.
    """

    def __init__(self, share: float) -> None:
        """``share`` of the pieces is dropped in the first epoch."""
        self._share = share

    def begin_epoch(self, shelf: Shelf, morning: Morning) -> None:
        """Have customers drop a share of the pieces."""
        if morning.epoch == 0:
            shelf.release(some_of(shelf, self._share))

    def answer(self, shelf: Shelf, question: Question, now: float) -> Answer:
        """Show every leaf, those that nobody needs any more too: an epoch asks for what it began with."""
        return truthful(shelf, question, Verdict.LOST)
