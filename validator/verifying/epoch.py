"""Everything a validator publishes, computed again by a stranger (PROTOCOL §6, Verifying). Pure.

Owns the order of the checks; each is a module of its own: headers.py, timing.py, log.py, schedule.py, entries.py,
order.py, losses.py, moves.py, releases.py, receipts.py, sheet.py. Who fetches is hippy.validator.verifying.record.

What is not checked because nobody can, and is told as testimony (testimony.py): silence, absence, what was never asked;
sums of probes; pay classes; that leaf bytes were there; that a piece was badly coded; how a moved piece's miner was
drawn among the candidates.

Example::

    verification = Verification(terms, headers, log, before=sheet_of_the_epoch_before)
    verification.check_frame(epochs[0])                     # again whenever headers were added
    verification.take_earlier(epoch_before, askings)        # of epochs before those, oldest first
    for epoch in epochs:                                    # a run without holes, oldest first
        check = verification.open_epoch(verification.read_transcript(epoch, transcript_file))
        check.begin({each: await beacon(each) for each in check.rounds})
        check.take_evidence(items)                          # as pages come
        match = check.close(sheet)
    verification.finish()
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from hippy.errors import IntegrityError, ProtocolError
from hippy.ids import PublicKey
from hippy.proofs.transcript import Transcript, TranscriptScope, check_transcript, parse_transcript
from hippy.proofs.transcript_entry import Outcome, TranscriptEntry
from hippy.validator.audit.counting import leaves_by_miner
from hippy.validator.audit.schedule import BatchKey
from hippy.validator.scoring import Leaves, score_rules_for
from hippy.validator.verifying.difference import Difference, Remark, before_the_range
from hippy.validator.verifying.entries import EntryCheck
from hippy.validator.verifying.headers import HeaderChain, log_head
from hippy.validator.verifying.log import LogReading
from hippy.validator.verifying.losses import Failed, check_losses, check_lost, failed_roots, false_departures
from hippy.validator.verifying.order import Asking, Order
from hippy.validator.verifying.receipts import ReceiptCheck
from hippy.validator.verifying.releases import early_releases
from hippy.validator.verifying.schedule import check_owed, check_schedule, expected_batches
from hippy.validator.verifying.sheet import SheetBasis, check_sheet, other_rules
from hippy.validator.verifying.terms import EpochMatch, Terms
from hippy.validator.verifying.testimony import Testimony
from hippy.validator.verifying.timing import check_timing
from hippy.wire.pace import pace_of
from hippy.wire.score import ScoreSheet

SLACK_EPOCHS = 3
"""An owed batch may stay open so much longer: two epochs of doubt, and the one in which it is asked again."""

ROUNDS_FACTOR = 4
"""How far an epoch's rounds may be from what the chain says now, where its tempo was changed."""

PAUSED_SHARE = 0.1
"""Of the epochs: who sleeps through more of them, and often, is told of."""


class Verification:
    """A run of epochs, each closed by the header after it; headers and log were read before."""

    def __init__(self, terms: Terms, headers: HeaderChain, log: LogReading, before: ScoreSheet | None) -> None:
        """``before`` is the sheet of the epoch before the first, None where the first is the validator's first."""
        self.terms = terms
        self.headers = headers
        self.log = log
        self.sheet = before
        """The sheet of the last epoch that was closed."""

        self.testimony = Testimony()
        self._frame: list[Remark] = []
        self._earlier: list[Remark] = []
        self._order: Order | None = None
        self._receipts = ReceiptCheck(log.history, log.receipts, terms.network, terms.rng)

    def check_frame(self, first: int) -> None:
        """Check the headers against chain and log, and the log's departures and releases against chain and time.

        Raises Difference for epochs from ``first`` on; what is wrong with those before becomes a remark.
        """
        terms, headers, log = self.terms, self.headers.oldest_first, self.log
        for header in headers:
            log.check_header(header)
        log.check_report_rounds(headers)
        self._frame.clear()
        place = next(place for place, header in enumerate(headers) if header.epoch >= first)
        log.check_times(headers[place:])
        self._allow(first, lambda: log.check_times(headers[: place + 1], to_end=False))
        if terms.moment is not None:
            self._allow(first, self._check_timing)
        registered = terms.registrations.items()
        certain = {miner: each.certain_time for miner, each in registered if each.certain_time is not None}
        for difference in false_departures(headers, log, certain):
            self._meet(first, difference)
        for difference in early_releases(headers, log.quick_releases, pace_of(terms.epoch_seconds)):
            self._meet(first, difference)

    def _check_timing(self) -> None:
        terms, headers = self.terms, self.headers.oldest_first
        assert terms.moment is not None
        self._frame += check_timing(headers, terms.moment, epoch_seconds=terms.epoch_seconds, rounds=terms.rounds)

    def _allow(self, first: int, check: Callable[[], None]) -> None:
        try:
            check()
        except Difference as difference:
            self._meet(first, difference)

    def _meet(self, first: int, difference: Difference) -> None:
        """Raise a difference of ``first`` or later, and remember an earlier one."""
        if difference.epoch is None or difference.epoch >= first:
            raise difference
        self._frame.append(before_the_range(difference))

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
        for entry in transcript.entries:
            self._check_batch(entry, epoch)
            self.testimony.take(entry)
        self.take_order(epoch, map(Asking.of, transcript.entries))
        return EpochCheck(self, transcript, expected)

    def take_earlier(self, epoch: int, askings: Sequence[Asking]) -> None:
        """Take those of an epoch before the ones that are checked: what is wrong among them becomes a remark."""
        try:
            self.take_order(epoch, askings)
        except Difference as difference:
            self._earlier.append(before_the_range(difference))
            self._order = None  # begins again with the next epoch

    def take_order(self, epoch: int, askings: Iterable[Asking]) -> None:
        """Take the askings of an epoch's transcript, in order. Raises Difference."""
        if self._order is None:
            self._order = Order(self.terms.rules, epoch, self.terms.epoch_seconds)
        header, after = self.headers.header(epoch), self.headers.after(epoch)
        for asking in askings:
            # A header that nobody has any more: then its time excuses everything.
            began = self.headers.header(asking.epoch).time if asking.epoch in self.headers else 0
            self._order.take(asking, header, after, began)

    def close_epoch(self, epoch: int, sheet: ScoreSheet, failed: Failed) -> None:
        """Take the sheet of an epoch that was checked, and check what it cost in pieces. Raises Difference."""
        for miner, by_epoch in failed_roots(failed, "failed", "unanswered").items():
            for batch_epoch, roots in by_epoch.items():
                seq = log_head(self.headers.header(batch_epoch)).seq
                self._receipts.check_failed(batch_epoch, miner, roots, seq)
        self._receipts.check_some(epoch)
        check_lost(epoch, failed, self.headers, self.log)
        check_losses(epoch, failed, self.headers, self.log, self.terms)
        self.sheet = sheet

    def remarks(self) -> list[Remark]:
        """Return what is to be known of the epochs that were checked, though nothing in them is wrong."""
        found = [*self._frame, *self._earlier, *self._pauses(), *self._flaws()]
        if self.sheet is not None:
            rules = other_rules(self.sheet, score_rules_for(self.terms.rules))
            if rules is not None:
                found.append(Remark(f"its scores have rules of their own: {rules}", epoch=self.sheet.epoch))
            weights = {score.hotkey: score.weight for score in self.sheet.miners}
            found += self.testimony.remarks(weights)
        return found

    def _pauses(self) -> list[Remark]:
        """Tell of epochs in which nothing was asked, where they are no exception."""
        later = [header for header in self.headers.oldest_first if header.prev_epoch is not None]
        idle = sum(not header.is_committed for header in later)
        if idle <= 1 or idle <= PAUSED_SHARE * len(later):
            return []
        return [Remark(f"in {idle} of the newest {len(later)} epochs nothing was asked: it had slept before them")]

    def _flaws(self) -> list[Remark]:
        """Tell of pieces that are said to be badly coded."""
        count = self.log.history.flawed_count
        what = f"pieces that it says were badly coded, and does not repair: {count:,}"
        return [Remark(f"{what}; nobody can check that without reading their segments")] if count else []

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
        if key.epoch not in self.headers:
            return None
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
            terms.network,
            terms.netuid,
            terms.validator,
            self.epoch,
            all_of_it.headers,
            all_of_it.log,
            beacons,
            terms.rules,
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
            is_newest=after is verification.headers.newest,
            audit_rules=terms.rules,
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
