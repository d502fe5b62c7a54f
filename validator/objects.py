"""Object rows: compare-and-swap writes and reads by name (PROTOCOL §3.4).

Writes come in two steps: :func:`check_rows` is pure, slow (signatures, hashes) and belongs in a thread;
:func:`write_rows` runs in the transaction and decides by what is there. Each row has its own result, in order. A
deletion is a row too and is kept, so that versions of a name go on counting.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from hippy.errors import AuthError, HippyError, IntegrityError, NotFoundError, ProtocolError, QuotaError
from hippy.hashing import digest
from hippy.ids import ZERO_ID, MessageId, PublicKey
from hippy.kv import Reader, Transaction
from hippy.validator.accounts import charge, refund
from hippy.validator.log import Home, append
from hippy.validator.tables import DEAD, LIVE, MANIFEST, OWNER, StoredRow, get_row, name_key, reference_key
from hippy.wire.canonical import CLOCK_TOLERANCE_SECONDS
from hippy.wire.log import AccountRecord
from hippy.wire.object import OBJECTS_BYTES_MAX, Found, ObjectRow, ReadAnswer, ReadRequest, RowResult, WriteAnswer

ANSWER_ROOM_BYTES: Final = OBJECTS_BYTES_MAX - 64 * 1024
"""Rows and manifests in one answer; the rest of the limit is framing, some 100 bytes a row."""

CONFLICTS_BYTES_MAX: Final = 1024 * 1024
"""Current rows told in one answer, which is kept for a day; without one the client reads the name."""

_STORED: Final = RowResult(status="stored")


@dataclass(frozen=True, slots=True)
class CheckedRow:
    """A row to write with its id and manifest (empty for a deletion), or why it cannot be written."""

    row: ObjectRow
    row_id: MessageId
    key: bytes
    manifest: bytes
    refusal: RowResult | None = None


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


def write_rows(txn: Transaction, home: Home, terms: AccountRecord, rows: Sequence[CheckedRow], now: int) -> WriteAnswer:
    """Write rows of one account in order; return what became of each."""
    results, written, room = list[RowResult](), list[ObjectRow](), CONFLICTS_BYTES_MAX
    for checked in rows:
        current = None if checked.refusal else get_row(txn, checked.key)
        result = _verdict(txn, checked, current) or _charged(txn, terms, checked, current)
        if result is None:
            _replace(txn, checked, current)
            written.append(checked.row)
        elif result.current is not None:
            room -= len(result.current.encode())
            result = result if room >= 0 else RowResult(status="conflict")
        results.append(result or _STORED)
    append(txn, home, written, now)
    return WriteAnswer(copies=1, results=tuple(results))


def _verdict(txn: Reader, checked: CheckedRow, current: StoredRow | None) -> RowResult | None:
    """Return the result of a row that is not written; None when it is to be."""
    if checked.refusal is not None:
        return checked.refusal
    row = checked.row
    if current is not None and current.row_id == checked.row_id:
        return _STORED
    if row.prev_row_id != (ZERO_ID if current is None else current.row_id):
        return RowResult(status="conflict", current=None if current is None else current.row)
    if row.action == "delete" and (current is None or current.row.action == "delete"):
        return _refused(NotFoundError("there is nothing to delete under this name"))
    if row.version != (1 if current is None else current.row.version + 1):
        return _refused(ProtocolError("the version is not that of the row it replaces, plus one"))
    if any(txn.get(OWNER + segment_id) != row.account for segment_id in row.segment_ids):
        return _refused(NotFoundError("the row names a segment that this account has not committed"))
    return None


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
    """Put a row where ``current`` was, with its manifest and references."""
    key, before = checked.key, set(current.row.segment_ids) if current else set()
    if current is not None:
        txn.delete((LIVE if current.row.action == "put" else DEAD) + key)
        txn.delete(MANIFEST + current.row_id)
    for segment_id in before.difference(checked.row.segment_ids):
        txn.delete(reference_key(segment_id, key))
    for segment_id in checked.row.segment_ids:
        txn.put(reference_key(segment_id, key), b"")
    stored = StoredRow(checked.row_id, checked.row).encode()
    if checked.row.action == "put":
        txn.put(LIVE + key, stored)
        txn.put(MANIFEST + checked.row_id, checked.manifest)
    else:
        txn.put(DEAD + key, stored)


def read_rows(reader: Reader, request: ReadRequest) -> tuple[ReadAnswer, list[bytes]]:
    """Return the current rows of the first names, as many as fit the answer, and the manifests of put rows.

    Raises ProtocolError for a name of impossible length.
    """
    found, manifests, size = list[Found](), list[bytes](), 0
    for name in request.names:
        stored = get_row(reader, name_key(request.account, request.bucket, name))
        manifest = None if stored is None else reader.get(MANIFEST + stored.row_id)
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
