"""Probes of the last epochs, summed by miner. Pure.

A score rests on a week of liveness checks and reads (PROTOCOL §6). Sums are kept up to date as epochs come and go,
so that closing an epoch does not add up the week again.

Example::

    window = TallyWindow(epochs_max=140)
    window.add(7, {miner: Tally(live_ok=11, live_total=12)})
    window.sum_of(miner).live_total
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import fields

from hippy.ids import PublicKey
from hippy.validator.scoring import Tally

_NAMES = tuple(each.name for each in fields(Tally))


class TallyWindow:
    """The tallies of the newest epochs; older ones are forgotten as new ones come."""

    def __init__(self, epochs_max: int) -> None:
        self._epochs_max = epochs_max
        self._epochs: deque[tuple[int, Mapping[PublicKey, Tally]]] = deque()
        self._sums: dict[PublicKey, Tally] = {}

    def add(self, epoch: int, tallies: Mapping[PublicKey, Tally]) -> None:
        """Add an epoch, later than all before; the window ends with it."""
        assert not self._epochs or epoch > self._epochs[-1][0]
        self._epochs.append((epoch, tallies))
        for miner, tally in tallies.items():
            self._sums[miner] = self.sum_of(miner) + tally
        while self._epochs[0][0] <= epoch - self._epochs_max:
            self._forget(self._epochs.popleft()[1])

    def sum_of(self, miner: PublicKey) -> Tally:
        """Return a miner's sums over the window."""
        return self._sums.get(miner, Tally())

    def _forget(self, tallies: Mapping[PublicKey, Tally]) -> None:
        for miner, tally in tallies.items():
            rest = _less(self._sums[miner], tally)
            if rest == Tally():
                del self._sums[miner]
            else:
                self._sums[miner] = rest


def _less(total: Tally, part: Tally) -> Tally:
    return Tally(*(getattr(total, name) - getattr(part, name) for name in _NAMES))
