"""The constants of PROTOCOL §5.5, and how short epochs scale them."""

from __future__ import annotations

import pytest

from hippy.validator.audit.rules import AuditRules, margin_of, rules_for

RULES = AuditRules()


def test_a_batch_asks_for_64_leaves_and_a_miner_has_4_or_32() -> None:
    assert RULES.batch_leaves == 64
    assert RULES.batches_of(escalated=False) == 4
    assert RULES.batches_of(escalated=True) == 32


def test_an_unanswered_batch_is_asked_again_after_5_20_and_60_minutes() -> None:
    assert [RULES.pause_seconds(attempt) for attempt in (1, 2, 3, 4, 99)] == [300, 1_200, 3_600, 3_600, 3_600]


def test_three_silences_are_forgiven() -> None:
    assert RULES.silences_max == 3


def test_a_batch_is_owed_for_24_hours() -> None:
    assert RULES.owed_seconds == 86_400


@pytest.mark.parametrize(
    ("round_trip", "answer_bytes", "expected"), [(0, 0, 5), (0.25, 0, 6), (0, 2 * 2**20, 6), (0.5, 2**20, 7.5)]
)
def test_an_answer_has_5_seconds_four_round_trips_and_a_second_for_every_2_mib(
    round_trip: float, answer_bytes: int, expected: float
) -> None:
    assert RULES.deadline_seconds(round_trip, answer_bytes) == expected


def test_12_liveness_checks_and_8_reads_in_an_epoch() -> None:
    assert (RULES.live_checks, RULES.reads) == (12, 8)


@pytest.mark.parametrize("epoch_seconds", [3_600, 4_320, 10**6])
def test_epochs_of_an_hour_and_more_have_the_usual_rules(epoch_seconds: float) -> None:
    assert rules_for(epoch_seconds) == RULES


def test_short_epochs_scale_every_pause_by_their_part_of_4320_seconds() -> None:
    rules = rules_for(432)
    assert rules.pauses_seconds == pytest.approx((30, 120, 360))
    assert (rules.owed_seconds, rules.there_seconds) == pytest.approx((8_640, 3))


def test_no_pause_is_shorter_than_a_second() -> None:
    rules = rules_for(0.01)
    assert (rules.pauses_seconds, rules.owed_seconds, rules.there_seconds) == ((1, 1, 1), 1, 1)


def test_a_contact_within_30_seconds_of_an_asking_shows_that_the_miner_was_there() -> None:
    assert RULES.there_seconds == 30


def test_short_epochs_do_not_scale_the_deadline() -> None:
    assert rules_for(20).deadline_seconds(1, 2**21) == RULES.deadline_seconds(1, 2**21)


def test_short_epochs_have_6_liveness_checks_and_2_reads() -> None:
    rules = rules_for(3_599)
    assert (rules.live_checks, rules.reads) == (6, 2)


@pytest.mark.parametrize(("rounds", "expected"), [(2, 1), (8, 1), (15, 1), (16, 2), (1_440, 180)])
def test_an_eighth_of_an_epoch_is_kept_free_for_answers_at_least_a_round(rounds: int, expected: int) -> None:
    assert margin_of(rounds) == expected
