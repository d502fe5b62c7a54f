"""Time to loss of one segment under the real policy, as a continuous-time Markov chain.

A state is (healthy, unseen): pieces that exist, and pieces that are gone but still counted because nobody noticed yet.

- Each healthy piece is lost at the rate that miners leave: (healthy, unseen) → (healthy - 1, unseen + 1).
- Each unseen loss is noticed after ``detection_hours`` on average: → (healthy, unseen - 1).
- Where healthy + unseen, what the validator counts, is at most r, a repair is under way. After ``repair_hours`` on
  average it brings back everything that is known to be lost: → (n - unseen, unseen).
- Fewer than k healthy pieces: lost. The chain ends there.

Waits are exponential, pieces independent. Only sums of positive terms are formed (the elimination is Grassmann,
Taksar and Heyman's, without subtractions), so that floats keep twelve digits of a loss of 1e-30; exact fractions give
the same (tests/sim/durability/test_chain.py). numpy and scipy would be faster and no better: their solvers subtract.

Between repairs nothing is gained, so a segment's life is a row of visits to full states: n - u healthy, u unseen.
What happens between two of them is summed in one pass, and the n - k + 1 full states are eliminated one by one.

Example::

    fate = fate_of(STANDARD, Rates(1 / 300 / 24, detection_hours=24, repair_hours=24))
    fate.mean_hours, fate.annual_loss
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from hippy.erasure.geometry import Profile
from hippy.errors import UsageError
from hippy.sim.durability.chances import binomial_tail, chance_within, nines

YEAR_HOURS: Final = 8_760.0
"""Hours of a year of 365 days."""

FATES_KEPT: Final = 256


@dataclass(frozen=True, slots=True)
class Rates:
    """What a segment is exposed to. ``departures_per_hour`` is the rate at which one miner leaves for good.

    Raises UsageError for negative figures, or repairs that take no time at all.
    """

    departures_per_hour: float
    detection_hours: float
    repair_hours: float

    def __post_init__(self) -> None:
        if not (0 <= self.departures_per_hour < math.inf and 0 <= self.detection_hours < math.inf):
            raise UsageError("miners leave and are noticed at rates of 0 or more")
        if not 0 < self.repair_hours < math.inf:
            raise UsageError("a repair takes more than no time")


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of a segment. ``healthy[h]`` is the share of its life that it spends with h healthy pieces."""

    profile: Profile
    mean_hours: float
    healthy: tuple[float, ...]

    @property
    def annual_loss(self) -> float:
        """Probability of loss within a year; losses come without memory, for lives are long against repairs."""
        return chance_within(YEAR_HOURS, self.mean_hours)

    @property
    def nines(self) -> float:
        """Nines of a year."""
        return nines(self.annual_loss)

    def lost_with_share(self, share: float) -> float:
        """Return the probability that a segment is lost when this share of its miners vanishes at one moment.

        Every piece is taken to lie with them with that probability, independently: one operator behind many coldkeys
        and addresses, whom placement takes for many. An operator that is known holds one piece of a segment at most.
        """
        k = self.profile.k
        return math.fsum(
            part * binomial_tail(count, share, count - k + 1) for count, part in enumerate(self.healthy) if count >= k
        )


@lru_cache(maxsize=FATES_KEPT)
def fate_of(profile: Profile, rates: Rates) -> Fate:
    """Return the mean time to loss of a segment that begins with n healthy pieces, and how it lives until then."""
    n = profile.n
    if rates.departures_per_hour == 0:
        return Fate(profile, math.inf, (*(0.0 for _ in range(n)), 1.0))
    full_states = n - profile.k + 1 if rates.detection_hours else 1
    lives = [_between_repairs(profile, rates, unseen) for unseen in range(full_states)]
    mean_hours, weights = _eliminate(
        [life.to_full for life in lives], [life.to_loss for life in lives], [math.fsum(life.hours) for life in lives]
    )
    spent = [math.fsum(w * life.hours[h] for w, life in zip(weights, lives, strict=True)) for h in range(n + 1)]
    total = math.fsum(spent)
    return Fate(profile, mean_hours, tuple(each / total for each in spent))


@dataclass(frozen=True, slots=True)
class _Life:
    """From one full state until the next one or the loss: hours with h healthy pieces, and how it ends."""

    hours: list[float]
    to_full: list[float]
    to_loss: float


def _between_repairs(profile: Profile, rates: Rates, unseen_first: int) -> _Life:
    """Follow a segment that was just repaired while ``unseen_first`` losses were unseen."""
    k, n = profile.k, profile.n
    leave = rates.departures_per_hour
    notice = 1 / rates.detection_hours if rates.detection_hours else 0.0
    hours = [0.0] * (n + 1)
    to_full = [0.0] * (n - k + 1)
    lost: list[float] = []
    reached = [[0.0] * (n + 1) for _ in range(n + 1)]  # [counted][healthy]: the probability of ever being there
    reached[n][n - unseen_first] = 1.0
    for counted in range(n, k - 1, -1):
        repair = 1 / rates.repair_hours if counted <= profile.repair_threshold and counted < n else 0.0
        here = reached[counted]
        for healthy in range(counted, k - 1, -1):
            if here[healthy] == 0:
                continue
            unseen = counted - healthy
            stay = here[healthy] / (healthy * leave + unseen * notice + repair)
            hours[healthy] += stay
            to_full[unseen] += stay * repair
            gone = stay * healthy * leave
            if healthy == k:
                lost.append(gone)
            elif notice:
                here[healthy - 1] += gone
            else:
                reached[counted - 1][healthy - 1] += gone
            if unseen:
                reached[counted - 1][healthy] += stay * unseen * notice
    return _Life(hours, to_full, math.fsum(lost))


def _eliminate(steps: list[list[float]], losses: list[float], means: list[float]) -> tuple[float, list[float]]:
    """Return the mean time to loss from state 0, and how often each state is visited against state 0.

    ``steps[i][j]`` is the probability of going from state i to j, ``losses[i]`` that of the loss, ``means[i]`` the time
    that takes. States are censored one by one, the last first; probabilities of leaving are summed, never 1 less those
    of staying.
    """
    count = len(steps)
    steps, losses, means = [row[:count] for row in steps], list(losses), list(means)
    leaving = [0.0] * count
    for last in range(count - 1, 0, -1):
        leaving[last] = losses[last] + math.fsum(steps[last][:last])
        for row in range(last):
            through = steps[row][last] / leaving[last]
            if through:
                losses[row] += through * losses[last]
                means[row] += through * means[last]
                for column in range(last):
                    steps[row][column] += through * steps[last][column]
    visits = [1.0]
    for state in range(1, count):
        visits.append(math.fsum(visits[i] * steps[i][state] for i in range(state)) / leaving[state])
    return means[0] / losses[0] if losses[0] else math.inf, visits
