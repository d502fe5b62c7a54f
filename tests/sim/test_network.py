"""Times of exchanges: distance, pipe, lost packets."""

from __future__ import annotations

import random
from statistics import fmean

import pytest

from hippy.sim.network import (
    FIRST_WINDOW_BYTES,
    RETRANSMISSION_SECONDS,
    SYN_SECONDS,
    Link,
    Stream,
    half_seconds,
)

MEBIBYTE = 2**20


def chance() -> random.Random:
    return random.Random(5)


def streams_of(link: Link, lengths: list[int], rng: random.Random | None = None) -> list[Stream]:
    course = link.course(lengths)
    return [link.stream(length, course, rng or chance()) for length in lengths]


def test_without_loss_a_handshake_takes_two_round_trips() -> None:
    assert Link(0.05, 10**8, 0.0).hello_seconds(chance()) == pytest.approx(0.1)


def test_an_exchange_takes_at_least_what_its_pipe_takes() -> None:
    link = Link(0.001, 80_000_000, 0.0)
    assert link.exchange_seconds(4 * MEBIBYTE, chance()) == pytest.approx(4 * MEBIBYTE / 10_000_000, rel=0.1)


def test_a_stream_over_a_long_way_doubles_each_round_trip() -> None:
    link = Link(0.1, 10**12, 0.0)
    for length, round_trips in ((FIRST_WINDOW_BYTES, 1), (FIRST_WINDOW_BYTES * 127, 7)):
        assert link.exchange_seconds(length, chance()) == pytest.approx(0.1 * (2 + round_trips))


def test_streams_part_a_pipe_among_those_that_are_not_through() -> None:
    link = Link(0.0001, 80_000_000, 0.0)
    lengths = [MEBIBYTE, 4 * MEBIBYTE, MEBIBYTE]
    ends = [stream.end_seconds for stream in streams_of(link, lengths)]
    assert ends[0] == ends[2] == pytest.approx(3 * MEBIBYTE / 10_000_000, rel=0.01)
    assert ends[1] == pytest.approx(6 * MEBIBYTE / 10_000_000, rel=0.01)  # the pipe was never idle


def test_streams_over_a_long_way_do_not_stand_in_each_others_way() -> None:
    link = Link(0.1, 10**12, 0.0)
    alone, *others = (streams_of(link, [MEBIBYTE] * count)[0].end_seconds for count in (1, 8))
    assert others == [pytest.approx(alone)]


@pytest.mark.parametrize("lengths", [[MEBIBYTE], [MEBIBYTE, 4 * MEBIBYTE], [2 * MEBIBYTE] * 8])
def test_half_of_all_bytes_have_come_at_half_time_whatever_was_lost(lengths: list[int]) -> None:
    link, rng = Link(0.05, 10**8, 0.2), chance()
    for _ in range(20):
        streams = streams_of(link, lengths, rng)
        half_time = half_seconds(streams)
        assert sum(stream.received(half_time) for stream in streams) == pytest.approx(sum(lengths) / 2, rel=0.001)
        assert 0 < half_time < max(stream.end_seconds for stream in streams)


def test_a_stream_that_waits_receives_nothing_meanwhile() -> None:
    link = Link(0.0001, 80_000_000, 0.0)
    course = link.course([MEBIBYTE])
    waiting = Stream(MEBIBYTE, course, 1.0, [(MEBIBYTE / 4, 0.5), (MEBIBYTE / 2, 0.25)])
    quarter = MEBIBYTE / 4 / 10_000_000
    assert waiting.received(1.0) == 0
    assert waiting.received(1.1 + quarter) == waiting.received(1.4 + quarter) == pytest.approx(MEBIBYTE / 4, rel=0.02)
    assert waiting.half_seconds() == pytest.approx(1.75 + 2 * quarter, rel=0.01)  # the wait at half is over
    assert waiting.end_seconds == pytest.approx(1.75 + 4 * quarter, rel=0.01)
    assert waiting.received(waiting.end_seconds) == pytest.approx(MEBIBYTE)
    assert waiting.received(9.0) == MEBIBYTE


def test_whoever_sits_on_the_first_byte_is_late_with_all() -> None:
    link = Link(0.05, 10**8, 0.0)
    course = link.course([MEBIBYTE])
    prompt, late = (link.stream(MEBIBYTE, course, chance(), late_seconds=seconds) for seconds in (0.0, 10.0))
    assert late.end_seconds == pytest.approx(10 + prompt.end_seconds)


def test_lost_packets_make_some_handshakes_wait_and_as_many_as_they_should() -> None:
    link, rng = Link(0.05, 10**8, 0.01), chance()
    waits = [link.hello_seconds(rng) - 0.1 for _ in range(20_000)]
    assert fmean(wait > 1e-9 for wait in waits) == pytest.approx(1 - 0.99**6, abs=0.006)
    assert fmean(wait > 0.99 * SYN_SECONDS for wait in waits) == pytest.approx(1 - 0.99**2, abs=0.004)
    assert min(wait for wait in waits if wait > 1e-9) == pytest.approx(RETRANSMISSION_SECONDS)
    assert max(waits) > 2.9 * SYN_SECONDS  # the second wait is twice as long


def test_loss_never_makes_a_read_quicker_and_waits_as_often_as_it_should() -> None:
    clean, lossy, rng = Link(0.05, 10**8, 0.0), Link(0.05, 10**8, 0.05), chance()
    best = clean.exchange_seconds(MEBIBYTE, rng)
    assert min(lossy.exchange_seconds(MEBIBYTE, rng) for _ in range(500)) >= best
    waits = [stream.waits for _ in range(2_000) for stream in streams_of(Link(0.05, 10**8, 0.01), [4 * MEBIBYTE], rng)]
    assert fmean(map(len, waits)) == pytest.approx(4 * MEBIBYTE / 1_460 * 0.01**2 + 0.03, rel=0.1)
    assert all(seconds >= RETRANSMISSION_SECONDS for each in waits for _, seconds in each)
