"""The entries of a transcript, one by one: was this asked, is this what the miner answered (PROTOCOL §5.2-5.4).

Every request is drawn again from secret, beacon and inventory, every verdict computed again from the evidence, every
void held against the log. An inventory is kept while an epoch is checked.

Example::

    check = EntryCheck(network, netuid, validator, epoch, headers, log, beacons, rules)
    for entry, evidence in zip(transcript.entries, evidence_items):
        check.take(entry, evidence)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from hippy.errors import IntegrityError, ProtocolError, UsageError
from hippy.identity import verify
from hippy.ids import MessageId, NetworkId, PublicKey, Root
from hippy.proofs.challenge import draw_request
from hippy.proofs.evidence import parse_evidence, response_hash
from hippy.proofs.inventory import Inventory
from hippy.proofs.request import AuditRequest, Scope, encode_request, request_hash
from hippy.proofs.transcript_entry import Outcome, TranscriptEntry, Void, VoidReason
from hippy.proofs.verify import Verdict, verify_evidence
from hippy.validator.audit.rules import AuditRules
from hippy.validator.audit.schedule import BatchKey
from hippy.validator.verifying.difference import Difference
from hippy.validator.verifying.headers import HeaderChain, log_head
from hippy.validator.verifying.log import LogReading
from hippy.wire.log import LossReason


class EntryCheck:
    """Checks entries of the transcript of ``epoch``; ``beacons`` has every round that one was asked with."""

    def __init__(
        self,
        network: NetworkId,
        netuid: int,
        validator: PublicKey,
        epoch: int,
        headers: HeaderChain,
        log: LogReading,
        beacons: Mapping[int, bytes],
        rules: AuditRules,
    ) -> None:
        self._network = network
        self._netuid = netuid
        self._validator = validator
        self._epoch = epoch
        self._headers = headers
        self._log = log
        self._beacons = beacons
        self._rules = rules
        self._inventories: dict[tuple[int, PublicKey], Inventory] = {}
        self._released: dict[tuple[int, PublicKey], dict[Root, MessageId]] = {}
        self.verdicts = 0
        """How many were computed again."""

        self.failed: dict[tuple[BatchKey, LossReason], set[Root]] = {}
        """What miners may lose for it: the roots of which a leaf was not shown, or that a batch asked for in vain."""

    def take(self, entry: TranscriptEntry, evidence: bytes) -> None:
        """Check the next entry and what was published as its evidence.

        Raises Difference for another request, answer, verdict or void than everybody computes.
        """
        if not entry.asked:
            if evidence:
                raise _wrong(entry, "it was never asked, and yet there is evidence of an answer")
            return
        request = self._request(entry)
        self._check_voids(entry, request)
        if entry.answered:
            self._check_answer(entry, request, evidence)
        elif evidence:
            raise _wrong(entry, f"it was not answered ({entry.outcome.name}), and yet there is evidence of an answer")
        elif entry.outcome is Outcome.FAIL:
            self._note_failed(entry, request, set(range(len(request.entries))), "unanswered")

    def _request(self, entry: TranscriptEntry) -> AuditRequest:
        """Return the request of an asking, drawn again."""
        inventory = self._inventory(entry)
        if not inventory:
            raise _wrong(entry, "the miner held nothing as of the epoch's header, and yet it was asked")
        request = draw_request(
            self._headers.secret(entry.epoch),
            self._beacons[entry.round],
            validator=self._validator,
            miner=entry.miner,
            epoch=entry.epoch,
            batch=entry.batch,
            beacon_round=entry.round,
            attempt=entry.attempt,
            inventory=inventory,
            count=self._rules.batch_leaves,
        )
        expected = request_hash(self._scope(entry), encode_request(request))
        if entry.request_hash != expected:
            raise _wrong(
                entry,
                f"attempt {entry.attempt} asked for other leaves than were drawn: "
                f"request {expected.hex()} was expected, {entry.request_hash.hex()} was found",
            )
        return request

    def _check_answer(self, entry: TranscriptEntry, request: AuditRequest, evidence: bytes) -> None:
        inventory = self._inventory(entry)
        try:
            shown = parse_evidence(evidence)
            verdicts = verify_evidence(request, self._scope(entry), inventory, shown, entry.signature, verify)
        except (IntegrityError, ProtocolError, UsageError) as error:
            raise _wrong(entry, f"the evidence of attempt {entry.attempt} does not hold: {error.message}") from None
        if response_hash(shown) != entry.response_hash:
            raise _wrong(entry, f"the evidence of attempt {entry.attempt} is not that of the answer that was entered")
        self.verdicts += len(verdicts)
        for place, (expected, found) in enumerate(zip(verdicts, entry.verdicts, strict=False)):
            if expected != found:
                raise _wrong(
                    entry, f"the verdict of entry {place} is {expected.name} by the evidence, {found.name} was found"
                )
        if len(verdicts) != len(entry.verdicts):
            raise _wrong(entry, f"{len(verdicts)} verdicts were expected, {len(entry.verdicts)} were found")
        wrong = {place for place, verdict in enumerate(verdicts) if verdict is not Verdict.OK}
        self._note_failed(entry, request, wrong, "failed")

    def _note_failed(self, entry: TranscriptEntry, request: AuditRequest, places: set[int], reason: LossReason) -> None:
        places = places - {void.entry for void in entry.voids}
        if places:
            key = BatchKey(entry.epoch, entry.miner, entry.batch), reason
            self.failed[key] = {request.entries[place].root for place in places}

    def _check_voids(self, entry: TranscriptEntry, request: AuditRequest) -> None:
        """Accept the voids that reports and releases make: those that must be once it is settled, before that any."""
        needed = self._released_voids(entry, request) | self._reported_voids(entry, request)
        for void in entry.voids:
            if needed.get(void.entry) != void:
                why = self._no_such(void, entry)
                raise _wrong(entry, f"entry {void.entry} is void by {void.reference.hex()}, but {why}")
        missing = needed.keys() - {void.entry for void in entry.voids}
        if entry.settled and missing:
            void = needed[min(missing)]
            why = f"was reported lost before round {entry.round} by report {void.reference.hex()}"
            if void.reason is VoidReason.ENDED:
                why = f"was owed no longer by release or move {void.reference.hex()} when epoch {self._epoch} began"
            raise _wrong(entry, f"entry {void.entry} {why}, and yet it counts")

    def _no_such(self, void: Void, entry: TranscriptEntry) -> str:
        match void.reason:
            case VoidReason.REPORTED_LOST:
                return f"the log has no such report of an earlier round than {entry.round}"
            case VoidReason.ENDED:
                return (
                    f"by the header of epoch {self._epoch} the log does not release every holding of its piece, "
                    "or have the miner give it away, by that record, "
                    "or the leaf was shown"
                )
            case never:
                assert_never(never)

    def _reported_voids(self, entry: TranscriptEntry, request: AuditRequest) -> dict[int, Void]:
        head_seq = log_head(self._headers.header(entry.epoch)).seq
        voids: dict[int, Void] = {}
        for place, (root, _) in enumerate(request.entries):
            report = self._log.history.reported(entry.miner, root, after_seq=head_seq)
            if report is not None and report.round < entry.round:
                voids[place] = Void(place, VoidReason.REPORTED_LOST, report.report_id)
        return voids

    def _released_voids(self, entry: TranscriptEntry, request: AuditRequest) -> dict[int, Void]:
        """Return the voids of leaves that were not shown, of pieces that nothing owed when this epoch began."""
        if entry.epoch == self._epoch or set(entry.verdicts) == {Verdict.OK}:
            return {}  # most are so, and going through all that a miner held takes time
        found = self._releases(entry)
        shown = {place for place, verdict in enumerate(entry.verdicts) if verdict is Verdict.OK}
        return {
            place: Void(place, VoidReason.ENDED, found[root])
            for place, (root, _) in enumerate(request.entries)
            if root in found and place not in shown
        }

    def _releases(self, entry: TranscriptEntry) -> dict[Root, MessageId]:
        key = (entry.epoch, entry.miner)
        found = self._released.get(key)
        if found is None:
            since_seq = log_head(self._headers.header(entry.epoch)).seq
            by_seq = log_head(self._headers.header(self._epoch)).seq
            found = self._log.history.released(entry.miner, since_seq, by_seq)
            self._released[key] = found
        return found

    def _inventory(self, entry: TranscriptEntry) -> Inventory:
        key = (entry.epoch, entry.miner)
        found = self._inventories.get(key)
        if found is None:
            seq = log_head(self._headers.header(entry.epoch)).seq
            found = self._log.history.inventory_at(entry.miner, seq)
            self._inventories[key] = found
        return found

    def _scope(self, entry: TranscriptEntry) -> Scope:
        return Scope(self._network, self._netuid, self._validator, entry.miner)


def _wrong(entry: TranscriptEntry, what: str) -> Difference:
    return Difference(what, epoch=entry.epoch, miner=entry.miner, batch=entry.batch)
