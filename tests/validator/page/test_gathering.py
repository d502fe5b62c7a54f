"""What a running validator says of itself, and what it never says: anything of an account."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hippy.identity import Identity, ss58_encode
from hippy.ids import PublicKey
from hippy.kv import Reader, Transaction
from hippy.validator.accounts import apply_accounts
from hippy.validator.auditing import epochs
from hippy.validator.page import gathering as module
from hippy.validator.page.document import document
from hippy.validator.page.figures import FollowedLog, HealthFigures, RepairFigures, Sources
from hippy.validator.page.gathering import Gatherer
from hippy.validator.page.status import Standings, standings_of
from hippy.validator.tables import LIVE, USED, StoredRow, name_key, put_count
from hippy.wire.log import AccountRecord
from hippy.wire.score import ScoreSheet
from hippy.wire.status import NetworkStatus
from tests.validator.auditing.fakes import until
from tests.validator.auditing.world import PIECE_BYTES, PIECES, TEMPO, Validator, World, make_world, quick_grace
from tests.validator.world import ACCOUNT, HOME, NETWORK, STRANGER, component, row

MARKED = Identity.from_seed(b"marked account".ljust(32))
QUOTA, CHARGED, SHARE = 123_456_789_012, 987_654_321, 55_566_677
"""Bytes that only this account has."""


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    quick_grace(monkeypatch)
    async with make_world(tmp_path) as world:
        yield world


@pytest.fixture
async def validator(world: World) -> AsyncIterator[Validator]:
    """In epoch 2; epochs 0 and 1 have ended."""
    await world.clock.advance(TEMPO - 3)
    async with world.auditing() as validator:
        await world.pass_until(2)
        yield validator


def gatherer(validator: Validator, sources: Sources | None = None) -> Gatherer:
    world = validator.world
    return Gatherer(
        HOME, world.database, world.chain, world.directory, validator.auditor, world.clock, sources or Sources()
    )


async def test_a_validator_says_what_it_published_elsewhere(world: World, validator: Validator) -> None:
    await until(lambda: validator.auditor.weights is not None and validator.auditor.weights.epoch == 1)
    told, sheet = await gatherer(validator).status(), await validator.sheet(1)
    header = await validator.header(2)
    assert (told.validator, told.network, told.netuid) == (HOME.hotkey, HOME.network, HOME.netuid)
    assert (told.epoch, told.epoch_time, told.chain_epoch, told.sheet_epoch) == (2, header.time, 2, 1)
    assert (told.block, told.beacon_round) == (await world.chain.current_block(), validator.auditor.newest_round)
    assert [miner.hotkey for miner in told.miners] == [miner.hotkey for miner in world.miners]
    for miner, score in zip(
        sorted(told.miners, key=lambda each: each.hotkey),
        sorted(sheet.miners, key=lambda each: each.hotkey),
        strict=True,
    ):
        assert miner.standing is not None
        assert (miner.standing.leaves_ok, miner.standing.weight) == (score.leaves_ok, score.weight)
        assert (miner.standing.held_bytes, miner.held_pieces) == (PIECES * PIECE_BYTES, PIECES)
        assert miner.standing.share_ppm == 500_000
    assert told.weights is not None
    assert (told.weights.epoch, told.weights.outcome, told.weights.miners) == (1, "accepted", 2)
    assert told.segments.committed == PIECES
    assert told.log_seq == 8
    assert (told.audits.due_batches, told.audits.owed_batches) == (0, 0)


async def test_a_batch_that_is_owed_is_told_with_its_age(world: World, validator: Validator) -> None:
    world.miners[0].away = True
    while not (told := await gatherer(validator).status()).audits.owed_batches:
        await world.pass_time(1)
    assert (told.miners[0].owed_batches, told.miners[1].owed_batches, told.audits.owed_batches) == (1, 0, 1)
    await world.pass_time(1)
    assert (await gatherer(validator).status()).audits.oldest_seconds == told.audits.oldest_seconds + 1


async def test_while_the_chain_is_away_all_else_is_told(world: World, validator: Validator) -> None:
    world.chain.away = True
    told = await gatherer(validator).status()
    assert (told.block, told.chain_epoch, told.epoch) == (None, None, 2)
    assert len(told.miners) == 2
    world.chain.away = False


async def test_before_the_first_epoch_there_is_little_to_tell(world: World) -> None:
    world.database.failures = 1  # the first header is not stored yet
    async with world.auditing() as validator:
        told = await gatherer(validator).status()
    assert (told.epoch, told.sheet_epoch, told.weights) == (None, None, None)
    assert all(miner.standing is None for miner in told.miners)


async def test_what_others_count_is_asked_of_them(validator: Validator) -> None:
    other = PublicKey(b"o" * 32)

    def followed(_: Reader) -> list[FollowedLog]:
        return [FollowedLog(other, 3, 5, 1)]

    sources = Sources(
        health=lambda _: HealthFigures({4: 8}, 0), repair=lambda _: RepairFigures(1, 2, 4, 3), followed=followed
    )
    told = await gatherer(validator, sources).status()
    assert told.segments.health is not None
    assert told.segments.health.by_spare[-1].segments == 8
    assert told.repair is not None
    assert (told.repair.queued_segments, told.repair.queued_bytes, told.repair.repairing) == (1, 2, 3)
    assert [each.hotkey for each in told.validators] == [other]
    bare = await gatherer(validator).status()
    assert (bare.segments.health, bare.repair, bare.validators) == (None, None, ())


async def test_a_sheet_is_explained_once(validator: Validator, monkeypatch: pytest.MonkeyPatch) -> None:
    gathering, explained = gatherer(validator), list[int]()

    def noted(whole: ScoreSheet) -> Standings:
        explained.append(whole.epoch)
        return standings_of(whole)

    monkeypatch.setattr(module, "standings_of", noted)
    first = await gathering.status()
    assert await gathering.status() == first
    await validator.world.pass_until(3)
    assert (await gathering.status()).sheet_epoch == 2
    assert explained == [1, 2]


async def test_nothing_of_an_account_is_told(world: World, validator: Validator) -> None:
    miner = world.miners[0].hotkey
    marked = row("marked-name", signer=MARKED)

    def plant(txn: Transaction) -> None:
        record = AccountRecord(account=MARKED.public_key, pay_class="paid", quota_bytes=QUOTA)
        apply_accounts(txn, HOME, [record], int(world.clock.now()))
        put_count(txn, USED + MARKED.public_key, CHARGED)
        epochs.put_shares(txn, {miner: {MARKED.public_key: SHARE}})
        key = name_key(MARKED.public_key, marked.bucket, marked.name)
        txn.put(LIVE + key, StoredRow(marked.id(NETWORK), marked).encode())

    await world.database.transact(plant)
    assert str(SHARE) in (await validator.get(f"/v1/miners/{miner.hex()}")).decode()  # which is told elsewhere
    told = await gatherer(validator).status()
    for text in (told.encode().decode(), document(told, style="", script="")):
        for account in (MARKED, ACCOUNT, STRANGER):
            assert account.public_key.hex() not in text
            assert ss58_encode(account.public_key) not in text
        for number in (QUOTA, CHARGED, SHARE):
            assert str(number) not in text
            assert f"{number:,}" not in text
        assert component("marked-name").hex() not in text
        assert marked.bucket.hex() not in text
        assert "account" not in text.lower()


def test_no_field_of_a_status_is_about_an_account() -> None:
    assert not any("account" in name or "quota" in name for name in NetworkStatus.model_fields)
