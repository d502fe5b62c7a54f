"""All batches of one validator: what to ask now, and what follows from what came back (PROTOCOL §5.5). Pure.

The engine knows no leaves: a driver (hippy.validator.auditing, or the simulation) draws the request of a batch with
hippy.proofs.challenge, sends it, judges the answer and tells the engine. What the engine says is an outcome for the
transcript; what that costs is the score's.

Invariants: a batch is asked by one driver at a time (between :meth:`AuditEngine.due` and its outcome it is not due
again); each batch is for itself, so an owed one delays no other; a batch that was never asked in its epoch is given
up when the next begins. Whatever was asked ends in PASS or FAIL, unless it could not be settled for 255 askings for
reasons of ours: then no number is left to ask it again, and it ends UNKNOWN.

Example::

    engine = AuditEngine(rules)
    engine.begin_epoch(schedule(...), miners)
    for asking in engine.due(now, newest_round):
        engine.answered(asking.key, passed=True, now=now)           # or
        engine.unanswered(asking.key, was_there=True, now=now)      # SILENT: due again after a pause
"""

from __future__ import annotations

import heapq
from bisect import insort
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile

from hippy.ids import PublicKey
from hippy.proofs.transcript_entry import Outcome
from hippy.validator.audit.batch import (
    ATTEMPT_MAX,
    OpenBatch,
    first_asking,
    next_asking,
    returned,
    unanswered,
    unasked,
)
from hippy.validator.audit.doubt import Doubt
from hippy.validator.audit.lag import AuditLag
from hippy.validator.audit.rules import AuditRules
from hippy.validator.audit.schedule import BatchKey, Scheduled


class AuditEngine:
    """The open batches of one validator, and those of the current epoch that were not asked yet."""

    def __init__(self, rules: AuditRules, *, owed: Iterable[OpenBatch] = (), doubt_streak: int = 0) -> None:
        """``owed`` are the batches that an earlier run left open."""
        self._rules = rules
        self._doubt = Doubt(rules.doubt_epochs, doubt_streak)
        self._scheduled: list[Scheduled] = []
        self._open: dict[BatchKey, OpenBatch] = {}
        self._of_miner: dict[PublicKey, set[BatchKey]] = {}
        self._asked: set[BatchKey] = set()
        self._queue: list[tuple[float, BatchKey]] = []
        for batch in owed:
            self._keep(batch)
            self._put_off(batch)  # also one that was being asked when that run ended, or nothing would ask it again

    @property
    def doubts(self) -> bool:
        """Whether silence and absence mean nothing now."""
        return self._doubt.doubts

    @property
    def doubt_streak(self) -> int:
        """What to hand to the next run of the engine."""
        return self._doubt.streak

    @property
    def owed(self) -> Sequence[OpenBatch]:
        """The batches that were asked and are not settled."""
        return tuple(self._open.values())

    def batch(self, key: BatchKey) -> OpenBatch | None:
        """Return a batch that was asked and is not settled; one of a miner that left may end while it is asked."""
        return self._open.get(key)

    def owed_by(self, miner: PublicKey) -> int:
        """Return how many batches a miner owes an answer to."""
        return len(self._of_miner.get(miner, ()))

    def begin_epoch(
        self, batches: Iterable[Scheduled], miners: Iterable[PublicKey], asked: Iterable[BatchKey] = ()
    ) -> list[Scheduled]:
        """Take the batches of a new epoch and return those of the last one that were never asked: they are given up.

        ``asked`` are batches of the new epoch that an earlier run of the engine has asked already.
        """
        given_up = self._scheduled
        known = self._open.keys() | set(asked)
        self._scheduled = sorted((each for each in batches if each.key not in known), reverse=True)
        self._doubt.begin_epoch(miners)
        return given_up

    def due(self, now: float, newest_round: int, *, again_max: int | None = None) -> list[OpenBatch]:
        """Return the batches to ask now, each once until its outcome is told.

        New ones are due when their round's beacon is known; no more than ``again_max`` of the owed ones, the rest wait.
        """
        asking, again = list[OpenBatch](), list[OpenBatch]()
        while self._scheduled and self._scheduled[-1].round <= newest_round:
            asking.append(self._ask(first_asking(self._scheduled.pop(), now)))
        while self._queue and self._queue[0][0] <= now and (again_max is None or len(again) < again_max):
            ask_time, key = heapq.heappop(self._queue)
            if self._is_due_at(ask_time, key):
                again.append(self._ask(next_asking(self._open[key], now)))
        return asking + again

    def next_time(self) -> float | None:
        """Return when an owed batch is due next, None where none is; new ones wait for beacon rounds."""
        while self._queue and not self._is_due_at(*self._queue[0]):
            heapq.heappop(self._queue)
        return self._queue[0][0] if self._queue else None

    def next_round(self) -> int | None:
        """Return the round that the next new batch waits for, None where none does."""
        return self._scheduled[-1].round if self._scheduled else None

    def lag(self, now: float, newest_round: int) -> AuditLag:
        """Return how far asking is behind; looks at the batches that are due or owed."""
        oldest = min((batch.first_time for batch in self._open.values()), default=now)
        due = sum(1 for _ in takewhile(lambda each: each.round <= newest_round, reversed(self._scheduled)))
        return AuditLag(due=due, owed=len(self._open), oldest_seconds=max(0, int(now - oldest)))

    def answered(self, key: BatchKey, *, passed: bool, now: float) -> Outcome:
        """Settle a batch whose answer was signed: every entry right or void, or not."""
        self._settle(key)
        self.contact(key.miner, there=True, now=now)
        return Outcome.PASS if passed else Outcome.FAIL

    def unanswered(self, key: BatchKey, *, was_there: bool, now: float) -> Outcome:
        """Return what an asking without an answer comes to, the miner having been there or not.

        UNKNOWN leaves the batch open unless no number is left to ask it again (:meth:`batch`).
        """
        self.contact(key.miner, there=was_there, now=now)
        outcome, batch = unanswered(
            self._open[key], was_there=was_there, doubted=self.doubts, now=now, rules=self._rules
        )
        if outcome is Outcome.FAIL or batch.attempt >= ATTEMPT_MAX:
            self._settle(key)
        else:
            self._put_off(batch)
        return outcome

    def unsent(self, key: BatchKey) -> None:
        """Take back a first asking that was never sent: it is due again at once, or given up with its epoch."""
        batch = self._open[key]
        assert batch.attempt == 0, "only a batch that nobody has seen can be taken back"
        self._settle(key)
        insort(self._scheduled, Scheduled(batch.round, key), key=_descending)

    def unasked(self, key: BatchKey, *, now: float) -> Outcome:
        """Put off a batch whose asking was broken off, or could not be judged, for a reason of ours.

        It leaves the batch open unless no number is left to ask it again (:meth:`batch`).
        """
        if self._open[key].attempt >= ATTEMPT_MAX:
            self._settle(key)
        else:
            self._put_off(unasked(self._open[key], now=now, rules=self._rules))
        return Outcome.UNKNOWN

    def contact(self, miner: PublicKey, *, there: bool, now: float) -> None:
        """Note a contact with a miner: what it owes is due when it is back."""
        self._doubt.contact(miner, there=there)
        if there:
            for key in sorted(self._of_miner.get(miner, ())):
                if key not in self._asked and self._open[key].away:
                    self._put_off(returned(self._open[key], now, self._rules))

    def drop(self, miner: PublicKey) -> Iterator[BatchKey]:
        """Forget what a miner owes that left the subnet and return the batches; what it held is lost anyway."""
        dropped = sorted(self._of_miner.get(miner, ()))
        for key in dropped:
            self._settle(key)
        return iter(dropped)

    def _is_due_at(self, ask_time: float, key: BatchKey) -> bool:
        """Whether a queued time still holds: the batch is not settled, being asked or put off since."""
        owed = self._open.get(key)
        return owed is not None and owed.ask_time == ask_time and key not in self._asked

    def _keep(self, batch: OpenBatch) -> None:
        self._open[batch.key] = batch
        self._of_miner.setdefault(batch.key.miner, set()).add(batch.key)

    def _ask(self, batch: OpenBatch) -> OpenBatch:
        """Take a batch as being asked, at once: its time may stand in the queue twice."""
        self._keep(batch)
        self._asked.add(batch.key)
        return batch

    def _put_off(self, batch: OpenBatch) -> None:
        self._open[batch.key] = batch
        self._asked.discard(batch.key)
        heapq.heappush(self._queue, (batch.ask_time, batch.key))

    def _settle(self, key: BatchKey) -> None:
        del self._open[key]
        self._asked.discard(key)
        owed = self._of_miner[key.miner]
        owed.discard(key)
        if not owed:
            del self._of_miner[key.miner]


def _descending(scheduled: Scheduled) -> int:
    return -scheduled.round
