"""What transcripts say of a miner, and whether a stranger finds them right."""

from __future__ import annotations

from collections import Counter

from hippy.proofs.transcript import Transcript
from hippy.validator.verifying.record import Result
from tests.validator.auditing.world import MinerNode, Validator

FOUR = range(4)


def outcomes(transcript: Transcript, miner: MinerNode) -> list[tuple[int, int, int, str]]:
    """Epoch, batch, attempt and outcome of a miner's entries, in order."""
    return [
        (entry.epoch, entry.batch, entry.attempt, entry.outcome.name)
        for entry in transcript.entries
        if entry.miner == miner.hotkey
    ]


def passes(epoch: int, batches: range = FOUR) -> list[tuple[int, int, int, str]]:
    return [(epoch, number, 0, "PASS") for number in batches]


async def verified(validator: Validator) -> Result:
    """All epochs that ended, found right by a stranger."""
    result = await validator.verify()
    if result.difference is not None:
        raise result.difference
    assert result.matches[-1].epoch == result.newest_epoch - 1
    return result


def count_of(transcript: Transcript, miner: MinerNode) -> Counter[str]:
    return Counter(name for *_, name in outcomes(transcript, miner))
