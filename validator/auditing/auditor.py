"""The auditor of a running validator: follows epochs, asks what is due, writes down what comes of it.

It gives the pure engine (hippy.validator.audit) its clock, its beacon, its sockets and its memory. Beside it,
questions.py draws, asking.py asks, closing.py computes headers and sheets, epochs.py keeps them.

Invariants: a header is stored before anything of its epoch is asked; an outcome, its evidence, what is owed then and
what is lost are stored in one transaction, in the order of the transcript; nothing new is asked while an epoch is
closed, and answers that are under way then are waited for up to GRACE_SECONDS and no longer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from hippy.chain.protocol import BeaconNotYet, Chain, Metagraph
from hippy.clock import Clock
from hippy.errors import HippyError, TemporaryError
from hippy.identity import ss58_encode
from hippy.ids import PublicKey
from hippy.kv import Database, Reader, Transaction
from hippy.proofs.request import Scope
from hippy.proofs.transcript_entry import Outcome, TranscriptEntry, Void
from hippy.proofs.verify import Verdict, Verified
from hippy.validator.audit.attesting import is_enough, permitted_stakes
from hippy.validator.audit.batch import OpenBatch
from hippy.validator.audit.engine import AuditEngine
from hippy.validator.audit.lag import AuditLag
from hippy.validator.audit.schedule import BatchKey
from hippy.validator.auditing import epochs
from hippy.validator.auditing.asking import Asker, NoAnswer
from hippy.validator.auditing.attester import Attester
from hippy.validator.auditing.closing import Closing, Ended, Rounds
from hippy.validator.auditing.contacts import Contacts
from hippy.validator.auditing.inventories import Inventories
from hippy.validator.auditing.outcomes import Question, enter, is_passed, not_shown, told, voids_of
from hippy.validator.auditing.probing import Prober
from hippy.validator.auditing.questions import Questions
from hippy.validator.auditing.room import TranscriptRoom
from hippy.validator.auditing.weighing import Weigher, WeightsTry
from hippy.validator.auditing.witnesses import Witnesses
from hippy.validator.directory import MinerDirectory
from hippy.validator.holdings import forget_ended, holders
from hippy.validator.losses import reported
from hippy.validator.releases import released_at
from hippy.validator.scoring import Tally
from hippy.validator.tally import TallyWindow
from hippy.wire.attestation import Attestation
from hippy.wire.audit import EpochHeader
from hippy.wire.score import ScoreSheet

log = logging.getLogger("hippy.validator")

GRACE_SECONDS: Final = 10.0
"""How long the end of an epoch waits for answers: the deadline of a batch and of the checks after it."""

LOOK_SECONDS: Final = 1.0
"""How often it is looked whether a batch is due or an epoch is over, at most."""

AGAIN_MAX: Final = 256
"""Batches under way or in line beyond which nothing is asked again, so that first askings are not kept waiting."""

KEPT_EPOCHS: Final = 160
"""Eight days of 72 minutes: a day more than scores look back (PROTOCOL §5.6)."""

FORGOTTEN_PER_TURN: Final = 1_024
STORE_TRIES: Final = 5
STORE_PAUSE_SECONDS: Final = 1.0
STORE_ROUNDS_MAX: Final = 12
"""Times in a row that all tries fail, a minute or so, after which a disk is full or broken rather than busy."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class AuditorParts:
    """What an auditor works with; ``epoch_seconds`` is how long an epoch takes, about."""

    closing: Closing
    database: Database
    chain: Chain
    directory: MinerDirectory
    inventories: Inventories
    questions: Questions
    asker: Asker
    engine: AuditEngine
    prober: Prober
    window: TallyWindow
    weigher: Weigher
    contacts: Contacts
    attester: Attester
    witnesses: Witnesses
    clock: Clock
    epoch_seconds: float


class Auditor:
    """Audits all miners for one validator; made by hippy.validator.auditing.opening."""

    def __init__(self, parts: AuditorParts, header: EpochHeader | None) -> None:
        """``header`` is the newest one that an earlier run stored."""
        self._parts = parts
        self._home = parts.closing.home
        self._database = parts.database
        self._engine = parts.engine
        self._clock = parts.clock
        self._header = header
        self._is_current = False
        self._newest_round = 0
        self._told_round = 0
        """The newest round that the registry says was asked from; nothing is asked from a newer one."""

        self._may_attest = False
        self._weighed: int | None = None
        """The epoch in which the newest sheet's weights were given to be set."""

        self._unstored = 0
        """How often in a row nothing could be stored."""

        self._room = TranscriptRoom()
        self._asking: set[asyncio.Task[None]] = set()
        self._patience: set[asyncio.Timeout] = set()
        self._over: float | None = None
        """When patience ends, in the loop's time, while an epoch is closed."""

        self._counted: tuple[int, Mapping[PublicKey, Tally]] | None = None
        """The last epoch whose tallies were taken, and these."""

    @property
    def newest_round(self) -> int:
        """The newest beacon round that anything was asked from, so that nobody can report a loss afterwards."""
        return self._newest_round

    @property
    def weighed_epoch(self) -> int | None:
        """The epoch whose weights the chain took last, since the start."""
        return self._parts.weigher.epoch

    @property
    def weights(self) -> WeightsTry | None:
        """What became of the newest weights at the latest try, since the start."""
        return self._parts.weigher.latest

    def lag(self) -> AuditLag:
        """Return how far asking is behind now."""
        return self._engine.lag(self._clock.now(), self._newest_round)

    async def attestations(self) -> bytes:
        """Return which miners have been silent to us for a day, signed and encoded."""
        return await self._parts.attester.encoded()

    def owed_by(self, miner: PublicKey) -> int:
        """Return how many batches a miner owes an answer to."""
        return self._engine.owed_by(miner)

    def become(self, other: Auditor) -> None:
        """Go on as an auditor that was opened later, for another process audited meanwhile; not while this one runs."""
        self.__dict__.update(other.__dict__)

    async def run(self) -> None:
        """Audit until cancelled."""
        pause_seconds = min(LOOK_SECONDS, self._parts.epoch_seconds / 100)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._parts.prober.run())
            while True:
                await self._look(tasks)
                await self._clock.sleep(pause_seconds)

    async def _look(self, tasks: asyncio.TaskGroup) -> None:
        """Do what is due now; what the chain does not tell now, the next look learns."""
        try:
            await self._follow(tasks)
            self._newest_round = max(self._newest_round, await self._parts.chain.beacon_round())
            await self._tell_round()
        except HippyError as error:
            if self._unstored >= STORE_ROUNDS_MAX:
                raise  # whoever runs the validator must see that nothing is audited any more
            log.warning("audits go on as far as they can: %s", error)
        if not self._is_current:
            return
        again_max = max(0, min(AGAIN_MAX, self._room.again_max) - len(self._asking))
        for batch in self._engine.due(self._clock.now(), self._told_round, again_max=again_max):
            asking = tasks.create_task(self._guarded(batch))
            self._asking.add(asking)
            asking.add_done_callback(self._asking.discard)

    async def _tell_round(self) -> None:
        """Write down the newest round before anything is asked from it: losses may be reported to other processes."""
        waited_for = self._engine.next_round()
        if self._is_current and waited_for is not None and self._told_round < waited_for <= self._newest_round:
            newest = self._newest_round
            await self._store(lambda txn: epochs.put_asked_round(txn, newest))
            self._told_round = newest

    async def _follow(self, tasks: asyncio.TaskGroup) -> None:
        """Begin a new epoch, or take up the one that an earlier run began."""
        epoch = await self._parts.chain.current_epoch()
        if self._header is None or epoch > self._header.epoch:
            await self._begin(epoch, tasks)
        elif not self._is_current:
            await self._take_up(self._header, await self._parts.chain.metagraph())
            await self._weigh_newest(self._header, tasks)

    async def _begin(self, epoch: int, tasks: asyncio.TaskGroup) -> None:
        """Close the epoch before, store the header of this one, and have the weights of the closed one set."""
        self._is_current = False
        await self._drain()
        chain, before = self._parts.chain, self._header
        metagraph = await chain.metagraph()
        rounds, now = Rounds(await chain.beacon_round(), await chain.rounds_per_epoch()), int(self._clock.now())
        tallies = {} if before is None else self._take_tallies(before.epoch)
        sums = {neuron.hotkey: self._parts.window.sum_of(neuron.hotkey) for neuron in metagraph.neurons}
        closing = self._parts.closing

        def compute(reader: Reader) -> tuple[Ended | None, EpochHeader]:
            ended = None if before is None else closing.end(reader, before, sums, metagraph, now)
            return ended, closing.begin(reader, epoch, before, ended, rounds, now)

        ended, header = await self._database.read(compute)

        def store(txn: Transaction) -> None:
            if before is not None and ended is not None:
                for entry in ended.given_up:
                    epochs.put_entry(txn, before.epoch, entry)
                epochs.put_sheet(txn, ended.sheet)
                epochs.put_probes(txn, before.epoch, tallies)
                epochs.put_shares(txn, {miner: held.by_account for miner, held in ended.held.items()})
            epochs.put_header(txn, header)

        await self._store(store)
        self._header = header
        log.info("epoch %d: %d rounds from %d on", epoch, header.rounds, header.first_round)
        if ended is not None:
            self._weigh(ended.sheet, header, tasks)
        await self._take_up(header, metagraph)
        await self._forget(header)

    async def _weigh_newest(self, header: EpochHeader, tasks: asyncio.TaskGroup) -> None:
        """Set the newest sheet's weights, unless we have: an earlier run may have ended before it did."""
        ended = header.prev_epoch
        if ended is None or self._weighed == header.epoch:
            return
        sheet = await self._database.read(lambda reader: epochs.get_sheet(reader, ended))
        if sheet is not None:
            self._weigh(sheet, header, tasks)

    def _weigh(self, sheet: ScoreSheet, header: EpochHeader, tasks: asyncio.TaskGroup) -> None:
        self._weighed = header.epoch
        tasks.create_task(self._parts.weigher.set(sheet, lambda: self._is_newest(header.epoch)))

    def _take_tallies(self, epoch: int) -> Mapping[PublicKey, Tally]:
        """Return what was counted in an epoch that is over; the same when closing it is tried again."""
        if self._counted is None or self._counted[0] != epoch:
            self._counted = epoch, self._parts.prober.take()
            self._parts.window.add(*self._counted)
        return self._counted[1]

    async def _take_up(self, header: EpochHeader, metagraph: Metagraph) -> None:
        """Ask what the header's epoch has to ask from now on."""
        closing = self._parts.closing
        miners = await self._parts.inventories.begin(closing.head_seq(header))
        planned = await self._database.read(lambda reader: closing.planned(reader, header))
        entered = await self._database.read(lambda reader: list(epochs.entries(reader, header.epoch)))
        self._engine.begin_epoch(planned, miners, [_key_of(entry) for entry in entered])
        self._room = TranscriptRoom()
        for entry in entered:
            self._room.add(entry)
        told_round = await self._database.read(epochs.get_asked_round)
        rounds = [self._newest_round, told_round, header.first_round, *(entry.round for entry in entered)]
        self._newest_round = newest_round = max(rounds)
        # One metagraph without a miner proves nothing: it is gone when its departure has ended what it held.
        known = {neuron.hotkey for neuron in metagraph.neurons} | set(await self._database.read(_holders))
        gone = {batch.key.miner for batch in self._engine.owed} - known
        dropped = [key for miner in sorted(gone) for key in self._engine.drop(miner)]

        def store(txn: Transaction) -> None:
            epochs.put_doubt(txn, self._engine.doubt_streak)
            epochs.put_asked_round(txn, newest_round)
            for key in dropped:
                epochs.drop_owed(txn, key)

        await self._store(store)
        self._told_round = newest_round
        self._may_attest = self._parts.chain.is_local or is_enough([self._home.hotkey], permitted_stakes(metagraph))
        self._is_current = True

    async def _guarded(self, batch: OpenBatch) -> None:
        """Ask one batch; what goes wrong with it on our side ends neither the validator nor other audits."""
        try:
            await self._ask(batch)
        except TemporaryError:
            raise  # it could not be written down: auditing cannot go on
        except Exception:  # the top of a supervised task: one batch is asked again, or given up with its epoch
            log.exception("unexpected error with batch %d of %s", batch.key.number, _name(batch.key.miner))
            if self._engine.batch(batch.key) == batch:
                self._engine.unasked(batch.key, now=self._clock.now())

    async def _ask(self, batch: OpenBatch) -> None:
        """Ask one batch and write down what came of it."""
        try:
            question = await self._parts.questions.of(batch)
        except (HippyError, BeaconNotYet) as error:
            log.warning("batch %d of %s cannot be drawn now: %s", batch.key.number, _name(batch.key.miner), error)
            await self._take_back(batch)
            return
        answer = await self._answer(question)
        if isinstance(answer, Verified):
            self._parts.contacts.note(batch.key.miner)
        await self._enter(question, answer)

    async def _take_back(self, batch: OpenBatch) -> None:
        """Put off a batch that could not be sent; one that has no asking left is given up."""
        if batch.attempt == 0:
            self._engine.unsent(batch.key)
            return
        self._engine.unasked(batch.key, now=self._clock.now())
        if self._engine.batch(batch.key) is None:
            await self._store(lambda txn: epochs.drop_owed(txn, batch.key))

    async def _answer(self, question: Question) -> Verified | NoAnswer | None:
        """Return what the miner answered; None when we gave up before it could."""
        peer = self._parts.directory.peer(question.batch.key.miner)
        asking = self._parts.asker.ask(peer, question.request, self._scope(question), question.piece_lengths)
        try:
            return await self._patiently(asking)
        except TimeoutError:
            return None
        except Exception:  # the top of a supervised task: our own fault is none of the miner's
            log.exception("unexpected error while asking %s", peer)
            return None

    async def _patiently(self, waiting: Coroutine[object, object, T]) -> T:
        """Return what comes of it, unless the epoch is closed before. Raises TimeoutError then."""
        async with asyncio.timeout_at(self._over) as patience:
            self._patience.add(patience)
            try:
                return await waiting
            finally:
                self._patience.discard(patience)

    async def _attested(self, key: BatchKey, outcome: Outcome) -> tuple[Attestation, ...]:
        """Return what others say of a miner that never answered, where we may not take its pieces alone."""
        if self._may_attest or outcome is not Outcome.FAIL:
            return ()
        try:
            return await self._patiently(self._parts.witnesses.against(key.miner))
        except TimeoutError:
            return ()  # it fails again
        except Exception:  # as above: it is entered all the same
            log.exception("unexpected error while asking who else misses %s", _name(key.miner))
            return ()

    async def _enter(self, question: Question, answer: Verified | NoAnswer | None) -> None:
        """Tell the engine what came of an asking, and store what it makes of it."""
        key, header = question.batch.key, self._header
        assert header is not None, "nothing is asked before there is a header"
        verdicts = answer.verdicts if isinstance(answer, Verified) else ()
        # Reads only, but behind every report that was dated before the batch was sent.
        voids = await self._store(lambda txn: self._voids(txn, question, header, verdicts))
        if self._engine.batch(key) is None:
            return  # the miner left while it was asked
        now = self._clock.now()
        match answer:
            case Verified():
                passed = is_passed(answer.verdicts, voids)
                outcome = self._engine.answered(key, passed=passed, now=now)
            case NoAnswer():
                outcome = self._engine.unanswered(key, was_there=answer.was_there, now=now)
            case None:
                outcome = self._engine.unasked(key, now=now)
        verified = answer if isinstance(answer, Verified) else None
        entered = told(question, self._scope(question), outcome, verified, voids)
        level = logging.DEBUG if outcome is Outcome.PASS else logging.INFO
        log.log(level, "batch %d of %s: %s", key.number, _name(key.miner), outcome.name)
        self._room.add(entered.entry)
        owed, may_attest = self._engine.batch(key), self._may_attest
        attested = () if verified is not None else await self._attested(key, outcome)
        await self._store(
            lambda txn: enter(
                txn,
                self._home,
                header.epoch,
                question,
                entered,
                owed,
                may_attest=may_attest,
                attestations=attested,
                now=int(self._clock.now()),
            )
        )

    def _voids(
        self, reader: Reader, question: Question, header: EpochHeader, verdicts: Sequence[Verdict]
    ) -> tuple[Void, ...]:
        """Return the entries that count for nothing; ``header`` is of the epoch in which the batch was asked.

        Only what was released when that began excuses, so that no release can follow an answer to excuse it.
        """
        key = question.batch.key
        seq, by_seq = self._head_seq(reader, key), self._parts.closing.head_seq(header)
        reports = reported(reader, key.miner, set(question.roots), after_seq=seq)
        roots = not_shown(question, verdicts)
        found = {root: released_at(reader, key.miner, root, seq, by_seq=by_seq) for root in roots}
        releases = {root: body_id for root, body_id in found.items() if body_id is not None}
        return voids_of(question, reports, releases, verdicts)

    def _head_seq(self, reader: Reader, key: BatchKey) -> int:
        """Return the record that the inventory of a batch's epoch was as of."""
        header = epochs.get_header(reader, key.epoch)
        return 0 if header is None else self._parts.closing.head_seq(header)

    def _scope(self, question: Question) -> Scope:
        return Scope(self._home.network, self._home.netuid, self._home.hotkey, question.batch.key.miner)

    async def _drain(self) -> None:
        """Wait a little for the answers under way; what is not in then was not asked."""
        loop = asyncio.get_running_loop()
        self._over = loop.time() + min(GRACE_SECONDS, self._parts.epoch_seconds / 4)
        for patience in self._patience:
            patience.reschedule(self._over)
        while self._asking:
            await asyncio.wait(self._asking)
        self._over = None

    def _is_newest(self, epoch: int) -> bool:
        return self._header is not None and self._header.epoch == epoch

    async def _forget(self, header: EpochHeader) -> None:
        """Remove what is older than anybody may ask for, in portions."""
        oldest = max(0, header.epoch - KEPT_EPOCHS)
        await self._until_done(lambda txn: epochs.forget(txn, oldest, FORGOTTEN_PER_TURN))
        first = await self._database.read(epochs.oldest_header)
        if first is not None:
            seq = self._parts.closing.head_seq(first)
            await self._until_done(lambda txn: forget_ended(txn, seq, FORGOTTEN_PER_TURN))

    async def _until_done(self, work: Callable[[Transaction], int]) -> None:
        while await self._database.transact(work) == FORGOTTEN_PER_TURN:
            pass

    async def _store(self, work: Callable[[Transaction], T]) -> T:
        """Make a change durable; without that, auditing cannot go on and the validator ends.

        Raises TemporaryError when the database does not take it in several tries.
        """
        try:
            result = await self._try_to_store(work)
        except TemporaryError:
            self._unstored += 1
            raise
        self._unstored = 0
        return result

    async def _try_to_store(self, work: Callable[[Transaction], T]) -> T:
        for _ in range(STORE_TRIES - 1):
            try:
                return await self._database.transact(work)
            except TemporaryError as error:
                log.error("what was audited cannot be stored yet: %s", error)
                await self._clock.sleep(STORE_PAUSE_SECONDS)
        return await self._database.transact(work)


def _holders(reader: Reader) -> list[PublicKey]:
    return list(holders(reader))


def _key_of(entry: TranscriptEntry) -> BatchKey:
    return BatchKey(entry.epoch, entry.miner, entry.batch)


def _name(miner: PublicKey) -> str:
    return ss58_encode(miner)[:8] + "…"
