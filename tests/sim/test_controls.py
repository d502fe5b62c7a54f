"""With a fault in the rules cheating would pay: so the simulation can tell."""

from __future__ import annotations

import pytest

from hippy.proofs.transcript_entry import Outcome
from hippy.sim.report import Prices
from hippy.validator import scoring
from hippy.validator.audit import engine
from hippy.validator.audit.batch import OpenBatch, unasked
from hippy.validator.audit.rules import AuditRules
from hippy.wire.score import ScoreRules
from tests.sim.worlds import row, run


def _forgiven(
    batch: OpenBatch, *, was_there: bool, doubted: bool, now: float, rules: AuditRules
) -> tuple[Outcome, OpenBatch]:
    return Outcome.SILENT, unasked(batch, now=now, rules=rules)


def _a_miner_is_a_miner(paid_bytes: int, unpaid_bytes: int, rules: ScoreRules) -> int:
    return 10**12 if paid_bytes else 0


@pytest.mark.parametrize("cost_share", [0.5, 0.9])
def test_the_silent_would_win_if_silence_were_forgiven_for_ever(
    monkeypatch: pytest.MonkeyPatch, cost_share: float
) -> None:
    monkeypatch.setattr(engine, "unanswered", _forgiven)
    assert row(run("silent", downtime=0.0), "silent", Prices(cost_share)).beats_honesty


@pytest.mark.parametrize("name", ["split-4", "split-4-keys"])
def test_splitters_would_win_if_scores_were_blind_to_bytes(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(scoring, "counted_bytes", _a_miner_is_a_miner)
    found = row(run(name, days=0.5), name)
    assert found.beats_honesty
    assert found.ratio > 2


def test_washing_would_win_if_a_byte_cost_next_to_nothing() -> None:
    assert row(run("wash-grind", days=0.2), "wash-grind", Prices(fee_share=0.01)).beats_honesty


def test_dropping_would_win_if_nobody_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AuditRules, "batches_of", lambda _rules, *, escalated: 0)
    monkeypatch.setattr(scoring, "reads_ppm", lambda _tally, _rules: 1_000_000)
    assert row(run("drop-30%", days=0.5), "drop-30%").beats_honesty
