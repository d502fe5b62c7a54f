"""Everything a validator publishes, computed again by a stranger (PROTOCOL §6, Verifying). Pure.

Owns the order of the checks; each is a module of its own: headers.py, log.py, schedule.py, entries.py,
order.py, losses.py, sheet.py. Who fetches is hippy.validator.verifying.record.

What is not checked because nobody can, and is told as testimony: silence, absence, what was never asked; sums of
probes; that leaf bytes were there.

Example::

    verification = Verification(terms, headers, log, before=sheet_of_the_epoch_before)
    for epoch in epochs:                                    # a run without holes, oldest first
        check = verification.open_epoch(verification.read_transcript(epoch, transcript_file))
        check.begin({each: await beacon(each) for each in check.rounds})
        check.take_evidence(items)                          # as pages come
        match = check.close(sheet)
    verification.finish()
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hippy.errors import IntegrityError, ProtocolError
from hippy.ids import NetworkId, PublicKey
from hippy.proofs.transcript import Transcript, TranscriptScope, check_transcript, parse_transcript
from hippy.proofs.transcript_entry import Outcome, TranscriptEntry
from hippy.validator.audit.counting import leaves_by_miner
from hippy.validator.audit.rules import AuditRules
from hippy.validator.audit.schedule import BatchKey
from hippy.validator.scoring import Leaves, score_rules_for
from hippy.validator.verifying.difference import Difference
from hippy.validator.verifying.entries import EntryCheck
from hippy.validator.verifying.headers import HeaderChain, log_head
from hippy.validator.verifying.log import LogReading
from hippy.validator.verifying.losses import Failed, check_losses, check_lost
from hippy.validator.verifying.order import Order
from hippy.validator.verifying.schedule import check_owed, check_schedule, expected_batches
from hippy.validator.verifying.sheet import Registration, SheetBasis, check_sheet, other_rules
from hippy.wire.score import ScoreSheet

SLACK_EPOCHS = 3
"""An owed batch may stay open so much longer: two epochs of doubt, and the one in which it is asked again."""

ROUNDS_FACTOR = 4
"""How far an epoch's rounds may be from what the chain says now, where its tempo was changed."""


@dataclass(frozen=True, slots=True)
class Terms:
    """Whose record is checked, and what the chain says of it.

    ``epoch_seconds`` and ``rounds`` are those of an epoch now, ``registrations`` the miners registered now.
    """

    network: NetworkId
    netuid: int
    validator: PublicKey
    rules: AuditRules
    epoch_seconds: float
    rounds: int
    registrations: Mapping[PublicKey, Registration]


@dataclass(frozen=True, slots=True)
class EpochMatch:
    """What was found right in an epoch, and how much of it is the validator's word.

    ``entries`` of the transcript are ``answered``, or testimony: ``silent``, ``offline``, ``unknown`` (asked, nothing
    counted), ``never_asked``, ``failed_unanswered``. ``left_out`` miners have no row because they are not registered;
    ``rules`` says which constants of the sheet are not the protocol's.
    """

    epoch: int
    miners: int
    batches: int
    entries: int
    answered: int
    verdicts: int
    leaves_ok: int
    leaves_bad: int
    voids: int
    silent: int
    offline: int
    unknown: int
    never_asked: int
    failed_unanswered: int
    left_out: int
    rules: str | None

    @property
    def testimony_ppm(self) -> int:
        """The share of entries that rest on the validator's word."""
        return 1_000_000 * (self.entries - self.answered) // self.entries if self.entries else 0


class Verification:
    """A run of epochs, each closed by the header after it; headers and log were read before."""

    def __init__(self, terms: Terms, headers: HeaderChain, log: LogReading, before: ScoreSheet | None) -> None:
        """``before`` is the sheet of the epoch before the first, None where the first is the validator's first."""
        self.terms = terms
        self.headers = headers
        self.log = log
        self.sheet = before
        """The sheet of the last epoch that was closed."""

        self._order: Order | None = None

    def read_transcript(self, epoch: int, raw: bytes) -> Transcript:
        """Return the transcript of an epoch.

        Raises Difference unless it is well formed and the one that the next header names.
        """
        scope = TranscriptScope(self.terms.network, self.terms.netuid, self.terms.validator, epoch)
        root = self.headers.after(epoch).transcript_root
        assert root is not None  # check_shape: the header after is not the first
        try:
            transcript = parse_transcript(raw)
            if transcript.scope != scope:
                raise Difference("the transcript is of another epoch, validator or network", epoch=epoch)
            check_transcript(transcript, root)
        except (IntegrityError, ProtocolError) as error:
            raise Difference(f"the transcript does not hold: {error.message}", epoch=epoch) from None
        return transcript

    def open_epoch(self, transcript: Transcript) -> EpochCheck:
        """Check what batches there are, and return what checks the rest; the headers of all of them were added.

        Raises Difference.
        """
        epoch = transcript.scope.epoch
        header, rounds = self.headers.header(epoch), self.terms.rounds
        if header.is_committed and not rounds <= header.rounds * ROUNDS_FACTOR <= rounds * ROUNDS_FACTOR**2:
            what = f"an epoch of about {rounds} beacon rounds was expected, {header.rounds} were found"
            raise Difference(what, epoch=epoch)
        expected = expected_batches(header, self.headers.secret(epoch), self.log, self.sheet, self.terms.rules)
        check_schedule(epoch, expected, transcript.entries)
        if self._order is None:
            self._order = Order(self.terms.rules, epoch)
        for entry in transcript.entries:
            self._check_batch(entry, epoch)
            self._order.take(entry, epoch, self.headers.header(entry.epoch).time)
        return EpochCheck(self, transcript, expected)

    def close_epoch(self, epoch: int, sheet: ScoreSheet, failed: Failed) -> None:
        """Take the sheet of an epoch that was checked, and check what it cost in pieces. Raises Difference."""
        check_lost(epoch, failed, self.headers, self.log)
        check_losses(epoch, failed, self.headers, self.log)
        self.sheet = sheet

    def finish(self) -> None:
        """Check what goes beyond single epochs: batches owed too long.

        Raises Difference.
        """
        if self._order is not None:
            slack_seconds = SLACK_EPOCHS * self.terms.epoch_seconds + self.terms.rules.pauses_seconds[-1]
            end = self.headers.newest
            self._order.check_settled(end.time, self._last_asked, slack_seconds)

    def _check_batch(self, entry: TranscriptEntry, epoch: int) -> None:
        if entry.epoch == epoch:
            return  # the schedule has it
        if entry.epoch not in self.headers or entry.epoch == self.headers.oldest.epoch:
            raise Difference(
                f"the transcript of epoch {epoch} has it, but the headers of its own epoch and of the one before "
                "are not kept, so nobody can check it",
                epoch=entry.epoch,
                miner=entry.miner,
                batch=entry.batch,
            )
        check_owed(entry, self.headers.header(entry.epoch), self.headers.secret(entry.epoch), self.terms.rules)

    def _last_asked(self, key: BatchKey) -> int | None:
        """Return until when a batch was asked first, None where its miner left or the validator slept since."""
        departed_seq, registration = self.log.departed.get(key.miner, 0), self.terms.registrations.get(key.miner)
        if departed_seq > log_head(self.headers.header(key.epoch)).seq or self.headers.has_gap_since(key.epoch):
            return None
        if registration is None or registration.since_epoch > key.epoch:
            return None
        return self.headers.after(key.epoch).time


class EpochCheck:
    """The checks of one epoch that need beacons, evidence and the sheet."""

    def __init__(self, verification: Verification, transcript: Transcript, expected: Mapping[BatchKey, int]) -> None:
        self._verification = verification
        self._transcript = transcript
        self._expected = expected
        self._entries: EntryCheck | None = None
        self._taken = 0

    @property
    def epoch(self) -> int:
        """Whose epoch it is."""
        return self._transcript.scope.epoch

    @property
    def rounds(self) -> frozenset[int]:
        """The beacon rounds that :meth:`begin` needs; all lie in epochs of the headers."""
        return frozenset(entry.round for entry in self._transcript.entries if entry.asked)

    @property
    def missing(self) -> int:
        """Of how many entries the evidence was not taken yet."""
        return len(self._transcript.entries) - self._taken

    @property
    def taken(self) -> int:
        """Of how many entries the evidence was taken."""
        return self._taken

    def begin(self, beacons: Mapping[int, bytes]) -> None:
        """Take the beacons."""
        all_of_it, terms = self._verification, self._verification.terms
        self._entries = EntryCheck(
            terms.network, terms.netuid, terms.validator, all_of_it.headers, all_of_it.log, beacons, terms.rules
        )

    def take_evidence(self, items: Sequence[bytes]) -> None:
        """Check the next entries with their evidence, empty where there is none.

        Raises Difference for the first that is wrong, and for evidence of more entries than there are.
        """
        assert self._entries is not None
        if len(items) > self.missing:
            raise Difference("there is evidence of more entries than the transcript has", epoch=self.epoch)
        for evidence in items:
            self._entries.take(self._transcript.entries[self._taken], evidence)
            self._taken += 1

    def close(self, sheet: ScoreSheet) -> EpochMatch:
        """Check the sheet, once all evidence was taken, and return what was found right.

        Raises Difference.
        """
        assert self._entries is not None
        assert not self.missing
        verification, terms = self._verification, self._verification.terms
        after = verification.headers.after(self.epoch)
        if sheet.id(terms.network) != after.sheet_id:
            raise Difference(
                f"the score sheet is not the one that the header of epoch {after.epoch} names", epoch=self.epoch
            )
        asked = (entry for entry in self._transcript.entries if entry.asked)
        leaves = leaves_by_miner(asked, terms.rules.batch_leaves)
        seq, history = log_head(after).seq, verification.log.history
        basis = SheetBasis(
            network=terms.network,
            netuid=terms.netuid,
            validator=terms.validator,
            epoch=self.epoch,
            made_epoch=after.epoch,
            before=verification.sheet,
            leaves=leaves,
            held={miner: history.bytes_at(miner, seq) for miner in history.miners_at(seq)},
            registrations=terms.registrations,
            checks_age=verification.headers.header(self.epoch).rounds == terms.rounds,
        )
        verification.close_epoch(self.epoch, sheet, self._entries.failed)
        left_out = check_sheet(sheet, basis)
        return self._match(leaves, len(left_out), other_rules(sheet, score_rules_for(terms.rules)))

    def _match(self, leaves: Mapping[PublicKey, Leaves], left_out: int, rules: str | None) -> EpochMatch:
        assert self._entries is not None
        entries = self._transcript.entries
        outcomes = [entry.outcome for entry in entries if not entry.answered]
        never_asked = sum(not entry.asked for entry in entries)
        return EpochMatch(
            epoch=self.epoch,
            miners=len({key.miner for key in self._expected}),
            batches=len(self._expected),
            entries=len(entries),
            answered=sum(entry.answered for entry in entries),
            verdicts=self._entries.verdicts,
            leaves_ok=sum(each.ok for each in leaves.values()),
            leaves_bad=sum(each.bad for each in leaves.values()),
            voids=sum(len(entry.voids) for entry in entries),
            silent=outcomes.count(Outcome.SILENT),
            offline=outcomes.count(Outcome.OFFLINE),
            unknown=outcomes.count(Outcome.UNKNOWN) - never_asked,
            never_asked=never_asked,
            failed_unanswered=outcomes.count(Outcome.FAIL),
            left_out=left_out,
            rules=rules,
        )
