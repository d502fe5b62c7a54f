"""A home whose stake is small takes pieces for silence by the word of others, and by nobody's it takes none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from hippy.identity import Identity
from hippy.ids import PublicKey
from hippy.transport.hello import HelloDesk
from hippy.transport.server import Route, build_app, serving
from hippy.validator.auditing.auditor import Auditor
from hippy.wire.attestation import ATTESTATIONS_BYTES_MAX, Attestation, Attestations
from tests.validator.auditing.transcripts import verified
from tests.validator.auditing.world import COLDKEY, MinerNode, World
from tests.validator.world import HOME

WITNESS, BYSTANDER = Identity.from_seed(b"w" * 32), Identity.from_seed(b"y" * 32)
OWED_SECONDS = 800
"""A day, in epochs of 40 s."""

QUIET_SECONDS = 20.0


@pytest.fixture
def small_stake(monkeypatch: pytest.MonkeyPatch) -> None:
    """The validator's word alone takes no pieces, though its network is a local one."""
    monkeypatch.setattr(Auditor, "_may_attest", property(lambda _: False, lambda _, __: None), raising=False)


@asynccontextmanager
async def witnessed(world: World, *silent: MinerNode) -> AsyncIterator[list[Attestation]]:
    """Have two more validators in the subnet, one of which attests these miners' silence; yields what it said."""
    said: list[Attestation] = []
    chain = world.chain.chain
    for identity in (WITNESS, BYSTANDER):
        await chain.register(identity.public_key, COLDKEY, validator_permit=True, stake_rao=10)

    async def answer(_: web.Request) -> web.StreamResponse:
        now = int(world.clock.now())
        said[:] = [
            Attestation(
                network=HOME.network,
                netuid=HOME.netuid,
                validator=WITNESS.public_key,
                miner=miner.hotkey,
                since=now - OWED_SECONDS,
                time=now,
            ).signed(WITNESS, HOME.network)
            for miner in silent
        ]
        return web.Response(body=Attestations(attestations=tuple(said)).encode(), content_type="application/json")

    desk = HelloDesk(WITNESS, "validator", HOME.network, HOME.netuid, world.clock)
    app = build_app([desk.route(), Route("GET", "/v1/attestations", answer)])
    async with serving(app, "127.0.0.1", 0) as endpoint:
        await chain.seen_by(WITNESS.public_key).publish_endpoint(endpoint)
        await world.directory.refresh()
        yield said


@pytest.mark.usefixtures("small_stake")
async def test_pieces_are_lost_when_others_with_enough_stake_miss_the_miner_too(world: World) -> None:
    miner = world.miners[0]
    miner.mute = True
    async with witnessed(world, miner) as said, world.auditing() as validator:
        await world.pass_until(3)
        losses = await world.losses()
        assert losses
        assert {(loss.miner, loss.reason) for loss in losses} == {(miner.hotkey, "unanswered")}
        assert all(loss.attestations is not None for loss in losses)
        assert {each.validator for loss in losses for each in loss.attestations or ()} == {WITNESS.public_key}
        assert said
        await verified(validator)


@pytest.mark.usefixtures("small_stake")
async def test_no_piece_is_lost_by_the_word_of_one(world: World) -> None:
    miner, other = world.miners
    miner.mute = True
    async with witnessed(world, other), world.auditing() as validator:
        await world.pass_until(3)
        assert (await validator.report(miner)).failures, "it has failed all the same"
        assert await world.losses() == []
        await verified(validator)


async def test_anybody_is_told_who_has_been_silent_for_long_enough(world: World) -> None:
    gone, there = world.miners

    async def silent() -> list[PublicKey]:
        raw = await validator.get("/v1/attestations")
        return [each.miner for each in Attestations.parse(raw, limit=ATTESTATIONS_BYTES_MAX).attestations]

    async with world.auditing() as validator:
        validator.auditor._parts.attester._silent_seconds = QUIET_SECONDS  # a day is 800 s here
        await world.pass_time(QUIET_SECONDS / 2)
        assert await silent() == []
        gone.away = True
        await world.pass_time(QUIET_SECONDS)
        peer = world.directory.peer(there.hotkey)
        assert peer is not None
        assert await world.directory.greet(peer)
        assert await silent() == [gone.hotkey]
