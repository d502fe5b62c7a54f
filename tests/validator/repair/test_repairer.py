"""Lost pieces come back, whatever dies or lies meanwhile: real miners, a real validator, in virtual time."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest.mock import patch

import pytest

from hippy.erasure.codec import Codec
from hippy.identity import Identity
from hippy.testing.crash import Loss
from hippy.transport.client import Call, Peer, open_http
from hippy.validator.repair.figures import read_figures
from hippy.validator.repair.jobs import jobs
from hippy.wire.repair import Drain, DrainAnswer, RepairAnswer, RepairOrder
from hippy.wire.segment import SegmentRecord
from hippy.wire.ticket import Receipt
from tests.histories.chain import NETWORK
from tests.histories.nodes import CLOCK, PACE, VALIDATOR, VALIDATOR_ENDPOINT
from tests.validator.repair.network import CONTENT, Impostor, Net, RepairMiner, Sleeper, repaired

POINTS = [
    "validator.before_repair",
    "validator.repair_planned",
    "validator.before_order",
    "validator.order_answered",
    "validator.before_move",
    "validator.moved",
]


async def stored(net: Net) -> SegmentRecord:
    """Put an object and return its segment."""
    await net.put()
    (record,) = await net.segments()
    return record


async def check_whole(net: Net, record: SegmentRecord, *moved: int) -> None:
    """Check that each piece has one honest holder, that just these were moved, and that nothing else goes on."""
    held = await net.held(record.segment_id)
    assert sorted(held) == list(range(record.spec.n))
    assert len({each.miner for each in held.values()}) == record.spec.n
    told = [each.moved for each in await net.log("moved")]
    assert sorted(body.holding.index for body in told if body) == sorted(moved)
    for index, holding in held.items():
        holding.receipt(record.spec.roots[index], record.spec.piece_length).check_signature(holding.miner, NETWORK)
    figures = await net.read(read_figures)
    assert (figures.queued_segments, figures.stuck_segments, figures.under_way) == (0, 0, 0)
    assert figures.moved_pieces == len(moved)
    assert await net.get() == CONTENT


def test_a_segment_at_its_threshold_is_repaired_until_all_pieces_are_held() -> None:
    async def story(net: Net) -> None:
        record = await stored(net)
        await net.lose(record, 1, 6)
        await net.until_whole(record)
        await check_whole(net, record, 1, 6)

    repaired(story)


def test_a_segment_above_its_threshold_is_left_alone() -> None:
    async def story(net: Net) -> None:
        record = await stored(net)
        await net.lose(record, 1)
        await asyncio.sleep(600.0)
        assert len(await net.held(record.segment_id)) == 7
        assert not await net.log("moved")

    repaired(story)


def test_miners_that_left_for_good_are_replaced_without_any_client() -> None:
    async def story(net: Net) -> None:
        record = await stored(net)
        net.client.kill(Loss.KILL)
        gone = [net.by_hotkey(each.miner) for each in list((await net.held(record.segment_id)).values())[:3]]
        for miner in gone:
            net.chain.remove(miner.hotkey)
            miner.kill(Loss.POWER)

        async def is_repaired() -> bool:
            return len(await net.log("moved")) == 3

        await net.until(is_repaired)
        held = await net.held(record.segment_id)
        assert len(held) == 8
        assert not {miner.hotkey for miner in gone} & {each.miner for each in held.values()}
        await net.client.start()
        assert await net.get() == CONTENT

    repaired(story)


@pytest.mark.parametrize("point", POINTS)
def test_a_validator_that_dies_at_any_step_goes_on_where_it_was(point: str) -> None:
    async def story(net: Net) -> None:
        record = await stored(net)
        net.crash_at[point] = 2
        await net.lose(record, 0, 3, 7)
        await net.until_whole(record)
        await asyncio.sleep(10.0)
        assert net.crashes == 1
        await check_whole(net, record, 0, 3, 7)

    repaired(story, miners=14)


def test_a_miner_that_dies_at_work_is_asked_once_more_and_then_another() -> None:
    async def story(net: Net) -> None:
        record = await stored(net)
        struck: list[RepairMiner] = []

        def strike() -> None:
            """Kill the miner of the first order that is about to be sent."""
            ordered = [job.attempt.miner for job in net.now(jobs) if job.attempt and job.attempt.deliveries]
            if ordered and not struck:
                struck.append(net.by_hotkey(ordered[0]))
                struck[0].kill(Loss.POWER)

        net.on["validator.before_order"] = strike
        await net.lose(record, 2, 5)
        await net.until_whole(record)
        assert struck
        await check_whole(net, record, 2, 5)

    repaired(story, miners=14)


def lying_source(net: Net, number: int) -> None:
    """Have an honest miner of that number give way to one that makes its pieces up."""
    liar = Impostor(number, net)
    net.miners[number].kill(Loss.POWER)
    net.miners[number] = liar


def test_a_source_that_makes_its_bytes_up_is_left_out_and_not_blamed() -> None:
    async def story(net: Net) -> None:
        record = await stored(net)
        held = await net.held(record.segment_id)
        number = next(at for at, miner in enumerate(net.miners) if miner.hotkey == held[0].miner)
        lying_source(net, number)
        await net.miners[number].start()
        await net.lose(record, 1, 2, 3)
        await net.until_whole(record)
        after = await net.held(record.segment_id)
        assert after[0] == held[0]
        assert len(await net.log("moved")) == 3
        assert not [each for each in await net.log("loss") if each.loss and each.loss.miner == held[0].miner]
        assert await net.get() == CONTENT

    repaired(story, miners=20)


def wrong_receipt(miner: RepairMiner, order: RepairOrder) -> RepairAnswer:
    unsigned = Receipt(
        ticket_id=order.ticket.id(NETWORK),
        root=order.ticket.root,
        piece_length=order.ticket.piece_length,
        miner=order.ticket.miner,
        time=int(CLOCK.now()),
    )
    return RepairAnswer(receipt=unsigned.signed(Identity.from_seed(b"x" * 32), NETWORK))


LIES: dict[str, Any] = {
    "all its sources failed": lambda _, order: RepairAnswer(
        failure="sources", sources=tuple(source.index for source in order.sources)
    ),
    "sources that it was not given failed": lambda _, order: RepairAnswer(
        failure="sources", sources=(order.ticket.index,)
    ),
    "they make another piece": lambda *_: RepairAnswer(failure="mismatch"),
    "a receipt that another signed": wrong_receipt,
    "nothing": None,
}


@pytest.mark.parametrize("lie", LIES)
def test_a_new_miner_that_lies_is_given_one_order_and_its_piece_goes_to_another(lie: str) -> None:
    async def story(net: Net) -> None:
        liars = [miner for miner in net.miners if isinstance(miner, Impostor)]
        for liar in liars:
            liar.kill(Loss.KILL)
        await asyncio.sleep(120.0)  # so that none of them is given a piece at first
        record = await stored(net)
        for liar in liars:
            liar.repair = None if LIES[lie] is None else lambda order, liar=liar: LIES[lie](liar, order)
            await liar.start()
        await asyncio.sleep(40.0)
        await net.lose(record, 4, 5)
        await net.until_whole(record, seconds=36_000.0)
        assert not {liar.hotkey for liar in liars} & {
            each.miner for each in (await net.held(record.segment_id)).values()
        }
        orders = [order for liar in liars for order in liar.seen]
        assert orders, "the seed has the liars drawn"
        assert all(len({order.ticket.serial for order in liar.seen}) <= 1 for liar in liars)
        assert all(len(liar.seen) <= 2 for liar in liars)
        assert not await net.log("flawed")
        await check_whole(net, record, 4, 5)

    repaired(story, miners=14, kinds={0: Impostor, 1: Impostor, 2: Impostor, 3: Impostor})


def test_a_piece_that_liars_say_cannot_be_made_is_made_by_the_validator_and_then_by_an_honest_miner(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def story(net: Net) -> None:
        liars = [miner for miner in net.miners if isinstance(miner, Impostor)]
        for liar in liars:
            liar.kill(Loss.KILL)
        await asyncio.sleep(120.0)
        record = await stored(net)
        for liar in liars:
            liar.repair = lambda _: RepairAnswer(failure="mismatch")
            await liar.start()
        await asyncio.sleep(40.0)
        await net.lose(record, 1, 4)

        async def is_proven() -> bool:
            return "can be made, though miners said otherwise" in caplog.text

        await net.until(is_proven)
        await net.miners[-1].start()  # the only honest one that holds no piece of it
        await net.until(lambda: _has(net, record, 7), seconds=36_000.0)
        assert not await net.log("flawed")

    repaired(story, miners=15, kinds={**dict.fromkeys(range(6), Impostor), 14: Sleeper})


async def _has(net: Net, record: SegmentRecord, pieces: int) -> bool:
    return len(await net.held(record.segment_id)) == pieces


def test_a_badly_coded_piece_is_said_to_be_flawed_and_nobody_is_blamed() -> None:
    encode = Codec.encode

    def wrongly(codec: Codec, data: Any, parity: Any) -> None:
        encode(codec, data, parity)
        parity[1][7] ^= 1

    async def story(net: Net) -> None:
        with patch.object(Codec, "encode", wrongly):
            record = await stored(net)
        await net.lose(record, 5, 1)

        async def is_settled() -> bool:
            return bool(await net.log("flawed")) and len(await net.held(record.segment_id)) == 7

        await net.until(is_settled)
        await asyncio.sleep(600.0)
        (entry,) = await net.log("flawed")
        assert entry.flawed is not None
        assert entry.flawed.index == 5
        figures = await net.read(read_figures)
        assert (figures.flawed_pieces, figures.queued_segments, figures.stuck_segments) == (1, 0, 0)
        assert not await net.log("departure")
        assert len(await net.log("loss")) == 2  # the two that the test had recorded

    repaired(story, miners=16)


async def drain(net: Net, miner: RepairMiner, action: Any = "start") -> DrainAnswer:
    """Have a miner say that it leaves, or stays."""
    word = Drain(miner=miner.hotkey, validator=VALIDATOR.public_key, action=action, time=int(CLOCK.now()))
    async with open_http(miner.identity, CLOCK) as http:
        call = Call("POST", "/v1/drain", body=word.signed(miner.identity, NETWORK).encode())
        peer = Peer(VALIDATOR_ENDPOINT, VALIDATOR.public_key)
        return await http.message(peer, call, DrainAnswer)


def test_the_pieces_of_a_miner_that_leaves_are_copied_and_released() -> None:
    async def story(net: Net) -> None:
        record = await stored(net)
        held = await net.held(record.segment_id)
        miner = net.by_hotkey(held[3].miner)
        left = await drain(net, miner)
        assert (left.pieces, left.bytes) == (1, record.spec.piece_length)

        async def is_empty() -> bool:
            return (await drain(net, miner)).pieces == 0

        await net.until(is_empty)
        (entry,) = await net.log("moved")
        assert entry.moved is not None
        assert entry.moved.drained == miner.hotkey
        assert len(await net.log("drain")) == 1
        await check_whole(net, record, 3)
        await asyncio.sleep(10.0)
        await miner.keep_house()
        await asyncio.sleep(PACE.trash_seconds + 10.0)
        await miner.keep_house()
        assert not [path for path in miner.disk.files() if record.spec.roots[3].hex() in path.name]
        assert not await net.log("loss")

    repaired(story)


def test_a_miner_that_leaves_and_is_gone_already_has_its_pieces_made_of_others() -> None:
    async def story(net: Net) -> None:
        record = await stored(net)
        miner = net.by_hotkey((await net.held(record.segment_id))[3].miner)
        await drain(net, miner)
        miner.kill(Loss.POWER)
        await net.until_whole(record)

        async def is_moved() -> bool:
            return len(await net.log("moved")) == 1

        await net.until(is_moved)
        await check_whole(net, record, 3)

    repaired(story)


def test_a_miner_that_stays_after_all_keeps_its_pieces() -> None:
    async def story(net: Net) -> None:
        record = await stored(net)
        miner = net.by_hotkey((await net.held(record.segment_id))[3].miner)
        net.validator.kill(Loss.POWER)
        await net.validator.start()
        await drain(net, miner)
        await drain(net, miner, "stop")
        await asyncio.sleep(300.0)
        assert not await net.log("moved")
        assert [each.drain.action for each in await net.log("drain") if each.drain] == ["start", "stop"]

    repaired(story)


def test_a_segment_without_a_miner_to_take_a_piece_waits_and_goes_on_when_there_is_one() -> None:
    async def story(net: Net) -> None:
        spare = net.miners[-1]
        spare.kill(Loss.KILL)
        await asyncio.sleep(120.0)
        record = await stored(net)
        await net.lose(record, 4, 5)
        await asyncio.sleep(300.0)
        figures = await net.read(read_figures)
        assert (figures.stuck_segments, figures.stuck_bytes) == (1, 2 * record.spec.piece_length)
        assert (figures.low_segments, figures.queued_segments) == (1, 0)
        await spare.start()

        async def has_one() -> bool:
            return len(await net.held(record.segment_id)) == 7

        await net.until(has_one)

    repaired(story, miners=9)
