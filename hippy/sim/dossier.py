"""What a simulated validator knows of one miner: the sums of its probes over the window, its leaves, its last score."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from hippy.proofs.verify import Verdict
from hippy.validator.scoring import Leaves, Tally
from hippy.wire.score import MinerScore


class Dossier:
    """The notes on one miner, epoch by epoch."""

    def __init__(self, window_epochs: int) -> None:
        self.score: MinerScore | None = None
        self.live_ok = self.live_total = 0
        self.reads_ok = self.reads_total = 0
        self.read_bytes = self.read_microseconds = 0
        self.leaves_ok = self.leaves_bad = 0
        self._window_epochs = window_epochs
        self._window: deque[tuple[int, ...]] = deque()
        self._sums: tuple[int, ...] = (0,) * 6

    def count(self, verdicts: Sequence[Verdict]) -> None:
        """Count the entries of a settled batch that are not void."""
        shown = verdicts.count(Verdict.OK)
        self.leaves_ok += shown
        self.leaves_bad += len(verdicts) - shown

    def end_epoch(self) -> tuple[Leaves, Tally]:
        """Return the epoch's leaves and the window's probes, and begin anew."""
        epoch = (
            self.live_ok,
            self.live_total,
            self.reads_ok,
            self.reads_total,
            self.read_bytes,
            self.read_microseconds,
        )
        leaves = Leaves(self.leaves_ok, self.leaves_bad)
        self.live_ok = self.live_total = self.reads_ok = self.reads_total = 0
        self.read_bytes = self.read_microseconds = self.leaves_ok = self.leaves_bad = 0
        gone = self._window.popleft() if len(self._window) == self._window_epochs else (0,) * 6
        self._window.append(epoch)
        self._sums = tuple(total + new - old for total, new, old in zip(self._sums, epoch, gone, strict=True))
        return leaves, Tally(*self._sums)
