"""How many leaves a transcript counts for and against each miner (PROTOCOL §6).

Validators count so, and so does everybody who checks them.
"""

from __future__ import annotations

from collections.abc import Iterable

from hippy.ids import PublicKey
from hippy.proofs.transcript_entry import TranscriptEntry
from hippy.proofs.verify import Verdict
from hippy.validator.scoring import Leaves


def leaves_of(entry: TranscriptEntry, batch_leaves: int) -> Leaves:
    """Return what one asking counts: nothing until the batch is settled, nothing for entries that are void."""
    if not entry.settled:
        return Leaves()
    void = {each.entry for each in entry.voids}
    if not entry.answered:
        return Leaves(bad=batch_leaves - len(void))
    counted = [verdict for place, verdict in enumerate(entry.verdicts) if place not in void]
    shown = counted.count(Verdict.OK)
    return Leaves(shown, len(counted) - shown)


def leaves_by_miner(entries: Iterable[TranscriptEntry], batch_leaves: int) -> dict[PublicKey, Leaves]:
    """Return the sums of all entries, for every miner that has one."""
    sums: dict[PublicKey, Leaves] = {}
    for entry in entries:
        sums[entry.miner] = sums.get(entry.miner, Leaves()) + leaves_of(entry, batch_leaves)
    return sums
