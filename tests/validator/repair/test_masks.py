"""Masks: they make the very bytes that were lost, and never let a miner do without the bytes that it owes.

A miner that owes a piece of a segment can read every piece that others hold, when it is asked. What it was ever sent
besides is masks. The rank test says that this is worth no more than its disk: with t piece-lengths kept, whichever, it
can answer for t pieces and no more. It is made over the repair equations of what the real planner really orders, with
crashes, repeats, lies and failures.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import pytest
from blake3 import blake3

from hippy.errors import IntegrityError
from hippy.ids import PublicKey, SegmentId
from hippy.points import watching
from hippy.seal import xor_seal
from hippy.testing.loop import SimulatedLoop, run_simulated
from hippy.validator.commit import EnvelopeKey
from hippy.validator.losses import record_loss
from hippy.validator.repair.choosing import Choice
from hippy.validator.repair.facts import facts_of
from hippy.validator.repair.figures import read_figures
from hippy.validator.repair.masks import RANGE_BYTES, make_mask, opened_key
from hippy.validator.repair.moves import current_holder
from hippy.validator.repair.ordering import Mismatch, Refused, Reply, SourcesFailed, Unanswered
from hippy.validator.tables import HEAD
from hippy.wire.log import Envelopes
from hippy.wire.repair import DELIVERIES_MAX, RepairOrder
from tests.reference import reed_solomon
from tests.reference.linear import Span, Vector
from tests.validator.repair.stage import CLOCK, Stage
from tests.validator.world import ENVELOPE_KEY, HOME, SEAL_KEY

SEAL = b"a seal key of thirty-two bytes.."


def sealed_pieces(k: int, n: int, length: int) -> list[bytes]:
    """The pieces of a segment as miners have them."""
    data = [blake3(bytes([index])).digest(length) for index in range(k)]
    found = [bytearray(piece) for piece in reed_solomon.pieces(data, n)]
    for index, piece in enumerate(found):
        xor_seal(SEAL, index, piece)
    return [bytes(piece) for piece in found]


def added(one: bytes, other: bytes) -> bytes:
    return bytes(map(int.__xor__, one, other))


@pytest.mark.parametrize(("k", "n"), [(1, 2), (4, 8), (10, 24)])
def test_a_mask_and_k_pieces_are_the_very_piece_that_was_lost(k: int, n: int) -> None:
    pieces, chance = sealed_pieces(k, n, 40), random.Random(k)
    for _ in range(5):
        index, *sources = chance.sample(range(n), k + 1)
        mask = make_mask(SEAL, k, n, sources=sorted(sources), index=index, piece_length=40)
        summed = reed_solomon.piece_from({each: pieces[each] for each in sorted(sources)}, index)
        assert added(summed, bytes(mask)) == pieces[index]


def test_a_mask_longer_than_a_range_is_the_same_as_one_made_in_one_go() -> None:
    length = RANGE_BYTES + 77
    mask = make_mask(SEAL, 2, 3, sources=(0, 1), index=2, piece_length=length)
    streams = [bytearray(length) for _ in range(3)]
    for index, stream in enumerate(streams):
        xor_seal(SEAL, index, stream)
    for place in (0, RANGE_BYTES - 1, RANGE_BYTES, length - 1):
        some = {index: bytes(streams[index][place : place + 1]) for index in (0, 1)}
        assert mask[place] == reed_solomon.piece_from(some, 2)[0] ^ streams[2][place]


async def test_a_seal_key_comes_from_our_own_envelope_and_from_no_other() -> None:
    stage = Stage(asyncio.get_running_loop(), random.Random(0), miners=3)  # type: ignore[arg-type]
    await stage.database.transact(lambda txn: None)
    segment_id = await _committed_without_loop(stage)
    facts = facts_of(stage.reader, Choice(segment_id, 0, stage.miners[0].public_key))
    assert facts is not None
    assert opened_key(facts.record, facts.envelopes, HOME, ENVELOPE_KEY) == SEAL_KEY
    for envelopes, key in [
        (facts.envelopes, EnvelopeKey(2, ENVELOPE_KEY.private_key)),
        (facts.envelopes, EnvelopeKey(1, b"x" * 32)),
        (None, ENVELOPE_KEY),
        (_of_another(facts.envelopes), ENVELOPE_KEY),
    ]:
        with pytest.raises(IntegrityError):
            opened_key(facts.record, envelopes, HOME, key)


async def _committed_without_loop(stage: Stage) -> SegmentId:
    return await stage.commit(0, 2, 3)


def _of_another(envelopes: Envelopes | None) -> Envelopes:
    assert envelopes is not None
    (only,) = envelopes.envelopes
    return Envelopes(envelopes=(only.model_copy(update={"validator": b"w" * 32}),))


# The rank test.


def sealed(k: int, index: int) -> Vector:
    """A sealed piece: a sum of the data, and its stream."""
    data = {("data", each): reed_solomon.coefficient(tuple(range(k)), each, index) for each in range(k)}
    return {name: value for name, value in {**data, ("stream", index): 1}.items() if value}


def mask_of(sources: Sequence[int], index: int) -> Vector:
    """A mask: a sum of the streams of its sources, and that of the piece."""
    return {
        **{("stream", each): reed_solomon.coefficient(tuple(sources), each, index) for each in sources},
        ("stream", index): 1,
    }


def most_answered(
    k: int, n: int, held_by_others: Collection[int], sent: Iterable[Vector], later: Iterable[Vector], kept: int
) -> int:
    """For how many pieces that nobody else holds a miner can answer, that keeps ``kept`` of what it was sent.

    It reads what others hold, and is sent ``later`` when it asks for it.
    """
    public = [sealed(k, index) for index in held_by_others]
    wanted = [sealed(k, index) for index in range(n) if index not in held_by_others]
    reachable = Span([*public, *later])
    useful = [vector for vector in sent if vector not in reachable]
    best = 0
    for store in combinations(useful, min(kept, len(useful))):
        span = Span([*public, *later, *store])
        best = max(best, sum(piece in span for piece in wanted))
    return best


@dataclass
class Moment:
    """Who held what of a segment when a miner was given a piece of it, and how many orders had been sent then."""

    segment_id: SegmentId
    holders: dict[int, PublicKey]
    deliveries: int


@dataclass
class Play:
    """What came of a run: every order with its mask, and what was held after each repair."""

    delivered: list[tuple[RepairOrder, bytes]]
    moments: list[Moment] = field(default_factory=list)
    crashes: int = 0
    lives: int = 0


def play(k: int, n: int, *, miners: int, rounds: int, seed: int) -> Play:
    """Lose pieces again and again and have them repaired, by miners of which many fail or lie, with crashes."""

    async def run() -> Play:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimulatedLoop)
        chance = random.Random(seed)
        stage = Stage(loop, chance, miners=miners)
        stage.answer = lambda order: _answer(stage, order, chance)
        stage.work_seconds = lambda: chance.uniform(0.0, 3.0)
        stage.crash_at = set(chance.sample(range(5, 120), 8))
        await stage.open()
        result = Play(stage.delivered)
        with watching(stage.reached):
            segment_ids = [await stage.commit(number, k, n, first=7 * number) for number in range(2)]
            stage.start()
            for _ in range(rounds):
                for segment_id in segment_ids:
                    await _lose_some(stage, segment_id, chance)
                await _watch(stage, segment_ids, result)
        result.lives = stage.lives
        return result

    return run_simulated(run(), seed=seed)


def _answer(stage: Stage, order: RepairOrder, chance: random.Random) -> Reply:
    match chance.randrange(10):
        case 0 | 1:
            return Unanswered("silence")
        case 2:
            return Refused("no")
        case 3:
            named = chance.sample([source.index for source in order.sources], 1)
            return SourcesFailed(tuple(named))
        case 4:
            return Mismatch()
        case _:
            return stage.receipt(order)


async def _lose_some(stage: Stage, segment_id: SegmentId, chance: random.Random) -> None:
    """Lose pieces, newly made ones rather than others, but so that k + 1 are left."""
    record = stage.record(segment_id)
    held = {
        index: holder
        for index in range(record.spec.n)
        if (holder := current_holder(stage.reader, record, index)) is not None
    }
    lost = chance.sample(sorted(held), max(0, len(held) - record.spec.k - 1))
    for index in lost:
        root, holder = record.spec.roots[index], held[index]
        await stage.database.transact(
            lambda txn, holder=holder, root=root: record_loss(  # type: ignore[misc]
                txn, HOME, holder, [root], reason="failed", now=int(CLOCK.now()), epoch=1, batch=0
            )
        )


async def _watch(stage: Stage, segment_ids: Sequence[SegmentId], result: Play) -> None:
    """Note who holds what whenever that changes, until nothing is to be done."""
    head, end = None, stage.loop.time() + 200.0
    while stage.loop.time() < end:
        await asyncio.sleep(0.3)
        if head != stage.reader.get(HEAD):
            head = stage.reader.get(HEAD)
            result.moments += [_moment(stage, segment_id) for segment_id in segment_ids]
        figures = read_figures(stage.reader)
        if not figures.queued_segments + figures.under_way:
            return


def _moment(stage: Stage, segment_id: SegmentId) -> Moment:
    record = stage.record(segment_id)
    holders = {
        index: holder
        for index in range(record.spec.n)
        if (holder := current_holder(stage.reader, record, index)) is not None
    }
    return Moment(segment_id, holders, len(stage.delivered))


def by_miner(result: Play) -> dict[tuple[PublicKey, SegmentId], list[tuple[int, RepairOrder, bytes]]]:
    """What each miner was sent about each segment, and as the how manieth delivery of all."""
    found = defaultdict(list)
    for at, (order, mask) in enumerate(result.delivered):
        found[order.ticket.miner, order.ticket.segment_id].append((at, order, mask))
    return dict(found)


CODES = [(4, 8, 24, 4, 1), (10, 24, 60, 2, 3)]


@pytest.mark.parametrize(("k", "n", "miners", "rounds", "seed"), CODES)
def test_no_miner_can_answer_for_more_pieces_than_it_keeps(k: int, n: int, miners: int, rounds: int, seed: int) -> None:
    result = play(k, n, miners=miners, rounds=rounds, seed=seed)
    assert result.lives > 3, "some processes died"
    checked = broken = 0
    for (miner, segment_id), orders in by_miner(result).items():
        held = [
            moment for moment in result.moments if moment.segment_id == segment_id and miner in moment.holders.values()
        ]
        for moment in {id(each): each for each in (*held[:1], *held[-1:])}.values():
            others = [index for index, holder in moment.holders.items() if holder != miner]
            before = [order for at, order, _ in orders if at < moment.deliveries]
            after = [order for at, order, _ in orders if at >= moment.deliveries]
            masks = [mask_of([source.index for source in order.sources], order.ticket.index) for order in before]
            read = [sealed(k, source.index) for order in before for source in order.sources]
            made = [sealed(k, order.ticket.index) for order in before]
            again = [mask_of([source.index for source in order.sources], order.ticket.index) for order in after]
            for kept in (0, 1, 2):
                assert most_answered(k, n, others, [*masks, *read, *made], again, kept) <= kept
            broken += most_answered(k, n, others, [], masks, 0) > 0  # the control: masks that can be had again
            checked += 1
    assert checked > 10
    assert broken > 10


@pytest.mark.parametrize(("k", "n", "miners", "rounds", "seed"), CODES[:1])
def test_a_miner_is_sent_one_mask_of_a_segment_at_most_twice(
    k: int, n: int, miners: int, rounds: int, seed: int
) -> None:
    result = play(k, n, miners=miners, rounds=rounds, seed=seed)
    twice = 0
    for orders in by_miner(result).values():
        assert len(orders) <= DELIVERIES_MAX
        assert len({(order.id(HOME.network), mask) for _, order, mask in orders}) == 1
        twice += len(orders) == 2
    assert twice > 0
