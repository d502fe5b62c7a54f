"""The engine against a plain model, over random answers, silence, absence, restarts and time (PROTOCOL §5.5)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hippy.hashing import digest
from hippy.ids import NetworkId, PublicKey
from hippy.proofs.transcript import Transcript, TranscriptScope
from hippy.proofs.transcript_entry import Outcome, TranscriptEntry
from hippy.proofs.verify import Verdict
from hippy.validator.audit.batch import OpenBatch
from hippy.validator.audit.engine import AuditEngine
from hippy.validator.audit.rules import AuditRules
from hippy.validator.audit.schedule import BatchKey, schedule

MINERS = [PublicKey(bytes([number]) * 32) for number in range(1, 5)]
NETWORK, VALIDATOR = NetworkId(b"n" * 32), PublicKey(b"v" * 32)
EPOCH_SECONDS, ROUND_SECONDS, ROUNDS = 4_320, 12, 360
START = 1_800_000_000
SETTLED = (Outcome.PASS, Outcome.FAIL)
DAY = 86_400.0


@dataclass
class Life:
    """What the model knows of one batch."""

    first_time: float
    asked_times: list[float] = field(default_factory=list)
    silences: int = 0
    outcomes: list[Outcome] = field(default_factory=list)
    is_doubted: bool = False
    """Whether anything of ours, doubt or a failed asking, ever put it off."""


class Histories(RuleBasedStateMachine):
    """One validator and four miners; time goes by seconds to hours."""

    def __init__(self) -> None:
        super().__init__()
        self.audit_rules = AuditRules()
        self.engine = AuditEngine(self.audit_rules)
        self.now = float(START)
        self.epoch = 0
        self.lives: dict[BatchKey, Life] = {}
        self.asking: dict[BatchKey, OpenBatch] = {}
        self.entries: list[TranscriptEntry] = []
        self.there = dict.fromkeys(MINERS, True)
        self.was_majority_missing = False
        self.streak = 0
        self.doubted_epochs: set[int] = set()
        self.scheduled: set[BatchKey] = set()
        self.begin()

    # What happens.

    def begin(self) -> None:
        batches = schedule(
            digest(b"secret %d" % self.epoch),
            epoch=self.epoch,
            first_round=self.epoch * ROUNDS,
            rounds=ROUNDS,
            batches=dict.fromkeys(MINERS, 4),
        )
        given_up = {each.key for each in self.engine.begin_epoch(batches, MINERS)}
        assert given_up == {key for key in self.scheduled if key not in self.lives}
        self.check_transcript()
        self.scheduled = {each.key for each in batches}
        self.was_majority_missing = self.is_majority_missing

    @property
    def is_majority_missing(self) -> bool:
        return 2 * list(self.there.values()).count(False) > len(MINERS)

    @property
    def doubts(self) -> bool:
        return self.is_majority_missing and self.streak < 2

    def saw(self, miner: PublicKey, *, there: bool) -> None:
        self.there[miner] = there
        self.was_majority_missing = self.was_majority_missing or self.is_majority_missing
        if self.doubts:
            self.doubted_epochs.add(self.epoch)

    @rule(seconds=st.sampled_from([0, 1, 30, 299, 300, 1_200, 3_600, 20_000, 86_400]))
    def wait(self, seconds: int) -> None:
        self.pass_time(seconds)

    @precondition(lambda self: self.engine.next_time() is not None)
    @rule()
    def wait_until_one_is_due(self) -> None:
        self.pass_time(max(0.0, (self.engine.next_time() or 0.0) - self.now))

    def pass_time(self, seconds: float) -> None:
        end = self.now + seconds
        while (next_epoch := START + (self.epoch + 1) * EPOCH_SECONDS) <= end:
            self.now = max(self.now, next_epoch)
            self.streak = self.streak + 1 if self.was_majority_missing else 0
            self.epoch += 1
            self.begin()
            if self.doubts:
                self.doubted_epochs.add(self.epoch)
        self.now = end
        newest_round = int((self.now - START) // ROUND_SECONDS)
        for batch in self.engine.due(self.now, newest_round):
            self.ask(batch)
        assert (self.engine.next_time() or self.now + 1) > self.now

    def ask(self, batch: OpenBatch) -> None:
        assert batch.key not in self.asking, "asked twice at once"
        life = self.lives.setdefault(batch.key, Life(self.now))
        assert batch.attempt == len(life.asked_times)
        assert not set(life.outcomes) & set(SETTLED)
        if life.asked_times:
            pause = self.audit_rules.pause_seconds(batch.attempt)
            assert self.now >= min(life.asked_times[-1] + pause, life.first_time + DAY)
        life.asked_times.append(self.now)
        self.asking[batch.key] = batch

    @precondition(lambda self: self.asking)
    @rule(data=st.data(), how=st.sampled_from(["pass", "wrong", "silent", "silent", "offline", "offline", "ours"]))
    def hear(self, data: st.DataObject, how: str) -> None:
        key = data.draw(st.sampled_from(sorted(self.asking)))
        self.settle(key, how)

    @precondition(lambda self: self.asking)
    @rule(how=st.sampled_from(["silent", "offline"]))
    def hear_nothing_from_anybody(self, how: str) -> None:
        for key in sorted(self.asking):
            self.settle(key, how)

    def settle(self, key: BatchKey, how: str) -> None:
        batch, life = self.asking.pop(key), self.lives[key]
        match how:
            case "pass" | "wrong":
                self.saw(key.miner, there=True)
                outcome = self.engine.answered(key, passed=how == "pass", now=self.now)
                expected = Outcome.PASS if how == "pass" else Outcome.FAIL
            case "ours":
                outcome, expected, life.is_doubted = self.engine.unasked(key, now=self.now), Outcome.UNKNOWN, True
            case _:
                self.saw(key.miner, there=how == "silent")
                outcome = self.engine.unanswered(key, was_there=how == "silent", now=self.now)
                expected = self.unanswered(life, how)
        assert outcome is expected
        life.outcomes.append(outcome)
        self.enter(batch, outcome, answered=how in ("pass", "wrong"))
        assert (self.engine.batch(key) is None) == (outcome in SETTLED)

    def unanswered(self, life: Life, how: str) -> Outcome:
        if self.doubts:
            life.is_doubted = True
            return Outcome.UNKNOWN
        if life.asked_times[-1] >= life.first_time + DAY:
            return Outcome.FAIL
        if how == "offline":
            return Outcome.OFFLINE
        life.silences += 1
        return Outcome.FAIL if life.silences == 4 else Outcome.SILENT

    def enter(self, batch: OpenBatch, outcome: Outcome, *, answered: bool) -> None:
        request_hash = digest(repr((batch.key, batch.attempt)).encode())
        response: dict[str, Any] = {}
        if answered:
            verdict = Verdict.OK if outcome is Outcome.PASS else Verdict.WRONG
            response = {"response_hash": b"r" * 32, "signature": b"s" * 64, "verdicts": (verdict,) * 64}
        epoch, miner, number = batch.key
        self.entries.append(
            TranscriptEntry(
                epoch,
                miner,
                number,
                batch.round,
                batch.attempt,
                int(batch.asked_time),
                outcome,
                request_hash,
                **response,
            )
        )

    @rule(miner=st.sampled_from(MINERS), there=st.booleans())
    def look_whether_a_miner_is_there(self, miner: PublicKey, there: bool) -> None:
        self.saw(miner, there=there)
        self.engine.contact(miner, there=there, now=self.now)

    @rule()
    def start_again(self) -> None:
        """Nobody is being asked: those who were are, once more, as if the outcome had been ours."""
        for key in sorted(self.asking):
            self.settle(key, "ours")
        unseen = {miner for miner, there in self.there.items() if not there}
        batches = schedule(
            digest(b"secret %d" % self.epoch),
            epoch=self.epoch,
            first_round=self.epoch * ROUNDS,
            rounds=ROUNDS,
            batches=dict.fromkeys(MINERS, 4),
        )
        self.engine = AuditEngine(self.audit_rules, owed=self.engine.owed, doubt_streak=self.engine.doubt_streak)
        asked = [key for key in self.lives if key.epoch == self.epoch]
        assert self.engine.begin_epoch(batches, MINERS, asked) == []
        was_majority_missing = self.was_majority_missing
        for miner in sorted(unseen):  # its first look at the miners
            self.engine.contact(miner, there=False, now=self.now)
        if was_majority_missing and not self.is_majority_missing:
            for there in (False, True):  # what the new run cannot know; the model's row goes on
                for miner in MINERS:
                    if self.there[miner]:
                        self.engine.contact(miner, there=there, now=self.now)

    # What always holds.

    def check_transcript(self) -> None:
        if self.epoch:
            Transcript(TranscriptScope(NETWORK, 1, VALIDATOR, self.epoch - 1), tuple(self.entries))
        self.entries = []

    @invariant()
    def owed_is_what_was_asked_and_is_not_settled(self) -> None:
        open_keys = {key for key, life in self.lives.items() if not set(life.outcomes) & set(SETTLED)}
        assert {batch.key for batch in self.engine.owed} == open_keys
        for miner in MINERS:
            assert self.engine.owed_by(miner) == sum(key.miner == miner for key in open_keys)

    @invariant()
    def it_doubts_as_the_model_does_and_at_most_two_epochs_in_a_row(self) -> None:
        assert self.engine.doubts == self.doubts
        assert not any({epoch, epoch + 1, epoch + 2} <= self.doubted_epochs for epoch in self.doubted_epochs)

    @invariant()
    def everything_owed_is_being_asked_or_will_be(self) -> None:
        waiting = [batch for batch in self.engine.owed if batch.key not in self.asking]
        assert (self.engine.next_time() is not None) == bool(waiting)
        for batch in waiting:
            limit = max(batch.first_time + DAY, batch.asked_time + 2 * DAY if self.lives[batch.key].is_doubted else 0)
            assert batch.ask_time <= max(limit, self.now) + self.audit_rules.pauses_seconds[-1]

    def teardown(self) -> None:
        """From now on nobody says anything: everything that is owed fails, within a day and the last pause."""
        for key in sorted(self.asking):
            self.settle(key, "silent")
        end = self.now + DAY + self.audit_rules.pauses_seconds[-1] + 4 * EPOCH_SECONDS
        while (due := self.engine.next_time()) is not None:
            assert due <= end
            self.now = max(self.now, due)
            for batch in self.engine.due(self.now, -1):
                self.engine.contact(MINERS[0], there=True, now=self.now)
                for miner in MINERS:  # they are there, so that nothing is doubted
                    self.engine.contact(miner, there=True, now=self.now)
                self.lives[batch.key].outcomes.append(self.engine.unanswered(batch.key, was_there=True, now=self.now))
        for life in self.lives.values():
            assert life.outcomes[-1] in SETTLED
            assert sum(outcome in SETTLED for outcome in life.outcomes) == 1


TestHistories = Histories.TestCase
TestHistories.settings = settings(derandomize=True, deadline=None, max_examples=60, stateful_step_count=40)


@pytest.mark.parametrize("was_there", [True, False], ids=["silent", "offline"])
def test_who_never_answers_fails_every_batch_within_a_day_and_the_last_pause(was_there: bool) -> None:
    """One of four miners, over five epochs; the others answer, so nothing is doubted."""
    rules, quiet = AuditRules(), MINERS[0]
    engine, now = AuditEngine(rules), float(START)
    first: dict[BatchKey, float] = {}
    failed: dict[BatchKey, float] = {}
    ends: list[float] = [START + epoch * EPOCH_SECONDS for epoch in range(1, 60)]
    epoch = 0
    while epoch < 5 or engine.owed:
        if epoch == 0 or now >= ends[epoch - 1]:
            count = 4 if epoch < 5 else 0
            batches = schedule(
                b"s" * 32,
                epoch=epoch,
                first_round=epoch * ROUNDS,
                rounds=ROUNDS,
                batches=dict.fromkeys(MINERS, count),
            )
            engine.begin_epoch(batches, MINERS)
            epoch += 1
        for batch in engine.due(now, int((now - START) // ROUND_SECONDS)):
            if batch.key.miner != quiet:
                assert engine.answered(batch.key, passed=True, now=now) is Outcome.PASS
                continue
            first.setdefault(batch.key, now)
            outcome = engine.unanswered(batch.key, was_there=was_there, now=now)
            if outcome is Outcome.FAIL:
                failed[batch.key] = now
            else:
                assert outcome is (Outcome.SILENT if was_there else Outcome.OFFLINE)
        now += ROUND_SECONDS
    assert len(failed) == 20
    assert failed.keys() == first.keys()
    latest = max(failed[key] - first[key] for key in failed)
    assert latest <= (85 * 60 + 3 * ROUND_SECONDS if was_there else DAY + ROUND_SECONDS)
    assert latest <= rules.owed_seconds + rules.pauses_seconds[-1]
