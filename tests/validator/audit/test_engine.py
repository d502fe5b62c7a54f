"""All batches together: what is due when, owed, given up and ended, by PROTOCOL §5.2, §5.4 and §5.5."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hippy.ids import PublicKey
from hippy.proofs.transcript_entry import Outcome
from hippy.validator.audit.batch import ATTEMPT_MAX, OpenBatch
from hippy.validator.audit.engine import AuditEngine
from hippy.validator.audit.rules import AuditRules
from hippy.validator.audit.schedule import BatchKey, Scheduled

RULES = AuditRules()
START = 1_800_000_000.0
MINUTE, HOUR, DAY = 60, 3_600, 86_400
ANN, BEN, CLEO = (PublicKey(name * 32) for name in (b"a", b"b", b"c"))


def batch(miner: PublicKey = ANN, number: int = 0, *, at_round: int = 10, epoch: int = 7) -> Scheduled:
    return Scheduled(at_round, BatchKey(epoch, miner, number))


def begun(*batches: Scheduled, miners: tuple[PublicKey, ...] = (ANN, BEN, CLEO)) -> AuditEngine:
    engine = AuditEngine(RULES)
    engine.begin_epoch(batches, miners)
    return engine


def asked(engine: AuditEngine, now: float = START, newest_round: int = 99) -> list[tuple[BatchKey, int]]:
    return [(each.key, each.attempt) for each in engine.due(now, newest_round)]


def test_a_batch_is_asked_when_its_round_is_known() -> None:
    engine = begun(batch(at_round=12), batch(number=1, at_round=10))
    assert engine.next_round() == 10
    assert asked(engine, newest_round=9) == []
    assert asked(engine, newest_round=10) == [(batch(number=1).key, 0)]
    assert engine.next_round() == 12
    assert asked(engine, newest_round=12) == [(batch().key, 0)]
    assert engine.next_round() is None


def test_a_batch_is_due_once_until_its_outcome_is_told() -> None:
    engine = begun(batch())
    assert len(asked(engine)) == 1
    assert asked(engine, START + 2 * DAY) == []
    assert engine.next_time() is None
    assert engine.batch(batch().key) is not None


def test_a_batch_that_was_not_asked_before_the_next_epochs_header_is_given_up() -> None:
    engine = begun(batch(at_round=10), batch(number=1, at_round=50))
    asked(engine, newest_round=20)
    assert engine.begin_epoch([batch(epoch=8)], [ANN]) == [batch(number=1, at_round=50)]
    assert [key.epoch for key, _ in asked(engine)] == [8]


@pytest.mark.parametrize(("passed", "outcome"), [(True, Outcome.PASS), (False, Outcome.FAIL)])
def test_a_signed_answer_settles_its_batch(passed: bool, outcome: Outcome) -> None:
    engine = begun(batch())
    asked(engine)
    assert engine.answered(batch().key, passed=passed, now=START + 1) is outcome
    assert (engine.owed, engine.owed_by(ANN), engine.batch(batch().key)) == ((), 0, None)
    assert asked(engine, START + DAY) == []


def test_a_silent_batch_is_asked_at_0_5_25_and_85_minutes_and_has_failed_then() -> None:
    engine, now = begun(batch()), START
    times: list[float] = []
    outcomes: list[Outcome] = []
    while found := asked(engine, now):
        times.append((now - START) / MINUTE)
        assert found == [(batch().key, len(outcomes))]
        outcomes.append(engine.unanswered(batch().key, was_there=True, now=now))
        now = engine.next_time() or now
    assert times == [0, 5, 25, 85]
    assert outcomes == [Outcome.SILENT] * 3 + [Outcome.FAIL]
    assert engine.owed == ()


def test_an_offline_batch_is_asked_once_more_after_24_hours_and_has_failed_then() -> None:
    engine = begun(batch())
    asked(engine)
    assert engine.unanswered(batch().key, was_there=False, now=START + 9) is Outcome.OFFLINE
    assert engine.next_time() == START + DAY
    assert asked(engine, START + DAY - 1) == []
    assert asked(engine, START + DAY) == [(batch().key, 1)]
    assert engine.unanswered(batch().key, was_there=False, now=START + DAY + 9) is Outcome.FAIL


def test_an_offline_batch_is_asked_when_the_miner_is_back() -> None:
    engine = begun(batch())
    asked(engine)
    engine.unanswered(batch().key, was_there=False, now=START + 9)
    engine.contact(ANN, there=True, now=START + 3 * HOUR)
    assert asked(engine, START + 3 * HOUR) == [(batch().key, 1)]


def test_but_not_sooner_than_the_pause_after_the_last_asking() -> None:
    engine = begun(batch())
    asked(engine)
    engine.unanswered(batch().key, was_there=False, now=START + 9)
    engine.contact(ANN, there=True, now=START + 20)
    assert engine.next_time() == START + 5 * MINUTE
    assert asked(engine, START + 5 * MINUTE - 1) == []
    assert asked(engine, START + 5 * MINUTE) == [(batch().key, 1)]


def test_a_miner_that_shows_itself_while_one_batch_goes_unanswered_is_back_for_its_others() -> None:
    engine = begun(batch(), batch(number=1, at_round=20))
    asked(engine, newest_round=10)
    engine.unanswered(batch().key, was_there=False, now=START + 9)
    asked(engine, START + HOUR, newest_round=20)
    engine.unanswered(batch(number=1).key, was_there=True, now=START + HOUR)
    assert engine.next_time() == START + HOUR


def test_a_contact_that_failed_brings_nothing_back() -> None:
    engine = begun(batch())
    asked(engine)
    engine.unanswered(batch().key, was_there=False, now=START + 9)
    engine.contact(ANN, there=False, now=START + HOUR)
    engine.contact(BEN, there=True, now=START + HOUR)
    assert asked(engine, START + 2 * HOUR) == []


def test_owing_one_batch_delays_no_other() -> None:
    engine = begun(batch(), batch(number=1, at_round=20), batch(BEN, at_round=20))
    asked(engine, newest_round=10)
    engine.unanswered(batch().key, was_there=False, now=START)
    assert asked(engine, newest_round=20) == [(batch(number=1).key, 0), (batch(BEN).key, 0)]
    assert (engine.owed_by(ANN), engine.owed_by(BEN)) == (2, 1)


def test_owed_batches_wait_where_only_new_ones_may_be_asked() -> None:
    engine = begun(batch(), batch(number=1, at_round=20))
    asked(engine, newest_round=10)
    engine.unanswered(batch().key, was_there=True, now=START)
    assert [each.key for each in engine.due(START + HOUR, 20, again_max=0)] == [batch(number=1).key]
    assert asked(engine, START + HOUR) == [(batch().key, 1)]


def test_an_owed_batch_outlives_its_epoch_and_keeps_its_round() -> None:
    engine = begun(batch())
    asked(engine)
    engine.unanswered(batch().key, was_there=False, now=START)
    assert engine.begin_epoch([batch(epoch=8, at_round=500)], [ANN]) == []
    (owed,) = engine.due(START + DAY, 99)
    assert (owed.key, owed.round, owed.attempt) == (batch().key, 10, 1)


def test_a_time_that_stands_in_the_queue_twice_asks_once() -> None:
    """A miner that comes back and leaves again has its 24 hours queued anew; found as a batch asked twice at once."""
    engine = begun(batch())
    asked(engine)
    engine.unanswered(batch().key, was_there=False, now=START)
    engine.contact(ANN, there=True, now=START + 10 * MINUTE)
    assert asked(engine, START + 10 * MINUTE) == [(batch().key, 1)]
    engine.unanswered(batch().key, was_there=False, now=START + 10 * MINUTE)
    assert asked(engine, START + DAY) == [(batch().key, 2)]


def test_in_doubt_silent_and_offline_become_unknown_and_signed_answers_count() -> None:
    engine = begun(batch(ANN), batch(BEN), batch(CLEO))
    asked(engine)
    assert engine.unanswered(batch(ANN).key, was_there=False, now=START) is Outcome.OFFLINE
    doubted_before = engine.doubts
    assert engine.unanswered(batch(BEN).key, was_there=False, now=START) is Outcome.UNKNOWN
    assert (doubted_before, engine.doubts) == (False, True)
    assert engine.answered(batch(CLEO).key, passed=False, now=START) is Outcome.FAIL


def test_in_doubt_a_batch_does_not_fail_and_without_doubt_it_does() -> None:
    engine = begun(batch(ANN))
    asked(engine)
    engine.unanswered(batch(ANN).key, was_there=False, now=START)
    for miner in (BEN, CLEO):
        engine.contact(miner, there=False, now=START)
    asked(engine, START + DAY)
    assert engine.unanswered(batch(ANN).key, was_there=False, now=START + DAY) is Outcome.UNKNOWN
    for miner in (BEN, CLEO):
        engine.contact(miner, there=True, now=START + DAY)
    assert asked(engine, START + DAY + 20 * MINUTE) == [(batch().key, 2)]
    assert engine.unanswered(batch(ANN).key, was_there=False, now=START + 25 * HOUR) is Outcome.FAIL


def test_a_majority_that_is_silent_for_good_is_judged_like_anybody() -> None:
    """Doubt lasts two epochs; then the validator counts again."""
    engine, epochs = AuditEngine(RULES), []
    for epoch in range(4):
        now = START + epoch * 4_320
        engine.begin_epoch([batch(miner, epoch=epoch) for miner in (ANN, BEN, CLEO)], [ANN, BEN, CLEO])
        due = engine.due(now, 99)
        epochs.append([engine.unanswered(each.key, was_there=False, now=now) for each in due][-1])
    assert epochs == [Outcome.UNKNOWN, Outcome.UNKNOWN, Outcome.OFFLINE, Outcome.OFFLINE]


def test_an_asking_that_failed_on_our_side_is_unknown_and_asked_again() -> None:
    engine = begun(batch())
    asked(engine)
    assert engine.unasked(batch().key, now=START) is Outcome.UNKNOWN
    assert asked(engine, START + 5 * MINUTE) == [(batch().key, 1)]


def test_a_first_asking_that_was_never_sent_is_due_again_with_its_first_number() -> None:
    engine = begun(batch(), batch(number=1, at_round=5), batch(number=2, at_round=20))
    asked(engine, newest_round=10)
    engine.unsent(batch().key)
    assert engine.next_round() == 10
    assert engine.batch(batch().key) is None
    assert asked(engine, newest_round=30) == [(batch().key, 0), (batch(number=2).key, 0)]


def test_a_batch_without_a_number_left_ends_unknown() -> None:
    """255 askings that failed on our side are no fault of the miner's, and an asking 256 has no number."""
    owed = OpenBatch(batch().key, 10, START, START, START + 1, attempt=ATTEMPT_MAX - 1)
    for is_doubt in (False, True):
        engine = AuditEngine(RULES, owed=[owed])
        engine.begin_epoch([], [ANN])
        assert asked(engine, START + 1) == [(batch().key, ATTEMPT_MAX)]
        if is_doubt:
            assert engine.unanswered(batch().key, was_there=False, now=START + 1) is Outcome.UNKNOWN
        else:
            assert engine.unasked(batch().key, now=START + 1) is Outcome.UNKNOWN
        assert engine.batch(batch().key) is None
        assert engine.next_time() is None


def test_what_a_miner_owes_that_left_is_forgotten() -> None:
    engine = begun(batch(), batch(number=1), batch(BEN))
    asked(engine)
    engine.unanswered(batch().key, was_there=False, now=START)
    dropped = engine.drop(ANN)
    assert engine.owed_by(ANN) == 0  # before anybody looks at what was dropped
    assert list(dropped) == [batch().key, batch(number=1).key]
    assert engine.batch(batch(number=1).key) is None
    assert engine.batch(batch(BEN).key) is not None
    assert asked(engine, START + 2 * DAY) == []


# A validator that was started again.


def test_a_new_run_goes_on_with_what_was_owed() -> None:
    first = begun(batch(), batch(BEN))
    asked(first)
    first.unanswered(batch().key, was_there=True, now=START)
    first.unanswered(batch(BEN).key, was_there=False, now=START)
    second = AuditEngine(RULES, owed=first.owed, doubt_streak=first.doubt_streak)
    assert second.owed == first.owed
    assert second.next_time() == START + 5 * MINUTE
    assert asked(second, START + DAY) == [(batch().key, 1), (batch(BEN).key, 1)]


def test_a_batch_that_was_being_asked_when_the_last_run_ended_is_asked_again() -> None:
    first = begun(batch())
    asked(first)
    second = AuditEngine(RULES, owed=first.owed)
    assert second.next_time() == START
    assert asked(second, START + HOUR) == [(batch().key, 1)]


def test_a_new_run_does_not_begin_batches_anew_that_were_asked() -> None:
    first = begun(batch(), batch(number=1), batch(number=2, at_round=60))
    asked(first, newest_round=50)
    first.answered(batch().key, passed=True, now=START)
    first.unanswered(batch(number=1).key, was_there=True, now=START)
    second = AuditEngine(RULES, owed=first.owed)
    second.begin_epoch([batch(), batch(number=1), batch(number=2, at_round=60)], [ANN], asked=[batch().key])
    assert asked(second) == [(batch(number=2).key, 0)]


def test_a_new_run_carries_on_the_row_of_doubt() -> None:
    second = AuditEngine(RULES, doubt_streak=2)
    second.begin_epoch([batch()], [ANN])
    assert second.doubt_streak == 2
    asked(second)
    assert second.unanswered(batch().key, was_there=False, now=START) is Outcome.OFFLINE


def test_an_open_batch_is_a_value() -> None:
    engine = begun(batch())
    (taken,) = engine.due(START, 99)
    engine.unanswered(batch().key, was_there=True, now=START)
    assert (taken.silences, engine.owed[0].silences) == (0, 1)
    assert replace(taken) == taken
