"""Pieces that change hands while miners are audited: who has one is asked for it, and who has not is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest

from hippy.proofs.transcript_entry import Outcome, VoidReason
from hippy.validator.audit.rules import rules_for
from hippy.validator.auditing.inventories import Inventories
from hippy.validator.log import position
from hippy.validator.scoring import score_rules_for
from tests.validator.auditing.transcripts import count_of, outcomes, passes, verified
from tests.validator.auditing.world import PIECE_BYTES, TEMPO, World, make_world, quick_grace


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """Two miners with eight pieces each, and one with none."""
    quick_grace(monkeypatch)
    async with make_world(tmp_path, newcomers=1) as world:
        yield world


async def test_a_piece_that_was_handed_over_is_asked_from_the_next_header_on(world: World) -> None:
    giver, _, newcomer = world.miners
    async with world.auditing() as validator:
        await world.pass_until(1)
        handed_time = int(world.clock.now())
        await world.hand_over(giver.roots[3], giver, newcomer, drains=True)
        await world.pass_until(3)
        assert outcomes(await validator.transcript(1), newcomer) == []
        assert sorted(outcomes(await validator.transcript(2), newcomer)) == passes(2)
        paid = [(await validator.score(1, miner)).paid_bytes for miner in (giver, newcomer)]
        assert paid == [7 * PIECE_BYTES, PIECE_BYTES]
        told = [(await validator.report(miner)).drain_time for miner in (giver, newcomer)]
        assert told == [handed_time, None]
        assert await world.losses() == []
        await verified(validator)


async def test_a_piece_that_was_given_away_before_it_is_asked_for_again_costs_nothing(world: World) -> None:
    giver, _, newcomer = world.miners
    async with world.auditing() as validator:
        await world.pass_time(TEMPO - 1)
        giver.away = True
        await world.pass_until(1)
        await world.hand_over(giver.roots[3], giver, newcomer, drains=True)
        giver.delete(giver.roots[3])
        await world.pass_until(2)
        giver.away = False
        await world.pass_until(4)
        later = [*(await validator.transcript(2)).entries, *(await validator.transcript(3)).entries]
        late = [each for each in later if each.epoch == 1]
        assert {(each.miner, each.outcome) for each in late if each.answered} == {(giver.hotkey, Outcome.PASS)}
        assert {void.reason for each in late for void in each.voids} == {VoidReason.ENDED}
        assert not any(each.voids for each in later if each.epoch != 1)
        assert await world.losses() == []
        assert [(await validator.score(epoch, giver)).leaves_bad for epoch in (1, 2, 3)] == [0, 0, 0]
        await verified(validator)


async def test_a_piece_that_is_given_away_and_gone_while_it_is_asked_for_fails_and_is_not_lost(world: World) -> None:
    giver, _, newcomer = world.miners
    async with world.auditing() as validator:
        await world.pass_until(1)
        giver.hold = asyncio.Event()
        while not giver.under_way:
            await world.pass_time(1)
        await world.hand_over(giver.roots[3], giver, newcomer, drains=True)
        giver.delete(giver.roots[3])
        giver.hold.set()
        await world.pass_until(3)
        assert "FAIL" in count_of(await validator.transcript(1), giver)
        assert (await validator.score(1, giver)).leaves_bad > 0
        assert await world.losses() == [], "another holds it, and it holds it no more"
        assert set(count_of(await validator.transcript(2), giver)) == {"PASS"}
        await verified(validator)


async def test_a_piece_that_was_lost_and_made_again_under_way_is_lost_once(world: World) -> None:
    loser, _, newcomer = world.miners
    root = loser.roots[3]
    loser.delete(root)
    async with world.auditing() as validator:
        while not await world.losses():
            await world.pass_time(1)
        await world.hand_over(root, loser, newcomer)
        await world.pass_until(3)
        assert count_of(await validator.transcript(1), loser) == {"FAIL": 4}
        assert [piece.root for loss in await world.losses() for piece in loss.pieces] == [root]
        assert sorted(outcomes(await validator.transcript(2), newcomer)) == passes(2)
        assert set(count_of(await validator.transcript(2), loser)) == {"PASS"}
        await verified(validator)


async def test_a_miner_that_comes_back_is_asked_for_what_it_holds_alone_and_recovers(world: World) -> None:
    loser, _, newcomer = world.miners
    before = list(loser.roots)
    loser.mute = True
    async with world.auditing() as validator:
        while len({piece.root for loss in await world.losses() for piece in loss.pieces}) < len(before):
            await world.pass_time(1)
        for root in before:
            await world.hand_over(root, loser, newcomer)
        epoch = (await validator.epochs()).last
        (new,) = await world.commit(loser)
        loser.mute = False
        for root in before:
            loser.delete(root)
        await world.pass_until(epoch + 5)
        assert {piece.root for loss in await world.losses() for piece in loss.pieces} == set(before), "nothing new"
        scores = [await validator.score(each, loser) for each in range(epoch + 2, epoch + 5)]
        assert {score.paid_bytes for score in scores} == {PIECE_BYTES}
        assert {score.leaves_bad for score in scores} == {0}
        assert all(score.leaves_ok > 0 for score in scores)
        assert scores[-1].proof_ppm >= scores[0].proof_ppm
        assert [score.slow_beta for score in scores] == sorted((score.slow_beta for score in scores), reverse=True)
        assert scores[-1].slow_beta < scores[0].slow_beta
        assert [new] == loser.roots[len(before) :]
        await verified(validator)


async def test_reads_take_what_is_held_now_of_what_was_held_when_the_epoch_began(world: World) -> None:
    giver, _, newcomer = world.miners
    inventories = Inventories(world.database, score_rules_for(rules_for(float(TEMPO))))
    await inventories.begin((await world.database.read(position)).seq)
    for root in giver.roots[1:]:
        await world.hand_over(root, giver, newcomer, drains=True)
    rng = Random(1)
    drawn = [await inventories.draw_pieces(giver, rng) for giver in [giver.hotkey] * 100]
    assert {piece.root for pieces in drawn for piece in pieces} == {giver.roots[0]}
    assert await inventories.draw_pieces(newcomer.hotkey, rng) == [], "it is read from the next header on"
    await inventories.begin((await world.database.read(position)).seq)
    drawn = [await inventories.draw_pieces(newcomer.hotkey, rng) for _ in range(100)]
    assert {piece.root for pieces in drawn for piece in pieces} == set(giver.roots[1:])
