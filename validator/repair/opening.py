"""Putting a validator's repair together."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from hippy.clock import Clock
from hippy.kv import Database
from hippy.transport.client import Http
from hippy.validator.commit import EnvelopeKey
from hippy.validator.directory import MinerDirectory
from hippy.validator.log import Home
from hippy.validator.planner import Planner
from hippy.validator.repair.budget import MBIT_BYTES, ReadBudget
from hippy.validator.repair.failing import FailingSources
from hippy.validator.repair.following import Following
from hippy.validator.repair.ordering import Ordering
from hippy.validator.repair.planning import Planning
from hippy.validator.repair.reading import SourceReader
from hippy.validator.repair.repairer import Repairer, Waits


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What repair stands on. ``signing`` signs as the validator, ``anonymous`` does not."""

    home: Home
    database: Database
    directory: MinerDirectory
    planner: Planner
    envelope_key: EnvelopeKey
    signing: Http
    anonymous: Http
    clock: Clock
    rng: Random


def make_repairer(around: Surroundings, *, mbit_s: float, at_once: int, epoch_seconds: float) -> Repairer:
    """Return what repairs: at most ``at_once`` orders, which make miners read no more than ``mbit_s`` on average."""
    failing = FailingSources()
    planning = Planning(
        around.home,
        around.database,
        around.directory,
        around.planner,
        around.envelope_key,
        around.clock,
        around.rng,
        failing,
        epoch_seconds=epoch_seconds,
    )
    following = Following(
        around.home,
        around.database,
        around.directory,
        planning,
        Ordering(around.home, around.signing, around.clock),
        SourceReader(around.anonymous, around.directory, around.rng),
        failing,
        around.clock,
        epoch_seconds=epoch_seconds,
    )
    return Repairer(
        around.database,
        around.directory,
        planning,
        following,
        ReadBudget(mbit_s * MBIT_BYTES),
        around.clock,
        around.rng,
        at_once=at_once,
        waits=Waits.of(epoch_seconds),
    )
