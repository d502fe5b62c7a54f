"""What a status says, given what a validator knows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hippy.ids import MessageId
from hippy.validator.page.figures import FollowedLog, HealthFigures, RepairFigures
from hippy.validator.page.status import FILLED_MAX, NO_STANDINGS, standings_of
from hippy.validator.scoring import PPM, Leaves
from hippy.wire.fields import INTEGER_MAX
from hippy.wire.node import MINERS_MAX
from hippy.wire.score import ScoreRules, ScoreSheet
from hippy.wire.status import STATUS_BYTES_MAX, MinerStanding, NetworkStatus, SegmentHealth
from tests.validator.page.world import EPOCH, HOTKEYS, OTHERS, entry, facts, metagraph, score, sheet, status
from tests.validator.score_world import TERABYTE
from tests.validator.world import HOME, NOW


def standing(number: int, **changes: Any) -> MinerStanding:
    """Return how a miner stands in a sheet of its own."""
    return standings_of(sheet(score(number, **changes))).by_miner[HOTKEYS[number]]


def health(by_spare: dict[int, int], at_threshold: int = 0) -> SegmentHealth:
    told = status(health=HealthFigures(by_spare, at_threshold)).segments.health
    assert told is not None
    return told


class TestMiners:
    def test_a_miner_is_told_with_its_standing_in_the_newest_sheet(self) -> None:
        miner = status().miners[3]
        assert (miner.uid, miner.hotkey, miner.state, miner.held_pieces) == (3, HOTKEYS[3], "live", 61_003)
        assert miner.standing is not None
        assert (miner.standing.leaves_ok, miner.standing.leaves_bad) == (244, 12)
        assert [reason.name for reason in miner.standing.reasons] == ["proofs"]

    def test_a_miner_that_no_sheet_has_has_no_standing(self) -> None:
        assert status().miners[12].standing is None
        assert all(miner.standing is None for miner in status(standings=NO_STANDINGS).miners)

    def test_a_miner_that_does_everything_well_has_no_reasons_and_full_health(self) -> None:
        assert standing(0).reasons == ()
        assert standing(0).health_ppm == PPM

    def test_age_is_a_reason_and_costs_no_health(self) -> None:
        new = standing(5, age_epochs=0)
        assert (new.health_ppm, [(reason.name, reason.value_ppm) for reason in new.reasons]) == (
            PPM,
            [("age", 300_000)],
        )

    def test_reasons_say_what_they_rest_on(self) -> None:
        (reason,) = standing(3, leaves=Leaves(244, 12)).reasons
        assert reason.rests_on.startswith("244 of 256 leaves shown this epoch")

    def test_shares_are_of_all_weights(self) -> None:
        told = standings_of(sheet(score(0), score(1, paid_bytes=3 * score(0).paid_bytes)))
        assert [each.share_ppm for each in told.by_miner.values()] == [250_000, 750_000]

    def test_where_nobody_earned_anything_nobody_has_a_share(self) -> None:
        assert standing(0, paid_bytes=0).share_ppm == 0

    def test_no_more_is_proved_than_is_held(self) -> None:
        assert standing(0, paid_bytes=TERABYTE, leaves=Leaves(10, 0)).proved_bytes == 10 * 16_384
        assert standing(0, paid_bytes=1_000, leaves=Leaves(10, 0)).proved_bytes == 1_000


class TestTotals:
    def test_totals_are_the_sums_of_the_miners(self) -> None:
        told = status()
        standings = [miner.standing for miner in told.miners if miner.standing is not None]
        assert (told.totals.miners, told.totals.live_miners) == (13, 11)
        assert told.totals.capacity_bytes == sum(miner.capacity_bytes for miner in told.miners)
        assert told.totals.used_bytes == sum(miner.used_bytes for miner in told.miners)
        assert told.totals.held_bytes == sum(each.held_bytes for each in standings)
        assert told.totals.proved_bytes == sum(each.proved_bytes for each in standings)
        assert (told.totals.leaves_ok, told.totals.leaves_bad) == (10 * 256 + 244, 12)

    def test_miners_that_boast_cannot_keep_the_status_from_being_told(self) -> None:
        boasters = [entry(number, capacity_bytes=INTEGER_MAX, used_bytes=INTEGER_MAX) for number in range(3)]
        told = status(miners=boasters)
        assert told.totals.capacity_bytes == told.totals.used_bytes == INTEGER_MAX
        assert NetworkStatus.parse(told.encode()) == told


class TestSegments:
    def test_what_is_not_counted_is_absent(self) -> None:
        told = status(health=None, repair=None, weights=None, block=None, chain_epoch=None)
        assert (told.segments.health, told.repair, told.weights, told.block) == (None, None, None, None)
        assert b"null" not in told.encode()

    def test_steps_without_segments_are_listed_up_from_none_to_spare(self) -> None:
        assert [(row.spare, row.segments) for row in health({2: 5}).by_spare] == [(0, 0), (1, 0), (2, 5)]

    def test_of_a_wide_histogram_only_what_there_is_is_listed(self) -> None:
        assert [row.spare for row in health({0: 1, FILLED_MAX: 2}).by_spare] == [0, FILLED_MAX]
        assert len(health({FILLED_MAX - 1: 2}).by_spare) == FILLED_MAX

    def test_segments_with_fewer_than_k_pieces_are_lost_and_no_step(self) -> None:
        told = health({-3: 2, -1: 1, 0: 4}, at_threshold=7)
        assert (told.lost, told.at_threshold) == (3, 7)
        assert [row.spare for row in told.by_spare] == [0]

    def test_without_segments_there_is_no_step(self) -> None:
        assert health({}).by_spare == health({3: 0}).by_spare == ()

    def test_repairs_are_told_as_they_are_counted(self) -> None:
        told = status(repair=RepairFigures(queued_segments=5, queued_bytes=2**60, stuck_segments=1, repairing=2)).repair
        assert told is not None
        assert (told.queued_segments, told.queued_bytes, told.stuck_segments, told.repairing) == (5, INTEGER_MAX, 1, 2)


class TestValidators:
    def test_validators_are_those_with_a_permit_that_are_no_miners_and_are_not_us(self) -> None:
        told = {each.hotkey: each for each in status(followed=()).validators}
        assert told.keys() == set(OTHERS[:2])
        assert [each.stake_ppm for each in told.values()] == [250_000, 250_000]

    def test_a_followed_log_is_told_with_how_far_it_is_behind(self) -> None:
        first, second, third = status().validators
        assert first.log is not None
        assert (first.log.seq, first.log.behind, first.log.time) == (9_000, 12, NOW - 4)
        assert second.log is None
        assert (third.hotkey, third.uid, third.stake_ppm) == (OTHERS[2], None, 0)

    def test_a_log_that_is_ahead_of_what_was_told_of_is_not_behind(self) -> None:
        (told,) = status(
            followed=[FollowedLog(OTHERS[2], 12, 9, NOW)], metagraph=replace(metagraph(), neurons=())
        ).validators
        assert told.log is not None
        assert told.log.behind == 0

    def test_our_own_log_is_not_followed(self) -> None:
        told = status(followed=[FollowedLog(HOME.hotkey, 12, 12, NOW)])
        assert {each.hotkey for each in told.validators} == set(OTHERS[:2])


class TestEpochs:
    def test_the_epoch_is_the_headers_and_the_sheet_that_of_the_one_before(self) -> None:
        told = status()
        assert (told.epoch, told.epoch_time, told.sheet_epoch) == (EPOCH, NOW - 41 * 60, EPOCH - 1)

    def test_before_the_first_header_there_is_no_epoch(self) -> None:
        told = status(header=None, standings=NO_STANDINGS)
        assert (told.epoch, told.epoch_time, told.sheet_epoch) == (None, None, None)


def test_a_subnet_as_large_as_may_be_fits_the_limit() -> None:
    keys = [number.to_bytes(32, "big") for number in range(1, MINERS_MAX + 1)]
    likes = score(7, leaves=Leaves(INTEGER_MAX // 2**20, 5), age_epochs=3)
    worst = tuple(
        likes.model_copy(update={"hotkey": key, "proof_ppm": 1, "uptime_ppm": 1, "reads_ppm": 1}) for key in keys
    )
    whole = ScoreSheet(
        netuid=7, validator=HOME.hotkey, epoch=1, prev_sheet=MessageId(b"p" * 32), rules=ScoreRules(), miners=worst
    )
    miners = [entry(0, hotkey=key, uid=65_535, capacity_bytes=INTEGER_MAX, used_bytes=INTEGER_MAX) for key in keys]
    told = status(miners=miners, standings=standings_of(whole))
    assert all(len(miner.standing.reasons) >= 4 for miner in told.miners if miner.standing is not None)
    raw = told.encode()
    assert len(raw) < STATUS_BYTES_MAX
    assert NetworkStatus.parse(raw, limit=STATUS_BYTES_MAX) == told


def test_more_miners_than_a_message_takes_are_left_out() -> None:
    miners = [entry(0)] * (MINERS_MAX + 1)
    assert len(status(miners=miners).miners) == MINERS_MAX


def test_facts_name_no_account() -> None:
    assert not any("account" in name for name in type(facts()).__dataclass_fields__)
