"""A validator's log as a stranger reads it: page by page, chained, and held against its headers (PROTOCOL §5.1).

Owns the reading and what later checks ask of the log besides hippy.validator.history: ids of records, losses,
departures. Keeps 32 bytes per record, whatever is in it.

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
from itertools import pairwise
from operator import attrgetter

from hippy.errors import AuthError, IntegrityError, ProtocolError
from hippy.ids import ID_BYTES, ZERO_ID, NetworkId, PublicKey, Root
from hippy.validator.history import History
from hippy.validator.log import BEGINNING, TERM, verify_chain, verify_head
from hippy.validator.verifying.difference import Difference
from hippy.validator.verifying.headers import log_head
from hippy.wire.audit import EpochHeader
from hippy.wire.log import LogEntry, LogHead, LogPage, Loss, LossReason

ROUNDS_BEHIND_MAX = 8
"""By how many beacon rounds a node's view of the chain may go back when it asks another endpoint: two blocks."""


@dataclass(frozen=True, slots=True)
class FoundLoss:
    """Pieces of a miner that a record of the log ends because of a batch."""

    seq: int
    reason: LossReason
    miner: PublicKey
    epoch: int
    batch: int
    roots: frozenset[Root]


class LogReading:
    """What was read of the log of ``home``, from its first record on."""

    def __init__(self, network: NetworkId, home: PublicKey) -> None:
        self._network = network
        self._home = home
        self._at = BEGINNING
        self._ids = bytearray()
        self._report_seqs = array("Q")
        self._report_rounds = array("Q")
        self.history = History(network)
        self._losses: list[FoundLoss] = []

        self.departed: dict[PublicKey, int] = {}
        """The record of the last departure of each miner that departed."""

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

    def losses_between(self, after_seq: int, last_seq: int) -> list[FoundLoss]:
        """Return the losses of these records that are not the miner's own word."""
        first = bisect_right(self._losses, after_seq, key=attrgetter("seq"))
        return self._losses[first : bisect_right(self._losses, last_seq, key=attrgetter("seq"))]

    def _add(self, entry: LogEntry) -> None:
        record = entry.record
        if (record.home, record.term) != (self._home, TERM):
            raise Difference(f"record {record.seq} of the log is another log's")
        try:
            self._at = verify_chain((entry,), self._network, after=self._at)
            self.history.apply(entry)
        except (IntegrityError, AuthError, ProtocolError) as error:
            raise Difference(f"the log does not hold: {error.message}") from None
        self._ids += self._at.head
        if entry.departure is not None:
            self.departed[entry.departure.hotkey] = record.seq
        if entry.loss is not None:
            self._note(entry.loss, record.seq)

    def _note(self, loss: Loss, seq: int) -> None:
        if loss.round is not None:
            self._report_seqs.append(seq)
            self._report_rounds.append(loss.round)
        if loss.epoch is not None and loss.batch is not None:
            roots = frozenset(piece.root for piece in loss.pieces)
            self._losses.append(FoundLoss(seq, loss.reason, loss.miner, loss.epoch, loss.batch, roots))

    def _check_end(self, head: LogHead) -> None:
        try:
            verify_head(head, self._at, self._home, self._network)
        except (AuthError, IntegrityError) as error:
            raise Difference(f"the log's head does not hold: {error.message}") from None
