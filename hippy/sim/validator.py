"""One simulated validator: the real engine, challenges, scores and weights, driven through virtual time.

Events of an epoch are batches (at the round of each), liveness checks and reads; owed batches come in between when the
engine says so. Invariants: events happen in the order of their times; a batch's leaves are drawn once, from the
inventory of its epoch.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial
from typing import Final

from hippy.hashing import dk, keyed, u64
from hippy.ids import PublicKey
from hippy.proofs.challenge import batch_token, challenge_seed, draw
from hippy.proofs.inventory import Inventory
from hippy.proofs.transcript_entry import Outcome
from hippy.proofs.tree import LEAF_BYTES
from hippy.proofs.verify import Verdict
from hippy.sim.dossier import Dossier
from hippy.sim.miner import SimMiner
from hippy.sim.probing import SimProber
from hippy.sim.settings import Settings
from hippy.sim.strategy import ALL_SHOWN, Question
from hippy.validator.audit.batch import OpenBatch
from hippy.validator.audit.engine import AuditEngine
from hippy.validator.audit.rules import AuditRules
from hippy.validator.audit.schedule import BatchKey, Scheduled, schedule
from hippy.validator.placement import epoch_secret
from hippy.validator.scoring import Evidence, next_score
from hippy.wire.score import MinerScore, ScoreRules

AUDIT: Final = 0
LIVE: Final = 1
READ: Final = 2

PATH_BYTES: Final = 300
"""About what a leaf's siblings take."""

UNANSWERED_STAKE: Final = 1 / 3
"""With more than this share of the stake a validator may say alone that unanswered pieces are lost (§5.5)."""

Event = tuple[float, int, int]
"""Time, kind, and the beacon round or the place of a miner or of a group."""


class SimValidator:
    """One validator and all it knows."""

    def __init__(
        self,
        hotkey: PublicKey,
        secret: bytes,
        miners: Sequence[SimMiner],
        settings: Settings,
        audit_rules: AuditRules,
        rng: random.Random,
    ) -> None:
        self.hotkey = hotkey
        self.engine = AuditEngine(audit_rules)
        rules = ScoreRules()
        self.score_rules = rules.model_copy(
            update={"bps_per_terabyte": rules.bps_per_terabyte * settings.bytes_stand_for}
        )
        self.dossiers = {miner.hotkey: Dossier(self.score_rules.window_epochs) for miner in miners}
        self._secret = secret
        self._miners = miners
        self._by_hotkey = {miner.hotkey: miner for miner in miners}
        self._settings = settings
        self._rules = audit_rules
        self._rng = rng
        self._prober = SimProber(miners, self.dossiers, self.engine, self.score_rules, rng)
        self._questions: dict[BatchKey, Question] = {}
        self._epoch_secret = b""
        self._epoch = 0
        self._first_round = 0
        self._start_time = 0.0
        self._rounds: list[int] = []

    def run_epoch(self, epoch: int) -> list[MinerScore]:
        """Audit and probe for one epoch, and return its sheet."""
        self._begin(epoch)
        for time, kind, place in self._events():
            self._ask_owed(time)
            if kind == LIVE:
                self._prober.check(self._miners[place], time)
            elif kind == AUDIT:
                for batch in self.engine.due(time, place):
                    self._ask(batch, time)
            else:
                self._prober.read(self._prober.groups[place], time)
        self._ask_owed(self._start_time + self._settings.epoch_seconds)
        return self._sheet()

    def _begin(self, epoch: int) -> None:
        self._epoch = epoch
        self._epoch_secret = epoch_secret(self._secret, epoch)
        self._first_round = epoch * self._settings.rounds
        self._start_time = epoch * self._settings.epoch_seconds
        audited = {
            miner.hotkey: self._rules.batches_of(escalated=self._is_escalated(miner))
            for miner in self._miners
            if miner.shelf.inventory.total_leaves
        }
        batches = schedule(
            self._epoch_secret,
            epoch=epoch,
            first_round=self._first_round,
            rounds=self._settings.rounds,
            batches=audited,
        )
        self._rounds = [each.round for each in batches]
        given_up: list[Scheduled] = self.engine.begin_epoch(batches, audited)
        assert not given_up, "every round of an epoch comes within it"

    def _is_escalated(self, miner: SimMiner) -> bool:
        score = self.dossiers[miner.hotkey].score
        return score is not None and score.escalated_until is not None

    def _events(self) -> list[Event]:
        """Return the epoch's events by time; probes at times of a Poisson process that has so many events."""
        start, length, chance = self._start_time, self._settings.epoch_seconds, self._rng.random
        seconds, first = self._settings.round_seconds, self._first_round
        events: list[Event] = [(start + (number - first) * seconds, AUDIT, number) for number in set(self._rounds)]
        for place in range(len(self._miners)):
            events += [(start + length * chance(), LIVE, place) for _ in range(self._rules.live_checks)]
        for place in range(len(self._prober.groups)):
            events += [(start + length * chance(), READ, place) for _ in range(self._rules.reads)]
        events.sort()
        return events

    def _ask_owed(self, until: float) -> None:
        """Ask what was owed and is due by then."""
        while (time := self.engine.next_time()) is not None and time <= until:
            for batch in self.engine.due(time, -1):
                self._ask(batch, time)

    def _ask(self, batch: OpenBatch, now: float) -> None:
        miner = self._by_hotkey[batch.key.miner]
        question = self._question(batch, miner)
        answer_bytes = question.count * (LEAF_BYTES + PATH_BYTES)
        if batch.attempt == 0 and batch.key.number < self._rules.batches:
            miner.asked_bytes += answer_bytes
        deadline = self._rules.deadline_seconds(miner.link.round_trip_seconds, answer_bytes)
        verdicts = None
        if miner.is_there(now):
            verdicts = miner.strategy.answer(miner.shelf, question, now)
        if verdicts is not None:
            took = miner.link.exchange_seconds(answer_bytes, self._rng)
            miner.served_bytes += answer_bytes + miner.strategy.extra_bytes(answer_bytes)
            if took <= deadline:
                self._judge(batch, miner, question, verdicts, now + took)
                return
        self._miss(batch, miner, question, now, now + deadline)

    def _question(self, batch: OpenBatch, miner: SimMiner) -> Question:
        question = self._questions.get(batch.key)
        if question is None:
            numbers = partial(self._numbers, self._epoch_secret, batch.key, batch.round, miner.shelf.inventory)
            question = Question(batch.round, self._rules.batch_leaves, miner.shelf.inventory, numbers)
            self._questions[batch.key] = question
        return question

    def _numbers(self, secret: bytes, key: BatchKey, number: int, inventory: Inventory) -> tuple[int, ...]:
        """Return the leaves of a batch, once somebody looks at them: most miners have whatever is asked."""
        token = batch_token(secret, key.miner, key.number)
        seed = challenge_seed(token, self._beacon(number), self.hotkey, key.miner, key.epoch, key.number)
        return draw(seed, self._rules.batch_leaves, inventory.total_leaves)

    def _beacon(self, number: int) -> bytes:
        return keyed(dk("sim-beacon"), u64(self._settings.seed), u64(number))

    def _judge(
        self, batch: OpenBatch, miner: SimMiner, question: Question, verdicts: Sequence[Verdict], now: float
    ) -> None:
        """Settle a batch that was answered."""
        dossier = self.dossiers[miner.hotkey]
        miner.seen_time = now
        if verdicts is ALL_SHOWN or not (bad := _not_shown(verdicts)):
            dossier.leaves_ok += len(verdicts)
            self.engine.answered(batch.key, passed=True, now=now)
        else:
            void = _voids(miner, question)
            dossier.count([each for place, each in enumerate(verdicts) if place not in void])
            passed = void.issuperset(bad)
            self.engine.answered(batch.key, passed=passed, now=now)
            miner.shelf.lose(question.entries[place].root for place in bad if place not in void)
        del self._questions[batch.key]

    def _miss(self, batch: OpenBatch, miner: SimMiner, question: Question, asked_time: float, now: float) -> None:
        """Tell the engine that an asking stayed unanswered, after liveness checks at once and in the minutes after."""
        rules = self._rules
        near = miner.seen_time >= asked_time - rules.there_seconds
        looks = [now] * 3 + sorted(now + self._rng.uniform(0, rules.back_seconds) for _ in range(rules.back_looks))
        was_there = near or any(self._prober.shakes_hands(miner, look) for look in looks)
        if self.engine.unanswered(batch.key, was_there=was_there, now=now) is Outcome.FAIL:
            void = _voids(miner, question)
            kept = [entry for place, entry in enumerate(question.entries) if place not in void]
            self.dossiers[miner.hotkey].leaves_bad += len(kept)
            if self._settings.validators * UNANSWERED_STAKE < 1:
                miner.shelf.lose(entry.root for entry in kept)
            del self._questions[batch.key]

    def _sheet(self) -> list[MinerScore]:
        """Return the scores of all miners that hold something or were audited."""
        for miner in self._miners:
            dossier = self.dossiers[miner.hotkey]
            leaves, tally = dossier.end_epoch()
            if dossier.score is None and not miner.shelf.inventory.total_leaves:
                continue
            evidence = Evidence(
                miner.hotkey, miner.coldkey, miner.uid, miner.shelf.owed_bytes, 0, leaves, tally, self._epoch
            )
            dossier.score = next_score(dossier.score, evidence, self.score_rules, epoch=self._epoch)
        return [score for each in self._miners if (score := self.dossiers[each.hotkey].score) is not None]


def _not_shown(verdicts: Sequence[Verdict]) -> list[int]:
    return [place for place, verdict in enumerate(verdicts) if verdict is not Verdict.OK]


def _voids(miner: SimMiner, question: Question) -> set[int]:
    """Return the entries whose loss was reported before the question's round."""
    reported = miner.shelf.reported
    if not reported:
        return set()
    rounds = [reported.get(entry.root) for entry in question.entries]
    return {place for place, known in enumerate(rounds) if known is not None and known < question.round}
