"""Epochs of audits from end to end: what is asked, what comes of it, and what a stranger finds who computes it."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from hippy.ids import ZERO_ID, Root
from hippy.kv import Transaction, open_database
from hippy.proofs.transcript_entry import Outcome, TranscriptEntry
from hippy.validator.holdings import holdings_of
from hippy.wire.log import SegmentReleased
from hippy.wire.object import Drop
from hippy.wire.pace import pace_of
from tests.validator.auditing.fakes import until
from tests.validator.auditing.transcripts import FOUR, count_of, outcomes, passes, verified
from tests.validator.auditing.world import PIECE_BYTES, TEMPO, MinerNode, Validator, World, make_world, quick_grace
from tests.validator.releases_written import released
from tests.validator.world import ACCOUNT, HOME


async def test_honest_miners_pass_and_a_stranger_finds_the_record_right(world: World) -> None:
    async with world.auditing() as validator:
        await world.pass_until(3)
        assert (await validator.epochs()).model_dump() == {"first": 0, "last": 3}
        for epoch in (1, 2):
            transcript = await validator.transcript(epoch)
            for miner in world.miners:
                assert sorted(outcomes(transcript, miner)) == passes(epoch)
                score = await validator.score(epoch, miner)
                assert (score.leaves_ok, score.leaves_bad, score.escalated_until) == (256, 0, None)
        assert (await validator.transcript(0)).entries == ()
        assert [match.epoch for match in (await verified(validator)).matches] == [0, 1, 2]


async def test_the_first_header_follows_nothing_and_asks_nothing(world: World) -> None:
    async with world.auditing() as validator:
        await world.pass_time(TEMPO / 2)
        header = await validator.header(0)
    assert (header.rounds, header.prev_header, header.prev_epoch, header.revealed) == (0, ZERO_ID, None, None)
    assert [miner.asked for miner in world.miners] == [[], []]


async def test_batches_are_sent_when_their_rounds_come_and_not_all_at_once(world: World) -> None:
    async with world.auditing() as validator:
        await world.pass_until(2)
        transcript, header = await validator.transcript(1), await validator.header(1)
    genesis = header.time - header.first_round
    assert all(0 <= entry.time - genesis - entry.round <= 1 for entry in transcript.entries)
    assert len({entry.round for entry in transcript.entries}) > 4


async def test_a_deleted_piece_is_found_lost_and_its_miner_asked_more(world: World) -> None:
    bad, good = world.miners
    bad.delete(bad.roots[3])
    async with world.auditing() as validator:
        await world.pass_until(3)
        counts = count_of(await validator.transcript(1), bad)
        assert counts["FAIL"] == 4
        assert {piece.root for loss in await world.losses() for piece in loss.pieces} == {bad.roots[3]}
        (loss,) = await world.losses()
        assert (loss.miner, loss.reason, loss.epoch) == (bad.hotkey, "failed", 1)
        score = await validator.score(1, bad)
        assert score.leaves_bad > 0
        assert score.paid_bytes == 7 * 1_000
        assert score.escalated_until == 5
        # It is asked 32 batches, and owes the lost piece no more.
        transcript = await validator.transcript(2)
        assert sorted(outcomes(transcript, bad)) == passes(2, range(32))
        assert sorted(outcomes(transcript, good)) == passes(2)
        failures = (await validator.report(bad)).failures
        assert {failure.roots for failure in failures} == {(bad.roots[3],)}
        assert (await validator.report(good)).failures == ()
        await verified(validator)


class TestLostReports:
    async def test_a_report_voids_what_is_asked_in_later_rounds(self, world: World) -> None:
        miner, root = world.miners[0], world.miners[0].roots[3]
        async with world.auditing() as validator:
            await world.pass_until(2)
            asked = len(miner.asked)
            while len(miner.asked) == asked:
                await world.pass_time(1)
            miner.delete(root)
            assert await validator.lost(miner, root) == 1
            reported_round = await world.chain.beacon_round()
            await world.pass_until(4)
            transcript = await validator.transcript(2)
            entries = [entry for entry in transcript.entries if entry.miner == miner.hotkey]
            assert {entry.outcome for entry in entries} == {Outcome.PASS}
            assert {bool(entry.voids): entry.round > reported_round for entry in entries} == {True: True, False: False}
            score = await validator.score(2, miner)
            assert score.leaves_bad == 0
            assert 0 < score.leaves_ok < 256
            assert not any(entry.voids for entry in (await validator.transcript(3)).entries)
            await verified(validator)

    async def test_a_report_after_the_question_voids_nothing(self, world: World) -> None:
        miner, root = world.miners[0], world.miners[0].roots[3]
        async with world.auditing() as validator:
            await world.pass_until(1)
            miner.hold = asyncio.Event()
            miner.delete(root)
            while not miner.under_way:
                await world.pass_time(1)
            assert await validator.lost(miner, root) == 1
            miner.hold.set()
            await world.settle()
            await world.pass_until(2)
            first, *_ = (entry for entry in (await validator.transcript(1)).entries if entry.miner == miner.hotkey)
            assert (first.outcome, first.voids) == (Outcome.FAIL, ())
            assert [loss.reason for loss in await world.losses()] == ["reported"]
            await verified(validator)

    async def test_a_piece_that_is_given_back_is_owed_again(self, world: World) -> None:
        miner = world.miners[0]
        async with world.auditing() as validator:
            await world.pass_until(1)
            miner.delete(miner.roots[3])
            await validator.lost(miner, miner.roots[3])
            (new,) = await world.commit(miner)
            await world.pass_until(2)
            miner.delete(new)
            await world.pass_until(3)
            assert "FAIL" in count_of(await validator.transcript(2), miner)
            await verified(validator)


class TestReleases:
    async def release(self, world: World, miner: MinerNode, root: Root) -> None:
        """The account has dropped the segment of a piece, a while ago."""
        now = int(world.clock.now())

        def work(txn: Transaction) -> None:
            (piece,) = holdings_of(txn, miner.hotkey, root)
            time = now - pace_of(float(TEMPO)).drop_grace_seconds
            drop = Drop(account=piece.account, segment_id=piece.segment_id, time=time).signed(ACCOUNT, HOME.network)
            released(txn, SegmentReleased(segment_id=piece.segment_id, reason="deleted", drop=drop), now)

        await world.database.transact(work)

    async def test_a_piece_that_was_released_before_it_is_asked_for_again_costs_nothing(self, world: World) -> None:
        miner = world.miners[0]
        async with world.auditing() as validator:
            await world.pass_time(TEMPO - 1)
            miner.away = True
            await world.pass_until(1)
            await self.release(world, miner, miner.roots[3])
            miner.delete(miner.roots[3])
            await world.pass_until(2)
            miner.away = False
            await world.pass_until(4)
            first, second, third = [await validator.transcript(epoch) for epoch in (1, 2, 3)]
            late = [each for each in (*second.entries, *third.entries) if each.epoch == 1]
            assert {(each.miner, each.outcome) for each in late if each.answered} == {(miner.hotkey, Outcome.PASS)}
            assert any(each.voids for each in late)
            assert not any(each.voids for each in first.entries), "the epoch began before"
            assert not any(each.voids for each in (*second.entries, *third.entries) if each.epoch != 1)
            assert await world.losses() == []
            for epoch in (1, 2, 3):
                for each in world.miners:
                    score = await validator.score(epoch, each)
                    assert (score.leaves_bad, score.paid_bytes) == (0, 7 * PIECE_BYTES)
            assert (await validator.report(miner)).failures == ()
            await verified(validator)

    async def test_a_piece_that_is_released_and_gone_in_the_epoch_that_asks_for_it_fails(self, world: World) -> None:
        miner, keeper = world.miners
        async with world.auditing() as validator:
            await world.pass_until(1)
            await self.release(world, miner, miner.roots[3])
            miner.delete(miner.roots[3])
            await world.pass_until(3)
            first, second = await validator.transcript(1), await validator.transcript(2)
            assert "FAIL" in count_of(first, miner)
            assert set(count_of(first, keeper)) == {"PASS"}, "it shows it still"
            assert not any(entry.voids for entry in (*first.entries, *second.entries))
            assert await world.losses() == [], "it is held no more"
            assert (await validator.score(1, miner)).leaves_bad > 0
            assert set(count_of(second, miner)) == {"PASS"}, "it is asked for no more"
            await verified(validator)

    async def test_a_piece_that_was_gone_before_its_release_has_failed(self, world: World) -> None:
        miner = world.miners[0]
        miner.delete(miner.roots[3])
        async with world.auditing() as validator:
            await world.pass_until(2)
            assert "FAIL" in count_of(await validator.transcript(1), miner)
            await self.release(world, world.miners[1], world.miners[1].roots[3])
            await world.pass_until(3)
            assert [loss.reason for loss in await world.losses()] == ["failed"]
            assert (await validator.score(1, miner)).leaves_bad > 0
            await verified(validator)


class TestRestarts:
    async def run_with_a_break(self, world: World, broken_at: int) -> Validator:
        async with world.auditing():
            await world.pass_until(1)
            await world.pass_time(broken_at)
        return await self.finish(world)

    async def finish(self, world: World) -> Validator:
        async with world.auditing() as validator:
            await world.pass_until(3)
            for epoch in (1, 2):
                transcript = await validator.transcript(epoch)
                for miner in world.miners:
                    assert sorted(outcomes(transcript, miner)) == passes(epoch)
            await verified(validator)
        return validator

    @pytest.mark.parametrize("broken_at", [0, 7, 19, 30, 37])
    async def test_a_restart_within_an_epoch_skips_nothing_and_asks_nothing_twice(
        self, world: World, broken_at: int
    ) -> None:
        await self.run_with_a_break(world, broken_at)
        for miner in world.miners:
            assert len(set(miner.asked)) == len(miner.asked)

    async def test_a_restart_over_a_real_database_does_so_too(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        quick_grace(monkeypatch)
        async with open_database(tmp_path / "registry") as database, make_world(tmp_path, database=database) as world:
            await self.run_with_a_break(world, 19)

    async def test_a_batch_that_was_being_asked_is_entered_once(self, world: World) -> None:
        miner = world.miners[0]
        async with world.auditing():
            await world.pass_until(1)
            miner.hold = asyncio.Event()
            while not miner.under_way:
                await world.pass_time(1)
        miner.hold.set()
        await self.finish(world)
        assert max(Counter(miner.asked).values()) == 2  # the miner was asked again what nobody heard the answer to

    async def test_what_a_silent_miner_owes_is_remembered(self, world: World) -> None:
        miner = world.miners[0]
        miner.mute = True
        async with world.auditing() as validator:
            await world.pass_until(1)
            while validator.auditor.owed_by(miner.hotkey) < 2:
                await world.pass_time(1)
        miner.mute = False
        async with world.auditing() as validator:
            await world.pass_until(3)
            transcript = await validator.transcript(1)
            counts = count_of(transcript, miner)
            assert counts["SILENT"] >= 2
            assert counts["PASS"] + count_of(await validator.transcript(2), miner)["PASS"] == 8
            assert validator.auditor.owed_by(miner.hotkey) == 0
            await verified(validator)

    async def test_probes_of_epochs_that_ended_still_count(self, world: World) -> None:
        async with world.auditing() as validator:
            await world.pass_until(2)
            before = await validator.score(1, world.miners[0])
        async with world.auditing() as validator:
            await world.pass_until(3)
            after = await validator.score(2, world.miners[0])
        assert 0 < before.live_total < after.live_total


async def test_a_validator_that_was_away_for_two_epochs_goes_on(world: World) -> None:
    async with world.auditing() as validator:
        await world.pass_until(1)
        await world.pass_time(TEMPO / 2)
        asked = len(world.miners[0].asked)
    await world.clock.advance(2 * TEMPO)
    async with world.auditing() as validator:
        await world.pass_until(5)
        header = await validator.header(3)
        assert (header.prev_epoch, header.rounds) == (1, 0)
        assert header.revealed is not None
        assert (await validator.transcript(3)).entries == ()
        entries = (await validator.transcript(1)).entries
        never = [entry for entry in entries if not entry.asked]
        assert {entry.outcome for entry in never} == {Outcome.UNKNOWN}
        assert len(entries) == 8
        assert sum(entry.asked for entry in entries if entry.miner == world.miners[0].hotkey) == asked
        assert sorted(outcomes(await validator.transcript(4), world.miners[0])) == passes(4)
        await verified(validator)


class TestUnanswered:
    async def test_a_silent_miner_that_answers_at_last_passes(self, world: World) -> None:
        miner, other = world.miners
        async with world.auditing() as validator:
            await world.pass_until(1)
            miner.mute = True
            await world.pass_time(15)
            miner.mute = False
            await world.pass_until(3)
            counts = count_of(await validator.transcript(1), miner)
            assert counts["SILENT"] > 0
            assert counts["PASS"] + count_of(await validator.transcript(2), miner)["PASS"] == 8
            assert sorted(outcomes(await validator.transcript(1), other)) == passes(1)
            assert await world.losses() == []
            await verified(validator)

    async def test_four_silences_are_a_fail_that_costs_what_was_asked_for(self, world: World) -> None:
        miner = world.miners[0]
        miner.mute = True
        async with world.auditing() as validator:
            await world.pass_until(4)
            entries: list[TranscriptEntry] = []
            for epoch in (1, 2, 3):
                found = (await validator.transcript(epoch)).entries
                entries += (entry for entry in found if (entry.epoch, entry.miner) == (1, miner.hotkey))
            for batch in FOUR:
                mine = [entry for entry in entries if entry.batch == batch]
                assert [entry.attempt for entry in mine] == [0, 1, 2, 3]
                assert [entry.outcome.name for entry in mine] == ["SILENT"] * 3 + ["FAIL"]
                pauses = [later.time - entry.time for entry, later in pairwise(mine)]
                assert all(abs(found - due) <= 2 for found, due in zip(pauses, (2.8, 11.1, 33.3), strict=True))
            assert {loss.reason for loss in await world.losses()} == {"unanswered"}
            assert {failure.kind for failure in (await validator.report(miner)).failures} == {"unanswered"}
            result = await verified(validator)
            assert sum(match.failed_unanswered for match in result.matches) >= 4

    async def test_an_absent_miner_owes_and_is_asked_again_when_it_is_back(self, world: World) -> None:
        miner = world.miners[0]
        async with world.auditing() as validator:
            await world.pass_time(TEMPO - 1)
            miner.away = True
            await world.pass_until(2)
            assert count_of(await validator.transcript(1), miner) == {"OFFLINE": 4}
            assert (await validator.report(miner)).owed_batches == 4
            miner.away = False
            await world.pass_until(4)
            transcripts = [await validator.transcript(epoch) for epoch in (2, 3)]
            late = [each for transcript in transcripts for each in outcomes(transcript, miner) if each[0] == 1]
            assert sorted(late) == [(1, number, 1, "PASS") for number in FOUR]
            assert (await validator.report(miner)).owed_batches == 0
            before, score = await validator.score(0, miner), await validator.score(1, miner)
            assert (score.leaves_ok, score.leaves_bad) == (0, 0)
            assert score.live_ok == before.live_ok
            assert score.live_total > before.live_total
            assert score.reads_total == before.reads_total
            await verified(validator)

    async def test_while_most_miners_are_gone_the_validator_doubts_itself(self, world: World) -> None:
        async with world.auditing() as validator:
            await world.pass_time(TEMPO - 1)
            for miner in world.miners:
                miner.away = True
            await world.pass_until(2)
            transcript = await validator.transcript(1)
            names = Counter(entry.outcome.name for entry in transcript.entries)
            assert names["UNKNOWN"] > names["OFFLINE"]
            assert names["SILENT"] == names["FAIL"] == 0
            for miner in world.miners:
                before, after = await validator.score(0, miner), await validator.score(1, miner)
                assert after.live_ok == before.live_ok
                assert after.live_total - before.live_total <= 1  # before the second was missed, too
            for miner in world.miners:
                miner.away = False
            await world.pass_until(4)
            for miner in world.miners:
                assert (await validator.report(miner)).owed_batches == 0
            await verified(validator)

    async def test_an_asking_under_way_when_the_epoch_ends_is_asked_again(self, world: World) -> None:
        miner = world.miners[0]
        async with world.auditing() as validator:
            await world.pass_until(1)
            miner.hold = asyncio.Event()
            while not miner.under_way:
                await world.pass_time(1)
            await world.pass_until(2)
            asked = miner.asked[0]
            assert (*asked, "UNKNOWN") in outcomes(await validator.transcript(1), miner)
            miner.hold.set()
            await world.settle()
            await world.pass_until(3)
            assert (*asked[:2], 1, "PASS") in outcomes(await validator.transcript(2), miner)
            await verified(validator)

    async def test_what_is_drawn_while_an_epoch_ends_gets_no_more_time_than_the_rest(self, world: World) -> None:
        miner = world.miners[0]
        async with world.auditing() as validator:
            await world.pass_until(1)
            world.chain.beacons = asyncio.Event()
            await world.pass_time(TEMPO - 2)  # all batches wait for their beacons
            closing = asyncio.create_task(world.pass_time(1))
            await until(lambda: validator.auditor._over is not None)
            for each in world.miners:
                each.hold = asyncio.Event()
            world.chain.beacons.set()
            async with asyncio.timeout(3):  # less than a batch has else
                await closing
            assert count_of(await validator.transcript(1), miner) == {"UNKNOWN": 4}
            for each in world.miners:
                assert each.hold is not None
                each.hold.set()
            await world.settle()
            await world.pass_until(3)
            await verified(validator)


async def test_reads_refused_are_counted_and_the_rest_is_not_absence(world: World) -> None:
    bad, good = world.miners
    bad.serves_reads = False
    async with world.auditing() as validator:
        await world.pass_until(3)
        refusing, serving = await validator.score(2, bad), await validator.score(2, good)
    assert refusing.reads_ok == 0
    assert refusing.reads_total > 0
    assert refusing.live_ok == refusing.live_total
    assert serving.reads_ok == serving.reads_total > 0
    assert bad.reads >= refusing.reads_total


async def test_two_runs_of_the_same_epochs_plan_the_same_batches(world: World) -> None:
    async with world.auditing() as validator:
        await world.pass_until(2)
        header = await validator.header(1)
        closing = validator.auditor._parts.closing
        again = [await world.database.read(lambda reader: closing.planned(reader, header)) for _ in range(2)]
        assert again[0] == again[1]
        found = {
            (entry.epoch, entry.miner, entry.batch, entry.round) for entry in (await validator.transcript(1)).entries
        }
        assert {(*each.key, each.round) for each in again[0]} == found
