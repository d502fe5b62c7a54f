"""How much of what is said of each miner is the validator's word, and what to make of it (PROTOCOL §6). Pure.

A validator can spare a friend by never asking it, or by throwing its answers away, and every entry then is well formed.
It cannot hide that it did: the friend has more such entries than the others, or no others.

Example::

    testimony = Testimony()
    for entry in transcript.entries: testimony.take(entry)
    testimony.remarks(weights)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from hippy.ids import PublicKey
from hippy.proofs.transcript_entry import Outcome, TranscriptEntry
from hippy.validator.verifying.difference import Remark

PPM: Final = 1_000_000
FAR_ABOVE_PPM: Final = 300_000
"""A miner whose share of testimony is by as much above the median is named: honest outages are shorter, or everybody's,
or cost uptime."""

ENTRIES_MIN: Final = 8
"""Of fewer entries a share says nothing: two epochs of four."""


@dataclass(slots=True)
class MinerTestimony:
    """The entries about one miner; those that were not answered by how they are told."""

    entries: int = 0
    answered: int = 0
    leaves: int = 0
    words: Counter[str] = field(default_factory=Counter)
    """``silent``, ``offline``, ``unknown``, ``never_asked``, ``failed_unanswered``."""

    @property
    def testimony_ppm(self) -> int:
        """The share of entries that rest on the validator's word."""
        return PPM * (self.entries - self.answered) // self.entries if self.entries else 0


class Testimony:
    """The entries of all epochs that were checked, by miner."""

    def __init__(self) -> None:
        self.miners: dict[PublicKey, MinerTestimony] = {}

    def take(self, entry: TranscriptEntry) -> None:
        """Count an entry of an epoch that is checked."""
        miner = self.miners.setdefault(entry.miner, MinerTestimony())
        miner.entries += 1
        if entry.answered:
            miner.answered += 1
            miner.leaves += len(entry.verdicts)
        else:
            miner.words[_word(entry)] += 1

    def remarks(self, weights: Mapping[PublicKey, int]) -> list[Remark]:
        """Return what is to be said of miners; ``weights`` are those of the newest sheet."""
        usual = median(miner.testimony_ppm for miner in self.miners.values()) if self.miners else 0
        found = []
        for hotkey, miner in sorted(self.miners.items()):
            told = ", ".join(f"{count:,} {word.replace('_', ' ')}" for word, count in sorted(miner.words.items()))
            if weights.get(hotkey, 0) and not miner.leaves:
                found.append(Remark(f"it weighs something, and has shown not one leaf: {told}", miner=hotkey))
            elif miner.entries >= ENTRIES_MIN and miner.testimony_ppm > usual + FAR_ABOVE_PPM:
                share = f"{miner.testimony_ppm / 1e4:.0f} % of its entries, the median is {usual / 1e4:.0f} %"
                found.append(
                    Remark(f"far more of it than of others is the validator's word: {share} ({told})", None, hotkey)
                )
        return found


def _word(entry: TranscriptEntry) -> str:
    if not entry.asked:
        return "never_asked"
    return "failed_unanswered" if entry.outcome is Outcome.FAIL else entry.outcome.name.lower()
