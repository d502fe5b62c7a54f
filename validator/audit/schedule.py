"""The batches of an epoch, from its secret and its header (PROTOCOL §5.2).

Everybody who has the secret computes the same batches; nothing here is a choice.

Example::

    for due in schedule(secret, epoch=7, first_round=900, rounds=1_440, batches={miner: 4}):
        ...
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from hippy.ids import PublicKey
from hippy.proofs.challenge import batch_round
from hippy.validator.audit.rules import ROUNDS_MIN, margin_of


class BatchKey(NamedTuple):
    """Which batch: ``number`` counts from 0 within miner and epoch."""

    epoch: int
    miner: PublicKey
    number: int


class Scheduled(NamedTuple):
    """A batch and the beacon round from which it is drawn."""

    round: int
    key: BatchKey


def schedule(
    epoch_secret: bytes, *, epoch: int, first_round: int, rounds: int, batches: Mapping[PublicKey, int]
) -> list[Scheduled]:
    """Return all batches by ascending round; none for an epoch of fewer than two rounds.

    ``batches`` is the number of each miner that owes anything.
    """
    if rounds < ROUNDS_MIN:
        return []
    margin = margin_of(rounds)
    return sorted(
        Scheduled(batch_round(epoch_secret, miner, number, first_round, rounds, margin), BatchKey(epoch, miner, number))
        for miner, count in batches.items()
        for number in range(count)
    )
