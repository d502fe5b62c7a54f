"""POST /v1/repair over real HTTP: which orders are refused, before what is read, and what they leave."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from hippy.errors import (
    AuthError,
    HippyError,
    IntegrityError,
    NoSpaceError,
    NotFoundError,
    ProtocolError,
    RateLimitedError,
    TooLargeError,
)
from hippy.identity import Identity
from hippy.miner.drains import Wish
from hippy.transport.client import Answer, Call, Http, open_http
from hippy.transport.server import Handler
from hippy.wire.btauth import SignedRequest, sign_request
from hippy.wire.parts import CONTENT_TYPE
from hippy.wire.repair import ORDER_BYTES_MAX, REPAIR_BYTES_MAX
from tests.miner.repairing import Stripe, answer_of, holding, ranges_of, send
from tests.miner.world import (
    LARGE,
    MIB,
    MINER,
    NETWORK,
    OTHER,
    SMALL,
    VALIDATOR,
    Miner,
    World,
    identity,
    refusal_of,
)

STRIPE = Stripe()
LONG = Stripe(LARGE)
LONGEST = Stripe(4 * MIB)


@pytest.mark.parametrize("stripe", [STRIPE, LONG], ids=["short", "long"])
async def test_another_mask_than_the_order_names_is_refused_and_nothing_read(world: World, stripe: Stripe) -> None:
    reads: list[str] = []
    async with world.serving() as miner, holding(world, stripe, (0, 2), liars=counting(reads)) as orders:
        order = orders.order()
        mask = orders.mask(order)
        with pytest.raises(IntegrityError, match="not the one"):
            answer_of(await send(miner, order, mask[:-1] + bytes([mask[-1] ^ 1])))
        assert reads == []


def counting(reads: list[str]) -> dict[int, Handler]:
    """Sources that note what they are asked for, and have nothing."""

    async def answer(request: web.Request) -> web.StreamResponse:
        reads.append(request.path_qs)
        raise NotFoundError("no such piece here")

    return {0: answer, 2: answer}


@pytest.mark.parametrize("stripe", [STRIPE, LONG], ids=["short", "long"])
@pytest.mark.parametrize(
    "change",
    [lambda mask: mask[:-1], lambda mask: mask + b"x", lambda mask: b""],
    ids=["a byte short", "a byte long", "empty"],
)
async def test_a_mask_of_another_length_is_refused(
    world: World, stripe: Stripe, change: Callable[[bytes], bytes]
) -> None:
    async with world.serving() as miner, holding(world, stripe, (0, 2)) as orders:
        order = orders.order()
        with pytest.raises(ProtocolError, match=r"the body (ended|is longer)"):
            answer_of(await post(miner, framed(order.encode()) + change(orders.mask(order))))
        with pytest.raises(ProtocolError, match="longer"):
            answer_of(await post(miner, framed(orders.copy(0).encode()) + b"x"))
        assert not miner.store.figures.totals.pieces


def framed(raw: bytes) -> bytes:
    return len(raw).to_bytes(4, "little") + raw


async def post(miner: Miner, body: bytes, *, http: Http | None = None) -> Answer:
    call = Call("POST", "/v1/repair", body=body, headers={"Content-Type": CONTENT_TYPE})
    return await (http or miner.asker).request(miner.peer, call)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", ProtocolError),
        (b"\x00\x00", ProtocolError),
        (framed(b""), ProtocolError),
        (framed(b"{}"), ProtocolError),
        (framed(b"x" * 100)[:50], ProtocolError),
        ((ORDER_BYTES_MAX + 1).to_bytes(4, "little") + bytes(ORDER_BYTES_MAX + 1), TooLargeError),
        (b"\xff" * 100, TooLargeError),
        (bytes(REPAIR_BYTES_MAX + 1), TooLargeError),
    ],
    ids=["none", "half a length", "empty", "no order", "cut short", "too long", "huge", "beyond the limit"],
)
async def test_a_body_that_is_no_order_is_refused(world: World, body: bytes, error: type[HippyError]) -> None:
    async with world.serving() as miner:
        answer = await post(miner, body)
        assert type(answer.error()) is error


async def test_a_body_that_goes_on_before_its_order_is_seen_to_be_signed_is_not_waited_for(world: World) -> None:
    """A hotkey without a permit is refused by the head: the sender is never told to go on."""
    async with world.serving() as miner, holding(world, LONG, (0, 2)) as orders:
        order = orders.order(signer=OTHER, ticket={"validator": OTHER.public_key})
        body = framed(order.encode()) + orders.mask(order)
        received = await raw_post(miner, OTHER, len(body))
        assert received.startswith(b"HTTP/1.1 401 ")
        assert b"100 Continue" not in received
        answer = await post(miner, body, http=miner.other)
        assert isinstance(answer.error(), AuthError)
        assert "may not issue tickets" in str(answer.error())


async def raw_post(miner: Miner, sender: Identity, length: int) -> bytes:
    """Send the head of an order alone, asking whether its body is wanted; return all that comes back."""
    signed = sign_request(
        sender,
        SignedRequest("POST", "/v1/repair", b""),
        receiver=MINER.public_key,
        now_ns=int(miner.world.clock.now() * 1e9),
    )
    headers = {"Host": "miner", "Expect": "100-continue", "Content-Length": str(length), **signed}
    head = "POST /v1/repair HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    reader, writer = await asyncio.open_connection(miner.peer.endpoint.host, miner.peer.endpoint.port)
    try:
        writer.write(head.encode() + b"\r\n")
        async with asyncio.timeout(10):
            return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


async def test_why_an_order_is_refused_reaches_a_validator_that_sends_megabytes_of_mask(world: World) -> None:
    async with world.serving(capacity_bytes=SMALL) as miner, holding(world, LONGEST, (0, 2)) as orders:
        late = orders.order(ticket={"upload_by": int(world.clock.now()) - 1})
        with pytest.raises(AuthError, match="expired"):
            answer_of(await send(miner, late, orders.mask(late)))
        order = orders.order()
        answer = await send(miner, order, orders.mask(order))
        assert refusal_of(answer).code == "no_space"


@pytest.mark.parametrize("stripe", [STRIPE, LONG], ids=["short", "long"])
async def test_an_order_under_another_ticket_than_was_signed_is_refused(world: World, stripe: Stripe) -> None:
    async with world.serving() as miner, holding(world, stripe, (0, 2)) as orders:
        order = orders.order()
        for changes in ({"serial": 2}, {"upload_by": order.ticket.upload_by + 1}, {"account": OTHER.public_key}):
            replayed = order.model_copy(update={"ticket": order.ticket.model_copy(update=changes)})
            with pytest.raises(AuthError, match="not signed by"):
                answer_of(await send(miner, replayed, orders.mask(order)))
        foreign = order.signed(OTHER, NETWORK)
        with pytest.raises(AuthError, match="not signed by"):
            answer_of(await send(miner, foreign, orders.mask(order)))
        assert not miner.store.figures.totals.pieces


async def test_an_order_that_somebody_else_carries_is_refused(world: World) -> None:
    """Another validator with a permit, and one that says it is the first."""
    second = identity("second validator")
    await world.chain.register(second.public_key, identity("o").public_key, validator_permit=True, stake_rao=9)
    reads: list[str] = []
    async with world.serving() as miner, holding(world, STRIPE, (0, 2), liars=counting(reads)) as orders:
        order = orders.order()
        body = framed(order.encode()) + orders.mask(order)
        async with open_http(second, world.clock) as http:
            with pytest.raises(AuthError, match="not signed by"):
                answer_of(await post(miner, body, http=http))
            with pytest.raises(AuthError, match="the order's ticket is of"):
                answer_of(await send(miner, order.signed(second, NETWORK), orders.mask(order), http=http))
        with pytest.raises(AuthError, match="does not verify"):
            answer_of(await posted_as(miner, VALIDATOR, second, body))
        assert reads == []


async def posted_as(miner: Miner, named: Identity, signer: Identity, body: bytes) -> Answer:
    """Send a request that names one key and is signed by another."""

    class Pretender:
        ss58 = named.ss58

        def sign(self, message: bytes) -> bytes:
            return signer.sign(message)

    pretender: Any = Pretender()
    async with open_http(pretender, miner.world.clock) as http:
        return await post(miner, body, http=http)


class Held:
    """Sources that answer when they are let to."""

    def __init__(self, stripe: Stripe) -> None:
        self._stripe = stripe
        self.asked = asyncio.Event()
        self.go_on = asyncio.Event()
        self.reads = 0

    def handlers(self, *indices: int) -> dict[int, Handler]:
        return {index: self._handler(index) for index in indices}

    def _handler(self, index: int) -> Handler:
        async def answer(request: web.Request) -> web.StreamResponse:
            self.reads += 1
            self.asked.set()
            await self.go_on.wait()
            return await ranges_of(self._stripe.pieces[index])(request)

        return answer


async def until(condition: Callable[[], object]) -> None:
    """Wait until real sockets have come so far."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the sockets are real
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("stripe", [STRIPE, LONG], ids=["short", "long"])
async def test_a_third_order_of_one_validator_at_a_time_is_refused(world: World, stripe: Stripe) -> None:
    held = Held(stripe)
    async with world.serving() as miner, holding(world, stripe, (0, 1, 2), liars=held.handlers(0, 1, 2)) as orders:
        one, two, three = orders.order(3), orders.copy(1), orders.copy(2)
        first = asyncio.create_task(send(miner, one, orders.mask(one)))
        second = asyncio.create_task(send(miner, two, None))
        await until(lambda: held.reads >= 3)
        answer = await send(miner, three, None)
        assert isinstance(answer.error(), RateLimitedError)
        assert refusal_of(answer).code == "rate_limited"
        assert refusal_of(answer).ticket_id == three.ticket.id(NETWORK)
        held.go_on.set()
        assert answer_of(await first).receipt
        assert answer_of(await second).receipt
        assert answer_of(await send(miner, three, None)).receipt


@pytest.mark.parametrize("stripe", [STRIPE, LONG], ids=["short", "long"])
async def test_a_full_miner_refuses_an_order_with_its_signature(world: World, stripe: Stripe) -> None:
    reads: list[str] = []
    async with (
        world.serving(capacity_bytes=stripe.length - 1) as miner,
        holding(world, stripe, (0, 2), liars=counting(reads)) as orders,
    ):
        order = orders.order()
        answer = await send(miner, order, orders.mask(order))
        assert isinstance(answer.error(), NoSpaceError)
        assert refusal_of(answer).code == "no_space"
        assert reads == []
        assert dict(miner.store.figures.repairs) == {"no_space": 1}


async def test_a_miner_that_leaves_refuses_new_orders_and_answers_those_it_carried_out(world: World) -> None:
    async with world.serving() as miner, holding(world, STRIPE, (0, 1, 2)) as orders:
        done, new = orders.order(), orders.copy(1)
        first = await send(miner, done, orders.mask(done))
        await miner.store.drains.wish(Wish("start", 1))
        answer = await send(miner, new, None)
        assert isinstance(answer.error(), NoSpaceError)
        assert refusal_of(answer).code == "no_space"
        assert (await send(miner, done, orders.mask(done))).body == first.body
        await miner.store.drains.wish(Wish("stop", 2))
        assert answer_of(await send(miner, new, None)).receipt


async def test_what_an_order_took_comes_back_however_it_ends(world: World) -> None:
    """More orders than fit at once, one after the other, each ending in another way."""
    liars = {2: counting([])[2]}
    async with world.serving(capacity_bytes=SMALL) as miner, holding(world, STRIPE, (0, 1, 2), liars=liars) as orders:
        bad = orders.order(3, sources=(orders.source(0), orders.source(2)))
        for _ in range(3):
            assert answer_of(await send(miner, bad, orders.stripe.mask((0, 1), 3))).failure == "sources"
            with pytest.raises(IntegrityError):
                answer_of(await send(miner, bad, bytes(SMALL)))
        good = orders.copy(1)
        assert answer_of(await send(miner, good, None)).receipt
