"""From a piece that is missing to an order that is stored: sources, the new miner, the mask, the job (PROTOCOL §7).

What is read comes from one view; handshake and mask take a while; the transaction that stores the job looks again. So
two processes that plan for one piece, or one miner, at the same time end with one job.

Example::

    planned = await planning.plan(choice)
    if planned is Plan.NO_MINER:
        ...                                 # the segment waits
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from enum import Enum, auto
from random import Random
from typing import Final

from hippy.clock import Clock
from hippy.errors import IntegrityError, TemporaryError
from hippy.ids import PublicKey, Root
from hippy.kv import Database, Transaction
from hippy.proofs.tree import root_of
from hippy.transport.client import Peer
from hippy.validator.allocation import remember_candidates
from hippy.validator.commit import EnvelopeKey
from hippy.validator.directory import MinerDirectory
from hippy.validator.log import Home
from hippy.validator.planner import Planner, Replacement
from hippy.validator.repair.choosing import Choice
from hippy.validator.repair.facts import Facts, facts_of, segment_facts
from hippy.validator.repair.failing import FailingSources
from hippy.validator.repair.jobs import (
    Attempt,
    JobChangedError,
    RepairJob,
    next_serial,
    plan,
)
from hippy.validator.repair.masks import make_mask, opened_key
from hippy.validator.repair.sources import ORDERS_PER_SOURCE_MAX, Readable, choose_sources
from hippy.wire.pace import scaled
from hippy.wire.repair import RepairSource
from hippy.wire.segment import SegmentRecord

log = logging.getLogger("hippy.validator")

UPLOAD_SECONDS: Final = 3_600
UPLOAD_SECONDS_MIN: Final = 60
"""How long an order's miner may store the piece; on networks with short epochs it is scaled, but not below this."""

MISMATCHES_MAX: Final = 2
"""Miners that may find the sources to make something else before the validator looks itself."""


class Plan(Enum):
    """What comes of planning a repair."""

    PLANNED = auto()
    OVER = auto()
    """There is nothing to repair any more, or somebody else does."""

    BUSY = auto()
    """The miner, or too many sources, work on other orders: later."""

    NO_MINER = auto()
    """No miner may take the piece."""

    NO_SOURCES = auto()
    """Fewer than k pieces can be read now."""

    NO_KEY = auto()
    """No envelope of the segment opens."""


class Planning:
    """Plans the repairs of one validator."""

    def __init__(
        self,
        home: Home,
        database: Database,
        directory: MinerDirectory,
        planner: Planner,
        envelope_key: EnvelopeKey,
        clock: Clock,
        rng: Random,
        failing: FailingSources,
        *,
        epoch_seconds: float,
    ) -> None:
        self._home = home
        self._database = database
        self._directory = directory
        self._planner = planner
        self._envelope_key = envelope_key
        self._clock = clock
        self._rng = rng
        self._failing = failing
        self._upload_seconds = max(UPLOAD_SECONDS_MIN, int(scaled(UPLOAD_SECONDS, epoch_seconds)))

    async def plan(self, choice: Choice) -> Plan:
        """Store a job for a piece, if one is possible now; what it is made of is read and asked before.

        Raises TemporaryError when the chain cannot be read.
        """
        facts = await self._database.read(lambda reader: facts_of(reader, choice))
        if facts is None:
            return Plan.OVER
        is_doubted = facts.notes.mismatches >= MISMATCHES_MAX and not facts.notes.proven
        sources = self._copied(choice, facts)
        if sources is None and is_doubted and choice.drained is not None:
            return Plan.NO_SOURCES  # it is held, whatever the others make; so nobody says that it cannot be made
        sources = sources or self._made_of(facts, choice.index)
        if sources is None:
            return Plan.BUSY if self._are_enough_live(facts, choice.index) else Plan.NO_SOURCES
        if is_doubted and choice.drained is None:
            return await self._store(choice, facts, self._job(choice, facts, sources), None)
        replacement = await self._draw(choice, facts)
        if not isinstance(replacement, Replacement):
            return replacement
        try:
            mask_root = await self._mask_root(choice, facts, sources)
        except IntegrityError as error:
            log.error("segment %s cannot be repaired: %s", choice.segment_id.hex(), error)
            return Plan.NO_KEY
        attempt = Attempt(
            serial=0,
            miner=replacement.assignment.miner,
            endpoint=replacement.assignment.endpoint,
            upload_by=int(self._clock.now()) + self._upload_seconds,
            mask_root=mask_root,
            placement_round=replacement.lot.placement_round,
            epoch=replacement.lot.epoch,
            candidates_seq=0,
        )
        return await self._store(choice, facts, self._job(choice, facts, sources, attempt), replacement)

    def _copied(self, choice: Choice, facts: Facts) -> tuple[RepairSource, ...] | None:
        """Return the piece itself as the source, where the miner that drains can be read."""
        is_made = facts.notes.no_copy and facts.notes.mismatches < MISMATCHES_MAX
        if choice.drained is None or is_made:
            return None
        source = self._source(facts, choice.index, choice.drained)
        return None if source is None else (source,)

    def _made_of(self, facts: Facts, index: int) -> tuple[RepairSource, ...] | None:
        """Return k other pieces, None where fewer can be read now."""
        found = [
            Readable(source, facts.reading[source.miner])
            for other, miner in facts.holders.items()
            if other != index and (source := self._source(facts, other, miner)) is not None
        ]
        return choose_sources(found, facts.record.spec.k, suspects=facts.notes.suspects, rng=self._rng)

    def _are_enough_live(self, facts: Facts, index: int) -> bool:
        live = [
            other
            for other, miner in facts.holders.items()
            if other != index and self._source(facts, other, miner) is not None
        ]
        return len(live) >= facts.record.spec.k

    def _source(self, facts: Facts, index: int, miner: PublicKey) -> RepairSource | None:
        """Return a piece as a source, None where its miner does not answer or failed lately."""
        root, peer = facts.record.spec.roots[index], self._directory.peer(miner)
        if peer is None or self._directory.state(miner) != "live":
            return None
        if self._failing.is_failing(miner, root, self._clock.now()):
            return None
        return RepairSource(index=index, root=root, miner=miner, endpoint=peer.endpoint)

    async def _draw(self, choice: Choice, facts: Facts) -> Replacement | Plan:
        """Return a miner that answers, or why there is none; one that does not is silent then, and not drawn again."""
        staying = [miner for index, miner in facts.holders.items() if index != choice.index]
        while True:
            try:
                drawn = await self._planner.replace(
                    choice.segment_id,
                    choice.index,
                    facts.record.spec.piece_length,
                    holders=[*staying, *facts.making],
                    excluded=facts.excluded,
                )
            except TemporaryError as error:
                log.debug("no miner for piece %d of segment %s: %s", choice.index, choice.segment_id.hex(), error)
                return Plan.NO_MINER
            if drawn.assignment.miner in facts.busy:
                return Plan.BUSY
            if await self._directory.is_there(Peer(drawn.assignment.endpoint, drawn.assignment.miner)):
                return drawn

    async def _mask_root(self, choice: Choice, facts: Facts, sources: tuple[RepairSource, ...]) -> Root | None:
        """Return the root of the mask, None where the piece is copied. Raises IntegrityError without a seal key."""
        if is_copy(choice.index, sources):
            return None
        return await asyncio.to_thread(lambda: root_of(self._mask(facts, sources, choice.index)))

    def _mask(self, facts: Facts, sources: tuple[RepairSource, ...], index: int) -> bytearray:
        spec = facts.record.spec
        seal_key = opened_key(facts.record, facts.envelopes, self._home, self._envelope_key)
        indices = [source.index for source in sources]
        return make_mask(seal_key, spec.k, spec.n, sources=indices, index=index, piece_length=spec.piece_length)

    async def mask(self, job: RepairJob) -> tuple[SegmentRecord, bytes] | None:
        """Return a job's segment and the mask of its order, empty for a copy; None where the segment is released.

        Raises IntegrityError when there is no seal key.
        """
        facts = await self._database.read(lambda reader: segment_facts(reader, Choice(job.segment_id, job.index)))
        if facts is None:
            return None
        if is_copy(job.index, job.sources):
            return facts.record, b""
        return facts.record, await asyncio.to_thread(lambda: bytes(self._mask(facts, job.sources, job.index)))

    async def key(self, job: RepairJob) -> tuple[SegmentRecord, bytes] | None:
        """Return a job's segment and its seal key; None where the segment is released.

        Raises IntegrityError when there is no seal key.
        """
        facts = await self._database.read(lambda reader: segment_facts(reader, Choice(job.segment_id, job.index)))
        if facts is None:
            return None
        return facts.record, opened_key(facts.record, facts.envelopes, self._home, self._envelope_key)

    def _job(
        self, choice: Choice, facts: Facts, sources: tuple[RepairSource, ...], attempt: Attempt | None = None
    ) -> RepairJob:
        return RepairJob(
            segment_id=choice.segment_id,
            index=choice.index,
            k=facts.record.spec.k,
            piece_length=facts.record.spec.piece_length,
            sources=sources,
            drained=choice.drained,
            attempt=attempt,
        )

    async def _store(self, choice: Choice, facts: Facts, job: RepairJob, replacement: Replacement | None) -> Plan:
        now = int(self._clock.now())

        def work(txn: Transaction) -> Plan:
            newest = facts_of(txn, choice)
            if newest is None:
                return Plan.OVER
            if newest.holders != facts.holders or newest.making != facts.making:
                return Plan.BUSY  # another piece of the segment moved just now: look again
            if replacement is None or job.attempt is None:
                plan(txn, self._home, facts.record, job)
                return Plan.PLANNED
            miner = job.attempt.miner
            if miner in newest.busy or miner in newest.making or miner in newest.excluded or not _fit(job, newest):
                return Plan.BUSY
            seq = remember_candidates(txn, self._home, replacement.pool, now)
            attempt = job.attempt.model_copy(update={"serial": next_serial(txn), "candidates_seq": seq})
            plan(txn, self._home, facts.record, job.model_copy(update={"attempt": attempt}))
            return Plan.PLANNED

        try:
            return await self._database.transact(work)
        except JobChangedError:
            return Plan.OVER


def is_copy(index: int, sources: Iterable[RepairSource]) -> bool:
    """Return whether a piece is read from the miner that holds it, instead of being made of others."""
    return [source.index for source in sources] == [index]


def _fit(job: RepairJob, facts: Facts) -> bool:
    """Whether nobody reads more from one miner than allowed, with this job."""
    return all(facts.reading[source.miner] < ORDERS_PER_SOURCE_MAX for source in job.sources)
