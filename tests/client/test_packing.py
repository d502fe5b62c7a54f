from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hippy.client.packing import SHARED_BYTES_MAX, Chunk, SegmentPlan, plan_segments, segment_bytes_max

MIB = 2**20
sizes = st.lists(st.one_of(st.integers(4097, 2 * MIB), st.integers(MIB - 2, MIB + 2), st.integers(1, 70 * MIB)))
limits = st.sampled_from([4 * MIB, 16 * MIB, 40 * MIB])


def plans(file_sizes: list[int], limit: int) -> list[SegmentPlan]:
    return list(plan_segments(enumerate(file_sizes), limit))


@given(sizes, limits)
def test_every_byte_of_every_file_is_in_exactly_one_segment_in_order(file_sizes: list[int], limit: int) -> None:
    ends = [0] * len(file_sizes)
    for plan in plans(file_sizes, limit):
        for chunk in plan.chunks:
            assert chunk.offset == ends[chunk.file]
            ends[chunk.file] += chunk.length
    assert ends == file_sizes


@given(sizes, limits)
def test_no_segment_is_empty_or_longer_than_its_limit(file_sizes: list[int], limit: int) -> None:
    for plan in plans(file_sizes, limit):
        assert 0 < sum(chunk.length for chunk in plan.chunks) <= limit


@given(sizes, limits)
def test_large_files_share_with_nobody_and_small_ones_are_not_cut(file_sizes: list[int], limit: int) -> None:
    for plan in plans(file_sizes, limit):
        for chunk in plan.chunks:
            if file_sizes[chunk.file] >= SHARED_BYTES_MAX:
                assert len(plan.chunks) == 1
            else:
                assert chunk.length == file_sizes[chunk.file]


@given(st.lists(st.integers(4097, MIB - 1), min_size=2))
def test_small_files_leave_less_than_one_file_free_in_every_segment_but_the_last(file_sizes: list[int]) -> None:
    for plan in plans(file_sizes, 16 * MIB)[:-1]:
        assert sum(chunk.length for chunk in plan.chunks) > 15 * MIB


def test_exactly_one_segment_is_one_and_a_byte_more_is_two() -> None:
    limit = segment_bytes_max(4)
    assert limit == 16 * MIB
    assert plans([limit], limit) == [SegmentPlan((Chunk(0, 0, limit),))]
    assert plans([limit + 1], limit) == [SegmentPlan((Chunk(0, 0, limit),)), SegmentPlan((Chunk(0, limit, 1),))]


def test_no_files_make_no_segments() -> None:
    assert plans([], 16 * MIB) == []
