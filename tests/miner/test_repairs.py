"""POST /v1/repair over real HTTP: what is made of which sources, and what bad ones come to."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web

from hippy.endpoint import Endpoint
from hippy.errors import (
    HippyError,
    IntegrityError,
    NotFoundError,
)
from hippy.ids import Root
from hippy.proofs.tree import root_of
from hippy.transport.server import Handler
from hippy.wire.repair import RepairAnswer
from tests.miner.repairing import LOST, Stripe, answer_of, holding, ranges_of, send, source_identity
from tests.miner.world import (
    LARGE,
    MIB,
    MINER,
    NETWORK,
    SMALL,
    VALIDATOR,
    World,
    piece,
    piece_files,
)

LENGTHS = [1, 16_384, 16_385, SMALL, LARGE, MIB + 5]
STRIPE = Stripe()
LONG = Stripe(LARGE)


@pytest.mark.parametrize("length", LENGTHS)
async def test_a_piece_is_made_of_k_others_and_a_mask_and_receipted(world: World, length: int) -> None:
    stripe = Stripe(length)
    async with world.serving() as miner, holding(world, stripe, (0, 2)) as orders:
        order = orders.order()
        receipt = answer_of(await send(miner, order, orders.mask(order))).receipt
        assert receipt is not None
        receipt.check_signature(MINER.public_key, NETWORK)
        assert receipt.ticket_id == order.ticket.id(NETWORK)
        assert (receipt.root, receipt.piece_length, receipt.miner) == (stripe.roots[LOST], length, MINER.public_key)
        assert (await miner.get(stripe.roots[LOST])).body == stripe.pieces[LOST]
        assert miner.store.space()[1] == length
        assert dict(miner.store.figures.repairs) == {"made": 1}


@pytest.mark.parametrize("length", LENGTHS)
async def test_a_piece_is_copied_from_the_miner_that_has_it(world: World, length: int) -> None:
    stripe = Stripe(length)
    async with world.serving() as miner, holding(world, stripe, (1,)) as orders:
        assert answer_of(await send(miner, orders.copy(1), None)).receipt is not None
        assert (await miner.get(stripe.roots[1])).body == stripe.pieces[1]
        assert dict(miner.store.figures.repairs) == {"copied": 1}


async def test_a_data_piece_is_made_as_a_parity_piece_is(world: World) -> None:
    async with world.serving() as miner, holding(world, STRIPE, (1, 3)) as orders:
        order = orders.order(0)
        assert answer_of(await send(miner, order, orders.mask(order))).receipt is not None
        assert (await miner.get(STRIPE.roots[0])).body == STRIPE.pieces[0]


def failing(error: HippyError) -> Handler:
    async def answer(_: web.Request) -> web.StreamResponse:
        raise error

    return answer


async def other_range(_: web.Request) -> web.StreamResponse:
    """Always the second leaf, truly."""
    request: Any = type("Asked", (), {"query": {"offset": "16384", "length": "10"}})
    return await ranges_of(STRIPE.pieces[2])(request)


async def nonsense(_: web.Request) -> web.StreamResponse:
    return web.Response(body=b"no range of anything")


async def too_long(_: web.Request) -> web.StreamResponse:
    return web.Response(body=bytes(10 * MIB))


LIARS = {
    "another piece": ranges_of(piece("another")),
    "an altered leaf": ranges_of(STRIPE.pieces[2][:-1] + bytes([STRIPE.pieces[2][-1] ^ 1])),
    "a longer piece": ranges_of(STRIPE.pieces[2] + bytes(20_000)),
    "another range": other_range,
    "nonsense": nonsense,
    "too much": too_long,
    "nothing": failing(NotFoundError("no such piece here")),
    "damage": failing(IntegrityError("the disk lies")),
}


@pytest.mark.parametrize("lie", LIARS)
async def test_a_source_that_lies_is_named_and_nothing_is_kept(world: World, lie: str) -> None:
    async with world.serving() as miner, holding(world, STRIPE, (0, 2), liars={2: LIARS[lie]}) as orders:
        order = orders.order()
        answer = answer_of(await send(miner, order, orders.mask(order)))
        assert answer == RepairAnswer(failure="sources", sources=(2,))
        assert piece_files(world.data_dir) == []
        assert miner.store.space()[1] == 0
        assert dict(miner.store.figures.repairs) == {"sources": 1}


async def test_all_sources_that_lie_are_named(world: World) -> None:
    liars = {0: LIARS["another piece"], 2: LIARS["nothing"]}
    async with world.serving() as miner, holding(world, STRIPE, (0, 2), liars=liars) as orders:
        order = orders.order()
        answer = answer_of(await send(miner, order, orders.mask(order)))
        assert answer.failure == "sources"
        assert 2 in answer.sources
    two = dict.fromkeys((0, 2), LIARS["another piece"])
    async with world.serving() as miner, holding(world, STRIPE, (0, 2), liars=two) as orders:
        order = orders.order()
        answer = answer_of(await send(miner, order, orders.mask(order)))
        assert answer == RepairAnswer(failure="sources", sources=(0, 2))


async def test_a_copy_of_a_source_that_lies_fails(world: World) -> None:
    async with world.serving() as miner, holding(world, STRIPE, (1,), liars={1: LIARS["another piece"]}) as orders:
        answer = answer_of(await send(miner, orders.copy(1), None))
        assert answer == RepairAnswer(failure="sources", sources=(1,))


async def test_a_source_that_is_somebody_else_or_nobody_is_not_read(world: World) -> None:
    asked = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        return await ranges_of(STRIPE.pieces[2])(request)

    async with world.serving() as miner, holding(world, STRIPE, (0, 2), liars={2: answer}) as orders:
        gone = orders.source(0, endpoint=Endpoint("127.0.0.1", 1))
        stranger = orders.source(2, miner=source_identity(7).public_key)
        order = orders.order(sources=(gone, stranger))
        told = answer_of(await send(miner, order, orders.mask(order)))
        assert told == RepairAnswer(failure="sources", sources=(0, 2))
        assert asked == []


async def test_sources_at_private_addresses_are_read_inside_private_networks_only(world: World) -> None:
    class Public:
        """The same chain, as if it were everybody's."""

        is_local = False

        def __getattr__(self, name: str) -> Any:
            return getattr(world.chain, name)

    chain: Any = Public()
    async with world.serving(chain=chain) as miner, holding(world, STRIPE, (0, 2)) as orders:
        order = orders.order()
        told = answer_of(await send(miner, order, orders.mask(order)))
        assert told == RepairAnswer(failure="sources", sources=(0, 2))


async def test_what_sources_make_that_match_their_roots_and_not_the_tickets_is_a_mismatch(world: World) -> None:
    """A segment whose owner coded it badly: the roots are those of the record, piece 3 is none of the code."""
    async with world.serving() as miner, holding(world, STRIPE, (0, 2)) as orders:
        order = orders.order(ticket={"root": root_of(piece("badly coded"))})
        told = answer_of(await send(miner, order, orders.mask(order)))
        assert told == RepairAnswer(failure="mismatch")
        assert piece_files(world.data_dir) == []
        assert miner.store.space()[1] == 0


async def test_a_repeated_order_gets_the_same_receipt_and_nothing_is_read(world: World) -> None:
    async with world.serving(capacity_bytes=LARGE) as miner:
        async with holding(world, LONG, (0, 2)) as orders:
            order, mask = orders.order(), orders.mask(orders.order())
            first = await send(miner, order, mask)
        await world.clock.advance(5)
        assert (await send(miner, order, mask)).body == first.body  # its sources are gone
        assert (await send(miner, order.signed(VALIDATOR, NETWORK), mask)).body == first.body
        assert miner.store.figures.totals.obligations == 1
        assert dict(miner.store.figures.repairs) == {"made": 1, "repeated": 2}


async def test_a_repeated_order_heals_a_piece_that_was_lost_meanwhile(world: World) -> None:
    async with world.serving() as miner, holding(world, STRIPE, (0, 2)) as orders:
        order = orders.order()
        first = await send(miner, order, orders.mask(order))
        world.files().write(Root(order.ticket.root), bytes(SMALL), [])
        assert (await miner.get(Root(order.ticket.root))).status == 422
        assert (await send(miner, order, orders.mask(order))).body == first.body
        assert (await miner.get(Root(order.ticket.root))).body == STRIPE.pieces[LOST]
