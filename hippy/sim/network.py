"""How long exchanges take, given a distance, a pipe and lost packets; and when how much of several streams has come.

A lost SYN waits a second and each further one twice as long. Elsewhere a lost packet is sent once more at no loss of
time (selective acknowledgement finds it while others are under way), but for the last ones of a stream and those
that are lost again: these wait 0.2 s, then twice as long (RFC 6298's minimum as Linux has it). A stream starts with
ten packets and doubles each round trip until it has its part of the pipe. Streams that begin together part it evenly
among those that are not through; what one leaves unused while it waits for a packet goes to nobody. Congestion control
that takes every loss for a jam is not modelled: at 1 % of loss it would not fill any pipe.

Example::

    link = Link(round_trip_seconds=0.05, bps=200_000_000, loss=0.01)
    course = link.course([4 * 2**20, 2**20])
    streams = [link.stream(length, course, rng) for length in (4 * 2**20, 2**20)]
    half_seconds(streams), max(stream.end_seconds for stream in streams)
"""

from __future__ import annotations

import math
import random
from bisect import bisect_left
from collections.abc import Sequence
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
HALVINGS: Final = 20
"""Of the interval in which half of the bytes came: to a millionth of it."""


class Course:
    """How streams that begin together come along, if none of them has to wait.

    All have received as much as the furthest until they are through, so one course tells of all.
    """

    def __init__(self, lengths: Sequence[int], round_trip_seconds: float, bytes_per_second: float) -> None:
        """``lengths`` are the streams', in bytes, ascending."""
        self.end_seconds: dict[int, float] = {}
        """Length → when streams of this length are through."""

        self._seconds = [0.0]
        self._received = [0.0]
        window, round_end = float(FIRST_WINDOW_BYTES), round_trip_seconds
        now = received = 0.0
        for place, length in enumerate(lengths):
            part = bytes_per_second / (len(lengths) - place)
            while received < length:
                if window >= bytes_per_second * round_trip_seconds:
                    round_end = math.inf  # it starts slowly no more
                rate = part if round_end == math.inf else min(part, window / round_trip_seconds)
                step = min((length - received) / rate, round_end - now)
                if step == round_end - now:
                    now, received = round_end, received + rate * step
                    window, round_end = 2 * window, round_end + round_trip_seconds
                else:
                    now, received = now + step, float(length)
                self._seconds.append(now)
                self._received.append(received)
            self.end_seconds[length] = now
        self.half_seconds = {length: self.seconds(length / 2) for length in self.end_seconds}
        """Length → when half of a stream of this length has come."""

    def seconds(self, count: float) -> float:
        """Return when a stream, unless it is shorter, has received so many bytes."""
        return _between(self._received, self._seconds, count)

    def received(self, seconds: float) -> float:
        """Return how many bytes a stream, unless it is shorter, has received by then."""
        return _between(self._seconds, self._received, seconds)


class Stream:
    """One stream as it was: its course, when it began, and where it had to wait how long."""

    __slots__ = ("_course", "begin_seconds", "end_seconds", "length", "waits")

    def __init__(self, length: int, course: Course, begin_seconds: float, waits: list[tuple[float, float]]) -> None:
        """``waits`` are (bytes received before, seconds), ascending."""
        self.length = length
        self.begin_seconds = begin_seconds
        self.waits = waits
        self._course = course
        self.end_seconds = begin_seconds + course.end_seconds[length]
        if waits:
            self.end_seconds += sum([seconds for _, seconds in waits])

    def half_seconds(self) -> float:
        """Return when half of it has come."""
        waited = sum([seconds for before, seconds in self.waits if 2 * before <= self.length])
        return self.begin_seconds + self._course.half_seconds[self.length] + waited

    def received(self, seconds: float) -> float:
        """Return how many bytes it has received by then."""
        left = seconds - self.begin_seconds
        for before, wait in self.waits:
            if left < self._course.seconds(before):
                break
            left = max(self._course.seconds(before), left - wait)
        return min(self.length, self._course.received(left)) if left > 0 else 0.0


def half_seconds(streams: Sequence[Stream]) -> float:
    """Return when half of the bytes of all streams together have come."""
    if len(streams) == 1:
        return streams[0].half_seconds()
    half = sum([stream.length for stream in streams]) / 2
    early, late = 0.0, max(stream.end_seconds for stream in streams)
    for _ in range(HALVINGS):
        middle = (early + late) / 2
        if sum([stream.received(middle) for stream in streams]) < half:
            early = middle
        else:
            late = middle
    return late


class Link:
    """One miner seen from the validator. ``bps`` is its pipe's, which others may share; ``loss`` is per packet.

    Most handshakes lose nothing. So chance is asked first whether anything is lost, and only then what.
    """

    def __init__(self, round_trip_seconds: float, bps: int, loss: float) -> None:
        self.round_trip_seconds = round_trip_seconds
        self._bytes_per_second = bps / 8 * (1 - loss)
        self._loss = loss
        self._syn_lost = 1 - (1 - loss) ** 2
        self._small_lost = 1 - (1 - loss) ** SMALL_EXCHANGE_PACKETS
        self._smooth = (1 - self._syn_lost) * (1 - self._small_lost)
        self._courses: dict[tuple[int, ...], Course] = {}

    def hello_seconds(self, rng: random.Random) -> float:
        """Return the time to connect, ask something small and have the answer."""
        hello = 2 * self.round_trip_seconds
        return hello if rng.random() < self._smooth else hello + self._hello_waits(rng)

    def course(self, lengths: Sequence[int]) -> Course:
        """Return the course of streams of so many bytes that begin together and have the pipe for themselves."""
        key = tuple(sorted(lengths))
        known = self._courses.get(key)
        if known is None:
            known = self._courses[key] = Course(key, self.round_trip_seconds, self._bytes_per_second)
        return known

    def stream(self, length: int, course: Course, rng: random.Random, *, late_seconds: float = 0.0) -> Stream:
        """Connect, ask for so many bytes and return how they come; the sender waits ``late_seconds`` before."""
        within, tail = length / PACKET_BYTES * self._loss**2, TAIL_PACKETS * self._loss
        none_more = math.exp(-within - tail)
        waits: list[tuple[float, float]] = []
        left = rng.random()
        while left > none_more:  # as many as a Poisson process has (Knuth)
            left *= rng.random()
            before = length * min(1.0, rng.random() * (within + tail) / within)
            waits.append((before, RETRANSMISSION_SECONDS + _waits(2 * RETRANSMISSION_SECONDS, self._loss, rng)))
        waits.sort()
        return Stream(length, course, self.hello_seconds(rng) + late_seconds, waits)

    def exchange_seconds(self, length: int, rng: random.Random) -> float:
        """Return the time to connect, ask for so many bytes and have the last of them."""
        return self.stream(length, self.course((length,)), rng).end_seconds

    def _hello_waits(self, rng: random.Random) -> float:
        """Return the waits of a handshake that has some: its SYN was lost, or only what came after it."""
        if rng.random() * (1 - self._smooth) >= self._syn_lost:
            return RETRANSMISSION_SECONDS + _waits(2 * RETRANSMISSION_SECONDS, self._small_lost, rng)
        later = _waits(RETRANSMISSION_SECONDS, self._small_lost, rng)
        return SYN_SECONDS + _waits(2 * SYN_SECONDS, self._syn_lost, rng) + later


def _between(known: Sequence[float], wanted: Sequence[float], at: float) -> float:
    """Return the value between those of the neighbours of ``at``; behind the last there is none but the last's."""
    place = bisect_left(known, at)
    if place == 0:
        return wanted[0]
    if place == len(known):
        return wanted[-1]
    share = (at - known[place - 1]) / (known[place] - known[place - 1])
    return wanted[place - 1] + share * (wanted[place] - wanted[place - 1])


def _waits(first_seconds: float, lost: float, rng: random.Random) -> float:
    """Return the waits of one packet after another until one arrives, each twice as long as the one before."""
    waited, wait = 0.0, first_seconds
    for _ in range(DOUBLINGS_MAX):
        if rng.random() >= lost:
            break
        waited += wait
        wait *= 2
    return waited
