"""Scores: every sentence of PROTOCOL §6, the slow reference, and what no strategy may gain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, fields, replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hippy.errors import ProtocolError
from hippy.validator.audit.rules import rules_for
from hippy.validator.scoring import (
    LEAF,
    PPM,
    Evidence,
    Leaves,
    Proofs,
    Tally,
    counted_bytes,
    escalated_until,
    next_score,
    proof_ppm,
    proofs_of,
    required_bps,
    score_rules_for,
    speed_ppm,
    throughput_bps,
    uptime_ppm,
    weight_of,
)
from hippy.wire.fields import INTEGER_MAX
from hippy.wire.score import MinerScore, ScoreRules
from tests.reference import scoring as reference
from tests.validator.score_world import (
    GOOD_TALLY,
    RULES,
    TERABYTE,
    after,
    evidence,
    leaves,
    miners,
    proper_leaves,
    rounding,
    scored,
)

quick = settings(derandomize=True, deadline=None, max_examples=100)
histories = st.lists(leaves | proper_leaves, max_size=12)


def referred(proofs: Proofs, told: Evidence) -> reference.Miner:
    """The same miner as the reference takes it."""
    return reference.Miner(
        told.paid_bytes,
        told.unpaid_bytes,
        (Fraction(proofs.slow_alpha, LEAF), Fraction(proofs.slow_beta, LEAF)),
        (Fraction(proofs.fast_alpha, LEAF), Fraction(proofs.fast_beta, LEAF)),
        age_epochs=told.age_epochs,
        **asdict(told.tally),
    )


def memory(history: list[Leaves]) -> Proofs:
    proofs = Proofs()
    for each in history:
        proofs = proofs.after(each, RULES)
    return proofs


# The formulas, against the reference.


@quick
@given(histories, miners)
def test_a_score_is_what_the_reference_computes(history: list[Leaves], told: Evidence) -> None:
    before = after(history) if history else None
    score = next_score(before, told, RULES, epoch=20)
    expected = reference.score(referred(memory([*history, told.leaves]), told))
    assert {name: int(value) for name, value in asdict(expected).items()} == {
        "proof": score.proof_ppm,
        "uptime": score.uptime_ppm,
        "reads": score.reads_ppm,
        "speed": score.speed_ppm,
        "age": score.age_ppm,
        "weight": score.weight,
    }


@quick
@given(histories)
def test_memory_is_what_the_reference_computes(history: list[Leaves]) -> None:
    slow = fast = (LEAF, 0)
    for each in history:
        slow = reference.memory(slow, 95, each.ok, each.bad)
        fast = reference.memory(fast, 50, each.ok, each.bad)
    assert memory(history) == Proofs(*slow, *fast)


@quick
@given(histories)
def test_rounding_moves_the_memory_by_20_millionths_of_a_leaf_at_most(history: list[Leaves]) -> None:
    slow = fast = (Fraction(1), Fraction(0))
    for each in history:
        slow = reference.exact_memory(slow, Fraction(95, 100), each.ok, each.bad)
        fast = reference.exact_memory(fast, Fraction(1, 2), each.ok, each.bad)
    found = memory(history)
    exact = (*slow, *fast)
    for value, expected in zip(
        (found.slow_alpha, found.slow_beta, found.fast_alpha, found.fast_beta), exact, strict=True
    ):
        assert 0 <= expected * LEAF - value < 20


@quick
@given(histories, miners)
def test_rounding_moves_no_factor_by_more_than_its_divisions_do(history: list[Leaves], told: Evidence) -> None:
    score = next_score(after(history) if history else None, told, RULES, epoch=20)
    exact = reference.exact_score(referred(memory([*history, told.leaves]), told))
    # p is up to 1 ppm low: x 20, its square 40, and 1 of its own; u and rho 11.8 and 11.1, and 1; T's are in bit/s.
    bounds = {"proof": 41, "uptime": 13, "reads": 13, "speed": 2, "age": 1}
    for name, bound in bounds.items():
        assert abs(getattr(exact, name) * PPM - getattr(score, f"{name}_ppm")) <= bound, name


@quick
@given(histories, miners)
def test_the_weight_is_the_product_less_at_most_a_byte_for_every_division(
    history: list[Leaves], told: Evidence
) -> None:
    score = next_score(after(history) if history else None, told, RULES, epoch=20)
    product = Fraction(counted_bytes(told.paid_bytes, told.unpaid_bytes, RULES))
    for factor in (score.proof_ppm, score.uptime_ppm, score.reads_ppm, score.speed_ppm, score.age_ppm):
        product = product * factor / PPM
    assert 0 <= product - score.weight < 5


# PROTOCOL §6, sentence by sentence.


def test_paid_bytes_count_in_full_and_unpaid_ones_by_a_tenth() -> None:
    assert counted_bytes(1_000, 0, RULES) == 1_000
    assert counted_bytes(1_000, 1_009, RULES) == 1_100


def test_alpha_and_beta_begin_with_one_leaf_that_was_shown() -> None:
    assert proofs_of(None) == Proofs(1_000_000, 0, 1_000_000, 0)
    assert Proofs().shown_ppm == PPM


def test_an_epoch_keeps_95_hundredths_slow_and_50_fast() -> None:
    proofs = Proofs(10_000_000, 2_000_001, 10_000_000, 2_000_001).after(Leaves(3, 1), RULES)
    assert proofs == Proofs(12_500_000, 2_900_000, 8_000_000, 2_000_000)


def test_an_epoch_without_counted_leaves_forgets_nothing() -> None:
    proofs = Proofs(7, 5, 3, 2)
    assert proofs.after(Leaves(), RULES) == proofs
    assert after([Leaves(200, 56), Leaves()]).proof_ppm == after([Leaves(200, 56)]).proof_ppm


def test_the_memory_goes_on_from_the_score_before() -> None:
    first = scored(leaves=Leaves(250, 6))
    assert proofs_of(first) == Proofs().after(Leaves(250, 6), RULES)
    assert proofs_of(scored(first, leaves=Leaves(256, 0))) == memory([Leaves(250, 6), Leaves(256, 0)])


def test_the_worse_of_both_memories_counts() -> None:
    assert Proofs(99, 1, 1, 1).shown_ppm == Proofs(1, 1, 99, 1).shown_ppm == 500_000


@pytest.mark.parametrize(
    ("shown", "expected"),
    [(0, 0), (950_000, 0), (950_001, 0), (950_050, 1), (975_000, 250_000), (990_000, 640_000), (10**6, 10**6)],
)
def test_q_is_the_square_of_how_far_the_share_shown_is_above_95_hundredths(shown: int, expected: int) -> None:
    assert proof_ppm(shown, RULES) == expected


@pytest.mark.parametrize(("failed", "expected"), [(0, 10**6), (28, 10**6), (29, 998_764), (192, 0), (1_680, 0)])
def test_u_is_1_from_985_thousandths_of_the_checks_and_0_from_900(failed: int, expected: int) -> None:
    assert uptime_ppm(Tally(live_ok=1_680 - failed, live_total=1_680), RULES) == expected


@pytest.mark.parametrize(("failed", "expected"), [(0, 10**6), (12, 10**6), (13, 998_255), (128, 0), (1_120, 0)])
def test_r_is_1_from_99_hundredths_of_the_reads_and_0_from_90(failed: int, expected: int) -> None:
    assert scored(tally=Tally(reads_ok=1_120 - failed, reads_total=1_120)).reads_ppm == expected


def test_a_fresh_miner_is_credited_with_a_day_of_successes() -> None:
    """Its first check that fails is one of 241, its first read one of 161."""
    fresh = scored(tally=Tally(live_ok=0, live_total=1, reads_ok=0, reads_total=1))
    assert (fresh.uptime_ppm, fresh.reads_ppm) == (10**6, 10**6)
    assert scored(tally=Tally()).uptime_ppm == scored(tally=Tally()).reads_ppm == PPM


def test_short_epochs_have_fewer_probes_and_20_epochs_of_them_as_credit() -> None:
    usual, short = (score_rules_for(rules_for(seconds)) for seconds in (4_320, 3_599))
    assert (usual.credit_live, usual.credit_reads) == (240, 160)
    assert (short.credit_live, short.credit_reads) == (120, 40)
    assert usual == RULES


def test_rules_without_credit_leave_a_miner_that_was_never_probed_whole() -> None:
    rules = ScoreRules(credit_live=0, credit_reads=0)
    score = next_score(None, evidence(tally=Tally()), rules, epoch=1)
    assert (score.uptime_ppm, score.reads_ppm) == (PPM, PPM)


@pytest.mark.parametrize(
    ("held", "expected"),
    [(0, 25), (TERABYTE, 25), (5 * TERABYTE // 2, 25), (3 * TERABYTE, 30), (100 * TERABYTE, 1_000), (10**17, 1_000)],
)
def test_10_megabit_for_every_terabyte_are_required_at_least_25_at_most_1000(held: int, expected: int) -> None:
    assert required_bps(held, RULES) == expected * 10**6


def test_t_is_the_throughput_by_what_is_required() -> None:
    half = Tally(read_bytes=12_500_000, read_microseconds=8_000_000)
    assert throughput_bps(half) == 12_500_000
    assert speed_ppm(half, TERABYTE, RULES) == 500_000
    assert speed_ppm(half, 10 * TERABYTE, RULES) == 125_000
    assert speed_ppm(replace(half, read_microseconds=1), TERABYTE, RULES) == PPM


def test_t_is_1_where_nothing_was_measured() -> None:
    assert throughput_bps(Tally()) is None
    assert speed_ppm(Tally(), 10**17, RULES) == PPM


@pytest.mark.parametrize(("age", "expected"), [(0, 300_000), (1, 302_500), (140, 650_000), (280, 10**6), (999, 10**6)])
def test_a_grows_from_three_tenths_to_1_in_280_epochs(age: int, expected: int) -> None:
    assert scored(age_epochs=age).age_ppm == expected


def test_w_is_divided_after_each_factor() -> None:
    assert weight_of(999_999, 999_999, 999_999) == 999_997
    assert weight_of(10, 500_000, 0, PPM) == 0


def test_escalation_lasts_for_four_epochs_after_one_with_a_bad_leaf() -> None:
    until = [scored(epoch=7, leaves=Leaves(255, 1)).escalated_until]
    score = scored(epoch=7, leaves=Leaves(255, 1))
    for epoch in range(8, 13):
        score = scored(score, epoch=epoch)
        until.append(score.escalated_until)
    assert until == [11, 11, 11, 11, None, None]


def test_escalation_begins_anew_with_every_bad_leaf() -> None:
    first = scored(epoch=7, leaves=Leaves(255, 1))
    assert escalated_until(first, Leaves(2_047, 1), RULES, epoch=9) == 13


def test_a_score_names_all_it_rests_on() -> None:
    told = evidence(uid=9, paid_bytes=3, unpaid_bytes=2, leaves=Leaves(5, 4), age_epochs=6)
    score = next_score(None, told, RULES, epoch=1)
    assert (score.hotkey, score.coldkey, score.uid) == (told.hotkey, told.coldkey, 9)
    assert (score.paid_bytes, score.unpaid_bytes, score.leaves_ok, score.leaves_bad, score.age_epochs) == (
        3,
        2,
        5,
        4,
        6,
    )
    assert all(getattr(score, each.name) == getattr(GOOD_TALLY, each.name) for each in fields(Tally))


@pytest.mark.parametrize(
    "wrong", [{"slow_alpha": INTEGER_MAX, "slow_beta": INTEGER_MAX}, {"fast_alpha": 2 * INTEGER_MAX}]
)
def test_a_strangers_score_that_leads_to_too_large_a_number_is_refused(wrong: dict[str, int]) -> None:
    before = scored().model_copy(update=wrong)
    rules = ScoreRules(slow_percent=100)
    with pytest.raises(ProtocolError, match="above 2"):
        next_score(before, evidence(leaves=Leaves(1, 1)), rules, epoch=8)


def test_more_bytes_than_a_message_carries_are_refused() -> None:
    with pytest.raises(ProtocolError, match="above 2"):
        scored(paid_bytes=INTEGER_MAX, unpaid_bytes=INTEGER_MAX, tally=Tally(), age_epochs=280)


# More of anything good never costs.


def faster(tally: Tally, microseconds: int) -> Tally:
    """Less time, but some where there was any: without time nothing was measured."""
    before = tally.read_microseconds
    return replace(tally, read_microseconds=max(min(1, before), before - microseconds))


IMPROVEMENTS: dict[str, Callable[[Evidence, int], Evidence]] = {
    "an ok leaf": lambda e, more: replace(e, leaves=e.leaves + Leaves(more, 0)),
    "a leaf that was bad": lambda e, more: replace(
        e, leaves=Leaves(e.leaves.ok + min(more, e.leaves.bad), e.leaves.bad - min(more, e.leaves.bad))
    ),
    "a check that succeeded": lambda e, more: replace(e, tally=e.tally + Tally(live_ok=more, live_total=more)),
    "a read that succeeded": lambda e, more: replace(e, tally=e.tally + Tally(reads_ok=more, reads_total=more)),
    "bytes in the same time": lambda e, more: replace(
        e, tally=e.tally + (Tally(read_bytes=more) if e.tally.read_microseconds else Tally())
    ),
    "the same bytes in less time": lambda e, more: replace(e, tally=faster(e.tally, more)),
    "age": lambda e, more: replace(e, age_epochs=e.age_epochs + more),
}  # fmt: skip


@pytest.mark.parametrize("what", IMPROVEMENTS)
@quick
@given(histories, miners, st.integers(1, 10**6))
def test_more_of_it_never_lowers_the_weight(what: str, history: list[Leaves], told: Evidence, more: int) -> None:
    before = after(history) if history else None
    better = IMPROVEMENTS[what](told, more)
    assert next_score(before, better, RULES, epoch=20).weight >= next_score(before, told, RULES, epoch=20).weight


@pytest.mark.parametrize("what", ["paid_bytes", "unpaid_bytes"])
@quick
@given(miners, st.integers(1, 400 * TERABYTE))
def test_more_bytes_never_lower_the_weight_but_by_rounding(what: str, told: Evidence, more: int) -> None:
    """Not even those of a slow miner: T asks for speed by the bytes that count, so free data is no weapon."""
    larger = replace(told, **{what: getattr(told, what) + more})
    exact = [reference.exact_score(referred(memory([told.leaves]), each)).weight for each in (told, larger)]
    assert exact[0] <= exact[1]
    score = next_score(None, told, RULES, epoch=1)
    assert next_score(None, larger, RULES, epoch=1).weight >= score.weight - rounding(score.weight, score)


# Many identities.


@quick
@given(miners, st.integers(2, 64))
def test_splitting_into_identities_with_the_same_totals_never_gains(told: Evidence, parts: int) -> None:
    """Each is asked and probed as the whole would be; what they serve at once comes over the one link they share."""
    whole = replace(told, paid_bytes=told.paid_bytes * parts, unpaid_bytes=told.unpaid_bytes * parts)
    slower = replace(told.tally, read_microseconds=told.tally.read_microseconds * parts)
    part = next_score(None, replace(told, tally=slower), RULES, epoch=1)
    one = next_score(None, whole, RULES, epoch=1)
    assert part.weight * parts <= one.weight + rounding(one.weight, one)


@quick
@given(st.lists(miners, min_size=1, max_size=8))
def test_however_bytes_and_failures_are_spread_identities_never_gain_on_one_honest_miner(parts: list[Evidence]) -> None:
    counted = sum(counted_bytes(part.paid_bytes, part.unpaid_bytes, RULES) for part in parts)
    assert sum(next_score(None, part, RULES, epoch=1).weight for part in parts) <= counted


def test_a_fresh_identity_is_worth_three_tenths_of_an_old_one() -> None:
    assert scored(age_epochs=0).weight * 10 == scored(age_epochs=280).weight * 3


# Dropping, keeping silent, going away, waiting.

SHARES = [Fraction(part, 2_000) for part in (1, 2, 4, 20, 60, 98, 100, 200, 600, 1_800, 2_000)]


@pytest.mark.parametrize("dropped", SHARES, ids=str)
def test_dropping_a_share_loses_more_than_it_saves(dropped: Fraction) -> None:
    """At its steady state, by expected leaves; it saves at most that share of what honesty earns, as cost of disks."""
    bad = dropped * 2_000
    score = after([Leaves(2_000 - int(bad), int(bad))] * 200)
    lost = 1 - Fraction(score.weight, scored().weight)
    assert lost > dropped or (dropped == 1 and lost == 1)
    assert lost >= min(Fraction(1), 10 * dropped)


def earned(epochs: list[tuple[Leaves, Tally]], *, paid_bytes: int = TERABYTE) -> int:
    """Return the weights of a miner, whose history was good, over a week and a half from the first of these epochs."""
    good = (Leaves(256, 0), Tally(12, 12, 8, 8, 8 * 2**22, 8 * 100_000))
    days: list[tuple[Leaves, Tally]] = [good] * 140 + epochs + [good] * (200 - len(epochs))
    total, score = 0, None
    for epoch, (counted, _) in enumerate(days):
        window = sum((tally for _, tally in days[max(0, epoch - 139) : epoch + 1]), Tally())
        score = scored(score, epoch=epoch, leaves=counted, tally=window, paid_bytes=paid_bytes)
        total += score.weight if epoch >= 140 else 0
    return total


HERE = Tally(12, 12, 8, 8, 8 * 2**22, 8 * 100_000)
AWAY = Tally(0, 12, 0, 8, 0, 0)


@pytest.mark.parametrize("bad", [0, 1, 3, 20, 63])
def test_silence_never_beats_an_honest_answer_to_the_same_batch(bad: int) -> None:
    """An answer shows 64 - bad leaves at once; silence is a fail of all 64 an epoch later."""
    answered = earned([(Leaves(256 - bad, bad), HERE)])
    silent = earned([(Leaves(192, 0), HERE), (Leaves(256, 64), HERE)])
    assert silent < answered


def test_silence_about_a_batch_of_which_nothing_is_left_only_puts_off_what_it_costs() -> None:
    """By an epoch: it costs eleven epochs' earnings, and what is put off a fiftieth of one."""
    answered, silent = earned([(Leaves(192, 64), HERE)]), earned([(Leaves(192, 0), HERE), (Leaves(256, 64), HERE)])
    assert earned([]) - silent > 11 * scored().weight
    assert 0 < silent - answered < scored().weight // 50


@pytest.mark.parametrize("bad", [0, 1, 3, 20, 63, 64])
def test_going_offline_never_beats_an_honest_answer_to_the_same_batch(bad: int) -> None:
    """Away for 20 epochs, which is how long a batch is owed; back, it answers all it owes, or never does."""
    answered = earned([(Leaves(256 - bad, bad), HERE)])
    away = [(Leaves(), AWAY)] * 19
    assert earned([(Leaves(), AWAY), *away, (Leaves(256 * 21 - bad, bad), HERE)]) < answered
    assert earned([(Leaves(), AWAY), *away, (Leaves(256, 256), HERE)]) < answered


@quick
@given(histories, st.integers(0, 64), leaves)
def test_a_batch_left_unanswered_never_scores_above_the_same_batch_answered(
    history: list[Leaves], bad: int, rest: Leaves
) -> None:
    before = after(history) if history else None
    answered = scored(before, epoch=20, leaves=rest + Leaves(64 - bad, bad))
    assert scored(before, epoch=20, leaves=rest + Leaves(0, 64)).weight <= answered.weight


def test_reporting_a_lost_piece_beats_waiting_until_it_is_found() -> None:
    """Waiting for one piece of a share f earns f for 1 / (256 f) epochs, all told 1/256; being found costs more."""
    honest, found = earned([]), earned([(Leaves(255, 1), HERE)])
    waiting_earns = Fraction(scored().weight, 256)
    assert honest - found > 20 * waiting_earns


@pytest.mark.parametrize("lost", [Fraction(1, 100_000), Fraction(1, 1_000), Fraction(1, 100), Fraction(1, 10)], ids=str)
def test_reporting_a_lost_share_beats_being_found_with_it(lost: Fraction) -> None:
    """From the epoch in which it is found; what is shown to be lost counts no longer either."""
    left = int(TERABYTE * (1 - lost))
    reported = earned([], paid_bytes=left)
    bad = max(1, round(256 * lost))
    assert earned([(Leaves(256 - bad, bad), HERE)], paid_bytes=left) < reported


def test_the_bytes_reported_lost_cost_no_more_than_their_share() -> None:
    lost = Fraction(1, 100)
    left = scored(paid_bytes=int(TERABYTE * (1 - lost)))
    assert Fraction(left.weight, scored().weight) == 1 - lost


@quick
@given(st.integers(1, 64))
def test_one_bad_batch_is_forgotten_within_a_week(bad: int) -> None:
    history = [Leaves(256, 0)] * 40 + [Leaves(256 - bad, bad)] + [Leaves(256, 0)] * 140
    assert after(history).proof_ppm > 990_000


def test_a_score_is_a_message_with_one_spelling() -> None:
    score = scored()
    assert MinerScore.parse(score.encode()) == score
