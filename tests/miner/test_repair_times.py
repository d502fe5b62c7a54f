"""Orders in virtual time: sources that stall, drip, are busy or break off, and miners that die at any step."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from hippy.errors import RateLimitedError, UnreachableError
from hippy.miner.rebuilding import range_bytes
from hippy.miner.repairs import STORING_SECONDS
from hippy.testing.crash import Loss
from hippy.transport import limits
from hippy.transport.server import Handler
from hippy.wire.repair import RepairAnswer
from tests.miner.repairing import LOST, Stripe, answer_of, range_body, ranges_of
from tests.miner.simulated import Subject, simulated
from tests.miner.world import MIB, SMALL

STRIPE = Stripe()
LONG = Stripe(3 * MIB)
"""Six rounds of 512 KiB from each of two sources."""


class Source:
    """A source that is honest unless told; counts what it was asked."""

    def __init__(self, stripe: Stripe, index: int) -> None:
        self.data = stripe.pieces[index]
        self.asked: list[int] = []
        """Offsets."""

        self.ended: list[int] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        offset = int(request.query["offset"])
        self.asked.append(offset)
        answer = await self.behave(request, offset)
        self.ended.append(offset)
        return answer

    async def behave(self, request: web.Request, offset: int) -> web.StreamResponse:
        return await ranges_of(self.data)(request)


def sources(stripe: Stripe, **others: Source) -> dict[int, Handler]:
    """Honest sources of pieces 0 and 2, but for those that are given, as ``two=…``."""
    honest = {"zero": Source(stripe, 0), "two": Source(stripe, 2), **others}
    return {0: honest["zero"].answer, 2: honest["two"].answer}


class Stalling(Source):
    """Answers the first range and then nothing."""

    async def behave(self, request: web.Request, offset: int) -> web.StreamResponse:
        if offset:
            await asyncio.Event().wait()
        return await super().behave(request, offset)


def test_a_source_that_stalls_is_given_up_and_named() -> None:
    two = Stalling(LONG, 2)

    async def story(net: Subject) -> tuple[RepairAnswer, float]:
        began = net.clock.now()
        answer = answer_of(await net.send(net.orders.order()))
        assert net.miner.store is not None
        assert net.miner.store.space()[1] == 0
        return answer, net.clock.now() - began

    answer, seconds = simulated(story, LONG, sources(LONG, two=two))
    assert answer == RepairAnswer(failure="sources", sources=(2,))
    assert limits.STALL_SECONDS <= seconds < limits.STALL_SECONDS + 2
    assert two.asked == [0, range_bytes(2)]


class Dripping(Source):
    """Sends a few bytes before each stall would be one."""

    async def behave(self, request: web.Request, offset: int) -> web.StreamResponse:
        body = range_body(self.data, offset, int(request.query["length"]))
        response = web.StreamResponse(headers={"Content-Length": str(len(body))})
        await response.prepare(request)
        for start in range(0, len(body), 1024):
            await response.write(body[start : start + 1024])
            await asyncio.sleep(limits.STALL_SECONDS / 2)
        return response


def test_a_source_that_drips_is_given_up_by_the_deadline_of_its_range() -> None:
    async def story(net: Subject) -> tuple[RepairAnswer, float]:
        began = net.clock.now()
        answer = answer_of(await net.send(net.orders.order()))
        return answer, net.clock.now() - began

    answer, seconds = simulated(story, LONG, sources(LONG, zero=Dripping(LONG, 0), two=Dripping(LONG, 2)))
    assert answer == RepairAnswer(failure="sources", sources=(0, 2))
    assert seconds < limits.deadline_seconds(2 * range_bytes(2)) + 2


class Slow(Source):
    """Answers each range just within its deadline."""

    async def behave(self, request: web.Request, offset: int) -> web.StreamResponse:
        await asyncio.sleep(limits.STALL_SECONDS - 1)
        return await super().behave(request, offset)


def test_an_order_is_answered_within_its_time_whatever_sources_do() -> None:
    """Each range comes in time, all of them would not: the slow ones are named when the time is up."""

    async def story(net: Subject) -> tuple[RepairAnswer, float, float]:
        began, order = net.clock.now(), net.orders.order()
        answer = answer_of(await net.send(order))
        return answer, net.clock.now() - began, limits.repair_seconds(order.read_bytes)

    answer, seconds, allowed = simulated(story, LONG, sources(LONG, two=Slow(LONG, 2)))
    assert answer == RepairAnswer(failure="sources", sources=(2,))
    assert allowed - STORING_SECONDS - 1 < seconds < allowed


class Busy(Source):
    """Answers 429 so many times to each range."""

    times = 2

    async def behave(self, request: web.Request, offset: int) -> web.StreamResponse:
        if self.asked.count(offset) <= self.times:
            raise RateLimitedError("busy")
        return await super().behave(request, offset)


class AlwaysBusy(Busy):
    times = 1_000


def test_a_source_that_is_busy_is_asked_again_after_a_while() -> None:
    two = Busy(STRIPE, 2)

    async def story(net: Subject) -> float:
        began = net.clock.now()
        assert answer_of(await net.send(net.orders.order())).receipt
        return net.clock.now() - began

    seconds = simulated(story, STRIPE, sources(STRIPE, two=two))
    assert two.asked == [0, 0, 0]
    assert 3 <= seconds < 4  # 1 + 2


def test_a_source_that_is_always_busy_is_named() -> None:
    two = AlwaysBusy(STRIPE, 2)

    async def story(net: Subject) -> float:
        began = net.clock.now()
        assert answer_of(await net.send(net.orders.order())).sources == (2,)
        return net.clock.now() - began

    seconds = simulated(story, STRIPE, sources(STRIPE, two=two))
    assert two.asked == [0] * 5
    assert 15 <= seconds < 16  # 1 + 2 + 4 + 8


class Breaking(Source):
    """Breaks the connection so many times for each range.

    Twice is one try of ours: aiohttp repeats a GET by itself when its connection breaks.
    """

    times = 2

    async def behave(self, request: web.Request, offset: int) -> web.StreamResponse:
        if self.asked.count(offset) <= self.times:
            assert request.transport is not None
            request.transport.abort()
            await asyncio.Event().wait()
        return await super().behave(request, offset)


class AlwaysBreaking(Breaking):
    times = 1_000


def test_a_connection_that_breaks_is_tried_once_more_for_each_range() -> None:
    two = Breaking(LONG, 2)

    async def story(net: Subject) -> None:
        assert answer_of(await net.send(net.orders.order())).receipt
        assert (await net.get(LONG.roots[LOST])).body == LONG.pieces[LOST]

    simulated(story, LONG, sources(LONG, two=two))
    assert two.asked == sorted([*range(0, LONG.length, range_bytes(2))] * 3)


def test_a_source_that_always_breaks_off_is_named_after_two_tries() -> None:
    two = AlwaysBreaking(LONG, 2)

    async def story(net: Subject) -> None:
        assert answer_of(await net.send(net.orders.order())).sources == (2,)

    simulated(story, LONG, sources(LONG, two=two))
    assert two.asked == [0] * 4  # each of ours is two of aiohttp's


def test_the_other_sources_are_let_go_when_one_fails() -> None:
    class Gone(Source):
        async def behave(self, request: web.Request, offset: int) -> web.StreamResponse:
            if offset:
                raise UnreachableError("gone")
            return await super().behave(request, offset)

    zero, two = Stalling(LONG, 0), Gone(LONG, 2)

    async def story(net: Subject) -> tuple[RepairAnswer, float]:
        began = net.clock.now()
        answer = answer_of(await net.send(net.orders.order()))
        return answer, net.clock.now() - began

    answer, seconds = simulated(story, LONG, sources(LONG, zero=zero, two=two))
    assert answer == RepairAnswer(failure="sources", sources=(2,))  # the other may be well
    assert seconds < 2


def test_ranges_are_read_in_step() -> None:
    """No source is asked for a range before all have given the one before: what is held is one range of each."""
    zero, two = Source(LONG, 0), Source(LONG, 2)

    async def slowly(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(1)
        assert zero.ended == two.asked or zero.ended == [*two.asked, int(request.query["offset"])]
        return await two.answer(request)

    async def story(net: Subject) -> None:
        assert answer_of(await net.send(net.orders.order())).receipt

    simulated(story, LONG, {0: zero.answer, 2: slowly})
    assert zero.asked == two.asked == [*range(0, LONG.length, range_bytes(2))]


def test_an_order_that_comes_again_while_it_is_worked_on_gets_the_same_answer() -> None:
    two = Slow(STRIPE, 2)

    async def story(net: Subject) -> None:
        order = net.orders.order()
        first = asyncio.create_task(net.send(order))
        await asyncio.sleep(5)
        second = asyncio.create_task(net.send(order))
        assert (await first).body == (await second).body
        assert net.miner.store is not None
        assert net.miner.store.figures.totals.obligations == 1

    simulated(story, STRIPE, sources(STRIPE, two=two))
    assert two.asked == [0]


def test_who_waits_for_an_order_that_fails_for_its_first_sender_may_send_it_again() -> None:
    two = Slow(STRIPE, 2)

    async def story(net: Subject) -> None:
        order = net.orders.order()
        first = asyncio.create_task(net.send(order, bytes(SMALL)))
        second = await net.send(order)
        assert (await first).status == 422
        assert second.status in (200, 503)
        assert answer_of(await net.send(order)).receipt

    simulated(story, STRIPE, sources(STRIPE, two=two))


CRASHES = [
    "kv.before_batch",
    "kv.batch",
    "miner.before_data",
    "miner.data_written",
    "miner.data_synced",
    "miner.tree",
    "miner.renamed",
    "miner.folder_synced",
    "miner.indexed",
]
DURABLE = {"kv.batch", "miner.indexed"}
"""Points behind which the piece is there: the order that comes again reads nothing."""


@pytest.mark.parametrize("point", CRASHES)
@pytest.mark.parametrize("seed", range(3))
def test_a_miner_that_dies_at_any_step_carries_the_order_out_when_it_comes_again(point: str, seed: int) -> None:
    two = Source(STRIPE, 2)

    async def story(net: Subject) -> None:
        order = net.orders.order()
        net.miner.crash_at = point
        with pytest.raises(UnreachableError):
            await net.send(order)
        assert net.miner.crashes == 1
        await net.miner.start()
        assert net.miner.store is not None
        assert bool(net.miner.store.figures.totals.obligations) == (point in DURABLE)
        receipt = answer_of(await net.send(order)).receipt
        assert receipt is not None
        assert receipt.ticket_id == order.ticket.id(order.ticket.network)
        assert (await net.get(STRIPE.roots[LOST])).body == STRIPE.pieces[LOST]
        assert net.miner.store.space()[1] == SMALL
        assert net.miner.store.figures.totals.obligations == 1

    simulated(story, STRIPE, sources(STRIPE, two=two), seed=seed)
    assert len(two.asked) == (1 if point in DURABLE else 2)


def test_a_miner_that_dies_while_it_reads_begins_anew() -> None:
    class Deadly(Source):
        async def behave(self, request: web.Request, offset: int) -> web.StreamResponse:
            if offset == 2 * range_bytes(2) and self.asked.count(offset) == 1:
                self.net.miner.kill(Loss.POWER)
            return await super().behave(request, offset)

        net: Subject

    two = Deadly(LONG, 2)

    async def story(net: Subject) -> None:
        two.net, order = net, net.orders.order()
        with pytest.raises(UnreachableError):
            await net.send(order)
        await net.miner.start()
        assert net.miner.store is not None
        assert net.miner.store.space()[1] == 0
        assert answer_of(await net.send(order)).receipt
        assert (await net.get(LONG.roots[LOST])).body == LONG.pieces[LOST]

    simulated(story, LONG, sources(LONG, two=two))
    assert two.asked.count(0) == 2
