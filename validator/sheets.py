"""The score sheet of an epoch that has ended (PROTOCOL §6). Pure.

Owns who is in a sheet and how its rows follow from the sheet before; the formulas are hippy.validator.scoring's.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from hippy.chain.protocol import Metagraph, Neuron
from hippy.ids import ZERO_ID, MessageId, PublicKey
from hippy.validator.held import HeldBytes
from hippy.validator.scoring import Evidence, Leaves, Tally, next_score
from hippy.wire.score import MinerScore, ScoreRules, ScoreSheet

NOTHING_HELD: Final = HeldBytes(0, 0, {})


@dataclass(frozen=True, slots=True)
class EpochFacts:
    """What an epoch's sheet rests on, each by miner: what it holds at the end, leaves counted, sums of probes."""

    held: Mapping[PublicKey, HeldBytes]
    leaves: Mapping[PublicKey, Leaves]
    tallies: Mapping[PublicKey, Tally]


def make_sheet(
    before: ScoreSheet | None,
    facts: EpochFacts,
    metagraph: Metagraph,
    rules: ScoreRules,
    *,
    network: bytes,
    netuid: int,
    validator: PublicKey,
    epoch: int,
) -> ScoreSheet:
    """Return the sheet of ``epoch``; ``before`` is that of the last epoch that had one."""
    scores = {score.hotkey: score for score in before.miners} if before is not None else {}
    members = scores.keys() | facts.held.keys() | facts.leaves.keys()
    return ScoreSheet(
        netuid=netuid,
        validator=validator,
        epoch=epoch,
        prev_sheet=MessageId(ZERO_ID) if before is None else before.id(network),
        rules=rules,
        miners=tuple(
            next_score(scores.get(neuron.hotkey), _evidence(neuron, facts, metagraph), rules, epoch=epoch)
            for neuron in _registered(metagraph, members, validator)
        ),
    )


def score_of(sheet: ScoreSheet | None, hotkey: PublicKey) -> MinerScore | None:
    """Return a miner's row, None where it has none."""
    return None if sheet is None else next((score for score in sheet.miners if score.hotkey == hotkey), None)


def is_escalated(sheet: ScoreSheet | None, hotkey: PublicKey, epoch: int) -> bool:
    """Return whether a miner is asked more in ``epoch``, by the sheet of an epoch before."""
    score = score_of(sheet, hotkey)
    return score is not None and score.escalated_until is not None and score.escalated_until >= epoch


def age_epochs(neuron: Neuron, metagraph: Metagraph) -> int:
    """Return how many epochs ago a neuron was registered."""
    return max(0, metagraph.block - neuron.registered_block) // max(1, metagraph.tempo_blocks)


def _registered(metagraph: Metagraph, members: Collection[PublicKey], validator: PublicKey) -> list[Neuron]:
    found = [neuron for neuron in metagraph.neurons if neuron.hotkey in members and neuron.hotkey != validator]
    return sorted(found, key=lambda neuron: neuron.hotkey)


def _evidence(neuron: Neuron, facts: EpochFacts, metagraph: Metagraph) -> Evidence:
    held = facts.held.get(neuron.hotkey, NOTHING_HELD)
    return Evidence(
        hotkey=neuron.hotkey,
        coldkey=neuron.coldkey,
        uid=neuron.uid,
        paid_bytes=held.paid_bytes,
        unpaid_bytes=held.unpaid_bytes,
        leaves=facts.leaves.get(neuron.hotkey, Leaves()),
        tally=facts.tallies.get(neuron.hotkey, Tally()),
        age_epochs=age_epochs(neuron, metagraph),
    )
