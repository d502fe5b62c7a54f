"""When most miners seem gone, it is more likely the validator that is cut off (PROTOCOL §5.5).

Invariants: doubt needs more than half of the audited miners missing at their last contact; it is had in at most
``epochs_max`` epochs in a row, and an epoch ends the row only if most miners were there throughout, so a majority
that is silent for good is judged like anybody else.
"""

from __future__ import annotations

from collections.abc import Iterable

from hippy.ids import PublicKey


class Doubt:
    """Who answered last time, and whether so few did that the validator doubts itself."""

    def __init__(self, epochs_max: int, streak: int = 0) -> None:
        """``streak`` is that of an earlier run; it holds for the first epoch that begins."""
        self._epochs_max = epochs_max
        self._has_begun = False
        self._streak = streak
        self._there: dict[PublicKey, bool] = {}
        self._missing = 0
        self._was_majority_missing = False

    @property
    def streak(self) -> int:
        """Epochs in a row, before the current one, in which most miners were missing at some time."""
        return self._streak

    @property
    def doubts(self) -> bool:
        """Whether silence and absence mean nothing now."""
        return self._is_majority_missing and self._streak < self._epochs_max

    def begin_epoch(self, miners: Iterable[PublicKey]) -> None:
        """Begin an epoch with these miners to audit; new ones count as there."""
        if self._has_begun:
            self._streak = self._streak + 1 if self._was_majority_missing else 0
        self._has_begun = True
        self._there = {miner: self._there.get(miner, True) for miner in miners}
        self._missing = sum(not there for there in self._there.values())
        self._was_majority_missing = self._is_majority_missing

    def contact(self, miner: PublicKey, *, there: bool) -> None:
        """Note whether a miner answered; strangers are ignored."""
        before = self._there.get(miner)
        if before is None or before == there:
            return
        self._there[miner] = there
        self._missing += -1 if there else 1
        self._was_majority_missing = self._was_majority_missing or self._is_majority_missing

    @property
    def _is_majority_missing(self) -> bool:
        return 2 * self._missing > len(self._there)
