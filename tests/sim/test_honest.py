"""Honest miners on ordinary lines: outages of three minutes, one packet in a hundred lost (PROTOCOL §8, 8)."""

from __future__ import annotations

import time

import pytest

from hippy.sim.settings import Settings
from hippy.sim.simulation import Run, merit, simulate
from hippy.sim.strategies import HONEST
from hippy.wire.score import ScoreRules

MEBIBYTE = 2**20
FULL = 1_000_000


def told(done: Run, seconds: float) -> tuple[float, float, float]:
    """Print the figures and return the least weight: at the end, in the mean over the run, with a full window."""
    notes, miners = done.notes[HONEST], done.by_operator[HONEST]
    end = min(map(merit, notes.scores))
    paid = [miner.revenue / miner.shelf.entrusted_bytes for miner in miners]
    mean = min(paid) / max(paid)
    settled = min(notes.lowest[ScoreRules().window_epochs :], default=1.0)
    first_days = [round(min(notes.lowest[at : at + 20]), 3) for at in range(0, min(100, len(notes.lowest)), 20)]
    print(
        f"{len(miners)} honest miners, {done.settings.epochs} epochs in {seconds:.0f} s; of the maximum, the least"
        f" weight at the end {end:.4f}, the least revenue per byte {mean:.4f}, the least weight"
        f" ever {min(notes.lowest):.4f} (in epoch {notes.lowest.index(min(notes.lowest))}), after the first window"
        f" {settled:.4f}; the least of each of the first days {first_days}"
    )
    return end, mean, settled


def test_two_hundred_honest_miners_keep_their_weight_for_four_days() -> None:
    started = time.perf_counter()
    done = simulate(Settings(days=4, k=4, n=8, lots=200, lengths_bytes=(4 * MEBIBYTE,), bundle=20), {})
    end, mean, _ = told(done, time.perf_counter() - started)
    assert len(done.notes[HONEST].scores) == 200
    assert {score.proof_ppm for score in done.notes[HONEST].scores} == {FULL}
    assert {score.leaves_bad for score in done.notes[HONEST].scores} == {0}
    assert end >= 0.98
    assert mean >= 0.98


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_hundred_honest_miners_keep_their_weight_for_thirty_days() -> None:
    started = time.perf_counter()
    done = simulate(Settings(days=30), {})
    end, mean, settled = told(done, time.perf_counter() - started)
    scores = done.notes[HONEST].scores
    assert len(scores) == 200
    assert {score.proof_ppm for score in scores} == {FULL}
    assert {score.slow_beta for score in scores} == {0}  # not one leaf was counted against anybody in thirty days
    assert end >= 0.98
    assert mean >= 0.98
    assert settled >= 0.98  # in every epoch


def test_outages_and_lost_packets_do_happen_to_honest_miners() -> None:
    done = simulate(Settings(days=1, miners=60, k=4, n=8, lots=10, bundle=10), {})
    scores = done.notes[HONEST].scores
    live = sum(score.live_ok for score in scores) / sum(score.live_total for score in scores)
    reads = sum(score.reads_ok for score in scores) / sum(score.reads_total for score in scores)
    assert 0.99 < live < 0.9995
    assert 0.9995 < reads < 1  # whoever is away is not said to refuse; but a handshake may take too long


def test_an_honest_miner_that_is_down_for_an_hour_pays_in_uptime_and_never_in_proofs() -> None:
    done = simulate(Settings(days=2, miners=30, k=4, n=8, lots=10, bundle=10, downtime=0.05, outage_seconds=3_600), {})
    scores = done.notes[HONEST].scores
    assert {score.slow_beta for score in scores} == {0}
    assert min(score.uptime_ppm for score in scores) < 900_000
