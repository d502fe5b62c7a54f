"""Seeing one repair to its end: deliveries, the answer, and what follows from it (PROTOCOL §7).

Nobody is blamed here. A source that fails our own look is left out for a while; a miner that refused, was silent twice
or answered nonsense gets no other piece of the segment; miners that say that their sources make something else are
believed by nobody: after the second the validator makes the piece itself.
"""

from __future__ import annotations

import logging
from typing import Final, assert_never

from hippy.clock import Clock
from hippy.errors import IntegrityError
from hippy.identity import ss58_encode
from hippy.kv import Database, Transaction
from hippy.points import reached
from hippy.transport.client import Peer
from hippy.validator.directory import MinerDirectory
from hippy.validator.log import Home
from hippy.validator.repair.failing import FailingSources
from hippy.validator.repair.jobs import (
    Notes,
    RepairJob,
    count_delivery,
    finish,
    get_notes,
    is_current,
    order_of,
    put_notes,
)
from hippy.validator.repair.moves import record_flawed, record_move
from hippy.validator.repair.ordering import (
    Made,
    Mismatch,
    Ordering,
    Refused,
    SourcesFailed,
    Unanswered,
)
from hippy.validator.repair.planning import Planning, is_copy
from hippy.validator.repair.reading import SourceReader, SourcesFailedError
from hippy.wire.pace import scaled
from hippy.wire.repair import DELIVERIES_MAX

log = logging.getLogger("hippy.validator")

AGAIN_SECONDS: Final = 30.0
"""Between an order that was not answered and its second delivery."""


class Following:
    """Follows the jobs of one validator."""

    def __init__(
        self,
        home: Home,
        database: Database,
        directory: MinerDirectory,
        planning: Planning,
        ordering: Ordering,
        reader: SourceReader,
        failing: FailingSources,
        clock: Clock,
        *,
        epoch_seconds: float,
    ) -> None:
        self._home = home
        self._database = database
        self._directory = directory
        self._planning = planning
        self._ordering = ordering
        self._reader = reader
        self._failing = failing
        self._clock = clock
        self._again_seconds = scaled(AGAIN_SECONDS, epoch_seconds)

    async def follow(self, job: RepairJob) -> None:
        """Do what is left to do for a job, until it has ended."""
        try:
            if job.attempt is None:
                await self._make(job)
            else:
                await self._order(job)
        except IntegrityError as error:  # the key was there when this was planned
            log.error("%s cannot be repaired: %s", _named(job), error)
            await self._finish(job)

    async def _order(self, job: RepairJob) -> None:
        """Send an order until it is answered or may not be sent any more; its miner is greeted first, each time."""
        prepared = await self._planning.mask(job)
        for _ in range(DELIVERIES_MAX if prepared is not None else 0):
            assert prepared is not None
            record, mask = prepared
            if await self._is_there(job):
                sent = await self._count_delivery(job)
                if sent is None:
                    break
                reached("validator.before_order")
                reply = await self._ordering.send(order_of(self._home, record, sent), mask)
                reached("validator.order_answered")
                if not isinstance(reply, Unanswered):
                    await self._judge(sent, reply)
                    return
                log.info("%s: no answer from %s: %s", _named(job), _miner(job), reply.why)
            await self._clock.sleep(self._again_seconds)
        log.info("%s is not made by %s", _named(job), _miner(job))
        await self._finish(job)

    async def _is_there(self, job: RepairJob) -> bool:
        assert job.attempt is not None
        return await self._directory.is_there(Peer(job.attempt.endpoint, job.attempt.miner))

    async def _count_delivery(self, job: RepairJob) -> RepairJob | None:
        now = int(self._clock.now())
        return await self._database.transact(lambda txn: count_delivery(txn, job, now))

    async def _judge(self, job: RepairJob, reply: Made | SourcesFailed | Mismatch | Refused) -> None:
        match reply:
            case Made():
                await self._move(job, reply)
            case SourcesFailed():
                log.warning("%s: %s cannot read pieces %s", _named(job), _miner(job), list(reply.indices))
                await self._look_at_sources(job, reply.indices)
            case Mismatch():
                log.warning("%s: %s says that its sources make another piece", _named(job), _miner(job))
                await self._finish(job, mismatch=True, suspects=tuple(source.index for source in job.sources))
            case Refused():
                log.info("%s: %s does not make it: %s", _named(job), _miner(job), reply.why)
                await self._finish(job)
            case _:
                assert_never(reply)

    async def _move(self, job: RepairJob, made: Made) -> None:
        now = int(self._clock.now())
        reached("validator.before_move")
        moved = await self._database.transact(lambda txn: record_move(txn, self._home, job, made.receipt, now))
        reached("validator.moved")
        if moved:
            log.info("%s is held by %s now", _named(job), _miner(job))
        else:
            log.info("%s was made by %s and is needed no more", _named(job), _miner(job))

    async def _look_at_sources(self, job: RepairJob, indices: tuple[int, ...]) -> None:
        """Ask the sources that a miner could not read, and leave out those that fail us as well."""
        for source in job.sources:
            if source.index in indices and not await self._reader.has(source, job.piece_length):
                self._failing.note(source.miner, source.root, self._clock.now())
                log.warning("piece %d at %s is left out of repairs for now", source.index, ss58_encode(source.miner))
        await self._finish(job, suspects=indices)

    async def _make(self, job: RepairJob) -> None:
        """Make the piece ourselves, to see whether it can be made."""
        prepared = await self._planning.key(job)
        if prepared is None:
            await self._finish(job)
            return
        record, seal_key = prepared
        try:
            root = await self._reader.make(job, record.spec.n, seal_key)
        except SourcesFailedError as error:
            for source in job.sources:
                if source.index in error.indices:
                    self._failing.note(source.miner, source.root, self._clock.now())
            await self._finish(job, suspects=error.indices)
            return
        if root == record.spec.roots[job.index]:
            log.warning("%s can be made, though miners said otherwise; others are asked", _named(job))
            await self._finish(job, proven=True)
            return
        now = int(self._clock.now())
        if await self._database.transact(lambda txn: record_flawed(txn, self._home, job, now)):
            log.error("%s cannot be made: its segment was badly coded", _named(job))

    async def _finish(
        self, job: RepairJob, *, mismatch: bool = False, proven: bool = False, suspects: tuple[int, ...] = ()
    ) -> None:
        """End a job that did not succeed, with what is to be known the next time."""

        def work(txn: Transaction) -> None:
            if not is_current(txn, job):
                return
            finish(txn, job)
            if mismatch or proven or suspects:
                before = get_notes(txn, job.segment_id, job.index)
                after = Notes(
                    mismatches=before.mismatches + mismatch,
                    suspects=suspects or before.suspects,
                    proven=int(before.proven or proven),
                    no_copy=int(before.no_copy or is_copy(job.index, job.sources)),
                )
                put_notes(txn, job.segment_id, job.index, after)

        await self._database.transact(work)


def _named(job: RepairJob) -> str:
    return f"piece {job.index} of segment {job.segment_id.hex()}"


def _miner(job: RepairJob) -> str:
    return "this validator" if job.attempt is None else ss58_encode(job.attempt.miner)
