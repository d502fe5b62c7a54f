"""Scores spelled out with exact fractions (PROTOCOL §6): slow, for reading.

Knows nothing of hippy. ``exact_*`` is what the formulas mean, without any rounding; :func:`score` rounds down where
the protocol divides, and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import floor

MILLION = 1_000_000


@dataclass(frozen=True)
class Miner:
    """All that a score rests on; alpha and beta in leaves, after the epoch."""

    paid_bytes: int = 0
    unpaid_bytes: int = 0
    slow: tuple[Fraction, Fraction] = (Fraction(1), Fraction(0))
    fast: tuple[Fraction, Fraction] = (Fraction(1), Fraction(0))
    live_ok: int = 0
    live_total: int = 0
    reads_ok: int = 0
    reads_total: int = 0
    read_bytes: int = 0
    read_microseconds: int = 0
    age_epochs: int = 0


@dataclass(frozen=True)
class Scored:
    """The factors and the weight: fractions of 1 and of a byte, or ppm and whole bytes."""

    proof: Fraction
    uptime: Fraction
    reads: Fraction
    speed: Fraction
    age: Fraction
    weight: Fraction


def clip(value: Fraction, top: int = 1) -> Fraction:
    return min(max(value, Fraction(0)), Fraction(top))


def exact_memory(before: tuple[Fraction, Fraction], kept: Fraction, ok: int, bad: int) -> tuple[Fraction, Fraction]:
    """Return alpha and beta, in leaves, after an epoch."""
    alpha, beta = before
    return (alpha * kept + ok, beta * kept + bad) if ok + bad else before


def exact_score(miner: Miner) -> Scored:
    shown = min(alpha / (alpha + beta) for alpha, beta in (miner.slow, miner.fast))
    proof = clip((shown - Fraction(95, 100)) * 20) ** 2
    uptime = clip((Fraction(miner.live_ok + 240, miner.live_total + 240) - Fraction(9, 10)) * 1000 / 85)
    reads = clip((Fraction(miner.reads_ok + 160, miner.reads_total + 160) - Fraction(9, 10)) * 100 / 9)
    counted = miner.paid_bytes + Fraction(miner.unpaid_bytes, 10)
    required = min(max(10 * MILLION * counted / 10**12, Fraction(25 * MILLION)), Fraction(1000 * MILLION))
    speed = Fraction(1)
    if miner.read_microseconds:
        speed = clip(Fraction(8 * miner.read_bytes * MILLION, miner.read_microseconds) / required)
    age = Fraction(3, 10) + Fraction(7, 10) * min(miner.age_epochs, 280) / 280
    return Scored(proof, uptime, reads, speed, age, counted * proof * uptime * reads * speed * age)


def down(value: Fraction) -> Fraction:
    return Fraction(floor(value))


def memory(before: tuple[int, int], percent: int, ok: int, bad: int) -> tuple[int, int]:
    """Return alpha and beta, in millionths of a leaf, after an epoch."""
    if ok + bad == 0:
        return before
    alpha, beta = before
    return floor(Fraction(alpha * percent, 100)) + MILLION * ok, floor(Fraction(beta * percent, 100)) + MILLION * bad


def score(miner: Miner) -> Scored:
    shown = min(down(MILLION * alpha / (alpha + beta)) for alpha, beta in (miner.slow, miner.fast))
    proof = down(clip((shown - 950_000) * 20, MILLION) ** 2 / MILLION)
    u = down(Fraction(MILLION * (miner.live_ok + 240), miner.live_total + 240))
    uptime = clip(down((u - 900_000) * 1000 / 85), MILLION)
    rho = down(Fraction(MILLION * (miner.reads_ok + 160), miner.reads_total + 160))
    reads = clip(down((rho - 900_000) * 100 / 9), MILLION)
    weight = miner.paid_bytes + down(Fraction(miner.unpaid_bytes, 10))
    required = min(max(down(10 * MILLION * weight / 10**12), Fraction(25 * MILLION)), Fraction(1000 * MILLION))
    speed = Fraction(MILLION)
    if miner.read_microseconds:
        throughput = down(Fraction(8 * miner.read_bytes * MILLION, miner.read_microseconds))
        speed = clip(down(MILLION * throughput / required), MILLION)
    age = 300_000 + down(Fraction(700_000 * min(miner.age_epochs, 280), 280))
    for factor in (proof, uptime, reads, speed, age):
        weight = down(weight * factor / MILLION)
    return Scored(proof, uptime, reads, speed, age, weight)
