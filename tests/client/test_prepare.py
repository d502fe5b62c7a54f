"""Segments from plain bytes to pieces: any k bring the plain bytes back, and memory stays where it is."""

from __future__ import annotations

import asyncio
import random
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hippy.client.buffers import BUFFERS_MAX, MEMORY_BYTES_MAX, BufferPool, ByteBudget, buffer_count
from hippy.client.download import SegmentData
from hippy.client.keys import AccountKeys
from hippy.client.packing import plan_segments
from hippy.client.prepare import FileReading, PreparedSegment, fill, prepare_segment
from hippy.client.sources import BytesSource
from hippy.erasure.codec import Codec
from hippy.erasure.geometry import PIECE_LENGTH_MAX
from hippy.errors import TemporaryError
from hippy.hashing import digest
from hippy.proofs.tree import root_of
from hippy.seal import xor_seal

KEYS = AccountKeys.of_seed(b"\x01" * 32)
CODEC = Codec(4, 8)
LIMIT = 20_000
"""Data of one segment in these tests."""


def entropy(seed: int = 0) -> random.Random:
    return random.Random(seed)


def opened(segment: PreparedSegment, indices: list[int]) -> SegmentData:
    """The segment's data from the pieces with these indices."""
    length = segment.spec.piece_length
    have = {}
    for index in indices:
        have[index] = bytearray(segment.pieces[index])
        xor_seal(segment.seal_key, index, have[index])
    missing = {index: memoryview(bytearray(length)) for index in range(4) if index not in have}
    CODEC.reconstruct(have, missing)
    pieces = {**{index: memoryview(piece) for index, piece in have.items()}, **missing}
    return SegmentData(length, tuple(pieces[index] for index in range(4)))


@settings(max_examples=30)
@given(
    st.lists(st.integers(1, 3 * LIMIT), min_size=1, max_size=4),
    st.permutations(range(8)),
    st.randoms(use_true_random=False),
)
def test_any_k_pieces_bring_every_file_back(sizes: list[int], order: list[int], rng: random.Random) -> None:
    contents = [rng.randbytes(size) for size in sizes]
    files = {number: FileReading(str(number), BytesSource(content)) for number, content in enumerate(contents)}
    buffer = memoryview(bytearray(b"\xaa" * (8 * LIMIT)))  # dirty, as a used one is
    back = [b""] * len(contents)
    for plan in plan_segments(enumerate(sizes), LIMIT):
        filled = fill(plan, files, buffer, KEYS, rng.randbytes)
        segment = prepare_segment(buffer, filled.data_length, CODEC, KEYS, rng.randbytes)
        segment.spec.check_shape()
        assert segment.spec.roots == tuple(root_of(piece) for piece in segment.pieces)
        assert segment.segment_id == segment.spec.segment_id(KEYS.account)
        data = opened(segment, order[:4])
        for extent in filled.extents:
            assert extent.first_byte == len(back[extent.file])
            back[extent.file] += data.plaintext(extent.key, extent.offset, extent.length)
    assert back == contents
    assert [files[number].hash for number in files] == [digest(content) for content in contents]


def test_part_of_an_extent_is_the_slice_of_the_whole() -> None:
    content = random.Random(1).randbytes(LIMIT)
    files = {0: FileReading("x", BytesSource(content))}
    buffer = memoryview(bytearray(8 * LIMIT))
    (plan,) = plan_segments([(0, LIMIT)], LIMIT)
    filled = fill(plan, files, buffer, KEYS, entropy().randbytes)
    data = opened(prepare_segment(buffer, filled.data_length, CODEC, KEYS, entropy(1).randbytes), [0, 1, 2, 3])
    (extent,) = filled.extents
    for first, last in ((0, 1), (1, LIMIT), (4999, 5001), (LIMIT - 1, LIMIT), (7, 15_003)):
        assert data.plaintext(extent.key, extent.offset, last, first) == content[first:last]


class Broken(BytesSource):
    """A source that is shorter than it said."""

    @property
    def size(self) -> int:
        return len(self.data) + 1


def test_file_that_cannot_be_read_leaves_no_gap_and_fails_alone() -> None:
    sources = [BytesSource(b"a" * 500), Broken(b"b" * 500), BytesSource(b"c" * 500)]
    files = {number: FileReading(str(number), source) for number, source in enumerate(sources)}
    buffer = memoryview(bytearray(8 * LIMIT))
    (plan,) = plan_segments([(number, source.size) for number, source in enumerate(sources)], LIMIT)
    filled = fill(plan, files, buffer, KEYS, entropy().randbytes)
    assert [(extent.file, extent.offset) for extent in filled.extents] == [(0, 0), (2, 500)]
    assert filled.data_length == 1000
    assert isinstance(files[1].error, TemporaryError)
    assert files[0].error is files[2].error is None


def test_equal_files_have_different_ciphertexts_and_keys() -> None:
    files = {number: FileReading("x", BytesSource(b"same" * 1000)) for number in range(2)}
    buffer = memoryview(bytearray(8 * LIMIT))
    (plan,) = plan_segments([(0, 4000), (1, 4000)], LIMIT)
    one, two = fill(plan, files, buffer, KEYS, entropy().randbytes).extents
    assert one.key != two.key
    assert buffer[:4000] != buffer[4000:8000]
    assert repr(one.key) not in repr(one)


def test_preparing_allocates_nothing_of_a_segment_size() -> None:
    size = 16 * 2**20
    buffer = memoryview(bytearray(8 * 4 * 2**20))
    tracemalloc.start()
    prepare_segment(buffer, size, CODEC, KEYS, entropy().randbytes)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < size / 2  # zfec's strips: n of 1 MiB at most (hippy.erasure.zfec_engine)


@pytest.mark.parametrize("n", [1, 8, 24, 30, 80, 255])
def test_buffers_of_every_code_fit_the_memory_or_there_is_one(n: int) -> None:
    count = buffer_count(n)
    assert 1 <= count <= BUFFERS_MAX
    assert count == 1 or count * n * PIECE_LENGTH_MAX < MEMORY_BYTES_MAX


async def test_pool_makes_no_more_buffers_than_it_may() -> None:
    pool = BufferPool(1, 2)
    first, second = await pool.take(), await pool.take()
    third = asyncio.create_task(pool.take())
    await asyncio.sleep(0)
    assert not third.done()
    pool.give_back(second)
    assert await third is second
    pool.give_back(first)
    assert await pool.take() is first


async def test_budget_lets_as_many_bytes_go_as_it_has() -> None:
    budget = ByteBudget(10, items_max=3)
    await budget.acquire(6)
    waiting = asyncio.create_task(budget.acquire(5))
    await asyncio.sleep(0)
    assert not waiting.done()
    await budget.release(6)
    await waiting
    await budget.acquire(5)


async def test_budget_lets_what_is_larger_than_itself_go_alone() -> None:
    budget = ByteBudget(10, items_max=3)
    await budget.acquire(50)
    waiting = asyncio.create_task(budget.acquire(1))
    await asyncio.sleep(0)
    assert not waiting.done()
    await budget.release(50)
    await waiting
