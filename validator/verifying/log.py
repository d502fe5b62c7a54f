"""A validator's log as a stranger reads it: page by page, chained, and held against its headers (PROTOCOL §5.1).

Owns the reading and what later checks ask of the log besides hippy.validator.history: ids of records, losses,
departures, releases, times, receipts, candidates. Keeps 40 bytes per record, whatever is in it, and a receipt per
holding in a file.

Example::

    log = LogReading(network, validator)
    while (page := await fetch(after=log.seq)).entries:
        log.add(page)
    log.check_header(header)
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, zip_longest
from operator import attrgetter

from hippy.errors import AuthError, IntegrityError, ProtocolError
from hippy.ids import ID_BYTES, ZERO_ID, NetworkId, PublicKey, Root
from hippy.validator.history import History
from hippy.validator.log import BEGINNING, TERM, verify_chain, verify_head
from hippy.validator.verifying.difference import Difference
from hippy.validator.verifying.headers import log_head
from hippy.validator.verifying.moves import CandidateSets
from hippy.validator.verifying.receipts import Receipts
from hippy.validator.verifying.releases import FoundRelease, found_release
from hippy.wire.attestation import Attestation
from hippy.wire.audit import EpochHeader
from hippy.wire.log import LogEntry, LogHead, LogPage, LogRecord, Loss, LossReason
from hippy.wire.pace import USUAL_PACE

RECORD_SECONDS = 20
"""By how much the times of a record and of a header may contradict their order: a request's time is taken when it
comes, and a busy validator writes some seconds later."""

ROUNDS_BEHIND_MAX = 8
"""By how many beacon rounds a node's view of the chain may go back when it asks another endpoint: two blocks."""


@dataclass(frozen=True, slots=True)
class FoundLoss:
    """Pieces of a miner that a record of the log ends because of a batch, at ``time`` as the record says it."""

    seq: int
    time: int
    reason: LossReason
    miner: PublicKey
    epoch: int
    batch: int
    roots: frozenset[Root]
    attestations: tuple[Attestation, ...]


@dataclass(frozen=True, slots=True)
class FoundDeparture:
    """A departure at ``time``, as its record says it, and when the miner got the oldest piece that it ended."""

    seq: int
    miner: PublicKey
    time: int
    oldest_time: int | None


class LogReading:
    """What was read of the log of ``home``, from its first record on."""

    def __init__(self, network: NetworkId, home: PublicKey) -> None:
        self._network = network
        self._home = home
        self._at = BEGINNING
        self._ids = bytearray()
        self._report_seqs = array("Q")
        self._report_rounds = array("Q")
        self._times = array("Q")
        self.history = History(network)
        self.receipts = Receipts()
        self._candidates = CandidateSets()
        self._losses: list[FoundLoss] = []

        self.departed: dict[PublicKey, int] = {}
        """The record of the last departure of each miner that departed."""

        self.departures: list[FoundDeparture] = []

        self.quick_releases: list[FoundRelease] = []
        """Those that waited for less than they have to on a subnet; on a local network that may be right."""

    @property
    def seq(self) -> int:
        """The last record that was read."""
        return self._at.seq

    def add(self, page: LogPage) -> None:
        """Take the next page.

        Raises Difference unless it continues what was read, and the head that it may have is its end.
        """
        if page.home != self._home:
            raise Difference("the log is of another validator")
        for entry in page.entries:
            self._add(entry)
        if page.head is not None:
            self._check_end(page.head)

    def check_header(self, header: EpochHeader) -> None:
        """Check that the head which a header names lies on the log.

        Raises Difference if it does not, or was not read up to there.
        """
        head = log_head(header)
        if head.seq > self.seq:
            raise Difference(
                f"the header names record {head.seq} of the log, which ends at {self.seq}", epoch=header.epoch
            )
        found = ZERO_ID if head.seq == 0 else self._ids[(head.seq - 1) * ID_BYTES : head.seq * ID_BYTES]
        if (head.term, head.head) != (TERM, found):
            raise Difference(
                f"the header names {head.head.hex()} as record {head.seq} of the log, which is {bytes(found).hex()}",
                epoch=header.epoch,
            )

    def check_report_rounds(self, headers: Sequence[EpochHeader]) -> None:
        """Check that the rounds at which losses were reported lie between those of the headers around them.

        Raises Difference for a report that is dated back or ahead. ``headers`` are in order.
        """
        for header, after in pairwise(headers):
            first, last = header.first_round - ROUNDS_BEHIND_MAX, after.first_round + ROUNDS_BEHIND_MAX
            low, high = log_head(header).seq, log_head(after).seq
            for place in range(bisect_right(self._report_seqs, low), bisect_right(self._report_seqs, high)):
                seq, reported_round = self._report_seqs[place], self._report_rounds[place]
                if not first <= reported_round <= last:
                    raise Difference(
                        f"record {seq} of the log says that a loss was reported in round {reported_round}, "
                        f"but it was written between rounds {header.first_round} and {after.first_round}",
                        epoch=header.epoch,
                    )

    def check_times(self, headers: Sequence[EpochHeader], *, to_end: bool = True) -> None:
        """Check that each header names the log as it was at the header's time, by the times of the records.

        Raises Difference for a header that leaves out records before it, or names one that came after. ``headers`` are
        in order; records behind the last are looked at unless ``to_end`` is False.
        """
        low = log_head(headers[0]).seq if headers else 0
        for header, after in zip_longest(headers, headers[1:]):
            if after is None and not to_end:
                return
            high = self.seq if after is None else log_head(after).seq
            for seq in range(low + 1, high + 1):
                time = self._times[seq - 1]
                if time < header.time - RECORD_SECONDS:
                    raise Difference(
                        f"record {seq} of the log is of {time}, before the header of {header.time}, "
                        f"which names record {low} as the newest",
                        epoch=header.epoch,
                    )
                if after is not None and time > after.time + RECORD_SECONDS:
                    raise Difference(
                        f"the header is of {after.time}, but names the log up to a record of {time}", epoch=after.epoch
                    )
            low = high

    def time_of(self, seq: int) -> int:
        """Return the time that a record says."""
        return self._times[seq - 1]

    def close(self) -> None:
        """Let go of the file of receipts."""
        self.receipts.close()

    def losses_between(self, after_seq: int, last_seq: int) -> list[FoundLoss]:
        """Return the losses of these records that are not the miner's own word."""
        first = bisect_right(self._losses, after_seq, key=attrgetter("seq"))
        return self._losses[first : bisect_right(self._losses, last_seq, key=attrgetter("seq"))]

    def _add(self, entry: LogEntry) -> None:
        record = entry.record
        if (record.home, record.term) != (self._home, TERM):
            raise Difference(f"record {record.seq} of the log is another log's")
        departing = None if entry.departure is None else entry.departure.hotkey
        oldest_seq = None if departing is None else self.history.first_held_seq(departing)
        try:
            self._at = verify_chain((entry,), self._network, after=self._at)
            self.history.apply(entry)
        except (IntegrityError, AuthError, ProtocolError) as error:
            raise Difference(f"the log does not hold: {error.message}") from None
        self._ids += self._at.head
        self._times.append(record.time)
        self._take_holdings(entry)
        if departing is not None:
            self.departed[departing] = record.seq
            oldest_time = None if oldest_seq is None else self.time_of(oldest_seq)
            self.departures.append(FoundDeparture(record.seq, departing, record.time, oldest_time))
        if entry.loss is not None:
            self._note(entry.loss, record)
        if entry.released is not None:
            release = found_release(entry.released, record, self.history, self.time_of)
            if release.seconds_early(USUAL_PACE) > 0:
                self.quick_releases.append(release)

    def _take_holdings(self, entry: LogEntry) -> None:
        """Keep the receipts of the holdings that an entry begins, in the order in which History numbers them."""
        for holding in entry.segment.holdings if entry.segment is not None else ():
            self.receipts.add(holding)
        if entry.candidates is not None:
            self._candidates.add(entry.candidates, entry.record.seq)
        if entry.moved is not None:
            self._candidates.check(entry.moved, entry.record.seq)
            self.receipts.add(entry.moved.holding)

    def _note(self, loss: Loss, record: LogRecord) -> None:
        if loss.round is not None:
            self._report_seqs.append(record.seq)
            self._report_rounds.append(loss.round)
        if loss.epoch is not None and loss.batch is not None:
            roots = frozenset(piece.root for piece in loss.pieces)
            found = (record.seq, record.time, loss.reason, loss.miner, loss.epoch, loss.batch, roots)
            self._losses.append(FoundLoss(*found, loss.attestations or ()))

    def _check_end(self, head: LogHead) -> None:
        try:
            verify_head(head, self._at, self._home, self._network)
        except (AuthError, IntegrityError) as error:
            raise Difference(f"the log's head does not hold: {error.message}") from None
