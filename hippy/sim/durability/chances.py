"""Probabilities of rare events, exact to some twelve digits however small: sums of positive terms, nothing subtracted.

Plain floats serve: a probability of 1e-30 is no smaller to them than one of 1e-3, as long as it is summed from its own
terms and not taken from 1. Below 1e-300 a result is 0 and has infinitely many nines.

Example::

    nines(binomial_tail(20, 0.00405 / 365 * 6.5, 4) * 365 / 6.5)     # 11.1
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Final

from hippy.errors import UsageError

RULE_OF_THREE: Final = 3.0
"""Where nothing happened, the mean number of events is below 3 with 95 % confidence: -ln 0.05 = 2.996."""


def binomial_tail(trials: int, chance: float, at_least: int) -> float:
    """Return the probability that ``at_least`` or more of ``trials`` independent events happen.

    Raises UsageError unless 0 <= chance <= 1.
    """
    _check_chance(chance)
    if at_least <= 0:
        return 1.0
    if chance == 1:
        return 1.0 if trials >= at_least else 0.0
    stays = math.log1p(-chance)
    terms = (
        math.comb(trials, count) * chance**count * math.exp((trials - count) * stays)
        for count in range(at_least, trials + 1)
    )
    return min(1.0, math.fsum(terms))


def poisson_tail(mean: float, above: int) -> float:
    """Return the probability that a Poisson variable of this mean is greater than ``above`` (-1 or more)."""
    assert above >= -1
    assert mean >= 0
    term = math.exp(-mean)
    for count in range(1, above + 2):
        term *= mean / count
    terms: list[float] = []
    count = above + 1
    while term > 0 and (not terms or count < mean or term > terms[0] * 1e-18):
        terms.append(term)
        count += 1
        term *= mean / count
    return min(1.0, math.fsum(terms))


def poisson_head(mean: float, up_to: int) -> float:
    """Return the probability that a Poisson variable of this mean is ``up_to`` or less."""
    term = math.exp(-mean)
    terms = [term]
    for count in range(1, up_to + 1):
        term *= mean / count
        terms.append(term)
    return min(1.0, math.fsum(terms))


def kept_percent(loss: float) -> Decimal:
    """Return what is kept in percent, 100 (1 - loss), with the digits that a float near 1 has no room for."""
    return 100 * (1 - Decimal(loss))


def nines(loss: float) -> float:
    """Return how many nines a probability of loss leaves: 0.001 leaves three; infinitely many where it is 0."""
    return math.inf if loss <= 0 else max(0.0, -math.log10(loss))


def chance_within(hours: float, mean_hours: float) -> float:
    """Return the probability that what takes ``mean_hours`` on average, without memory, happens within ``hours``."""
    return -math.expm1(-hours / mean_hours)


def event_interval(events: int) -> tuple[float, float]:
    """Return the 95 % confidence interval of the mean of a Poisson variable that came out as ``events``.

    Exact (Garwood's), by bisection; where nothing happened it is one-sided: the rule of three.
    """
    if events == 0:
        return 0.0, RULE_OF_THREE
    low = _bisect(lambda mean: poisson_tail(mean, events - 1) < 0.025, 0.0, float(events))
    high = _bisect(lambda mean: poisson_head(mean, events) > 0.025, float(events), 2.0 * events + 20)
    return low, high


def _bisect(is_below: Callable[[float], bool], low: float, high: float) -> float:
    """Return where ``is_below`` turns from true to false between two numbers."""
    for _ in range(100):
        middle = (low + high) / 2
        if is_below(middle):
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _check_chance(chance: float) -> None:
    if not 0 <= chance <= 1:
        raise UsageError(f"{chance} is no probability: it takes 0 to 1")
