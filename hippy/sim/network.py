"""How long an exchange takes, given a distance, a pipe and lost packets.

A lost SYN waits a second and each further one twice as long. Elsewhere a lost packet is sent once more at no loss of
time (selective acknowledgement finds it while others are under way), but for the last ones of a stream and those
that are lost again: these wait 0.2 s, then twice as long (RFC 6298's minimum as Linux has it). A stream starts with
ten packets and doubles each round trip until it fills its pipe. Congestion control that takes every loss for a jam
is not modelled: at 1 % of loss it would not fill any pipe.

Example::

    link = Link(round_trip_seconds=0.05, bps=200_000_000, loss=0.01)
    handshake, took = link.read_seconds(4 * 2**20, sharers=1, rng=rng)
"""

from __future__ import annotations

import math
import random
from typing import Final

PACKET_BYTES: Final = 1_460
"""What a packet of 1,500 bytes carries of TCP's payload."""

FIRST_WINDOW_BYTES: Final = 10 * PACKET_BYTES
"""RFC 6928."""

SYN_SECONDS: Final = 1.0
RETRANSMISSION_SECONDS: Final = 0.2
TAIL_PACKETS: Final = 3
"""Packets behind which too few follow for their loss to be noticed without a time-out."""

SMALL_EXCHANGE_PACKETS: Final = 4
"""A request, its answer and what acknowledges them."""

DOUBLINGS_MAX: Final = 6


class Link:
    """One miner seen from the validator. ``bps`` is its pipe's, which others may share; ``loss`` is per packet.

    Most handshakes lose nothing. So chance is asked first whether anything is lost, and only then what.
    """

    def __init__(self, round_trip_seconds: float, bps: int, loss: float) -> None:
        self.round_trip_seconds = round_trip_seconds
        self._bps = bps
        self._loss = loss
        self._syn_lost = 1 - (1 - loss) ** 2
        self._small_lost = 1 - (1 - loss) ** SMALL_EXCHANGE_PACKETS
        self._smooth = (1 - self._syn_lost) * (1 - self._small_lost)
        self._streams: dict[tuple[int, int], tuple[float, float]] = {}

    def hello_seconds(self, rng: random.Random) -> float:
        """Return the time to connect, ask something small and have the answer."""
        hello = 2 * self.round_trip_seconds
        return hello if rng.random() < self._smooth else hello + self._hello_waits(rng)

    def read_seconds(self, length: int, sharers: int, rng: random.Random) -> tuple[float, float]:
        """Return the times of a handshake, and to connect, ask for so many bytes and have the last of them.

        So many streams share the pipe.
        """
        known = self._streams.get((length, sharers))
        if known is None:
            known = self._streams[length, sharers] = self._smooth_stream(length, sharers)
        stream, no_stall = known
        while rng.random() >= no_stall:
            stream += RETRANSMISSION_SECONDS + _waits(2 * RETRANSMISSION_SECONDS, self._loss, rng)
        return self.hello_seconds(rng), self.hello_seconds(rng) + stream

    def _smooth_stream(self, length: int, sharers: int) -> tuple[float, float]:
        """Return a stream's time without stalls, and the probability that there is none, or no further one."""
        bps = self._bps / sharers * (1 - self._loss)
        ramp_bytes = min(length, bps * self.round_trip_seconds / 8)
        doublings = math.log2(1 + ramp_bytes / FIRST_WINDOW_BYTES)
        seconds = doublings * self.round_trip_seconds + (length - ramp_bytes) * 8 / bps
        return seconds, math.exp(-length / PACKET_BYTES * self._loss**2 - TAIL_PACKETS * self._loss)

    def _hello_waits(self, rng: random.Random) -> float:
        """Return the waits of a handshake that has some: its SYN was lost, or only what came after it."""
        if rng.random() * (1 - self._smooth) >= self._syn_lost:
            return RETRANSMISSION_SECONDS + _waits(2 * RETRANSMISSION_SECONDS, self._small_lost, rng)
        later = _waits(RETRANSMISSION_SECONDS, self._small_lost, rng)
        return SYN_SECONDS + _waits(2 * SYN_SECONDS, self._syn_lost, rng) + later


def _waits(first_seconds: float, lost: float, rng: random.Random) -> float:
    """Return the waits of one packet after another until one arrives, each twice as long as the one before."""
    waited, wait = 0.0, first_seconds
    for _ in range(DOUBLINGS_MAX):
        if rng.random() >= lost:
            break
        waited += wait
        wait *= 2
    return waited
