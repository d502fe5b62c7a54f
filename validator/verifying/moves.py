"""Whether a piece was moved to one of the miners that its home could choose from (PROTOCOL §5.1, §7). Pure.

Owns the candidate sets of a log, as far as moves need them. That the piece was lost, or its miner asked to leave, and
that nobody gets two pieces of a segment, hippy.validator.history checks; receipts are receipts.py's.

The draw itself is not computed again, as that of allocations is not: who refused a piece, or had no room for it, only
the home knows.

Example::

    sets = CandidateSets()
    sets.add(entry.candidates, entry.record.seq)
    sets.check(entry.moved, entry.record.seq)
"""

from __future__ import annotations

from array import array

from hippy.ids import PublicKey
from hippy.validator.verifying.difference import Difference
from hippy.wire.log import CandidateSet
from hippy.wire.repair import PieceMoved


class CandidateSets:
    """Who was a candidate by which record; four bytes for each member of a set."""

    def __init__(self) -> None:
        self._numbers: dict[PublicKey, int] = {}
        self._sets: dict[int, array[int]] = {}

    def add(self, members: CandidateSet, seq: int) -> None:
        """Take the candidates of a record."""
        numbers = (self._numbers.setdefault(each.hotkey, len(self._numbers)) for each in members.candidates)
        self._sets[seq] = array("I", numbers)

    def check(self, moved: PieceMoved, seq: int) -> None:
        """Check the record ``seq``. Raises Difference unless its miner is in the set that it names."""
        members, miner = self._sets.get(moved.candidates_seq), moved.holding.miner
        if members is None:
            what = f"names record {moved.candidates_seq} for the candidates, which has none"
        elif self._numbers.get(miner) not in members:
            what = f"moves a piece to a miner that is no candidate by record {moved.candidates_seq}"
        else:
            return
        raise Difference(f"record {seq} of the log {what}", miner=miner)
