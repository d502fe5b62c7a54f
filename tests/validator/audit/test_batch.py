"""The life of one batch by PROTOCOL §5.5: silent, offline, owed, and how it ends."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hippy.ids import PublicKey
from hippy.proofs.transcript_entry import Outcome
from hippy.validator.audit.batch import (
    ATTEMPT_MAX,
    OpenBatch,
    first_asking,
    next_asking,
    returned,
    unanswered,
    unasked,
)
from hippy.validator.audit.rules import AuditRules, rules_for
from hippy.validator.audit.schedule import BatchKey, Scheduled

RULES = AuditRules()
MINUTE, HOUR, DAY = 60, 3_600, 86_400
START = 1_800_000_000.0
SCHEDULED = Scheduled(950, BatchKey(7, PublicKey(b"m" * 32), 2))


def asked() -> OpenBatch:
    return first_asking(SCHEDULED, START)


def silent(batch: OpenBatch, now: float) -> tuple[Outcome, OpenBatch]:
    return unanswered(batch, was_there=True, doubted=False, now=now, rules=RULES)


def offline(batch: OpenBatch, now: float) -> tuple[Outcome, OpenBatch]:
    return unanswered(batch, was_there=False, doubted=False, now=now, rules=RULES)


def test_a_batch_keeps_its_round_and_its_attempts_grow_by_one() -> None:
    batch = asked()
    for attempt in range(5):
        assert (batch.attempt, batch.round, batch.key) == (attempt, 950, SCHEDULED.key)
        batch = next_asking(batch, batch.asked_time + HOUR)


def test_unanswered_while_the_miner_is_there_is_silent_and_asked_again_after_5_20_and_60_minutes() -> None:
    batch, pauses = asked(), []
    for _ in range(3):
        now = batch.asked_time + 7
        outcome, batch = silent(batch, now)
        assert outcome is Outcome.SILENT
        pauses.append(batch.ask_time - now)
        batch = next_asking(batch, batch.ask_time)
    assert pauses == [5 * MINUTE, 20 * MINUTE, 60 * MINUTE]


def test_the_fourth_asking_that_is_unanswered_while_the_miner_is_there_is_a_fail() -> None:
    batch, outcomes = asked(), []
    for _ in range(4):
        outcome, batch = silent(batch, batch.asked_time)
        outcomes.append(outcome)
        batch = next_asking(batch, batch.ask_time)
    assert outcomes == [Outcome.SILENT] * 3 + [Outcome.FAIL]


def test_unanswered_while_the_miner_is_away_is_offline_and_owed_for_24_hours() -> None:
    outcome, batch = offline(asked(), START + 9)
    assert outcome is Outcome.OFFLINE
    assert batch.away
    assert batch.ask_time == START + DAY


def test_absence_uses_up_no_silence() -> None:
    batch, outcomes = asked(), []
    for was_there in (False, True, False, True, False, True, True):
        outcome, batch = unanswered(batch, was_there=was_there, doubted=False, now=batch.asked_time, rules=RULES)
        outcomes.append(outcome)
        batch = next_asking(batch, batch.asked_time + HOUR)
    assert outcomes == [Outcome.OFFLINE, Outcome.SILENT] * 3 + [Outcome.FAIL]


@pytest.mark.parametrize(("attempt", "pause"), [(0, 5 * MINUTE), (1, 20 * MINUTE), (2, 60 * MINUTE), (7, 60 * MINUTE)])
def test_an_offline_batch_is_asked_again_when_the_miner_is_back_but_not_sooner_than_the_pause(
    attempt: int, pause: float
) -> None:
    batch = offline(replace(asked(), attempt=attempt), START + 5)[1]
    assert returned(batch, START + 10, RULES).ask_time == START + pause
    assert returned(batch, START + 2 * HOUR, RULES).ask_time == START + 2 * HOUR


def test_a_batch_is_due_24_hours_after_its_first_asking_in_any_case() -> None:
    late = replace(asked(), attempt=5, asked_time=START + DAY - MINUTE)
    batch = offline(late, START + DAY - MINUTE)[1]
    assert returned(batch, START + DAY - 30, RULES).ask_time == START + DAY


def test_being_back_changes_nothing_for_a_batch_that_is_merely_silent() -> None:
    batch = silent(asked(), START)[1]
    assert returned(batch, START + 1, RULES) == batch


@pytest.mark.parametrize("was_there", [True, False])
@pytest.mark.parametrize("late", [0, 1, DAY])
def test_the_asking_24_hours_after_the_first_is_the_last(was_there: bool, late: float) -> None:
    batch = next_asking(offline(asked(), START)[1], START + DAY + late)
    outcome = unanswered(batch, was_there=was_there, doubted=False, now=START + DAY + late + 9, rules=RULES)[0]
    assert outcome is Outcome.FAIL


def test_an_asking_just_before_is_not_the_last_even_if_its_deadline_ends_after() -> None:
    batch = replace(asked(), attempt=3, asked_time=START + DAY - 1)
    outcome, owed = offline(batch, START + DAY + 8)
    assert outcome is Outcome.OFFLINE
    assert owed.ask_time <= START + DAY + 8


@pytest.mark.parametrize("was_there", [True, False])
@pytest.mark.parametrize("batch", [asked(), replace(asked(), silences=3), replace(asked(), asked_time=START + DAY)])
def test_in_doubt_nothing_fails_and_nothing_is_used_up(batch: OpenBatch, was_there: bool) -> None:
    outcome, owed = unanswered(batch, was_there=was_there, doubted=True, now=START + DAY, rules=RULES)
    assert outcome is Outcome.UNKNOWN
    assert (owed.silences, owed.away) == (batch.silences, False)
    assert owed.ask_time == START + DAY + 5 * MINUTE


def test_an_asking_that_failed_on_our_side_is_put_off_and_costs_nothing() -> None:
    owed = unasked(replace(asked(), attempt=1, silences=2), now=START + 3, rules=RULES)
    assert owed.silences == 2
    assert owed.ask_time == START + 3 + 20 * MINUTE


def test_the_last_number_of_an_asking_is_255_and_what_is_unanswered_then_has_failed() -> None:
    batch = replace(asked(), attempt=ATTEMPT_MAX)
    assert offline(batch, START)[0] is silent(batch, START)[0] is Outcome.FAIL


@settings(derandomize=True, deadline=None, max_examples=300)
@given(
    st.sampled_from([4_320, 1_200, 20, 2]),
    st.lists(st.tuples(st.booleans(), st.floats(0, 1), st.none() | st.floats(0, 1)), min_size=1, max_size=60),
)
def test_whatever_a_miner_does_an_unanswered_batch_fails_by_a_day_and_the_last_pause(
    epoch_seconds: float, moves: list[tuple[bool, float, float | None]]
) -> None:
    """It is there or not, the outcome takes a part of the deadline, and it comes back after a part of a day or not."""
    rules = rules_for(epoch_seconds)
    deadline = rules.deadline_seconds(0, 0)
    batch, turn = asked(), 0
    while True:
        was_there, part, back = moves[turn % len(moves)]
        now = batch.asked_time + part * deadline
        outcome, owed = unanswered(batch, was_there=was_there, doubted=False, now=now, rules=rules)
        if outcome is Outcome.FAIL:
            break
        if back is not None:
            owed = returned(owed, now + back * rules.owed_seconds, rules)
        assert (
            owed.ask_time >= batch.asked_time + min(rules.pauses_seconds) or owed.ask_time >= START + rules.owed_seconds
        )
        batch, turn = next_asking(owed, max(owed.ask_time, now)), turn + 1
    assert batch.asked_time <= START + rules.owed_seconds + rules.pauses_seconds[-1] + deadline
    assert turn <= 60
