"""How far asking is behind: what is due and not asked, what is owed, and since when."""

from __future__ import annotations

from hippy.validator.audit.engine import AuditEngine
from hippy.validator.audit.lag import AuditLag
from tests.validator.audit.test_engine import BEN, MINUTE, START, batch, begun


def test_an_engine_without_batches_is_not_behind() -> None:
    assert begun().lag(START, 99) == AuditLag(due=0, owed=0, oldest_seconds=0)


def test_a_batch_is_due_from_its_round_on_until_it_is_asked() -> None:
    engine = begun(batch(at_round=10), batch(number=1, at_round=12), batch(number=2, at_round=14))
    assert [engine.lag(START, newest).due for newest in (9, 10, 13, 14)] == [0, 1, 2, 3]
    engine.due(START, 12)
    assert [engine.lag(START, newest).due for newest in (13, 14)] == [0, 1]


def test_a_batch_is_owed_since_its_first_asking_until_it_is_settled() -> None:
    engine = begun(batch(), batch(BEN))
    engine.due(START, 99)
    engine.unanswered(batch().key, was_there=True, now=START + 10)
    engine.due(START + 5 * MINUTE + 10, 99)
    assert engine.lag(START + 6 * MINUTE, 99) == AuditLag(due=0, owed=2, oldest_seconds=6 * MINUTE)
    engine.answered(batch().key, passed=True, now=START + 6 * MINUTE)
    engine.answered(batch(BEN).key, passed=True, now=START + 6 * MINUTE)
    assert engine.lag(START + 7 * MINUTE, 99) == AuditLag(due=0, owed=0, oldest_seconds=0)


def test_a_clock_that_went_back_makes_nothing_younger_than_new() -> None:
    engine: AuditEngine = begun(batch())
    engine.due(START, 99)
    assert engine.lag(START - MINUTE, 99).oldest_seconds == 0
