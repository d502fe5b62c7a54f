"""Times of exchanges: distance, pipe, lost packets."""

from __future__ import annotations

import random
from statistics import fmean

import pytest

from hippy.sim.network import FIRST_WINDOW_BYTES, RETRANSMISSION_SECONDS, SYN_SECONDS, Link

MEBIBYTE = 2**20


def chance() -> random.Random:
    return random.Random(5)


def test_without_loss_a_handshake_takes_two_round_trips() -> None:
    assert Link(0.05, 10**8, 0.0).hello_seconds(chance()) == pytest.approx(0.1)


def test_a_read_takes_at_least_what_its_pipe_takes_and_a_shared_pipe_longer() -> None:
    link = Link(0.001, 80_000_000, 0.0)
    _, alone = link.read_seconds(4 * MEBIBYTE, 1, chance())
    _, shared = link.read_seconds(4 * MEBIBYTE, 4, chance())
    assert alone == pytest.approx(4 * MEBIBYTE / 10_000_000, rel=0.1)
    assert shared == pytest.approx(4 * alone, rel=0.1)


def test_a_stream_over_a_long_way_doubles_each_round_trip() -> None:
    link = Link(0.1, 10**12, 0.0)
    handshake, near = link.read_seconds(FIRST_WINDOW_BYTES, 1, chance())
    _, far = link.read_seconds(FIRST_WINDOW_BYTES * 127, 1, chance())
    assert near - handshake == pytest.approx(0.1)
    assert far - handshake == pytest.approx(0.7)


def test_lost_packets_make_some_handshakes_wait_and_as_many_as_they_should() -> None:
    link, rng = Link(0.05, 10**8, 0.01), chance()
    waits = [link.hello_seconds(rng) - 0.1 for _ in range(20_000)]
    assert fmean(wait > 1e-9 for wait in waits) == pytest.approx(1 - 0.99**6, abs=0.006)
    assert fmean(wait > 0.99 * SYN_SECONDS for wait in waits) == pytest.approx(1 - 0.99**2, abs=0.004)
    assert min(wait for wait in waits if wait > 1e-9) == pytest.approx(RETRANSMISSION_SECONDS)
    assert max(waits) > 2.9 * SYN_SECONDS  # the second wait is twice as long


def test_loss_never_makes_a_read_quicker() -> None:
    clean, lossy, rng = Link(0.05, 10**8, 0.0), Link(0.05, 10**8, 0.05), chance()
    _, best = clean.read_seconds(MEBIBYTE, 1, rng)
    assert min(lossy.read_seconds(MEBIBYTE, 1, rng)[1] for _ in range(500)) >= best
