"""The running repair: workers that carry out orders, and plan new ones while the budget allows (PROTOCOL §7).

A worker takes a lease of a job that waits (its own, another process's that died, one from before a restart) and sees
it to its end; without one it plans the most urgent repair. So resuming is no case of its own. Every step is stored
before it is taken, in a transaction that looks whether the job is still what is being done; two workers with one job,
after a lease that ran out, can waste a delivery and break nothing.

Clock and chance are arguments; :meth:`Repairer.run` is one supervised task of the validator.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from typing import Final

from hippy.clock import Clock
from hippy.errors import HippyError
from hippy.identity import ss58_encode
from hippy.ids import PublicKey, SegmentId
from hippy.kv import Database
from hippy.points import reached
from hippy.validator.directory import MinerDirectory
from hippy.validator.held import HeldPiece
from hippy.validator.repair import churn
from hippy.validator.repair.budget import ReadBudget
from hippy.validator.repair.choosing import Choice, Outlook, choose, choose_drained
from hippy.validator.repair.drains import draining
from hippy.validator.repair.following import Following
from hippy.validator.repair.health import put_aside, queue_again
from hippy.validator.repair.jobs import RepairJob
from hippy.validator.repair.planning import Plan, Planning
from hippy.validator.tables import JOB
from hippy.wire.pace import scaled

log = logging.getLogger("hippy.validator")

LEASE_SECONDS: Final = 60.0
"""How long a job is a worker's own; renewed thrice in that time while it is worked on."""

START_SECONDS: Final = 15.0
"""Until then a validator that was started may not know who is there, and would find too few sources everywhere."""

PAUSE_SECONDS: Final = 5.0
"""Between two looks of a worker that found nothing to do."""

LOOK_SECONDS: Final = 60.0
"""Between two looks at what has waited long enough, who drains and how much was lost."""

STUCK_SECONDS: Final = 600.0
"""How long a segment waits that no miner can take a piece of; one with too few sources waits for LOOK_SECONDS."""

PLANS_PER_STEP: Final = 16
"""Pieces that are looked at in one go."""

QUEUED_PER_TURN: Final = 256


@dataclass(frozen=True, slots=True)
class Waits:
    """How long things wait, in seconds, on networks with such epochs."""

    start: float
    pause: float
    look: float
    stuck: float

    @classmethod
    def of(cls, epoch_seconds: float) -> Waits:
        """Return the waits of a network with such epochs."""
        return cls(
            start=scaled(START_SECONDS, epoch_seconds),
            pause=scaled(PAUSE_SECONDS, epoch_seconds),
            look=scaled(LOOK_SECONDS, epoch_seconds),
            stuck=scaled(STUCK_SECONDS, epoch_seconds),
        )


class Repairer:
    """Repairs for one validator."""

    def __init__(
        self,
        database: Database,
        directory: MinerDirectory,
        planning: Planning,
        following: Following,
        budget: ReadBudget,
        clock: Clock,
        rng: Random,
        *,
        at_once: int,
        waits: Waits,
    ) -> None:
        self._database = database
        self._directory = directory
        self._planning = planning
        self._following = following
        self._budget = budget
        self._clock = clock
        self._holder = rng.randbytes(16)
        self._at_once = at_once
        self._waits = waits
        self._turn = asyncio.Lock()
        self._skipped: set[SegmentId] = set()
        self._after: bytes | None = None
        self._drain_left: dict[PublicKey, deque[Choice]] = {}
        self._drain_after: dict[PublicKey, HeldPiece | None] = {}
        self._drain_turn = 0
        self._plans_from = 0.0

    async def run(self) -> None:
        """Repair until cancelled; new orders are planned once miners had the time to be greeted."""
        self._plans_from = self._clock.now() + self._waits.start
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._again(self._look, lambda: self._waits.look))
            for _ in range(self._at_once):
                tasks.create_task(self._again(self._step, self._pause_seconds))

    async def _again(self, work: Callable[[], Awaitable[bool]], pause_seconds: Callable[[], float]) -> None:
        while True:
            try:
                is_busy = await work()
            except HippyError as error:
                log.warning("repair pauses: %s", error)
                is_busy = False
            except Exception:  # the top of a supervised task: one odd job must not end the repair of all others
                log.exception("unexpected error in repair")
                is_busy = False
            if not is_busy:
                await self._clock.sleep(pause_seconds())
                self._skipped.clear()

    def _pause_seconds(self) -> float:
        return max(self._waits.pause, min(60.0, self._budget.wait_seconds(self._clock.now())))

    async def _look(self) -> bool:
        """Do what is due by time; there is nothing more to do then."""
        now = int(self._clock.now())
        await self._database.transact(lambda txn: churn.note(txn, now))
        while await self._database.transact(lambda txn: queue_again(txn, now, QUEUED_PER_TURN)) == QUEUED_PER_TURN:
            pass
        self._directory.draining = await self._database.read(draining)
        return False

    async def _step(self) -> bool:
        """Carry out a job that nobody works on, or plan one; return whether there was something to do."""
        async with self._turn:
            leased, has_changed = await self._leased(), False
            if not leased and self._may_plan():
                has_changed = await self._plan_some()
                leased = await self._leased()
        for key, job in leased:
            await self._keeping(key, job)
        return bool(leased) or has_changed

    def _may_plan(self) -> bool:
        now = self._clock.now()
        return now >= self._plans_from and not self._budget.wait_seconds(now)

    async def _leased(self) -> list[tuple[bytes, RepairJob]]:
        """Return a job that nobody works on, if there is one; it is charged to the budget, and ours for a while."""
        now = self._clock.now()
        found = await self._database.lease(JOB, self._holder, now=now, seconds=LEASE_SECONDS, limit=1)
        jobs = [(key, RepairJob.parse(value)) for key, value in found]
        for _, job in jobs:
            self._budget.take(job.read_bytes, now)
        return jobs

    async def _keeping(self, key: bytes, job: RepairJob) -> None:
        """See a job to its end while its lease is renewed; what fails unexpectedly keeps its lease until that ends."""
        renewing = asyncio.create_task(self._renew(key))
        try:
            await self._following.follow(job)
        finally:
            renewing.cancel()
        await self._database.unlease([key], self._holder)
        self._skipped.clear()

    async def _renew(self, key: bytes) -> None:
        while True:
            await self._clock.sleep(LEASE_SECONDS / 3)
            try:
                await self._database.renew([key], self._holder, now=self._clock.now(), seconds=LEASE_SECONDS)
            except HippyError as error:
                log.warning("the lease of a repair was not renewed: %s", error)

    async def _plan_some(self) -> bool:
        """Plan the next repair; return whether there is one now, or something was put aside.

        Pieces of miners that want to leave come when nothing else can be done.
        """
        urgent = deque(await self._urgent())
        is_urgent, has_changed = bool(urgent), False
        for _ in range(PLANS_PER_STEP):
            choice = (urgent.popleft() if urgent else None) if is_urgent else await self._next_drained()
            if choice is None:
                break
            reached("validator.before_repair")
            outcome = await self._planning.plan(choice)
            if outcome is Plan.PLANNED:
                reached("validator.repair_planned")
                return True
            has_changed |= await self._set_aside(choice, outcome)
        return has_changed

    async def _urgent(self) -> list[Choice]:
        live = frozenset(entry.hotkey for entry in self._directory.entries() if entry.state == "live")
        skipped, after = frozenset(self._skipped), self._after
        found = await self._database.read(
            lambda reader: choose(reader, Outlook(live, churn.rate(reader)), skipped, after)
        )
        self._after = found.after
        return found.choices

    async def _next_drained(self) -> Choice | None:
        """Return the next piece of a miner that wants to leave, of one after the other."""
        leaving = sorted(self._directory.draining)
        for turn in range(len(leaving)):
            miner = leaving[(self._drain_turn + turn) % len(leaving)]
            left = self._drain_left.setdefault(miner, deque())
            if not left:
                left.extend(await self._drained(miner))
            while left:
                choice = left.popleft()
                if choice.segment_id not in self._skipped:
                    self._drain_turn += turn + 1
                    return choice
        return None

    async def _drained(self, miner: PublicKey) -> list[Choice]:
        skipped, after = frozenset(self._skipped), self._drain_after.get(miner)
        choices, self._drain_after[miner] = await self._database.read(
            lambda reader: choose_drained(reader, miner, skipped, after)
        )
        return choices

    async def _set_aside(self, choice: Choice, outcome: Plan) -> bool:
        """Have a piece wait that cannot be repaired now; return whether that changed the queue."""
        self._skipped.add(choice.segment_id)
        if outcome not in {Plan.NO_MINER, Plan.NO_SOURCES, Plan.NO_KEY}:
            return outcome is Plan.OVER and choice.drained is None
        what = f"piece {choice.index} of segment {choice.segment_id.hex()}"
        if choice.drained is not None:
            log.debug("%s stays with %s: %s", what, ss58_encode(choice.drained), _WHY[outcome])
            return False
        wait_seconds = self._waits.look if outcome is Plan.NO_SOURCES else self._waits.stuck
        until = int(self._clock.now() + wait_seconds)
        await self._database.transact(lambda txn: put_aside(txn, choice.segment_id, until))
        log.info("%s waits: %s", what, _WHY[outcome])
        return True


_WHY: Final = {
    Plan.NO_MINER: "there is no miner to take it",
    Plan.NO_SOURCES: "too few others can be read",
    Plan.NO_KEY: "its seal key cannot be opened",
}
