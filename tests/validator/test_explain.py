"""Every factor says what it rests on and, where it costs something, what to do next; the numbers are the score's."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from hippy.ids import MessageId, PublicKey, Root
from hippy.validator.explain import RECOVERED_PPM, RECOVERY_EPOCHS_MAX, factors, recovery_epochs, report
from hippy.validator.scoring import PPM, Evidence, Leaves, Proofs, Tally, next_score, proof_ppm
from hippy.wire.fields import INTEGER_MAX
from hippy.wire.score import (
    ACCOUNTS_MAX,
    FAILURES_MAX,
    HISTORY_MAX,
    REPORT_BYTES_MAX,
    AccountBytes,
    Factor,
    MinerReport,
    MinerScore,
    ScoreRules,
    ScoreSheet,
)
from tests.validator.score_world import RULES, after, miners, scored
from tests.wire.audit_samples import FAILURE, PAST, VALIDATOR
from tests.wire.audit_samples import score as sample

quick = settings(derandomize=True, deadline=None, max_examples=150)
NAMES = ["bytes", "proofs", "uptime", "reads", "speed", "age"]
PRINTABLE = re.compile(r"[ -~]{1,256}")


def told(name: str, score: MinerScore, rules: ScoreRules = RULES) -> Factor:
    return next(factor for factor in factors(score, rules) if factor.name == name)


def todo(name: str, score: MinerScore) -> str:
    """What there is to do, which must be something."""
    text = told(name, score).todo
    assert text is not None
    return text


@quick
@given(miners)
def test_there_are_six_factors_in_order_and_bytes_alone_has_no_value(evidence: Evidence) -> None:
    score = next_score(None, evidence, RULES, epoch=1)
    found = factors(score, RULES)
    assert [factor.name for factor in found] == NAMES
    assert [factor.value_ppm for factor in found] == [
        None, score.proof_ppm, score.uptime_ppm, score.reads_ppm, score.speed_ppm, score.age_ppm
    ]  # fmt: skip


@quick
@given(miners)
def test_a_factor_says_what_to_do_if_and_only_if_it_costs_something(evidence: Evidence) -> None:
    score = next_score(None, evidence, RULES, epoch=1)
    for factor in factors(score, RULES):
        costs = score.paid_bytes + score.unpaid_bytes // 10 == 0 if factor.value_ppm is None else factor.value_ppm < PPM
        assert (factor.todo is not None) == costs


numbers = st.integers(0, INTEGER_MAX) | st.sampled_from([0, 1, INTEGER_MAX])


@quick
@given(st.data())
def test_whatever_the_numbers_text_is_printable_and_fits(data: st.DataObject) -> None:
    """Also of a sheet that a stranger made up."""
    values: dict[str, Any] = {
        name: data.draw(st.integers(0, PPM) if name.endswith("ppm") else numbers, name)
        for name in MinerScore.model_fields
        if name not in ("hotkey", "coldkey", "uid", "escalated_until")
    }
    top = ScoreRules(window_epochs=INTEGER_MAX, age_epochs=INTEGER_MAX, credit_live=INTEGER_MAX, bps_max=INTEGER_MAX)
    for rules in (RULES, top, ScoreRules(proof_floor_ppm=999_999, uptime_floor_ppm=PPM, uptime_span_ppm=PPM)):
        for factor in factors(sample(**values), rules):
            assert PRINTABLE.fullmatch(factor.rests_on)
            assert factor.todo is None or PRINTABLE.fullmatch(factor.todo)


def test_bytes_rest_on_paid_ones_and_a_part_of_the_unpaid() -> None:
    score = scored(paid_bytes=250 * 10**9, unpaid_bytes=30 * 10**9)
    assert told("bytes", score).rests_on == "235.6 GiB count: 232.8 GiB paid and 10 % of 27.9 GiB unpaid"


def test_a_miner_without_bytes_is_told_how_to_get_some() -> None:
    assert "Hold data" in todo("bytes", scored(paid_bytes=0))


def test_proofs_rest_on_the_leaves_of_the_epoch_and_both_memories() -> None:
    score = after([Leaves(256, 0)] * 3 + [Leaves(243, 13)])
    assert told("proofs", score).rests_on == (
        "243 of 256 leaves shown this epoch; 98.63 % by the slow memory, 97.29 % by the fast one, "
        "and the lower one counts"
    )


def test_an_epoch_that_counted_no_leaf_says_so() -> None:
    assert told("proofs", scored(leaves=Leaves())).rests_on.startswith("no leaf counted this epoch; 100 % by")


def test_a_missing_leaf_is_said_to_be_lost_and_when_its_memory_fades() -> None:
    score = after([Leaves(256, 0)] * 3 + [Leaves(243, 13)])
    epochs = recovery_epochs(Proofs(*(getattr(score, n) for n in PROOFS)), RULES, leaves=256)
    text = todo("proofs", score)
    assert "Check the disk for lost pieces" in text
    assert "A failed piece is lost for good, its bytes no longer count" in text
    assert "95 % shown or less earns nothing" in text
    assert text.endswith(f"Showing all leaves from now on: 99 % in {epochs} epochs.")


PROOFS = ("slow_alpha", "slow_beta", "fast_alpha", "fast_beta")


@quick
@given(st.integers(0, 2_048), st.integers(1, 2_048))
def test_recovery_is_said_as_scores_will_have_it(ok: int, bad: int) -> None:
    score = scored(leaves=Leaves(ok, bad))
    epochs = recovery_epochs(Proofs(*(getattr(score, name) for name in PROOFS)), RULES, leaves=256)
    assert epochs is not None
    values = [score.proof_ppm]
    for epoch in range(8, 8 + epochs):
        score = scored(score, epoch=epoch, leaves=Leaves(256, 0))
        values.append(score.proof_ppm)
    assert values[-1] >= RECOVERED_PPM
    assert all(value < RECOVERED_PPM for value in values[:-1])


def test_a_memory_that_never_fades_is_no_endless_loop() -> None:
    forever = ScoreRules(slow_percent=100)
    assert recovery_epochs(Proofs(0, INTEGER_MAX, 0, 0), forever, leaves=1) is None
    text = told("proofs", sample(slow_beta=INTEGER_MAX, slow_alpha=0, proof_ppm=0), forever).todo
    assert text is not None
    assert f"in more than {RECOVERY_EPOCHS_MAX:,} epochs" in text


def test_a_memory_that_has_nearly_faded_is_told_to_fade() -> None:
    score = after([Leaves(255, 1)] + [Leaves(256, 0)] * 60)
    assert RECOVERED_PPM <= score.proof_ppm < PPM
    assert proof_ppm(PPM, RULES) == PPM
    assert "fades by itself" in todo("proofs", score)


def test_uptime_rests_on_checks_and_says_what_counts_in_full() -> None:
    score = scored(tally=Tally(live_ok=11, live_total=1_600))
    factor = told("uptime", score)
    assert factor.rests_on == "11 of 1,600 liveness checks in the last 140 epochs, with a credit of 240"
    assert "98.50 % of checks count in full, 90 % or less nothing" in todo("uptime", score)
    assert "reachable at the endpoint it published" in todo("uptime", score)


def test_reads_rest_on_reads_and_say_what_counts_in_full() -> None:
    score = scored(tally=Tally(reads_ok=100, reads_total=1_000))
    assert told("reads", score).rests_on == "100 of 1,000 reads in the last 140 epochs, with a credit of 160"
    assert "99 % of reads count in full, 90 % or less nothing" in todo("reads", score)


def test_speed_says_what_was_measured_and_what_is_required() -> None:
    score = scored(paid_bytes=5 * 10**12, tally=Tally(read_bytes=10**9, read_microseconds=640_000_000))
    assert score.speed_ppm == 250_000
    assert told("speed", score).rests_on == (
        "12.5 Mbit/s over 953.7 MiB in the last 140 epochs; 50.0 Mbit/s required for 4.5 TiB that count"
    )
    assert "Serve reads at 50.0 Mbit/s instead of 12.5 Mbit/s" in todo("speed", score)


def test_speed_that_was_never_measured_says_so() -> None:
    factor = told("speed", scored(tally=Tally()))
    assert factor.rests_on == "nothing measured yet; 25.0 Mbit/s required for 931.3 GiB that count"


def test_age_says_when_it_is_full() -> None:
    factor = told("age", scored(age_epochs=100))
    assert factor.rests_on == "100 epochs since registration; 280 count in full"
    assert factor.todo == (
        "Nothing but time: full in 180 epochs. A new hotkey, or this one registered anew, begins at 30 %."
    )


def test_a_share_just_below_the_whole_is_not_said_to_be_100() -> None:
    assert "99.99 % by the slow memory" in told("proofs", after([Leaves(255, 1)] + [Leaves(256, 0)] * 120)).rests_on


def test_words_follow_the_rules_of_the_sheet() -> None:
    rules = ScoreRules(credit_live=120, window_epochs=12, age_epochs=9)
    found = {factor.name: factor.rests_on for factor in factors(scored(), rules)}
    assert "in the last 12 epochs, with a credit of 120" in found["uptime"]
    assert found["age"].endswith("9 count in full")


# The report.


def sheet(*rows: MinerScore) -> ScoreSheet:
    return ScoreSheet(netuid=7, validator=VALIDATOR, epoch=7, prev_sheet=MessageId(b"p" * 32), rules=RULES, miners=rows)


ANN, BEN = sample(1, weight=30), sample(2, weight=10)


def reported(hotkey: PublicKey, **changes: Any) -> MinerReport:
    fields: dict[str, Any] = {
        "validator": VALIDATOR,
        "hotkey": hotkey,
        "time": 1_800_000_000,
        "state": "live",
        "sheet": sheet(ANN, BEN),
        "owed_batches": 2,
        "history": (PAST,),
        "failures": (FAILURE,),
        "accounts": (),
    }
    return report(**{**fields, **changes})


def test_a_report_has_the_newest_score_its_factors_and_its_share_of_all_weights() -> None:
    found = reported(BEN.hotkey)
    assert (found.score, found.epoch, found.share_ppm, found.owed_batches) == (BEN, 7, 250_000, 2)
    assert found.factors == factors(BEN, RULES)
    assert (found.history, found.failures) == ((PAST,), (FAILURE,))


def test_a_miner_in_no_sheet_has_neither_score_nor_factors() -> None:
    for newest, epoch in ((sheet(ANN), 7), (None, 0)):
        found = reported(BEN.hotkey, sheet=newest)
        assert (found.score, found.factors, found.share_ppm, found.epoch) == (None, (), 0, epoch)


def test_a_report_says_when_the_miner_asked_to_leave_and_changes_no_factor_by_it() -> None:
    stays, leaves = reported(BEN.hotkey), reported(BEN.hotkey, drain_time=1_799_999_000)
    assert (stays.drain_time, leaves.drain_time) == (None, 1_799_999_000)
    assert b"drain" not in stays.encode()
    assert (leaves.factors, leaves.state, leaves.share_ppm) == (stays.factors, stays.state, stays.share_ppm)


def test_nobody_has_a_share_of_nothing() -> None:
    assert reported(ANN.hotkey, sheet=sheet(sample(1, weight=0))).share_ppm == 0


def test_a_report_takes_the_newest_that_fit_and_is_a_message() -> None:
    past = [PAST.model_copy(update={"epoch": epoch}) for epoch in range(HISTORY_MAX + 1, 0, -1)]
    failures = [FAILURE.model_copy(update={"batch": batch, "roots": (Root(b"r" * 32),) * 8}) for batch in range(60)]
    accounts = [AccountBytes(account=PublicKey(b"a" * 32), bytes=size) for size in range(60, 0, -1)]
    found = reported(ANN.hotkey, history=past, failures=failures, accounts=accounts)
    assert [each.epoch for each in found.history] == list(range(HISTORY_MAX + 1, 1, -1))
    assert len(found.failures) == FAILURES_MAX
    assert (len(found.accounts), found.accounts[0].bytes) == (ACCOUNTS_MAX, 60)
    assert MinerReport.parse(found.encode(), limit=REPORT_BYTES_MAX) == found
