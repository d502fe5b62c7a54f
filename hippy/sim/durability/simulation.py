"""A network that loses miners and repairs what they held, in virtual time, from a seed.

Owns the events: miners leave, fall silent and come back, are noticed, are replaced; the queue's first segment is
rebuilt with the whole network's repair bandwidth, then the next. Once a day everything is counted.

Invariants: the same settings give the same run. What the validator acts on is only what it can know: a piece whose
miner left counts until ``detection_hours`` have passed.

Example::

    run = simulate(Settings(segments=2_000, days=90))
    run.lost, run.healthy_min, run.traffic_bytes
"""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import count
from typing import Final

from hippy.sim.durability.drawing import Drawer
from hippy.sim.durability.pieces import Pieces
from hippy.sim.durability.population import Population, make_population
from hippy.sim.durability.queue import Queue
from hippy.sim.durability.settings import Settings


class Event(IntEnum):
    """What happens; the number breaks ties."""

    DAY = 0
    LEAVE = 1
    FALL_SILENT = 2
    ANSWER = 3
    LAPSE = 4
    NOTICE = 5
    REBUILT = 6
    VANISH = 7


ANY_LIFE: Final = -1
"""Of events that happen whatever became of a miner."""


@dataclass(slots=True)
class Run:
    """What a run showed. Lists have an entry for every day; ``health[day][h]`` segments have h healthy pieces."""

    settings: Settings
    population: Population
    segments_lost: int = 0
    lost_at_vanishing: int = 0
    healthy_min: int = 0
    departures: int = 0
    pieces_rebuilt: int = 0
    repairs: int = 0
    health: list[list[int]] = field(default_factory=list)
    queued: list[int] = field(default_factory=list)
    backlog_bytes: list[float] = field(default_factory=list)
    rebuilt_bytes: list[float] = field(default_factory=list)

    @property
    def traffic_bytes(self) -> float:
        """Bytes that repair sent to new miners, for everything that the segments stand for."""
        return self.pieces_rebuilt * self.settings.rebuild_bytes


def simulate(settings: Settings, tell: Callable[[int, int], None] = lambda _done, _days: None) -> Run:
    """Run a simulation; ``tell`` hears after each day how many of how many are done.

    Raises UsageError for a network too small for its code.
    """
    return _Simulation(settings, tell).run()


class _Simulation:
    def __init__(self, settings: Settings, tell: Callable[[int, int], None]) -> None:
        self._settings = settings
        self._tell = tell
        self._rng = random.Random(f"{settings.seed} durability")  # noqa: S311 - a replayable run, no secret
        profile = settings.profile
        population = make_population(settings, self._rng)
        self._run = Run(settings, population)
        self._pieces = Pieces(settings.segments, profile.k, profile.n, settings.miners)
        self._queue = Queue(self._pieces, profile.repair_threshold, settings.churn.per_hour)
        self._gone = [False] * settings.miners
        self._lives = [0] * settings.miners
        """Grows whenever a miner's future is a new one: what was planned for an earlier life does not happen."""
        self._drawer = Drawer(population, self._pieces.answers, self._rng)
        self._events: list[tuple[float, int, Event, int, int]] = []
        self._numbers = count()
        self._rebuilding: list[int] = []
        self._vanished: frozenset[int] = frozenset()

    def run(self) -> Run:
        self._begin()
        handlers: dict[Event, Callable[[float, int], None]] = {
            Event.DAY: self._on_day,
            Event.LEAVE: self._on_leave,
            Event.FALL_SILENT: self._on_silence,
            Event.ANSWER: self._on_answer,
            Event.LAPSE: self._on_lapse,
            Event.NOTICE: self._on_notice,
            Event.REBUILT: self._on_rebuilt,
            Event.VANISH: self._on_vanish,
        }
        while self._events:
            now, _, event, subject, life = heapq.heappop(self._events)
            if life == ANY_LIFE or self._lives[subject] == life:
                handlers[event](now, subject)
        self._run.segments_lost = self._pieces.lost_count
        self._run.healthy_min = self._pieces.healthy_min
        return self._run

    def _begin(self) -> None:
        n = self._settings.profile.n
        for segment in range(self._settings.segments):
            for slot, miner in enumerate(self._drawer.draw(n, ()), segment * n):
                self._pieces.put(slot, miner)
        for day in range(self._settings.days + 1):
            self._plan(24.0 * day, Event.DAY, day)
        self._plan(self._settings.vanish_hour, Event.VANISH, 0)
        for miner in range(self._settings.miners):
            self._plan_outage(0.0, miner)

    def _plan(self, hour: float, event: Event, subject: int, life: int = ANY_LIFE) -> None:
        if hour <= self._settings.hours:
            heapq.heappush(self._events, (hour, next(self._numbers), event, subject, life))

    def _plan_outage(self, now: float, miner: int) -> None:
        per_hour = self._settings.outages_per_month / (30 * 24)
        if per_hour:
            self._plan(now + self._rng.expovariate(per_hour), Event.FALL_SILENT, miner, self._lives[miner])

    def _on_day(self, now: float, day: int) -> None:
        """Count everything, and draw who leaves today."""
        self._note()
        if day < self._settings.days:
            chance = self._rng.choice(self._settings.churn.days)
            for miner, life in enumerate(self._lives):
                if not self._gone[miner] and self._rng.random() < chance:
                    self._plan(now + 24 * self._rng.random(), Event.LEAVE, miner, life)
        self._tell(day, self._settings.days)

    def _note(self) -> None:
        run, profile = self._run, self._settings.profile
        found = Counter(self._pieces.healthy)
        run.health.append([found[healthy] for healthy in range(profile.n + 1)])
        run.queued.append(len(self._queue))
        missing = sum(profile.n - self._pieces.counted[segment] for segment in self._queue) + len(self._rebuilding)
        run.backlog_bytes.append(missing * self._settings.rebuild_bytes)
        run.rebuilt_bytes.append(run.traffic_bytes)

    def _on_leave(self, now: float, miner: int) -> None:
        self._run.departures += 1
        self._go(now, miner)

    def _on_vanish(self, now: float, _subject: int) -> None:
        before = self._pieces.lost_count
        self._vanished = self._run.population.vanishing
        for miner in sorted(self._vanished):
            if not self._gone[miner]:
                self._go(now, miner)
        self._run.lost_at_vanishing = self._pieces.lost_count - before

    def _go(self, now: float, miner: int) -> None:
        """Let a miner leave with all it holds, which nobody notices at once."""
        self._gone[miner] = True
        self._lives[miner] += 1
        self._hear(miner, answers=False)
        self._pieces.destroy(miner)
        self._plan(now + self._settings.detection_hours, Event.NOTICE, miner, self._lives[miner])

    def _on_notice(self, now: float, miner: int) -> None:
        """Count a departed miner's pieces as lost; unless it vanished, a newcomer of its size takes its place."""
        self._notice(miner)
        if miner not in self._vanished:
            self._gone[miner] = False
            self._come(now, miner)
        self._rebuild(now)

    def _on_lapse(self, now: float, miner: int) -> None:
        """Count a miner's pieces as lost that was away for too long; it begins anew, with nothing."""
        self._pieces.destroy(miner)
        self._notice(miner)
        self._lives[miner] += 1
        self._come(now, miner)
        self._rebuild(now)

    def _come(self, now: float, miner: int) -> None:
        self._hear(miner, answers=True)
        self._plan_outage(now, miner)

    def _on_silence(self, now: float, miner: int) -> None:
        self._hear(miner, answers=False)
        hours = self._rng.expovariate(1 / self._settings.outage_hours)
        if hours < self._settings.detection_hours:
            self._plan(now + hours, Event.ANSWER, miner, self._lives[miner])
        else:
            self._plan(now + self._settings.detection_hours, Event.LAPSE, miner, self._lives[miner])

    def _on_answer(self, now: float, miner: int) -> None:
        self._come(now, miner)
        self._rebuild(now)  # it may be the k-th that a rebuilding needs

    def _hear(self, miner: int, *, answers: bool) -> None:
        """Note that a miner answers or does not: its queued segments change places."""
        if self._pieces.answers[miner] != answers:
            self._pieces.answers[miner] = answers
            for segment in self._queue.of_miner(miner):
                self._queue.look_at(segment)

    def _notice(self, miner: int) -> None:
        """Count a miner's pieces as lost, and queue what fell to the threshold by that."""
        counted, threshold = self._pieces.counted, self._settings.profile.repair_threshold
        for segment in self._pieces.notice(miner):
            if counted[segment] <= threshold:
                self._queue.look_at(segment)

    def _rebuild(self, now: float) -> None:
        """Begin with the next segment, if none is being rebuilt."""
        if self._rebuilding:
            return
        segment = self._queue.pop()
        if segment is not None:
            self._rebuilding = self._pieces.missing(segment)
            self._plan(now + len(self._rebuilding) * self._settings.rebuild_hours, Event.REBUILT, segment)

    def _on_rebuilt(self, now: float, segment: int) -> None:
        slots, self._rebuilding = self._rebuilding, []
        if not self._pieces.lost[segment]:
            miners = self._drawer.draw(len(slots), self._pieces.holders(segment))
            for slot, miner in zip(slots, miners, strict=False):
                self._pieces.put(slot, miner)
            self._run.pieces_rebuilt += len(miners)
            self._run.repairs += 1
            self._queue.look_at(segment)  # what else was noticed meanwhile may be too much again
        self._rebuild(now)
