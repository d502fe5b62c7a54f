"""The planner: real miners, a real chain, and draws that can be made again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hippy.chain.local import LocalChain, open_local_chain
from hippy.chain.open import CHAIN_FILE
from hippy.errors import TemporaryError
from hippy.ids import PublicKey
from hippy.transport.client import Peer, open_http
from hippy.validator.allocation import Plan
from hippy.validator.directory import MinerDirectory
from hippy.validator.log import Home
from hippy.validator.placement import Draw, epoch_secret, place
from hippy.validator.planner import Planner
from hippy.validator.tables import Allocation, Place
from hippy.wire.segment import SegmentSpec
from tests.validator.network import ACCOUNT, CLOCK, NETUID, NETWORK, VALIDATOR, local_network, new_request

SECRET = b"p" * 32
MINERS = 6


@pytest.fixture
async def chain(tmp_path: Path) -> AsyncIterator[LocalChain]:
    async with (
        local_network(tmp_path, miners=MINERS),
        open_local_chain(tmp_path / CHAIN_FILE, hotkey=None, clock=CLOCK) as chain,
    ):
        yield chain


@pytest.fixture
async def directory(chain: LocalChain) -> AsyncIterator[MinerDirectory]:
    async with open_http(None, CLOCK) as http:
        home = Home(VALIDATOR, NETWORK, NETUID)
        directory = MinerDirectory(http, chain, home, CLOCK, probe_seconds=1, stale_seconds=60)
        await directory.refresh()
        for entry in directory.entries():
            assert entry.endpoint is not None
            assert await directory.is_there(Peer(entry.endpoint, entry.hotkey))
        yield directory


@pytest.fixture
def planner(chain: LocalChain, directory: MinerDirectory) -> Planner:
    return Planner(chain, directory, SECRET)


async def planned(planner: Planner, spec: SegmentSpec) -> Plan:
    segment_id = spec.segment_id(ACCOUNT.public_key)
    return (await planner.plan({segment_id: spec}))[segment_id]


def allocation(spec: SegmentSpec, plan: Plan) -> Allocation:
    places = (Place(serial=1, miner=each.miner, endpoint=each.endpoint) for each in plan.assignments)
    return Allocation(
        account=ACCOUNT.public_key,
        spec=spec,
        pay_class="paid",
        upload_by=0,
        placement_round=plan.placement_round,
        beacon=plan.beacon,
        epoch=plan.epoch,
        candidates_seq=1,
        places=tuple(places),
        moves=(0,) * spec.n,
    )


async def test_plan_can_be_drawn_again_from_what_it_names(planner: Planner, chain: LocalChain) -> None:
    spec = new_request().segments[0]
    plan = await planned(planner, spec)
    assert plan.beacon == await chain.beacon(plan.placement_round)
    assert plan.pool.set_id == plan.pool.members.id(NETWORK)
    draw = Draw(epoch_secret(SECRET, plan.epoch), plan.beacon, spec.segment_id(ACCOUNT.public_key))
    again = place(range(spec.n), plan.pool.members.candidates, draw, spread=False)
    assert [each.hotkey for each in again] == [each.miner for each in plan.assignments]


async def test_failed_piece_goes_to_each_other_miner_once_in_the_order_of_the_draw(planner: Planner) -> None:
    spec = new_request().segments[0]
    plan = await planned(planner, spec)
    current, order = allocation(spec, plan), list[PublicKey]()
    for _ in range(MINERS - spec.n):
        moved, _ = await planner.move(current, [1])
        order.append(moved[1].miner)
        places = list(current.places)
        places[1] = Place(serial=2, miner=moved[1].miner, endpoint=moved[1].endpoint)
        tried = (*current.tried, current.places[1].miner)
        current = current.model_copy(update={"places": tuple(places), "tried": tried})
    with pytest.raises(TemporaryError, match=r"^1 .* 0 can"):
        await planner.move(current, [1])
    free = {each.hotkey for each in plan.pool.members.candidates} - {each.miner for each in plan.assignments}
    assert set(order) == free
    draw = Draw(epoch_secret(SECRET, plan.epoch), plan.beacon, spec.segment_id(ACCOUNT.public_key))
    spare = [each for each in plan.pool.members.candidates if each.hotkey in free]
    (first,) = place([1], spare, draw, spread=False)
    assert order[0] == first.hotkey


async def test_two_failed_pieces_get_two_different_miners(planner: Planner) -> None:
    spec = new_request().segments[0]
    moved, pool = await planner.move(allocation(spec, await planned(planner, spec)), [3, 0])
    assert list(moved) == [3, 0]
    assert moved[3].miner != moved[0].miner
    assert len(pool.members.candidates) == MINERS


async def test_nothing_new_needs_no_plan(planner: Planner) -> None:
    assert await planner.plan({}) == {}


async def test_who_takes_a_piece_over_can_be_drawn_again_from_what_it_names(
    planner: Planner, chain: LocalChain
) -> None:
    spec = new_request().segments[0]
    segment_id = spec.segment_id(ACCOUNT.public_key)
    holders = [each.miner for each in (await planned(planner, spec)).assignments]
    drawn = await planner.replace(segment_id, 2, spec.piece_length, holders=holders, excluded=())
    assert drawn.assignment.miner not in holders
    assert drawn.lot.beacon == await chain.beacon(drawn.lot.placement_round)
    draw = Draw(epoch_secret(SECRET, drawn.lot.epoch), drawn.lot.beacon, segment_id)
    (again,) = place([2], drawn.pool.members.candidates, draw, excluded=holders, spread=False)
    assert again.hotkey == drawn.assignment.miner


async def test_nobody_takes_a_piece_over_who_is_excluded(planner: Planner) -> None:
    spec = new_request().segments[0]
    segment_id = spec.segment_id(ACCOUNT.public_key)
    holders = [each.miner for each in (await planned(planner, spec)).assignments]
    one = await planner.replace(segment_id, 2, spec.piece_length, holders=holders, excluded=())
    other = await planner.replace(segment_id, 2, spec.piece_length, holders=holders, excluded={one.assignment.miner})
    assert other.assignment.miner not in {*holders, one.assignment.miner}
    tried = {one.assignment.miner, other.assignment.miner}
    with pytest.raises(TemporaryError, match=r"^1 .* 0 can"):
        await planner.replace(segment_id, 2, spec.piece_length, holders=holders, excluded=tried)


async def test_a_miner_that_leaves_is_no_candidate(planner: Planner, directory: MinerDirectory) -> None:
    spec = new_request().segments[0]
    leaving = {entry.hotkey for entry in directory.entries()[:2]}
    directory.draining = frozenset(leaving)
    plan = await planned(planner, spec)
    assert not leaving & {each.hotkey for each in plan.pool.members.candidates}
    assert not leaving & {each.miner for each in plan.assignments}
