"""Who held what when, from the public log alone: what a stranger needs to check a validator's audits (PROTOCOL §5, §6).

Pure, in memory, and independent of the database that hippy.validator.holdings keeps: both are folds over the same
records and must give the same answers. Whoever feeds it has verified the chain up to a signed head
(hippy.validator.log); this checks what is in the bodies, as far as it says who holds what. Receipts are not verified.

Layout: miners and holdings are numbered, the holdings of one segment in a row. A segment has one run of bytes for its
roots, a holding 21 bytes in arrays. A million holdings of 24-piece segments take some 70 MB.

Example::

    history = History(network)
    for entry in entries:
        history.apply(entry)
    history.inventory_at(miner, head.seq)
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from operator import attrgetter

from hippy.errors import AuthError, IntegrityError, ProtocolError
from hippy.ids import ID_BYTES, NetworkId, PublicKey, Root, SegmentId
from hippy.proofs.inventory import Inventory
from hippy.validator.held import HeldBytes, HeldPiece, distinct, is_paid, tally
from hippy.validator.losses import Reported
from hippy.wire.audit import LostReport
from hippy.wire.log import Departure, LogEntry, LogRecord, Loss, LostPiece
from hippy.wire.segment import SegmentRecord


@dataclass(frozen=True, slots=True)
class _Segment:
    """A committed segment; its holdings are those ``numbers``."""

    segment_id: SegmentId
    account: PublicKey
    since_seq: int
    piece_length: int
    is_paid: bool
    roots: bytes
    numbers: range

    def root(self, index: int) -> Root:
        """Return the root of a piece."""
        return Root(self.roots[index * ID_BYTES : (index + 1) * ID_BYTES])


class History:
    """The holdings of a home's log, as of any of its records."""

    def __init__(self, network: NetworkId) -> None:
        self._network = network
        self._segments: list[_Segment] = []
        self._places: dict[SegmentId, int] = {}
        self._miners: dict[PublicKey, int] = {}
        self._holdings: list[array[int]] = []
        """Numbers of the holdings of each miner, ascending."""
        self._segment_of = array("I")
        self._miner_of = array("I")
        self._index_of = array("B")
        self._until = array("Q")
        self._reports: dict[tuple[PublicKey, Root], list[tuple[int, Reported]]] = {}
        self._accounts: dict[PublicKey, PublicKey] = {}
        self.seq = 0
        """The last record that was applied."""

    def apply(self, entry: LogEntry) -> None:
        """Take the next entry of a verified log.

        Raises IntegrityError when it is not the next, or says of holdings what cannot be.
        """
        record = entry.record
        if record.seq != self.seq + 1:
            raise IntegrityError(f"log record {record.seq} does not follow record {self.seq}")
        try:
            if entry.segment is not None:
                self._commit(entry.segment, record.seq)
            if entry.departure is not None:
                self._depart(entry.departure, record.seq)
            if entry.loss is not None:
                self._lose(entry.loss, record)
        except (AuthError, ProtocolError) as error:
            raise IntegrityError(f"log record {record.seq}: {error.message}") from None
        self.seq = record.seq

    def miners_at(self, seq: int) -> list[PublicKey]:
        """Return every miner that held a piece as of record ``seq``, sorted."""
        return sorted(miner for miner in self._miners if next(self._held(miner, seq), None) is not None)

    def inventory_at(self, miner: PublicKey, seq: int) -> Inventory:
        """Return the distinct roots that a miner held as of record ``seq``."""
        held = self._held(miner, seq)
        pieces = ((segment.root(self._index_of[number]), segment.piece_length) for segment, number in held)
        return Inventory(distinct(sorted(pieces)))

    def bytes_at(self, miner: PublicKey, seq: int) -> HeldBytes:
        """Return what a miner's distinct roots added up to as of record ``seq``."""
        return tally(sorted(self.pieces_at(miner, seq), key=attrgetter("root")))

    def pieces_at(self, miner: PublicKey, seq: int) -> Iterator[HeldPiece]:
        """Yield what a miner held as of record ``seq``, in the order in which it got it."""
        for segment, number in self._held(miner, seq):
            index = self._index_of[number]
            yield HeldPiece(
                segment.root(index), segment.piece_length, segment.is_paid, segment.account, segment.segment_id, index
            )

    def reported(self, miner: PublicKey, root: Root, *, after_seq: int = 0) -> Reported | None:
        """Return when a miner first reported a piece lost behind record ``after_seq``, and by which report."""
        reports = self._reports.get((miner, root), ())
        return next((report for seq, report in reports if seq > after_seq), None)

    def _held(self, miner: PublicKey, seq: int) -> Iterator[tuple[_Segment, int]]:
        """Yield segment and number of the holdings of a miner as of a record."""
        for number in self._numbers(miner):
            segment, until = self._segments[self._segment_of[number]], self._until[number]
            if segment.since_seq > seq:
                return  # the rest came later still
            if until == 0 or until > seq:
                yield segment, number

    def _numbers(self, miner: PublicKey) -> array[int]:
        place = self._miners.get(miner)
        return array("I") if place is None else self._holdings[place]

    def _commit(self, record: SegmentRecord, seq: int) -> None:
        record.spec.check_shape()
        segment_id = record.segment_id
        if segment_id in self._places:
            raise ProtocolError("the segment is committed already")
        indices = [holding.index for holding in record.holdings]
        if len(set(indices)) != len(indices) or max(indices, default=0) >= record.spec.n:
            raise ProtocolError("a segment has holdings of distinct indices below n")
        first = len(self._until)
        self._places[segment_id] = len(self._segments)
        self._segments.append(
            _Segment(
                segment_id,
                self._accounts.setdefault(record.account, record.account),  # one object for all segments
                seq,
                record.spec.piece_length,
                is_paid(record.pay_class),
                b"".join(record.spec.roots),
                range(first, first + len(indices)),
            )
        )
        for holding in record.holdings:
            self._add_holding(holding.miner, holding.index)

    def _add_holding(self, miner: PublicKey, index: int) -> None:
        """Number a holding of the newest segment."""
        place = self._miners.setdefault(miner, len(self._miners))
        if place == len(self._holdings):
            self._holdings.append(array("I"))
        self._holdings[place].append(len(self._until))
        self._segment_of.append(len(self._segments) - 1)
        self._miner_of.append(place)
        self._index_of.append(index)
        self._until.append(0)

    def _depart(self, departure: Departure, seq: int) -> None:
        for number in self._numbers(departure.hotkey):
            self._until[number] = self._until[number] or seq

    def _lose(self, loss: Loss, record: LogRecord) -> None:
        loss.check_shape()
        if loss.report is not None:
            self._check_report(loss.report, loss, record.home)
        for number in [self._number(loss.miner, piece) for piece in loss.pieces]:
            self._until[number] = record.seq
        if loss.report is not None and loss.round is not None:
            report = Reported(loss.round, loss.report.id(self._network))
            for root in {piece.root for piece in loss.pieces}:
                self._reports.setdefault((loss.miner, root), []).append((record.seq, report))

    def _check_report(self, report: LostReport, loss: Loss, home: PublicKey) -> None:
        report.check_signature(loss.miner, self._network)
        if (report.miner, report.validator) != (loss.miner, home):
            raise ProtocolError("the lost report is by another miner, or to another validator")
        if not {piece.root for piece in loss.pieces}.issubset(report.roots):
            raise ProtocolError("the lost report does not name these pieces")

    def _number(self, miner: PublicKey, piece: LostPiece) -> int:
        """Return the number of a holding that has not ended."""
        place = self._places.get(piece.segment_id)
        segment = None if place is None else self._segments[place]
        if segment is not None and segment.root(piece.index) == piece.root:
            for number in segment.numbers:
                is_theirs = self._miner_of[number] == self._miners.get(miner)
                if self._index_of[number] == piece.index and is_theirs and self._until[number] == 0:
                    return number
        raise ProtocolError("a loss names a piece that the miner does not hold")
