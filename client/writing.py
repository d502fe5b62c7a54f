"""Object rows, written with compare-and-swap (docs/PROTOCOL.md §3.4). Reading them is hippy.client.rows'.

Owns signing of rows, encryption of manifest and head for a version, the drops of segments that a replaced row names
and the new one does not (§4.2), and the answer to lost races.

Invariants: a plain put overwrites whoever was first, ``if_absent`` never does; which segments a replaced row names is
taken from that row itself, checked, never from the validator's word.

Example::

    errors = await RowWriter(session, rows).write([Draft(place, manifest, segment_ids)])
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from hippy.client.manifest import Manifest, seal_head, seal_manifest
from hippy.client.names import Place
from hippy.client.rows import Rows
from hippy.client.seen import FIRST, Known, SeenRow
from hippy.errors import ConflictError, HippyError, from_wire
from hippy.hashing import digest
from hippy.ids import SegmentId
from hippy.points import reached
from hippy.seal import SALT_BYTES
from hippy.wire.object import DROPS_MAX, OBJECTS_BYTES_MAX, ROWS_MAX, Drop, ObjectRow, RowResult

if TYPE_CHECKING:
    from hippy.client.session import Session

WRITE_ROUNDS_MAX: Final = 5
"""Lost races after which a put gives up."""

WRITE_BYTES_MAX: Final = OBJECTS_BYTES_MAX // 2
"""Rows, manifests and drops of one write stay well below the limit of its body."""

ROW_BYTES: Final = 4096
"""What a row takes without names, segments and manifest, at most."""

DROP_BYTES: Final = 340
"""A canonical Drop has 310 bytes."""

DROPS_AT_ONCE: Final = 256
"""Drops signed by one visit to a worker thread: about 80 ms."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What is to be written under a name; ``manifest`` None deletes.

    ``replaces`` is the checked row that the caller found there, if it has it: else it is read again where it matters.
    """

    place: Place
    manifest: Manifest | None
    segment_ids: tuple[SegmentId, ...] = ()
    replaces: ObjectRow | None = None


@dataclass(slots=True)
class _Pending:
    """A draft on its way: which row it is to replace, what segments that one names, and what became of it."""

    position: int
    draft: Draft
    before: SeenRow = FIRST
    named: tuple[SegmentId, ...] = ()
    is_unknown: bool = False
    """The row in its place has to be read first."""

    is_refused: bool = False
    """It was refused as a conflict, and we were not told which row is in its place."""

    row: ObjectRow | None = None
    sealed: bytes | None = field(default=None, repr=False)
    is_stored: bool = False

    def dropped(self) -> set[SegmentId]:
        """Return the segments that the replaced row names and the new one does not."""
        return set(self.named) - set(self.draft.segment_ids)


class RowWriter:
    """Writes rows of one account at its home validator."""

    def __init__(self, session: Session, rows: Rows) -> None:
        self._session = session
        self._rows = rows

    async def write(
        self, drafts: Sequence[Draft], *, if_absent: bool = False, if_unchanged: bool = False
    ) -> list[HippyError | None]:
        """Write drafts and return, for each, why it failed, or None.

        A draft that finds another row in its place is written again on top of it. Its error is a ConflictError when
        ``if_absent`` is asked for and an object is there, or ``if_unchanged`` and it is not the row it ``replaces``.
        """
        errors: list[HippyError | None] = [None] * len(drafts)
        # With if_absent even a row we know of is no base: only the validator says what is there now.
        pending = [_Pending(i, d) if if_absent else self._begun(i, d) for i, d in enumerate(drafts)]
        if if_unchanged:
            self._refuse_changed(pending, errors)
        for _ in range(1 if if_unchanged else WRITE_ROUNDS_MAX):
            await self._look_up([item for item in pending if item.is_unknown], errors, if_absent=if_absent)
            for batch in self._batches([item for item in pending if errors[item.position] is None]):
                await self._write_batch(batch, errors, if_absent=if_absent)
            pending = [item for item in pending if not item.is_stored and errors[item.position] is None]
            if not pending:
                return errors
        for item in pending:
            errors[item.position] = _has_changed() if if_unchanged else _keeps_changing()
        return errors

    def _refuse_changed(self, pending: Sequence[_Pending], errors: list[HippyError | None]) -> None:
        """Give up drafts in whose place a newer row than the one they replace was seen."""
        for item in pending:
            assert item.draft.replaces is not None, "whoever asks for an unchanged row has it"
            if item.is_unknown:
                item.is_unknown, errors[item.position] = False, _has_changed()

    def _begun(self, position: int, draft: Draft) -> _Pending:
        """Return a draft that is to replace the newest row we know of."""
        before = self._session.seen.get(draft.place)
        if before == FIRST:
            return _Pending(position, draft)
        replaces = draft.replaces
        if replaces is not None and replaces.id(self._session.network) == before.row_id:
            return _Pending(position, draft, before, replaces.segment_ids)
        return _Pending(position, draft, before, is_unknown=True)

    def _batches(self, pending: Iterable[_Pending]) -> Iterator[list[_Pending]]:
        """Yield signed rows in writes that fit their limits; none is signed, or in memory, long before its turn."""
        batch: list[_Pending] = []
        size = drops = 0
        for item in pending:
            cost, dropped = self._sign(item), len(item.dropped())
            if batch and (len(batch) == ROWS_MAX or size + cost > WRITE_BYTES_MAX or drops + dropped > DROPS_MAX):
                yield batch
                batch = []
                size = drops = 0
            batch.append(item)
            size += cost
            drops += dropped
        if batch:
            yield batch

    def _sign(self, item: _Pending) -> int:
        """Make the row of a draft; return the bytes it, its manifest and its drops take at most in a write."""
        session, draft, version = self._session, item.draft, item.before.version + 1
        account = session.keys.account
        head = None
        if draft.manifest is not None:
            item.sealed = seal_manifest(draft.manifest, draft.place, account, version, session.entropy(SALT_BYTES))
            head = seal_head(draft.manifest.head(), draft.place, account, version, session.entropy(SALT_BYTES))
        item.row = ObjectRow(
            account=account,
            bucket=draft.place.bucket,
            name=draft.place.name,
            version=version,
            prev_row_id=item.before.row_id,
            action="delete" if draft.manifest is None else "put",
            head=head,
            manifest_hash=None if item.sealed is None else digest(item.sealed),
            manifest_length=None if item.sealed is None else len(item.sealed),
            segment_ids=tuple(sorted(draft.segment_ids)),
            time=int(session.clock.now()),
        ).signed(session.keys.identity, session.network)
        named = ROW_BYTES + 66 * len(item.row.segment_ids) + 2 * sum(map(len, item.row.name))
        return named + len(item.sealed or b"") + DROP_BYTES * len(item.dropped())

    async def _write_batch(
        self, batch: Sequence[_Pending], errors: list[HippyError | None], *, if_absent: bool
    ) -> None:
        rows = [item.row for item in batch if item.row is not None]
        manifests = [item.sealed for item in batch if item.sealed is not None]
        drops = await self._drops(sorted({segment_id for item in batch for segment_id in item.dropped()}))
        known = self._session.seen.known()
        reached("client.before_rows")
        results = await self._session.api.write(rows, manifests, drops)
        reached("client.rows")
        for item, result in zip(batch, results, strict=True):
            try:
                self._take(item, result, known, if_absent=if_absent)
            except HippyError as error:
                errors[item.position] = error
            item.row = item.sealed = None

    async def _drops(self, segment_ids: Sequence[SegmentId]) -> list[Drop]:
        """Sign a drop for every segment, off the event loop."""
        drops: list[Drop] = []
        for start in range(0, len(segment_ids), DROPS_AT_ONCE):
            drops += await asyncio.to_thread(self._signed_drops, segment_ids[start : start + DROPS_AT_ONCE])
        return drops

    def _signed_drops(self, segment_ids: Sequence[SegmentId]) -> list[Drop]:
        session, now = self._session, int(self._session.clock.now())
        keys = session.keys
        unsigned = (Drop(account=keys.account, segment_id=segment_id, time=now) for segment_id in segment_ids)
        return [drop.signed(keys.identity, session.network) for drop in unsigned]

    async def _look_up(self, unknown: Sequence[_Pending], errors: list[HippyError | None], *, if_absent: bool) -> None:
        """Read which rows are in the place of drafts that are to replace them."""
        if not unknown:
            return
        found = await self._rows.current([item.draft.place for item in unknown])
        for item, current in zip(unknown, found, strict=True):
            if isinstance(current, HippyError):
                errors[item.position] = current
            elif if_absent and current is not None and current.action == "put":
                errors[item.position] = _is_there()
            else:
                before = item.before
                self._replace(item, current)
                if item.is_refused and item.before == before:  # so it was not because of another row
                    errors[item.position] = _is_released()
                item.is_refused = False

    def _replace(self, item: _Pending, current: ObjectRow | None) -> None:
        """Have a draft replace a checked row: this one, though a newer may have been seen since it was read."""
        item.before, item.named, item.is_unknown = FIRST, (), False
        if current is not None:
            item.before = SeenRow(current.version, current.id(self._session.network))
            item.named = current.segment_ids

    def _take(self, item: _Pending, result: RowResult, known: Known, *, if_absent: bool) -> None:
        """Note a stored row; prepare a draft that lost a race for the next round; raise what ends it."""
        assert item.row is not None
        place = item.draft.place
        match result.status:
            case "stored":
                self._session.seen.note(place, SeenRow(item.row.version, item.row.id(self._session.network)), known)
                item.is_stored = True
            case "refused":
                raise from_wire(result.code or "internal", result.message or "the validator refused the row")
            case "conflict":
                if result.current is None:  # an answer carries a limited number of them
                    item.is_unknown = item.is_refused = True
                    return
                self._rows.check(place, result.current, known)
                self._replace(item, result.current)
                if if_absent and result.current.action == "put":
                    raise _is_there()


def _is_there() -> ConflictError:
    return ConflictError("an object is there already", hint="choose another name, or allow overwriting")


def _has_changed() -> ConflictError:
    return ConflictError(
        "it was changed meanwhile, and stays as it is now", hint="look at both, then copy or move it again"
    )


def _keeps_changing() -> ConflictError:
    return ConflictError("somebody else keeps writing to the same object", hint="try again when it is quiet")


def _is_released() -> ConflictError:
    return ConflictError(
        "its data is being removed: it was deleted, or waited too long for its name", hint="put the file again"
    )
