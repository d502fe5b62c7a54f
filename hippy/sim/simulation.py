"""The run: epoch after epoch until the end, emission split by incentives, notes taken on every strategy.

Example::

    run = simulate(Settings(miners=100, days=7), chosen(["drop-1%"]))
    weights_over_time(run)["drop-1%"]
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from hippy.chain.yuma import consensus_incentive
from hippy.ids import PublicKey
from hippy.sim.miner import SimMiner
from hippy.sim.settings import Settings
from hippy.sim.strategies import HONEST, Operation
from hippy.sim.strategy import Morning
from hippy.sim.validator import SimValidator
from hippy.sim.world import Holdings, World, make_world
from hippy.validator.audit.rules import rules_for
from hippy.validator.weights import weights_of
from hippy.wire.score import MinerScore

PPM: Final = 1_000_000
NOTICED: Final = 0.98
"""A strategy is detected by a weight per byte below this part of honest miners', or a leaf that was not shown."""

Telling = Callable[[int, int], None]
"""Epochs done, epochs in all."""


@dataclass(slots=True)
class Notes:
    """What became of one strategy: the newest scores of its miners, when it was detected, its weight over time."""

    scores: list[MinerScore] = field(default_factory=list)
    detected_epoch: int | None = None
    history: list[float] = field(default_factory=list)
    """Weight per byte that strangers placed there, in every epoch."""

    lowest: list[float] = field(default_factory=list)
    """The least Q·U·R·T of any of its miners, in every epoch."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run that has ended."""

    settings: Settings
    operations: Mapping[str, Operation]
    by_operator: Mapping[str, Sequence[SimMiner]]
    notes: Mapping[str, Notes]
    holdings: Holdings


def simulate(settings: Settings, operations: Mapping[str, Operation], telling: Telling | None = None) -> Run:
    """Run a network of these operations and honest miners; everything follows from ``settings.seed``.

    Raises UsageError when the world cannot be made.
    """
    world = make_world(settings, operations)
    validators = _validators(world)
    by_operator: dict[str, list[SimMiner]] = defaultdict(list)
    for miner in world.miners:
        by_operator[miner.operator].append(miner)
    notes = {name: Notes() for name in by_operator}
    for epoch in range(settings.epochs):
        morning = Morning(epoch, settings.epochs, epoch * settings.rounds)
        for miner in world.miners:
            miner.shelf.begin_epoch()
            miner.strategy.begin_epoch(miner.shelf, morning)
            miner.live_through_epoch(settings.customers_read)
        sheets = [validator.run_epoch(epoch) for validator in validators]
        _pay(world, validators, sheets)
        _take_notes(sheets[0], by_operator, notes)
        if telling:
            telling(epoch + 1, settings.epochs)
    return Run(settings, operations, by_operator, notes, world.holdings)


def _validators(world: World) -> list[SimValidator]:
    settings = world.settings
    rules = rules_for(settings.epoch_seconds)
    return [
        SimValidator(
            hotkey,
            secret,
            world.miners,
            settings,
            rules,
            random.Random(f"{settings.seed} validator {number}"),  # noqa: S311 - a replayable run, no secret
        )
        for number, (hotkey, secret) in enumerate(zip(world.validators, world.secrets, strict=True))
    ]


def _pay(world: World, validators: Sequence[SimValidator], sheets: Sequence[Sequence[MinerScore]]) -> None:
    """Split an epoch's emission, which is one for every miner, by the incentives that the weights come to."""
    metagraph = world.metagraph
    weights = {
        uid: weights_of(sheet, metagraph, validator.hotkey)
        for uid, (validator, sheet) in enumerate(zip(validators, sheets, strict=True))
    }
    incentives = consensus_incentive(weights, {neuron.uid: neuron.stake_rao for neuron in metagraph.neurons})
    for miner in world.miners:
        miner.revenue += incentives[miner.uid] * len(world.miners)


def _take_notes(
    sheet: Sequence[MinerScore], by_operator: Mapping[str, Sequence[SimMiner]], notes: Mapping[str, Notes]
) -> None:
    """Note scores, weight and detection of every strategy as the first validator sees them."""
    by_hotkey: dict[PublicKey, MinerScore] = {score.hotkey: score for score in sheet}
    for name, miners in by_operator.items():
        note = notes[name]
        note.scores = [by_hotkey[miner.hotkey] for miner in miners if miner.hotkey in by_hotkey]
        note.lowest.append(min(map(merit, note.scores), default=0.0))
        entrusted = sum(miner.shelf.entrusted_bytes for miner in miners)
        note.history.append(sum(score.weight for score in note.scores) / entrusted if entrusted else 0.0)
    for note in notes.values():
        is_light = note.history[-1] < NOTICED * notes[HONEST].history[-1]
        if note.detected_epoch is None and (is_light or any(score.leaves_bad for score in note.scores)):
            note.detected_epoch = len(note.history) - 1


def merit(score: MinerScore) -> float:
    """Return Q·U·R·T, which is the weight as part of what as many bytes of this age can weigh."""
    return score.proof_ppm * score.uptime_ppm * score.reads_ppm * score.speed_ppm / PPM**4


def weights_over_time(run: Run) -> dict[str, list[float]]:
    """Return the weight per entrusted byte of every strategy against honest miners', epoch by epoch."""
    honest = run.notes[HONEST].history
    return {
        name: [weight / peer if peer else 0.0 for weight, peer in zip(note.history, honest, strict=True)]
        for name, note in run.notes.items()
    }
