"""The order and the pace of repairs: the real loop, with miners that are words (stage.py)."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from hippy.ids import PublicKey, SegmentId
from hippy.points import watching
from hippy.testing.loop import SimulatedLoop, run_simulated
from hippy.validator.leases import get_life
from hippy.validator.losses import record_loss
from hippy.validator.releases import release_due
from hippy.validator.repair.drains import record_drain
from hippy.validator.repair.figures import read_figures
from hippy.validator.repair.jobs import get_notes, jobs, tried
from hippy.validator.repair.moves import current_holder, flawed_indices, missing_indices
from hippy.validator.repair.ordering import Mismatch, Refused, Reply, SourcesFailed, Unanswered
from hippy.wire.pace import USUAL_PACE
from hippy.wire.repair import RepairOrder
from tests.validator.repair.registry import drain_word
from tests.validator.repair.stage import CLOCK, PIECE_LENGTH, Stage
from tests.validator.world import HOME

K, N = 4, 8


def on_stage(story: Callable[[Stage], Coroutine[Any, Any, None]], *, miners: int = 14, seed: int = 1) -> None:
    """Run a story with a repair that was not started yet."""

    async def play() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimulatedLoop)
        stage = Stage(loop, random.Random(seed), miners=miners)
        await stage.open()
        with watching(stage.reached):
            await story(stage)
        assert loop.errors == []

    run_simulated(play(), seed=seed)


async def lose(stage: Stage, segment_id: SegmentId, *indices: int) -> None:
    """Have pieces recorded as lost."""
    for index in indices:
        record = stage.record(segment_id)
        holder = current_holder(stage.reader, record, index)
        assert holder is not None
        root = record.spec.roots[index]
        await stage.database.transact(
            lambda txn, holder=holder, root=root: record_loss(  # type: ignore[misc]
                txn, HOME, holder, [root], reason="failed", now=int(CLOCK.now()), epoch=1, batch=0
            )
        )


def is_whole(stage: Stage, *segment_ids: SegmentId) -> Callable[[], bool]:
    return lambda: not any(missing_indices(stage.reader, stage.record(each)) for each in segment_ids)


def ordered(stage: Stage) -> list[tuple[SegmentId, int]]:
    """What was ordered, in order."""
    return [(order.ticket.segment_id, order.ticket.index) for order, _ in stage.delivered]


def test_the_segment_nearest_to_loss_is_repaired_first() -> None:
    async def story(stage: Stage) -> None:
        stage.at_once = 1
        low, lower, lowest = [await stage.commit(number, K, N) for number in range(3)]
        await lose(stage, low, 0, 1)
        await lose(stage, lowest, 0, 1, 2, 3)
        await lose(stage, lower, 0, 1, 2)
        stage.start()
        await stage.until(is_whole(stage, low, lower, lowest))
        assert ordered(stage)[0][0] == lowest
        assert [segment_id for segment_id, _ in ordered(stage)].index(low) >= 3

    on_stage(story)


def test_silent_holders_make_a_segment_more_urgent() -> None:
    async def story(stage: Stage) -> None:
        stage.at_once = 1
        calm = await stage.commit(0, K, N, first=0)
        shaky = await stage.commit(1, K, N, first=8)
        await lose(stage, calm, 0, 1, 2)
        await lose(stage, shaky, 0, 1)
        for index in (2, 3):
            silent = current_holder(stage.reader, stage.record(shaky), index)
            assert silent is not None
            stage.directory.away.add(silent)
            stage.directory._silent.add(silent)
        stage.start()
        await stage.until(lambda: bool(stage.delivered))
        assert ordered(stage)[0][0] == shaky

    on_stage(story, miners=24)


def test_orders_are_held_to_the_rate_of_bytes_that_they_have_miners_read() -> None:
    async def story(stage: Stage) -> None:
        stage.mbit_s = 8 * K * PIECE_LENGTH / 10 / 1e6  # an order in ten seconds
        segment_id = await stage.commit(0, K, N)
        await lose(stage, segment_id, 0, 1, 2)
        stage.start()
        began = stage.loop.time()
        await stage.until(is_whole(stage, segment_id))
        assert 20.0 <= stage.loop.time() - began <= 40.0

    on_stage(story)


def test_as_many_orders_are_out_as_the_operator_allows_and_no_miner_does_two() -> None:
    async def story(stage: Stage) -> None:
        stage.at_once, stage.work_seconds = 3, lambda: 5.0
        segment_ids = [await stage.commit(number, K, N, first=3 * number) for number in range(4)]
        for segment_id in segment_ids:
            await lose(stage, segment_id, 0, 1, 2)
        stage.start()
        most = 0
        while not is_whole(stage, *segment_ids)():
            await asyncio.sleep(0.2)
            at_work = [order.ticket.miner for order in stage.at_work]
            reading = Counter(source.miner for order in stage.at_work for source in order.sources)
            assert len(set(at_work)) == len(at_work) <= 3
            assert max(reading.values(), default=0) <= 2
            most = max(most, len(at_work))
        assert most == 3

    on_stage(story, miners=24)


def test_two_processes_on_one_registry_never_send_the_same_order() -> None:
    async def story(stage: Stage) -> None:
        segment_ids = [await stage.commit(number, K, N, first=number) for number in range(4)]
        for segment_id in segment_ids:
            await lose(stage, segment_id, 0, 1, 2)
        first, second = stage.start(), stage.start()
        await stage.until(is_whole(stage, *segment_ids))
        assert len(stage.delivered) == len(set(ordered(stage))) == 12
        assert not first.done()
        assert not second.done()

    on_stage(story, miners=24)


def test_a_miner_that_refuses_gets_no_other_piece_of_the_segment() -> None:
    async def story(stage: Stage) -> None:
        segment_id = await stage.commit(0, K, N)
        refused: list[PublicKey] = []

        def answer(order: RepairOrder) -> Reply:
            if len(refused) < 2:
                refused.append(order.ticket.miner)
                return Refused("no space")
            return stage.receipt(order)

        stage.answer = answer
        await lose(stage, segment_id, 0, 1, 2)
        stage.start()
        await stage.until(is_whole(stage, segment_id))
        assert len(stage.delivered) == 5
        assert not set(refused) & {each.miner for each in stage.record(segment_id).holdings}
        assert {each.miner for each in tried(stage.reader, segment_id)} == set(refused)

    on_stage(story)


def test_an_unanswered_order_is_sent_once_more_as_it_was() -> None:
    async def story(stage: Stage) -> None:
        segment_id = await stage.commit(0, K, N)
        stage.answer = lambda order: stage.receipt(order) if len(stage.delivered) > 1 else Unanswered("silence")
        await lose(stage, segment_id, 0, 1)
        stage.at_once = 1
        stage.start()
        await stage.until(is_whole(stage, segment_id))
        (first, mask), (again, other), *_ = stage.delivered
        assert first.id(HOME.network) == again.id(HOME.network)
        assert mask == other

    on_stage(story)


def test_after_two_silences_another_miner_is_asked() -> None:
    async def story(stage: Stage) -> None:
        segment_id = await stage.commit(0, K, N)
        stage.answer = lambda order: stage.receipt(order) if len(stage.delivered) > 2 else Unanswered("silence")
        await lose(stage, segment_id, 0, 1)
        stage.at_once = 1
        stage.start()
        await stage.until(is_whole(stage, segment_id))
        first, second, third, *_ = [order.ticket.miner for order, _ in stage.delivered]
        assert first == second != third

    on_stage(story)


def test_sources_that_fail_our_own_look_too_are_left_out() -> None:
    async def story(stage: Stage) -> None:
        segment_id = await stage.commit(0, K, N)
        await lose(stage, segment_id, 6, 7)
        bad = current_holder(stage.reader, stage.record(segment_id), 0)
        assert bad is not None
        stage.bad_sources = {bad}

        def answer(order: RepairOrder) -> Reply:
            failed = tuple(source.index for source in order.sources if source.miner == bad)
            return SourcesFailed(failed) if failed else stage.receipt(order)

        stage.answer = answer
        stage.start()
        await stage.until(is_whole(stage, segment_id))
        assert {source.miner for source in stage.looked_at} <= {bad}
        assert current_holder(stage.reader, stage.record(segment_id), 0) == bad

    on_stage(story, miners=20)


class TestMismatches:
    """Miners that say that what their sources make has another root."""

    def test_the_second_is_given_other_sources_and_then_the_validator_looks_itself(self) -> None:
        async def story(stage: Stage) -> None:
            segment_id = await stage.commit(0, K, 12)
            stage.at_once = 1
            await lose(stage, segment_id, 11, 10, 9, 8)
            stage.answer = lambda order: stage.receipt(order) if stage.made else Mismatch()
            stage.start()
            await stage.until(is_whole(stage, segment_id))
            (first, _), (second, _), *_ = stage.delivered
            assert first.ticket.index == second.ticket.index
            assert first.ticket.miner != second.ticket.miner
            assert not {each.index for each in first.sources} & {each.index for each in second.sources}
            assert [job.index for job in stage.made] == [first.ticket.index]
            assert not flawed_indices(stage.reader, segment_id)

        on_stage(story, miners=24)

    def test_a_piece_that_the_validator_cannot_make_either_is_flawed(self) -> None:
        async def story(stage: Stage) -> None:
            segment_id = await stage.commit(0, K, N)
            stage.at_once, stage.is_flawed = 1, True
            await lose(stage, segment_id, 5, 6)
            stage.answer = lambda order: Mismatch() if order.ticket.index == 5 else stage.receipt(order)
            stage.start()
            await stage.until(lambda: flawed_indices(stage.reader, segment_id) == {5})
            await stage.until(is_whole(stage, segment_id))
            await asyncio.sleep(100.0)
            assert len([1 for order, _ in stage.delivered if order.ticket.index == 5]) == 2
            assert read_figures(stage.reader).queued_segments == 0

        on_stage(story, miners=20)

    def test_what_was_proven_is_not_made_by_the_validator_again(self) -> None:
        async def story(stage: Stage) -> None:
            segment_id = await stage.commit(0, K, N)
            stage.at_once = 1
            await lose(stage, segment_id, 5, 6)
            stage.answer = lambda order: Mismatch() if len(stage.delivered) < 6 else stage.receipt(order)
            stage.start()
            await stage.until(is_whole(stage, segment_id))
            assert len(stage.made) == 1

        on_stage(story, miners=20)

    def test_sources_that_fail_the_validator_are_left_out_and_prove_nothing(self) -> None:
        async def story(stage: Stage) -> None:
            segment_id = await stage.commit(0, K, N)
            stage.at_once, stage.is_flawed = 1, True
            await lose(stage, segment_id, 5, 6)
            holders = [current_holder(stage.reader, stage.record(segment_id), index) for index in range(N)]
            stage.bad_sources = {each for each in holders if each is not None}
            stage.answer = lambda _: Mismatch()
            stage.start()
            await stage.until(lambda: bool(stage.made))
            await stage.until(lambda: read_figures(stage.reader).stuck_segments == 1)
            assert not flawed_indices(stage.reader, segment_id)
            assert get_notes(stage.reader, segment_id, 5).mismatches == 2

        on_stage(story, miners=20)


class TestDraining:
    """Miners that leave."""

    def test_their_pieces_are_copied_after_all_that_is_urgent(self) -> None:
        async def story(stage: Stage) -> None:
            stage.at_once = 1
            kept, urgent = await stage.commit(0, K, N), await stage.commit(1, K, N)
            leaving = stage.miners[0]
            word = drain_word(leaving, time=int(CLOCK.now()))
            await stage.database.transact(lambda txn: record_drain(txn, HOME, word, int(CLOCK.now())))
            await lose(stage, urgent, 4, 5, 6)
            stage.start()
            await stage.until(lambda: len(stage.delivered) == 5)
            assert [order.is_copy for order, _ in stage.delivered] == [False, False, False, True, True]
            assert {order.ticket.segment_id for order, _ in stage.delivered[3:]} == {kept, urgent}
            assert all(mask == b"" for order, mask in stage.delivered if order.is_copy)
            assert leaving.public_key not in {order.ticket.miner for order, _ in stage.delivered}
            await asyncio.sleep(60.0)
            assert len(stage.delivered) == 5

        on_stage(story, miners=16)

    def test_a_piece_that_cannot_be_copied_is_made_of_others(self) -> None:
        async def story(stage: Stage) -> None:
            segment_id = await stage.commit(0, K, N)
            leaving = stage.miners[3]
            stage.bad_sources = {leaving.public_key}
            word = drain_word(leaving, time=int(CLOCK.now()))
            await stage.database.transact(lambda txn: record_drain(txn, HOME, word, int(CLOCK.now())))
            stage.answer = lambda order: SourcesFailed((3,)) if order.is_copy else stage.receipt(order)
            stage.start()
            await stage.until(lambda: current_holder(stage.reader, stage.record(segment_id), 3) != leaving.public_key)
            assert [order.is_copy for order, _ in stage.delivered] == [True, False]
            assert 3 not in {source.index for source in stage.delivered[1][0].sources}

        on_stage(story)


def test_a_piece_that_is_still_held_is_never_said_to_be_flawed() -> None:
    async def story(stage: Stage) -> None:
        segment_id = await stage.commit(0, K, N)
        leaving, stage.is_flawed = stage.miners[3], True
        word = drain_word(leaving, time=int(CLOCK.now()))
        await stage.database.transact(lambda txn: record_drain(txn, HOME, word, int(CLOCK.now())))

        def answer(order: RepairOrder) -> Reply:
            if not order.is_copy:
                return Mismatch()
            return SourcesFailed((3,)) if len(stage.delivered) < 4 else stage.receipt(order)

        stage.answer = answer
        stage.start()
        await stage.until(lambda: current_holder(stage.reader, stage.record(segment_id), 3) != leaving.public_key)
        assert [order.is_copy for order, _ in stage.delivered] == [True, False, False, True]
        assert not stage.made
        assert not flawed_indices(stage.reader, segment_id)

    on_stage(story, miners=16)


def test_all_pieces_of_two_miners_that_leave_go() -> None:
    async def story(stage: Stage) -> None:
        segment_ids = [await stage.commit(number, K, N, first=number % 3) for number in range(12)]
        leaving = [stage.miners[2], stage.miners[5]]
        for miner in leaving:
            word = drain_word(miner, time=int(CLOCK.now()))
            await stage.database.transact(lambda txn, word=word: record_drain(txn, HOME, word, int(CLOCK.now())))  # type: ignore[misc]
        stage.start()

        def have_gone() -> bool:
            holders = {each.miner for segment_id in segment_ids for each in stage.record(segment_id).holdings}
            return not holders & {miner.public_key for miner in leaving}

        await stage.until(have_gone)
        assert len(stage.delivered) == 24
        assert all(order.is_copy for order, _ in stage.delivered)

    on_stage(story, miners=16)


def test_a_segment_that_is_released_while_it_is_repaired_is_let_go() -> None:
    async def story(stage: Stage) -> None:
        segment_id = await stage.commit(0, K, N)
        stage.work_seconds = lambda: 30.0
        await lose(stage, segment_id, 0, 1)
        stage.start()
        await stage.until(lambda: bool(stage.delivered))
        lapsed = int(CLOCK.now()) + USUAL_PACE.lease_seconds + 1
        await stage.database.transact(lambda txn: release_due(txn, HOME, lapsed, 10))
        await asyncio.sleep(120.0)
        life = get_life(stage.reader, segment_id)
        assert life is not None
        assert life.is_released
        assert list(jobs(stage.reader)) == []
        assert len(stage.record(segment_id).holdings) == N

    on_stage(story)


def test_a_segment_with_too_few_live_sources_waits_and_is_tried_again() -> None:
    async def story(stage: Stage) -> None:
        segment_id = await stage.commit(0, K, N)
        await lose(stage, segment_id, 0, 1, 2)
        silent = [current_holder(stage.reader, stage.record(segment_id), index) for index in (3, 4)]
        stage.directory._silent |= {each for each in silent if each is not None}
        stage.start()
        await stage.until(lambda: read_figures(stage.reader).stuck_segments == 1)
        assert not stage.delivered
        stage.directory._silent.clear()
        await stage.until(is_whole(stage, segment_id))

    on_stage(story)


@pytest.mark.parametrize("seed", range(3))
def test_whatever_dies_and_lies_all_is_repaired_and_nothing_is_left_over(seed: int) -> None:
    async def story(stage: Stage) -> None:
        chance = random.Random(seed)

        def answer(order: RepairOrder) -> Reply:
            replies: list[Callable[[], Reply]] = [
                lambda: Unanswered("silence"),
                lambda: Refused("no"),
                Mismatch,
                lambda: SourcesFailed((order.sources[0].index,)),
            ]
            return stage.receipt(order) if chance.random() < 0.6 else chance.choice(replies)()

        stage.answer = answer
        stage.work_seconds = lambda: chance.uniform(0.0, 4.0)
        stage.crash_at = set(chance.sample(range(1, 60), 6))
        segment_ids = [await stage.commit(number, K, N, first=5 * number) for number in range(3)]
        for segment_id in segment_ids:
            await lose(stage, segment_id, *chance.sample(range(N), 3))
        stage.start()
        await stage.until(is_whole(stage, *segment_ids))
        await asyncio.sleep(30.0)
        assert list(jobs(stage.reader)) == []
        assert stage.lives > 1
        figures = read_figures(stage.reader)
        assert (figures.queued_segments, figures.stuck_segments, figures.moved_pieces) == (0, 0, 9)
        for segment_id in segment_ids:
            holders = [each.miner for each in stage.record(segment_id).holdings]
            assert len(set(holders)) == N

    on_stage(story, miners=40, seed=seed)
