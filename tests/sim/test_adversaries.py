"""Every strategy against honest peers in the same run: none earns more (PROTOCOL §8, 5, 7, 10, 15)."""

from __future__ import annotations

import pytest

from hippy.sim.report import Prices, portions_of, rows_of, wash_rows
from hippy.sim.settings import Settings
from hippy.sim.simulation import Run, simulate, weights_over_time
from hippy.sim.strategies import HONEST, STRATEGIES, chosen
from tests.sim.worlds import row, run

COST_SHARES = (0.5, 0.9)
SPLITS = [name for name in STRATEGIES if name.startswith("split-")]
WASHERS = [name for name, operation in STRATEGIES.items() if operation.wash]
CHEATS = [name for name in STRATEGIES if name != HONEST and name not in SPLITS]
EPOCHS_PER_DAY = 20


@pytest.fixture(scope="module")
def week() -> Run:
    """All strategies that cheat in one network, for four days of a week."""
    return simulate(Settings(miners=72, days=4, k=4, n=8, lots=24, bundle=50, wash_lots=12), chosen(CHEATS))


@pytest.fixture(scope="module")
def splits() -> Run:
    """All that split in one network, with as many pieces that sixteen identities have some each."""
    return simulate(Settings(miners=88, days=2, k=4, n=8, lots=160, bundle=5), chosen(SPLITS))


@pytest.mark.parametrize("cost_share", COST_SHARES)
@pytest.mark.parametrize("name", CHEATS)
def test_no_strategy_earns_as_much_as_honesty(week: Run, name: str, cost_share: float) -> None:
    found = row(week, name, Prices(cost_share))
    honest = row(week, HONEST, Prices(cost_share))
    print(
        f"{name}: revenue {found.revenue:.2f}, cost {found.cost:.2f}, profit {found.profit:.2f} "
        f"where honesty has {honest.profit:.2f}: {found.ratio:.3f}"
    )
    assert found.ratio < 1
    assert not found.beats_honesty


@pytest.mark.parametrize("cost_share", COST_SHARES)
@pytest.mark.parametrize("name", SPLITS)
def test_splitting_never_earns_more_than_a_hundredth_more(splits: Run, name: str, cost_share: float) -> None:
    found = row(splits, name, Prices(cost_share))
    print(f"{name}: revenue per byte {found.revenue / 100:.4f}, profit {found.ratio:.4f} of an unsplit one's")
    assert found.revenue <= 101  # whatever identities and audits cost
    assert found.ratio <= 1.01
    assert max(weights_over_time(splits)[name]) <= 1.01


@pytest.mark.parametrize("name", ["split-1", "split-4", "split-16"])
def test_the_throughput_of_a_split_falls_on_a_shared_pipe(splits: Run, name: str) -> None:
    unsplit, split = row(splits, "split-1"), row(splits, name)
    assert unsplit.speed == 1
    if name == "split-16":
        assert split.speed < 0.7
        assert split.weight < 0.7
    else:
        assert split.weight <= 1.01


@pytest.mark.parametrize("name", ["silent", "offline", "replay"])
def test_silence_and_absence_on_bad_batches_end_like_wrong_answers(week: Run, name: str) -> None:
    found = row(week, name)
    assert found.detected_epoch is not None
    assert found.detected_epoch <= 2.5 * EPOCHS_PER_DAY  # a day until it is certain, and a day for the first
    assert found.ratio < row(week, "drop-0.1%").ratio  # an honest answer would have been cheaper


def test_what_is_missing_is_found_the_sooner_the_more_it_is(week: Run) -> None:
    seen = [row(week, f"drop-{share}%").detected_epoch for share in ("1", "5", "30")]
    assert None not in seen
    assert seen == sorted(each for each in seen if each is not None)
    assert seen[0] is not None
    assert seen[0] <= 3


def test_the_reads_of_a_miner_that_answers_audits_only_fall_to_nothing_within_three_days(week: Run) -> None:
    found = row(week, "audits-only")
    assert found.proofs == 1
    assert found.reads == 0
    assert max(weights_over_time(week)["audits-only"][3 * EPOCHS_PER_DAY :]) == 0


@pytest.mark.parametrize("name", ["slow", "late-start"])
def test_a_slow_miner_is_paid_for_what_it_serves_at(week: Run, name: str) -> None:
    assert 0.1 < row(week, name).weight < 0.25


def test_saying_released_of_what_is_owed_is_as_dear_as_any_other_lie(week: Run) -> None:
    claimed, lied = row(week, "claim-released"), row(week, "false-path")
    assert claimed.detected_epoch is not None
    assert claimed.ratio == pytest.approx(lied.ratio, abs=0.05)


def test_keeping_what_was_released_is_never_paid(week: Run) -> None:
    found = row(week, "hoard-released")
    assert found.proofs == 1
    assert found.revenue == pytest.approx(90, abs=2), "a tenth of what it keeps is owed no longer"
    assert found.cost > 0.95 * row(week, HONEST).cost, "and costs a disk all the same"


def test_an_exit_scam_earns_until_it_exits_and_no_longer(week: Run) -> None:
    weights = weights_over_time(week)["exit-scam"]
    half = len(weights) // 2
    assert min(weights[:half]) > 0.9
    assert max(weights[half + 1 :]) < 0.05


def test_reporting_a_loss_is_better_than_waiting_to_be_asked(week: Run) -> None:
    reported, waited = row(week, "report-1%"), row(week, "drop-1%")
    assert waited.ratio < reported.ratio < 1
    assert reported.proofs == 1
    assert reported.detected_epoch is None


@pytest.mark.parametrize("name", WASHERS)
def test_wash_storage_earns_less_than_its_fee(week: Run, name: str) -> None:
    (found,) = (each for each in wash_rows(week, Prices()) if each.account == f"account of {name}")
    print(f"{name}: earned {found.earned:.2f}, paid {found.fee:.2f}; breaks even at a fee of {found.break_even:.1%}")
    assert found.earned < found.fee
    assert found.share <= {"wash-zeros": 1 / 8, "wash-grind": 4 / 8, "wash-steer": 4 / 8}[name]


def test_giving_up_allocations_and_moving_pieces_is_seen_in_the_bytes_of_account_and_coldkey(week: Run) -> None:
    portions = portions_of(week)
    for account in {each.account for each in portions}:
        of_account = [each for each in portions if each.account == account]
        assert sum(each.share for each in of_account) == pytest.approx(1)
    shares = {
        name: sum(p.share for p in portions if (p.account, p.operator) == (f"account of {name}", name))
        / sum(p.expected_share for p in portions if (p.account, p.operator) == ("customer-a", name))
        for name in ("wash-grind",)
    }
    print(f"the grinder's friends hold {shares['wash-grind']:.1f} times what their weight would give them")
    assert shares["wash-grind"] > 3


def test_honest_miners_are_not_hurt_by_the_company_they_keep(week: Run) -> None:
    assert row(week, HONEST).ratio == 1
    assert {score.proof_ppm for score in week.notes[HONEST].scores} == {1_000_000}
    assert week.notes[HONEST].detected_epoch is None


def test_the_same_seed_gives_the_same_table_and_another_seed_another() -> None:
    tables = [rows_of(run("drop-1%", "flap", days=0.5, seed=seed), Prices()) for seed in (3, 3, 4)]
    assert tables[0] == tables[1]
    assert tables[0] != tables[2]


def test_two_validators_judge_as_one_does() -> None:
    done = run("drop-30%", days=0.5, validators=2)
    assert row(done, "drop-30%").ratio < 0.5
    assert {score.proof_ppm for score in done.notes[HONEST].scores} == {1_000_000}
