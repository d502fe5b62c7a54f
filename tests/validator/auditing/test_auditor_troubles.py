"""Chain and disk that fail for a while, and miners that leave: audits go on, and the record stays right."""

from __future__ import annotations

import pytest

from hippy.errors import TemporaryError
from hippy.validator.auditing import epochs
from hippy.validator.auditing.auditor import STORE_ROUNDS_MAX, STORE_TRIES
from hippy.validator.auditing.outcomes import Question
from hippy.validator.holdings import depart, mark_lost
from tests.validator.auditing.fakes import until
from tests.validator.auditing.transcripts import outcomes, passes, verified
from tests.validator.auditing.world import TEMPO, World
from tests.validator.world import HOME


async def test_a_chain_that_is_away_for_a_while_delays_batches(world: World) -> None:
    async with world.auditing() as validator:
        await world.pass_until(1)
        world.chain.away = True
        await world.pass_time(20)
        asked = [len(miner.asked) for miner in world.miners]
        world.chain.away = False
        await world.pass_until(2)
        assert max(asked) < 4
        for miner in world.miners:
            assert sorted(outcomes(await validator.transcript(1), miner)) == passes(1)
        await verified(validator)


async def test_a_chain_that_is_away_when_an_epoch_ends_delays_the_next(world: World) -> None:
    async with world.auditing() as validator:
        await world.pass_until(1)
        await world.pass_time(TEMPO - 6)
        world.chain.away = True
        await world.pass_time(15)
        assert (await validator.epochs()).last == 1
        world.chain.away = False
        await world.pass_time(1)
        header = await validator.header(2)
        assert 2 * TEMPO + 11 <= header.first_round <= 2 * TEMPO + 12  # when it could be told again
        await world.pass_until(4)
        assert (await validator.header(3)).rounds == TEMPO
        assert len((await validator.transcript(2)).entries) == 8
        await verified(validator)


async def test_weights_are_set_once_per_epoch(world: World) -> None:
    async with world.auditing() as validator:
        await world.pass_until(3)
        await until(lambda: len(world.chain.weights_set) == 3)
        await world.pass_time(10)
        assert [sorted(weights) for weights in world.chain.weights_set] == [[1, 2]] * 3
        assert (await validator.verify()).weights_epoch == 2


async def test_weights_that_the_chain_does_not_take_are_set_later(world: World) -> None:
    async with world.auditing():
        await world.pass_until(1)
        await until(lambda: len(world.chain.weights_set) == 1)
        world.chain.refusals = 3
        await world.pass_until(2)
        assert len(world.chain.weights_set) == 1
        while len(world.chain.weights_set) == 1:
            await world.pass_time(1)
        assert world.chain.refusals == 0
        assert await world.chain.current_epoch() == 2


async def test_weights_of_an_older_epoch_are_given_up(world: World) -> None:
    async with world.auditing():
        await world.pass_until(1)
        await until(lambda: len(world.chain.weights_set) == 1)
        world.chain.refusals = 9_999
        await world.pass_until(3)
        world.chain.refusals = 0
        await world.pass_time(20)
        assert len(world.chain.weights_set) == 2


@pytest.mark.parametrize("failures", [1, 3])
async def test_outcomes_are_stored_though_the_disk_is_busy(world: World, failures: int) -> None:
    async with world.auditing() as validator:
        await world.pass_until(1)
        while not any(miner.asked for miner in world.miners):
            world.database.spared, world.database.failures = 1, failures  # the round is told before anything is asked
            await world.pass_time(1)
        await world.pass_until(2)
        for miner in world.miners:
            assert sorted(outcomes(await validator.transcript(1), miner)) == passes(1)
        await verified(validator)


@pytest.mark.parametrize(("failures", "reads_fail"), [(1, 0), (7, 0), (0, 1), (0, 2), (0, 3)])
async def test_an_epoch_ends_though_the_disk_fails_for_a_while(world: World, failures: int, reads_fail: int) -> None:
    async with world.auditing() as validator:
        await world.pass_until(1)
        await world.pass_time(TEMPO - 3)
        await until(lambda: len(world.chain.weights_set) == 1)
        world.chain.weights_set.clear()
        world.database.failures, world.database.reads_fail = failures, reads_fail
        await world.pass_time(10)
        assert (world.database.failures, world.database.reads_fail) == (0, 0)
        await until(lambda: len(world.chain.weights_set) == 1)
        probed = await world.database.read(lambda reader: dict(epochs.scan_probes(reader)))
        await world.pass_until(3)
        score = await validator.score(1, world.miners[0])
        assert sorted(probed) == [0, 1]
        assert score.live_total == sum(each[score.hotkey].live_total for each in probed.values())
        await verified(validator)


async def test_a_disk_that_takes_nothing_any_more_ends_the_validator_within_minutes(world: World) -> None:
    async def audit() -> None:
        async with world.auditing():
            await world.pass_until(1)
            await world.pass_time(TEMPO - 3)
            world.database.failures = 9_999
            await world.pass_time(180)

    with pytest.raises(ExceptionGroup) as caught:
        await audit()
    assert caught.group_contains(TemporaryError, match="the disk is busy")
    assert world.database.failures == 9_999 - STORE_TRIES * STORE_ROUNDS_MAX


async def test_a_miner_that_left_is_asked_no_more_once_its_departure_is_recorded(world: World) -> None:
    miner = world.miners[0]
    async with world.auditing() as validator:
        await world.pass_until(1)
        miner.away = True
        await world.pass_time(TEMPO - 4)
        assert validator.auditor.owed_by(miner.hotkey) > 0
        await world.chain.chain.deregister(miner.hotkey)
        await world.directory.refresh()
        await world.pass_until(2)
        assert validator.auditor.owed_by(miner.hotkey) > 0, "one metagraph proves nothing"
        await world.database.transact(lambda txn: depart(txn, HOME, miner.hotkey, 1, int(world.clock.now())))
        await world.database.transact(lambda txn: mark_lost(txn, 1_000))
        await world.pass_until(3)
        assert validator.auditor.owed_by(miner.hotkey) == 0
        assert await world.database.read(lambda reader: list(epochs.scan_owed(reader))) == []
        assert miner.hotkey not in {score.hotkey for score in (await validator.sheet(2)).miners}
        await world.pass_until(4)
        await verified(validator)


async def test_an_unexpected_error_with_one_batch_ends_nothing_else(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with world.auditing() as validator:
        await world.pass_until(1)
        honest, failed = validator.auditor._enter, list[object]()

        async def enter(question: Question, answer: object) -> None:
            if not failed:
                failed.append(question)
                raise RuntimeError("a bug of ours")
            await honest(question, answer)  # type: ignore[arg-type]

        monkeypatch.setattr(validator.auditor, "_enter", enter)
        await world.pass_until(3)
        assert "a bug of ours" in caplog.text
        assert len((await validator.transcript(2)).entries) >= 8
        assert (await validator.header(3)).rounds == TEMPO
