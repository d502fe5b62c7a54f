"""The cache of segments: fetched once, bounded, and never in the way of itself."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hippy.client.download import SegmentCache, SegmentData, SegmentFetcher
from hippy.erasure.geometry import PIECE_LENGTH_MAX
from hippy.errors import TemporaryError
from hippy.ids import MessageId, PublicKey, Root, SegmentId
from hippy.wire.segment import Holding, SegmentRecord, SegmentSpec


def record(number: int) -> SegmentRecord:
    spec = SegmentSpec(
        nonce=bytes([number]) * 16, roots=(Root(b"1" * 32), Root(b"2" * 32)), data_length=1, piece_length=1, k=1, n=2
    )
    holding = Holding(index=0, ticket_id=MessageId(b"t" * 32), miner=PublicKey(b"m" * 32), time=0, signature=bytes(64))
    return SegmentRecord(
        account=PublicKey(b"a" * 32),
        spec=spec,
        pay_class="paid",
        committed_time=0,
        placement_round=0,
        candidates_seq=0,
        holdings=(holding,),
    )


RECORDS = {record(number).segment_id: record(number) for number in range(6)}
IDS = list(RECORDS)
TWO_PLACES = 2 * 2 * PIECE_LENGTH_MAX


class SlowFetcher:
    """Fetches when told to; counts how many segments it has in hand."""

    def __init__(self) -> None:
        self.fetched: list[SegmentId] = []
        self.gate = asyncio.Event()
        self.failures = 0

    async def fetch(self, record: SegmentRecord, seal_key: bytes) -> SegmentData:
        self.fetched.append(record.segment_id)
        await self.gate.wait()
        if self.failures:
            self.failures -= 1
            raise TemporaryError("away")
        return SegmentData(1, (memoryview(b"x"),))


def cache_of(fetcher: SlowFetcher, bytes_max: int = TWO_PLACES) -> SegmentCache:
    return SegmentCache(cast("SegmentFetcher", fetcher), RECORDS, dict.fromkeys(IDS, b"k" * 32), bytes_max)


async def use(cache: SegmentCache, segment_id: SegmentId) -> None:
    async with cache.segment(segment_id):
        await asyncio.sleep(0)


async def test_segment_wanted_by_many_is_fetched_once() -> None:
    fetcher = SlowFetcher()
    cache = cache_of(fetcher)
    fetcher.gate.set()
    await asyncio.gather(*(use(cache, IDS[0]) for _ in range(20)))
    assert fetcher.fetched == [IDS[0]]
    await cache.close()


async def test_no_more_segments_are_in_memory_than_there_are_places() -> None:
    fetcher = SlowFetcher()
    cache = cache_of(fetcher)
    users = [asyncio.create_task(use(cache, segment_id)) for segment_id in IDS]
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(fetcher.fetched) == 2
    fetcher.gate.set()
    await asyncio.gather(*users)
    assert sorted(fetcher.fetched) == sorted(IDS)
    await cache.close()


async def test_what_is_only_expected_takes_nobodys_place() -> None:
    fetcher = SlowFetcher()
    fetcher.gate.set()
    cache = cache_of(fetcher)
    async with cache.segment(IDS[0]), cache.segment(IDS[1]):
        cache.expect(IDS[2])
        assert len(fetcher.fetched) == 2
    cache.expect(IDS[2])  # in the place of one that was used
    cache.expect(IDS[3])
    cache.expect(IDS[4])  # those two were not used yet
    await asyncio.sleep(0)
    assert fetcher.fetched[2:] == [IDS[2], IDS[3]]
    await use(cache, IDS[3])
    assert len(fetcher.fetched) == 4
    await cache.close()


async def test_failed_fetch_is_raised_to_all_and_tried_anew_by_the_next() -> None:
    fetcher = SlowFetcher()
    fetcher.failures = 1
    fetcher.gate.set()
    cache = cache_of(fetcher)
    outcomes = await asyncio.gather(use(cache, IDS[0]), use(cache, IDS[0]), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [TemporaryError] * 2
    await use(cache, IDS[0])
    assert fetcher.fetched == [IDS[0]] * 2
    await cache.close()


async def test_closed_cache_leaves_no_task() -> None:
    fetcher = SlowFetcher()
    cache = cache_of(fetcher)
    before = asyncio.all_tasks()
    cache.expect(IDS[0])
    cache.expect(IDS[1])
    await asyncio.sleep(0)
    await cache.close()
    assert asyncio.all_tasks() == before


@given(st.binary(min_size=1, max_size=200), st.integers(1, 50), st.data())
def test_copy_across_pieces_is_the_slice(content: bytes, length: int, draw: st.DataObject) -> None:
    pieces = tuple(memoryview(content[at : at + length]) for at in range(0, len(content), length))
    first = draw.draw(st.integers(0, len(content) - 1))
    last = draw.draw(st.integers(first, len(content)))
    out = bytearray(last - first)
    SegmentData(length, pieces).copy(first, memoryview(out))
    assert out == content[first:last]


def test_segment_shows_no_data() -> None:
    assert "secret" not in repr(SegmentData(6, (memoryview(b"secret"),)))
    with pytest.raises(AttributeError):
        SegmentData(6, ()).piece_length = 7  # type: ignore[misc]
