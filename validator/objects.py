"""Object rows: compare-and-swap writes and reads by name (PROTOCOL §3.4).

Writes come in two steps: :func:`check_row` and :func:`check_drop` are pure, slow (signatures, hashes) and belong in a
thread; :func:`write_rows` runs in the transaction and decides by what is there. Each row has its own result, in order,
and is durable or not by itself: rows that name many segments take several transactions (:func:`in_portions`).
A deletion is a row too and is kept, so that versions of a name go on counting.

A row that takes a segment's name away needs the account's drop of that segment, for the miners' sake: the last row that
named it may just have gone (hippy.validator.leases).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from hippy.errors import (
    AuthError,
    ConflictError,
    HippyError,
    IntegrityError,
    NotFoundError,
    ProtocolError,
    QuotaError,
    TemporaryError,
)
from hippy.hashing import digest
from hippy.ids import ID_BYTES, ZERO_ID, MessageId, PublicKey, SegmentId
from hippy.kv import Reader, Transaction
from hippy.validator.accounts import charge, charge_anyway, refund
from hippy.validator.leases import dereference, is_released, refer
from hippy.validator.log import Home, append
from hippy.validator.statistics import Statistic, count
from hippy.validator.tables import DEAD, LIVE, MANIFEST, OWNER, StoredRow, get_row, get_stored_row, name_key
from hippy.wire.canonical import CLOCK_TOLERANCE_SECONDS
from hippy.wire.log import AccountRecord
from hippy.wire.object import OBJECTS_BYTES_MAX, Drop, Found, ObjectRow, ReadAnswer, ReadRequest, RowResult, WriteAnswer
from hippy.wire.pace import USUAL_PACE, Pace

ANSWER_ROOM_BYTES: Final = OBJECTS_BYTES_MAX - 64 * 1024
"""Rows and manifests in one answer; the rest of the limit is framing, some 100 bytes a row."""

CONFLICT_BYTES_MAX: Final = 64 * 1024
"""A longer current row is not told; the client reads the name. Some 900 segments, 2 ms of the only writer."""

CONFLICTS_BYTES_MAX: Final = 1024 * 1024
"""Current rows told in one answer."""

NAMED_AT_ONCE: Final = 4_096
"""Segments that the rows of one transaction name, but for a row that names more: each is some 50 µs of the only writer,
and a request may name half a million."""

_STORED: Final = RowResult(status="stored")


@dataclass(frozen=True, slots=True)
class CheckedRow:
    """A row to write with its id and manifest (empty for a deletion), or why it cannot be written.

    A manifest is None where it is not known: in a log that somebody else wrote, of a row that was replaced since.
    """

    row: ObjectRow
    row_id: MessageId
    key: bytes
    manifest: bytes | None
    refusal: RowResult | None = None


Drops = Mapping[SegmentId, Drop]
"""Drops that were checked, by segment."""


def pair_manifests(rows: Sequence[ObjectRow], manifests: Sequence[bytes]) -> Iterator[tuple[ObjectRow, bytes]]:
    """Yield each row with its manifest, empty where it announces none."""
    blobs = iter(manifests)
    for row in rows:
        yield row, next(blobs) if row.manifest_length is not None else b""


def check_row(row: ObjectRow, manifest: bytes, account: PublicKey, network: bytes, now: int) -> CheckedRow:
    """Check all of one row that needs no state; about 0.15 ms."""
    row_id = row.id(network)
    try:
        key = name_key(account, row.bucket, row.name)
        _check(row, manifest, account, network, now)
    except HippyError as error:
        return CheckedRow(row, row_id, b"", b"", _refused(error))
    return CheckedRow(row, row_id, key, manifest)


def _check(row: ObjectRow, manifest: bytes, account: PublicKey, network: bytes, now: int) -> None:
    row.check_shape()
    if row.account != account:
        raise AuthError("the row is another account's")
    if row.time > now + CLOCK_TOLERANCE_SECONDS:
        raise ProtocolError("the row is from the future", hint="check both clocks (NTP)")
    row.check_signature(account, network)
    if row.manifest_hash is not None and digest(manifest) != row.manifest_hash:
        raise IntegrityError("the manifest does not have the hash its row names")


def check_drop(drop: Drop, account: PublicKey, network: bytes, now: int) -> bool:
    """Return whether this is the account's own word, of a time that can be; about 0.1 ms.

    A drop that is not counts as one that is missing: what becomes of its row says so.
    """
    if drop.account != account or drop.time > now + CLOCK_TOLERANCE_SECONDS:
        return False
    try:
        drop.check_signature(account, network)
    except AuthError:
        return False
    return True


def in_portions(rows: Iterable[CheckedRow]) -> list[list[CheckedRow]]:
    """Return rows in the same order, cut so that the rows of a portion name few enough segments for one transaction."""
    portions, named = list[list[CheckedRow]](), NAMED_AT_ONCE
    for checked in rows:
        named += len(checked.row.segment_ids)
        if named > NAMED_AT_ONCE or not portions:
            portions.append([])
            named = len(checked.row.segment_ids)
        portions[-1].append(checked)
    return portions


def write_rows(
    txn: Transaction,
    home: Home,
    terms: AccountRecord,
    rows: Sequence[CheckedRow],
    now: int,
    drops: Drops,
    pace: Pace = USUAL_PACE,
) -> WriteAnswer:
    """Write rows of one account in order; return what became of each."""
    results, written, room = list[RowResult](), list[ObjectRow](), CONFLICTS_BYTES_MAX
    for checked in rows:
        stored = None if checked.refusal else get_stored_row(txn, checked.key)
        result = checked.refusal or _race(checked, stored, room)
        current = None if stored is None or result is not None else StoredRow.parse(stored)
        result = result or _verdict(txn, checked, current) or _undropped(checked.row, current, drops)
        result = result or _charged(txn, terms, checked, current)
        if result is None:
            _replace(txn, checked, current)
            _name(txn, checked.row, current, drops, now, pace)
            written.append(checked.row)
        elif result.current is not None and stored is not None:
            room -= len(stored)
        results.append(result or _STORED)
    append(txn, home, written, now)
    return join_answers([WriteAnswer(copies=1, results=tuple(results))])


def fold_row(txn: Transaction, row: ObjectRow, row_id: MessageId, manifest: bytes | None, now: int, pace: Pace) -> None:
    """Take over a row as it is logged, with its manifest where that is known.

    A log does not tell drops: a segment that no row names any more is kept for another lease. Raises IntegrityError for
    a row that does not fit what is there.
    """
    key = name_key(row.account, row.bucket, row.name)
    current = get_row(txn, key)
    checked = CheckedRow(row, row_id, key, manifest)
    refusal = _race(checked, None if current is None else current.encode(), 0) or _verdict(txn, checked, current)
    if refusal is not None:
        raise IntegrityError(f"a row is logged that cannot be written: {refusal.message or refusal.status}")
    change = _charge_of(row) - (0 if current is None else _charge_of(current.row))
    if change > 0:
        charge_anyway(txn, row.account, change)
    else:
        refund(txn, row.account, -change)
    _replace(txn, checked, current)
    _name(txn, row, current, {}, now, pace)


def without_current(answer: WriteAnswer) -> WriteAnswer:
    """Return an answer as it is kept for repeats: a megabyte for a day is more than a request costs."""
    kept = (RowResult(status="conflict") if result.current is not None else result for result in answer.results)
    return WriteAnswer(copies=answer.copies, results=tuple(kept))


def join_answers(answers: Iterable[WriteAnswer]) -> WriteAnswer:
    """Return the answer to a request whose rows were written in portions; its conflicts tell no more than may be."""
    results, room = list[RowResult](), CONFLICTS_BYTES_MAX
    for result in (result for answer in answers for result in answer.results):
        if result.current is not None:
            room -= len(result.current.encode())
        results.append(RowResult(status="conflict") if result.current is not None and room < 0 else result)
    return WriteAnswer(copies=1, results=tuple(results))


def _race(checked: CheckedRow, stored: bytes | None, room: int) -> RowResult | None:
    """Return the result of a row that is there, or that does not replace what is; None for one that does.

    A losing row costs its account next to nothing, so only what the answer tells is parsed: the current row while it is
    short and there is ``room``.
    """
    current_id = ZERO_ID if stored is None else stored[:ID_BYTES]
    if stored is not None and current_id == checked.row_id:
        return _STORED
    if current_id == checked.row.prev_row_id:
        return None
    is_told = stored is not None and len(stored) <= min(room, CONFLICT_BYTES_MAX)
    return RowResult(status="conflict", current=StoredRow.parse(stored).row if stored is not None and is_told else None)


def _verdict(txn: Reader, checked: CheckedRow, current: StoredRow | None) -> RowResult | None:
    """Return why a row that replaces ``current`` is not written; None when it is to be."""
    row = checked.row
    if row.action == "delete" and (current is None or current.row.action == "delete"):
        return _refused(NotFoundError("there is nothing to delete under this name"))
    if row.version != (1 if current is None else current.row.version + 1):
        return _refused(ProtocolError("the version is not that of the row it replaces, plus one"))
    return _segments_verdict(txn, row)


def _segments_verdict(txn: Reader, row: ObjectRow) -> RowResult | None:
    """Return why a row cannot be written because of segments that it names."""
    if any(txn.get(OWNER + segment_id) != row.account for segment_id in row.segment_ids):
        return _refused(NotFoundError("the row names a segment that this account has not committed"))
    if any(is_released(txn, segment_id) for segment_id in row.segment_ids):
        return _refused(ConflictError("the row names a segment that was released; store the data again"))
    return None


def _undropped(row: ObjectRow, current: StoredRow | None, drops: Drops) -> RowResult | None:
    """Return why a row cannot be written because of segments that it names no longer."""
    if not _left(row, current) <= drops.keys():
        return _refused(ProtocolError("a segment that the replaced row names is left without the account's drop"))
    return None


def _left(row: ObjectRow, current: StoredRow | None) -> set[SegmentId]:
    """Return the segments that the replaced row names and the one in its place does not."""
    return set() if current is None else set(current.row.segment_ids).difference(row.segment_ids)


def _charged(
    txn: Transaction, terms: AccountRecord, checked: CheckedRow, current: StoredRow | None
) -> RowResult | None:
    """Charge a row that is about to be written, less the one it replaces; return the refusal if there is no room."""
    change = _charge_of(checked.row) - (0 if current is None else _charge_of(current.row))
    try:
        if change > 0:
            charge(txn, terms, change)
        else:
            refund(txn, terms.account, -change)
    except QuotaError as error:
        return _refused(error)
    return None


def _charge_of(row: ObjectRow) -> int:
    """Return what a current row costs its account: itself and its manifest; a deletion costs nothing."""
    return 0 if row.action == "delete" else len(row.encode()) + (row.manifest_length or 0)


def _replace(txn: Transaction, checked: CheckedRow, current: StoredRow | None) -> None:
    """Put a row where ``current`` was, with its manifest."""
    key, was_live = checked.key, current is not None and current.row.action == "put"
    if current is not None:
        txn.delete((LIVE if was_live else DEAD) + key)
        txn.delete(MANIFEST + current.row_id)
    stored, is_live = StoredRow(checked.row_id, checked.row).encode(), checked.row.action == "put"
    txn.put((LIVE if is_live else DEAD) + key, stored)
    if is_live and checked.manifest is not None:
        txn.put(MANIFEST + checked.row_id, checked.manifest)
    if is_live != was_live:
        count(txn, Statistic.OBJECTS, 1 if is_live else -1)


def _name(txn: Transaction, row: ObjectRow, current: StoredRow | None, drops: Drops, now: int, pace: Pace) -> None:
    """Note which segments a row names that the one before it did not, and the other way about."""
    before = set() if current is None else set(current.row.segment_ids)
    for segment_id in row.segment_ids:
        if segment_id not in before:
            refer(txn, segment_id)
    for segment_id in _left(row, current):
        dereference(txn, segment_id, drops.get(segment_id), now, pace)


def rows_bytes(reader: Reader, request: ReadRequest) -> int:
    """Return about how many bytes :func:`read_rows` finds, by what is stored; parses nothing.

    Raises ProtocolError for a name of impossible length.
    """
    size = 0
    for name in request.names:
        key = name_key(request.account, request.bucket, name)
        stored = get_stored_row(reader, key)
        if stored is not None:
            size += len(stored) + len(reader.get(MANIFEST + stored[:ID_BYTES]) or b"")
        if size > ANSWER_ROOM_BYTES:
            break
    return min(size, OBJECTS_BYTES_MAX)


def read_rows(reader: Reader, request: ReadRequest) -> tuple[ReadAnswer, list[bytes]]:
    """Return the current rows of the first names, as many as fit the answer, and the manifests of put rows.

    Raises ProtocolError for a name of impossible length, TemporaryError where a followed log has shown no manifest yet.
    """
    found, manifests, size = list[Found](), list[bytes](), 0
    for name in request.names:
        stored = get_row(reader, name_key(request.account, request.bucket, name))
        manifest = None if stored is None else reader.get(MANIFEST + stored.row_id)
        if manifest is None and stored is not None and stored.row.action == "put":
            raise TemporaryError("the row's manifest has not come to this validator yet", hint="try again in a moment")
        if stored is not None:
            size += len(stored.row.encode()) + len(manifest or b"")
        if found and size > ANSWER_ROOM_BYTES:
            break
        found.append(Found(row=None if stored is None else stored.row))
        if manifest is not None:
            manifests.append(manifest)
    return ReadAnswer(results=tuple(found)), manifests


def _refused(error: HippyError) -> RowResult:
    return RowResult(status="refused", code=error.code, message=error.message[:512])
