"""A measurement: named cases run in turns, so that whatever disturbs the machine disturbs all of them.

Every round runs each case once, and each round begins with another one. A sample is as many runs as take
``sample_seconds_min``, divided by their number. What is told of a case is the median of its rounds and their middle
half; a ratio of two cases is the median of the ratios within the rounds, because neighbours in time share their
disturbances. The clock is an argument, in seconds (``time.perf_counter``), so tests measure without waiting.

Invariants: before anything is timed every case runs once, in the order given (cases may be the stages of a
pipeline), and what it did is checked: nothing that computes wrong bytes gets a figure. All cases of a measurement
have the same number of rounds; where they are slow it is smaller than was asked for, and is told.

Example::

    tree, hashed = measure([Case("tree", ...), Case("BLAKE3", ...)], Pace(), timer=perf_counter)
    speed_ratio(tree, hashed).median     # 0.9: nine tenths of the bytes per second
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from hippy.errors import IntegrityError

Timer = Callable[[], float]
"""Returns seconds since some moment; never less than before."""

RoundTeller = Callable[[int, int], None]
"""Is told which round begins, from 1, and how many there will be."""

ROUNDS: Final = 7
ROUNDS_MIN: Final = 3
"""However slow the cases are: below this there is no middle."""

SAMPLE_SECONDS_MIN: Final = 0.02
"""Long against the clock's resolution, a context switch and the interpreter's own work around a call."""

SECONDS_MAX: Final = 6.0
"""What the rounds of one measurement may take together, where that leaves ROUNDS_MIN of them."""

FIRST_RUN_FACTOR: Final = 5
"""A first run makes tables and touches memory; one of this many samples' length is long enough all the same."""

REPEATS_MAX: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Case:
    """Something to be timed. ``user_bytes`` is how much of a user's data one run is about.

    ``is_right`` looks at what the first run returned, or left behind.
    """

    name: str
    run: Callable[[], object]
    user_bytes: int
    is_right: Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class Pace:
    """How long to measure. ``seconds_max`` None: all ``rounds``, whatever they take."""

    rounds: int = ROUNDS
    sample_seconds_min: float = SAMPLE_SECONDS_MIN
    seconds_max: float | None = SECONDS_MAX


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of the rounds, and where their middle half begins and ends."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of at least one value."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0])
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high)


@dataclass(frozen=True, slots=True)
class Measurement:
    """A case and the seconds that one run took, round by round."""

    name: str
    user_bytes: int
    repeats: int
    """Runs in one sample."""

    seconds: tuple[float, ...]

    @property
    def spread(self) -> Spread:
        """Seconds of one run."""
        return Spread.of(self.seconds)

    @property
    def speeds(self) -> tuple[float, ...]:
        """Bytes of user data per second, round by round."""
        return tuple(self.user_bytes / seconds for seconds in self.seconds)


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Spread:
    """Return the spread of the ratios within rounds; both have one value per round."""
    return Spread.of([above / below for above, below in zip(numerators, denominators, strict=True)])


def speed_ratio(case: Measurement, other: Measurement) -> Spread:
    """Return how many times ``other``'s bytes per second ``case`` has."""
    return ratio(case.speeds, other.speeds)


def measure(
    cases: Sequence[Case], pace: Pace, *, timer: Timer, telling: RoundTeller | None = None
) -> tuple[Measurement, ...]:
    """Run the cases in turns and return their measurements, in the order of the cases.

    Raises IntegrityError, before anything is timed, when a case computes something wrong.
    """
    first_seconds = [_check(case, timer) for case in cases]
    plans = [_plan(case, each, pace, timer) for case, each in zip(cases, first_seconds, strict=True)]
    rounds = _rounds(pace, sum(plan.sample_seconds for plan in plans))
    seconds: list[list[float]] = [[] for _ in cases]
    for number in range(rounds):
        if telling is not None:
            telling(number + 1, rounds)
        for turn in range(len(cases)):
            at = (number + turn) % len(cases)
            seconds[at].append(_sample(cases[at], plans[at].repeats, timer))
    return tuple(
        Measurement(case.name, case.user_bytes, plan.repeats, tuple(each))
        for case, plan, each in zip(cases, plans, seconds, strict=True)
    )


@dataclass(frozen=True, slots=True)
class _Plan:
    """How many runs make a sample of a case, and about how long they take together."""

    repeats: int
    sample_seconds: float


def _check(case: Case, timer: Timer) -> float:
    """Run a case for the first time and return how long that took."""
    started = timer()
    made = case.run()
    seconds = timer() - started
    if not case.is_right(made):
        raise IntegrityError(
            f"{case.name}: what it computes is wrong, so its speed means nothing",
            hint="hippy doctor; store nothing with this installation until that is understood",
        )
    return seconds


def _plan(case: Case, first_seconds: float, pace: Pace, timer: Timer) -> _Plan:
    """Find how many runs take ``sample_seconds_min``; one, where the first took so long that it needs no search."""
    if first_seconds >= FIRST_RUN_FACTOR * pace.sample_seconds_min:
        return _Plan(1, first_seconds)
    repeats = 1
    while True:
        seconds = _sample(case, repeats, timer) * repeats
        if seconds >= pace.sample_seconds_min or repeats >= REPEATS_MAX:
            return _Plan(repeats, seconds)
        needed = math.ceil(1.2 * repeats * pace.sample_seconds_min / seconds) if seconds > 0 else REPEATS_MAX
        repeats = min(max(needed, repeats + 1), 10 * repeats, REPEATS_MAX)


def _rounds(pace: Pace, round_seconds: float) -> int:
    if pace.seconds_max is None or round_seconds * pace.rounds <= pace.seconds_max:
        return pace.rounds
    return min(pace.rounds, max(ROUNDS_MIN, int(pace.seconds_max / round_seconds)))


def _sample(case: Case, repeats: int, timer: Timer) -> float:
    """Return the seconds of one run, the mean of ``repeats`` of them."""
    run = case.run
    started = timer()
    for _ in range(repeats):
        run()
    return (timer() - started) / repeats
