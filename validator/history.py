"""Who held what when, from the public log alone: what a stranger needs to check a validator's audits (PROTOCOL §5, §6).

Pure, in memory, and independent of the database that hippy.validator.holdings keeps: both are folds over the same
records and must give the same answers. Whoever feeds it has verified the chain up to a signed head
(hippy.validator.log); this checks what is in the bodies, as far as it says who holds what. Receipts are not verified
here: a holding has a number, by which whoever keeps receipts finds its own (hippy.validator.verifying.receipts).

Layout: miners and holdings are numbered, holdings from 0 in the order of the log, so that those of one miner ascend by
the record that began them. A segment has one run of bytes for its roots, a holding 29 bytes in arrays. A million
holdings of 24-piece segments take some 80 MB.

Example::

    history = History(network)
    for entry in entries:
        history.apply(entry)
    history.inventory_at(miner, head.seq)
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from operator import attrgetter
from typing import Final

from hippy.errors import AuthError, IntegrityError, ProtocolError
from hippy.ids import ID_BYTES, MessageId, NetworkId, PublicKey, Root, SegmentId
from hippy.proofs.inventory import Inventory
from hippy.validator.held import HeldBytes, HeldPiece, distinct, is_paid, tally
from hippy.validator.losses import Reported
from hippy.wire.audit import LostReport
from hippy.wire.canonical import CLOCK_TOLERANCE_SECONDS
from hippy.wire.log import Departure, LogEntry, LogRecord, Loss, LostPiece, SegmentReleased
from hippy.wire.repair import Drain, PieceMoved, SegmentFlawed
from hippy.wire.segment import Holding, SegmentRecord

REPORT_SECONDS: Final = CLOCK_TOLERANCE_SECONDS + 1
"""By how much the time of what a miner signed may differ from its record's: what a validator accepts, and whole
seconds."""


@dataclass(slots=True)
class _Segment:
    """A committed segment, by record ``since_seq``; its holdings are those ``numbers``, and then those ``moved``.

    ``released_seq`` is 0 while it is owed.
    """

    segment_id: SegmentId
    account: PublicKey
    since_seq: int
    piece_length: int
    is_paid: bool
    keep_until: int | None
    k: int
    roots: bytes
    numbers: range
    moved: tuple[int, ...] = ()
    released_seq: int = 0

    @property
    def n(self) -> int:
        """How many pieces it has."""
        return len(self.roots) // ID_BYTES

    def root(self, index: int) -> Root:
        """Return the root of a piece."""
        return Root(self.roots[index * ID_BYTES : (index + 1) * ID_BYTES])

    def holdings(self) -> Iterator[int]:
        """Yield the numbers of all holdings that it ever had."""
        yield from self.numbers
        yield from self.moved


class History:
    """The holdings of a home's log, as of any of its records."""

    def __init__(self, network: NetworkId) -> None:
        self._network = network
        self._segments: list[_Segment] = []
        self._places: dict[SegmentId, int] = {}
        self._miners: dict[PublicKey, int] = {}
        self._hotkeys: list[PublicKey] = []
        self._holdings: list[array[int]] = []
        """Numbers of the holdings of each miner, ascending."""
        self._segment_of = array("I")
        self._miner_of = array("I")
        self._index_of = array("B")
        self._since = array("Q")
        self._until = array("Q")
        self._reports: dict[tuple[PublicKey, Root], list[tuple[int, Reported]]] = {}
        self._accounts: dict[PublicKey, PublicKey] = {}
        self._release_seqs = array("Q")
        self._release_ids = bytearray()
        """Of the records that ended holdings without a loss, in order: released ones, and moves from who drains."""

        self._draining: set[PublicKey] = set()
        """Miners whose newest drain says that they want to leave."""

        self._flawed: set[tuple[SegmentId, int]] = set()
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
            if entry.released is not None:
                self._release(entry.released, record)
            if entry.moved is not None:
                self._move(entry.moved, record)
            if entry.drain is not None:
                self._drain(entry.drain, record)
            if entry.flawed is not None:
                self._flaw(entry.flawed)
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
            yield self._piece(segment, number)

    @property
    def holding_count(self) -> int:
        """How many holdings were ever begun; the next has this number."""
        return len(self._until)

    def holding(self, number: int) -> tuple[PublicKey, int, HeldPiece]:
        """Return the miner of a holding, the record that began it, and its piece."""
        segment = self._segments[self._segment_of[number]]
        return self._hotkeys[self._miner_of[number]], self._since[number], self._piece(segment, number)

    def numbers_of(
        self, miner: PublicKey, roots: Collection[Root], seq: int | None = None
    ) -> Iterator[tuple[Root, int]]:
        """Yield root and number of the holdings of these roots, as of record ``seq`` or, without, ever.

        Goes through all that the miner holds: ask for many roots at once.
        """
        held = self._held(miner, seq) if seq is not None else self._ever_held(miner)
        for segment, number in held:
            root = segment.root(self._index_of[number])
            if root in roots:
                yield root, number

    def first_held_seq(self, miner: PublicKey) -> int | None:
        """Return the oldest record of those that began what a miner holds now, None where it holds nothing."""
        numbers = (number for number in self._numbers(miner) if self._until[number] == 0)
        first = next(numbers, None)
        return None if first is None else self._since[first]

    def reported(self, miner: PublicKey, root: Root, *, after_seq: int = 0) -> Reported | None:
        """Return when a miner first reported a piece lost behind record ``after_seq``, and by which report."""
        reports = self._reports.get((miner, root), ())
        return next((report for seq, report in reports if seq > after_seq), None)

    def released(self, miner: PublicKey, since_seq: int, by_seq: int) -> dict[Root, MessageId]:
        """Return for each root that a miner held and owes no more the body id of the newest record that ended it so.

        Every holding of the root as of record ``since_seq`` was ended by a released record up to record ``by_seq``, or
        by the move of a piece from a miner that drains, none by a loss; what the miner got later does not matter. Goes
        through all that it held.
        """
        if bisect_right(self._release_seqs, since_seq) == bisect_right(self._release_seqs, by_seq):
            return {}
        ends: dict[Root, int | None] = {}
        for segment, number in self._held(miner, since_seq):
            root, until = segment.root(self._index_of[number]), self._until[number]
            before = ends.get(root, 0)
            is_released = 0 < until <= by_seq and self._is_release(until)
            ends[root] = max(before, until) if is_released and before is not None else None
        return {root: self._release_at(until) for root, until in ends.items() if until is not None}

    @property
    def flawed_count(self) -> int:
        """How many pieces are said to be badly coded."""
        return len(self._flawed)

    def committed(self, segment_id: SegmentId) -> tuple[int, int | None]:
        """Return the record that committed a segment, and its keep_until; the segment is committed."""
        segment = self._segments[self._places[segment_id]]
        return segment.since_seq, segment.keep_until

    def _is_release(self, seq: int) -> bool:
        """Whether this record ended holdings without a loss."""
        place = bisect_left(self._release_seqs, seq)
        return place < len(self._release_seqs) and self._release_seqs[place] == seq

    def _release_at(self, seq: int) -> MessageId:
        place = bisect_left(self._release_seqs, seq)
        return MessageId(bytes(self._release_ids[place * ID_BYTES : (place + 1) * ID_BYTES]))

    def _held(self, miner: PublicKey, seq: int) -> Iterator[tuple[_Segment, int]]:
        """Yield segment and number of the holdings of a miner as of a record."""
        for number in self._numbers(miner):
            if self._since[number] > seq:
                return  # the rest came later still
            until = self._until[number]
            if until == 0 or until > seq:
                yield self._segments[self._segment_of[number]], number

    def _ever_held(self, miner: PublicKey) -> Iterator[tuple[_Segment, int]]:
        return ((self._segments[self._segment_of[number]], number) for number in self._numbers(miner))

    def _piece(self, segment: _Segment, number: int) -> HeldPiece:
        index = self._index_of[number]
        return HeldPiece(
            segment.root(index), segment.piece_length, segment.is_paid, segment.account, segment.segment_id, index
        )

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
                record.keep_until,
                record.spec.k,
                b"".join(record.spec.roots),
                range(first, first + len(indices)),
            )
        )
        for holding in record.holdings:
            self._add_holding(len(self._segments) - 1, holding, seq)

    def _add_holding(self, segment_place: int, holding: Holding, seq: int) -> None:
        """Give a holding of a segment the next number."""
        miner = holding.miner
        place = self._miners.setdefault(miner, len(self._miners))
        if place == len(self._holdings):
            self._holdings.append(array("I"))
            self._hotkeys.append(miner)
        self._holdings[place].append(len(self._until))
        self._segment_of.append(segment_place)
        self._miner_of.append(place)
        self._index_of.append(holding.index)
        self._since.append(seq)
        self._until.append(0)

    def _depart(self, departure: Departure, seq: int) -> None:
        for number in self._numbers(departure.hotkey):
            self._until[number] = self._until[number] or seq

    def _lose(self, loss: Loss, record: LogRecord) -> None:
        loss.check_shape()
        if loss.report is not None:
            self._check_report(loss.report, loss, record)
        for number in [self._number(loss.miner, piece) for piece in loss.pieces]:
            self._until[number] = record.seq
        if loss.report is not None and loss.round is not None:
            report = Reported(loss.round, loss.report.id(self._network))
            for root in {piece.root for piece in loss.pieces}:
                self._reports.setdefault((loss.miner, root), []).append((record.seq, report))

    def _release(self, released: SegmentReleased, record: LogRecord) -> None:
        released.check_shape()
        place = self._places.get(released.segment_id)
        if place is None:
            raise ProtocolError("a segment is released that was never committed")
        segment = self._segments[place]
        if segment.released_seq:
            raise ProtocolError(f"a segment is released twice: record {segment.released_seq} did it")
        if released.drop is not None:
            if released.drop.account != segment.account:
                raise ProtocolError("a segment is released by the drop of an account that it does not belong to")
            released.drop.check_signature(segment.account, self._network)
        if released.reason == "expired" and segment.keep_until is None:
            raise ProtocolError("a segment without keep_until is released as expired")
        segment.released_seq = record.seq
        for number in segment.holdings():
            self._until[number] = self._until[number] or record.seq
        self._note_release(record)

    def _note_release(self, record: LogRecord) -> None:
        self._release_seqs.append(record.seq)
        self._release_ids += record.body_id

    def _move(self, moved: PieceMoved, record: LogRecord) -> None:
        """Begin a holding of a piece that was lost, or that a miner gives away which asked to leave.

        Receipts and candidates are checked elsewhere (hippy.validator.verifying).
        """
        place, holding = self._places.get(moved.segment_id), moved.holding
        if place is None:
            raise ProtocolError("a piece is moved of a segment that was never committed")
        segment = self._segments[place]
        if segment.released_seq:
            raise ProtocolError(f"a piece is moved of a segment that record {segment.released_seq} released")
        if holding.index >= segment.n or segment.root(holding.index) != moved.root:
            raise ProtocolError("a moved record names another root than the segment has at its index")
        newcomer = self._miners.get(holding.miner)
        if any(self._miner_of[number] == newcomer for number in segment.holdings()):
            raise ProtocolError("a piece is moved to a miner that holds, or held, a piece of the segment")
        live = [number for number in segment.holdings() if self._is_live(number, holding.index)]
        self._check_origin(moved, live)
        for number in live:
            self._until[number] = record.seq
        if live:
            self._note_release(record)
        segment.moved += (len(self._until),)
        self._add_holding(place, holding, record.seq)

    def _is_live(self, number: int, index: int) -> bool:
        return self._index_of[number] == index and self._until[number] == 0

    def _check_origin(self, moved: PieceMoved, live: list[int]) -> None:
        """Raises ProtocolError unless nobody holds the piece, or one who wants to leave; those ``live`` hold it."""
        holders = {self._hotkeys[self._miner_of[number]] for number in live}
        if moved.drained is None:
            if holders:
                raise ProtocolError("a piece is moved that was not lost: its miner holds it, and gives none away")
            return
        if holders != {moved.drained}:
            raise ProtocolError("a piece is moved from a miner that does not hold it")
        if moved.drained not in self._draining:
            raise ProtocolError("a piece is moved from a miner that did not ask to leave")

    def _drain(self, drain: Drain, record: LogRecord) -> None:
        """Take a miner's word that it wants to leave, or to stay after all."""
        drain.check_signature(drain.miner, self._network)
        if drain.validator != record.home:
            raise ProtocolError("the drain is addressed to another validator")
        if abs(drain.time - record.time) > REPORT_SECONDS:
            raise ProtocolError(f"the drain is of {drain.time}, its record of {record.time}")
        if drain.action == "start":
            self._draining.add(drain.miner)
        else:
            self._draining.discard(drain.miner)

    def _flaw(self, flawed: SegmentFlawed) -> None:
        """Take the home's word that a piece is badly coded: nobody can tell who does not read its sources."""
        place, sources = self._places.get(flawed.segment_id), flawed.sources
        segment = None if place is None else self._segments[place]
        if segment is None or max(flawed.index, *sources) >= segment.n:
            raise ProtocolError("a flawed record names a piece that no segment has")
        if flawed.index in sources or not segment.k <= len(set(sources)) == len(sources):
            raise ProtocolError("a flawed record names k distinct sources, which are other pieces")
        if (flawed.segment_id, flawed.index) in self._flawed:
            raise ProtocolError("a flawed record names a piece that is known to be flawed")
        self._flawed.add((flawed.segment_id, flawed.index))

    def _check_report(self, report: LostReport, loss: Loss, record: LogRecord) -> None:
        report.check_signature(loss.miner, self._network)
        if (report.miner, report.validator) != (loss.miner, record.home):
            raise ProtocolError("the lost report is by another miner, or to another validator")
        roots = {piece.root for piece in loss.pieces}
        if not roots.issubset(report.roots):
            raise ProtocolError("the lost report does not name these pieces")
        if abs(report.time - record.time) > REPORT_SECONDS:
            raise ProtocolError(f"the lost report is of {report.time}, its record of {record.time}")
        report_id = report.id(self._network)
        for root in roots:
            for seq, used in self._reports.get((loss.miner, root), ()):
                # Many holdings of one root take several records, one right behind the other.
                if used.report_id == report_id and seq < record.seq - 1:
                    raise ProtocolError(f"the lost report is used again: record {seq} has it for the same piece")

    def _number(self, miner: PublicKey, piece: LostPiece) -> int:
        """Return the number of a holding that has not ended."""
        place = self._places.get(piece.segment_id)
        segment = None if place is None else self._segments[place]
        if segment is not None and segment.root(piece.index) == piece.root:
            for number in segment.holdings():
                if self._miner_of[number] == self._miners.get(miner) and self._is_live(number, piece.index):
                    return number
        raise ProtocolError("a loss names a piece that the miner does not hold")
