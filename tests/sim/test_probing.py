"""Probes of simulated miners: what is read, what it counts, and what of it is absence."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from hippy.ids import Root
from hippy.sim.dossier import Dossier
from hippy.sim.miner import SimMiner
from hippy.sim.probing import SimProber
from hippy.sim.shelf import Shelf
from hippy.sim.strategies import chosen
from hippy.sim.strategies_absent import Flapper
from hippy.sim.strategies_serving import AuditsOnly
from hippy.sim.strategy import Honest
from hippy.sim.world import make_world
from hippy.validator.audit.engine import AuditEngine
from hippy.validator.audit.rules import AuditRules
from hippy.validator.scoring import Tally, throughput_bps
from hippy.wire.score import ScoreRules
from tests.sim.worlds import small

AWAY, THERE = 100.0, 400.0
"""Seconds into an hour in which a Flapper is away, and in which it is there."""

MEBIBYTE = 2**20


class Trial:
    """Miners without faults on lines of 200 Mbit/s, their prober and the notes that it takes."""

    def __init__(self, name: str = "split-4", *, bytes_stand_for: int = 1) -> None:
        world = make_world(small(loss=0.0, downtime=0.0, round_trips_seconds=(0.02, 0.02)), chosen([name]))
        self.miners: Sequence[SimMiner] = [miner for miner in world.miners if miner.operator == name]
        self.miner = self.miners[0]
        self.dossiers = {miner.hotkey: Dossier(140) for miner in self.miners}
        self.engine = AuditEngine(AuditRules())
        self.engine.begin_epoch([], self.dossiers)
        rules = ScoreRules(bps_per_terabyte=10_000_000 * bytes_stand_for)
        self.prober = SimProber(self.miners, self.dossiers, self.engine, rules, random.Random(4))

    def tally(self, miner: SimMiner | None = None) -> Tally:
        return self.dossiers[(miner or self.miner).hotkey].end_epoch()[1]


def without_speed(tally: Tally) -> tuple[int, int, int, int]:
    return tally.live_ok, tally.live_total, tally.reads_ok, tally.reads_total


def test_a_read_that_succeeds_says_nothing_of_liveness() -> None:
    trial = Trial()
    trial.prober.read([trial.miner], THERE)
    assert without_speed(trial.tally()) == (0, 0, 1, 1)


def test_a_failed_read_of_a_miner_that_is_away_is_a_failed_liveness_check_and_no_read() -> None:
    trial = Trial()
    trial.miner.strategy = Flapper()
    trial.prober.read([trial.miner], AWAY)
    assert without_speed(trial.tally()) == (0, 1, 0, 0)


def test_a_failed_read_of_a_miner_that_is_there_is_a_failed_read() -> None:
    trial = Trial()
    trial.miner.strategy = AuditsOnly()
    trial.prober.read([trial.miner], THERE)
    assert without_speed(trial.tally()) == (0, 0, 0, 1)


def test_a_read_of_which_a_part_came_counts_each_piece_and_no_speed() -> None:
    trial = Trial(bytes_stand_for=10**6)  # eight at once
    drawn = trial.miner.shelf.owed
    trial.miner.shelf.drop([root for root in drawn if root[0] % 2])
    trial.prober.read([trial.miner], THERE)
    found = trial.tally()
    assert 0 < found.reads_ok < found.reads_total <= 8
    assert (found.live_total, found.read_bytes, found.read_microseconds) == (0, 0, 0)


def test_while_the_validator_doubts_itself_no_failure_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    trial = Trial()
    monkeypatch.setattr(AuditEngine, "doubts", True)
    for strategy, now in ((Flapper(), AWAY), (AuditsOnly(), THERE)):
        trial.miner.strategy = strategy
        trial.prober.read([trial.miner], now)
        trial.prober.check(trial.miner, AWAY)
    assert without_speed(trial.tally()) == (1, 1, 0, 0)  # the refuser was there


def test_one_pipe_is_parted_among_those_who_are_read_at_the_same_moment_and_serve() -> None:
    speeds = []
    for serving in (1, 2, 4):
        trial = Trial()
        for miner in trial.miners:
            miner.shelf = Shelf({Root(bytes([place]) * 32): 4 * MEBIBYTE for place in range(9)})
            miner.strategy = Honest()
        for miner in trial.miners[serving:]:
            miner.strategy = AuditsOnly()
        (group,) = trial.prober.groups
        assert len(group) == 4
        trial.prober.read(group, THERE)
        speeds.append(throughput_bps(trial.tally()) or 0)
    assert speeds == [pytest.approx(200_000_000 / serving, rel=0.02) for serving in (1, 2, 4)]


@pytest.mark.parametrize(("terabytes", "pieces"), [(1, 1), (3, 1), (4, 2), (99, 8), (1_000, 8)])
def test_as_many_pieces_are_read_at_once_as_it_takes_to_see_what_is_required(terabytes: int, pieces: int) -> None:
    held = 60 * 4 * MEBIBYTE
    trial = Trial(bytes_stand_for=terabytes * 10**12 // held)
    trial.miner.shelf = Shelf({Root(random.Random(place).randbytes(32)): 4 * MEBIBYTE for place in range(60)})
    for _ in range(20):
        trial.prober.read([trial.miner], THERE)
    reads = trial.tally().reads_total / 20
    assert pieces - 0.7 < reads <= pieces  # one drawn twice is read once
