"""Object rows: written with compare-and-swap, read with suspicion (docs/PROTOCOL.md §3.4).

Owns signing and checking of rows, encryption of manifest and head for a version, and the answer to lost races. A
validator that serves an older row than it served before is caught (hippy.client.seen). Where the bytes of an object
are is its manifest's business.

Invariants: a row that is handed out is signed by us, for the name asked, with the manifest it names; a plain put
overwrites whoever was first, ``if_absent`` never does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from hippy.client.manifest import Head, Manifest, open_head, open_manifest, seal_head, seal_manifest
from hippy.client.names import Place
from hippy.client.seen import FIRST, Known, SeenRow
from hippy.errors import (
    AuthError,
    ConflictError,
    HippyError,
    IntegrityError,
    NotFoundError,
    ProtocolError,
    from_wire,
)
from hippy.hashing import digest
from hippy.ids import SegmentId
from hippy.seal import SALT_BYTES
from hippy.wire.object import OBJECTS_BYTES_MAX, ROWS_MAX, ObjectRow, RowResult

if TYPE_CHECKING:
    from hippy.client.session import Session

WRITE_ROUNDS_MAX: Final = 5
"""Lost races after which a put gives up."""

WRITE_BYTES_MAX: Final = OBJECTS_BYTES_MAX // 2
"""Rows and manifests of one write stay well below the limit of its body."""

READ_NAMES_BYTES_MAX: Final = 1024 * 1024
"""Encrypted names of one read; as hex, far below the limit of its body."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What is to be written under a name; ``manifest`` None deletes."""

    place: Place
    manifest: Manifest | None
    segment_ids: tuple[SegmentId, ...] = ()


@dataclass(frozen=True, slots=True)
class ReadRow:
    """A checked row with its manifest, decrypted."""

    row: ObjectRow
    manifest: Manifest


@dataclass(slots=True)
class _Pending:
    """A draft on its way: which row it is to replace, and what became of it."""

    position: int
    draft: Draft
    before: SeenRow = FIRST
    row: ObjectRow | None = field(default=None)
    sealed: bytes | None = None
    is_lost: bool = False
    """Another row is in its place, and we were not told which."""


class Rows:
    """Rows of one account at its home validator."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def write(self, drafts: Sequence[Draft], *, if_absent: bool = False) -> list[HippyError | None]:
        """Write drafts and return, for each, why it failed, or None.

        A draft that finds another row in its place is written again on top of it, unless ``if_absent`` is asked for
        and an object is there: then its error is a ConflictError.
        """
        errors: list[HippyError | None] = [None] * len(drafts)
        # With if_absent even a row we know of is no base: only the validator says what is there now.
        seen = self._session.seen
        pending = [_Pending(i, d, FIRST if if_absent else seen.get(d.place)) for i, d in enumerate(drafts)]
        for _ in range(WRITE_ROUNDS_MAX):
            for batch in self._batches(pending):
                await self._write_batch(batch, errors, if_absent=if_absent)
            await self._look_up([item for item in pending if item.is_lost], errors, if_absent=if_absent)
            pending = [item for item in pending if item.row is None and errors[item.position] is None]
            if not pending:
                return errors
        for item in pending:
            errors[item.position] = ConflictError("somebody else keeps writing to the same object")
        return errors

    async def read(self, places: Sequence[Place]) -> list[ReadRow | None]:
        """Return the live row of each place of one bucket, None where there is none.

        Raises IntegrityError when the validator serves anything but what was written.
        """
        found: list[ReadRow | None] = []
        while len(found) < len(places):
            asked = _read_batch(places[len(found) :])
            known = self._session.seen.known()
            for place in asked:
                known.get(place)  # while nobody else can have made it newer
            answers = await self._session.api.read(asked[0].bucket, [place.name for place in asked])
            for place, (answer, sealed) in zip(asked, answers, strict=False):
                found.append(self._open(place, answer.row, sealed, known))
        return found

    async def read_one(self, place: Place, label: str) -> ReadRow:
        """Return the live row of a place.

        Raises NotFoundError naming ``label``, IntegrityError.
        """
        (found,) = await self.read([place])
        if found is None:
            raise NotFoundError(f"there is no {label}")
        return found

    def check(self, place: Place, row: ObjectRow, known: Known) -> None:
        """Check a row of ``place`` and remember it; ``known`` is from before it was asked for.

        Raises IntegrityError unless we signed it for this name and knew of none newer.
        """
        session = self._session
        if (row.account, row.bucket, row.name) != (session.keys.account, place.bucket, place.name):
            raise IntegrityError("the validator served the row of another object")
        seen = SeenRow(row.version, row.id(session.network))
        if seen == session.seen.get(place):
            return  # the id covers all but the signature, which was checked before
        try:
            row.check_shape()
            row.check_signature(session.keys.account, session.network)
        except (AuthError, ProtocolError) as error:
            raise IntegrityError(f"the validator served an altered row: {error.message}") from None
        session.seen.note(place, seen, known)

    def open_head(self, place: Place, row: ObjectRow) -> Head:
        """Return the head of a checked put row."""
        assert row.head is not None, "check() refuses a put row without a head"
        return open_head(row.head, place, self._session.keys.account, row.version)

    def _open(self, place: Place, row: ObjectRow | None, sealed: bytes | None, known: Known) -> ReadRow | None:
        if row is None:
            if known.get(place) != FIRST:
                raise IntegrityError("the validator no longer serves an object that it served before")
            return None
        self.check(place, row, known)
        if row.action == "delete":
            return None
        if sealed is None or digest(sealed) != row.manifest_hash:
            raise IntegrityError("the validator served an altered manifest")
        manifest = open_manifest(sealed, place, self._session.keys.account, row.version)
        if not manifest.seal_keys().keys() <= set(row.segment_ids):
            raise IntegrityError("a manifest names segments that its row does not")
        return ReadRow(row, manifest)

    def _batches(self, pending: Sequence[_Pending]) -> list[list[_Pending]]:
        """Sign rows and cut them into writes that fit their limits."""
        batches: list[list[_Pending]] = [[]]
        size = 0
        for item in pending:
            self._sign(item)
            assert item.row is not None
            cost = len(item.sealed or b"") + 66 * len(item.row.segment_ids) + 2 * sum(map(len, item.row.name)) + 4096
            if batches[-1] and (len(batches[-1]) == ROWS_MAX or size + cost > WRITE_BYTES_MAX):
                batches.append([])
                size = 0
            batches[-1].append(item)
            size += cost
        return batches

    def _sign(self, item: _Pending) -> None:
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

    async def _write_batch(
        self, batch: Sequence[_Pending], errors: list[HippyError | None], *, if_absent: bool
    ) -> None:
        rows = [item.row for item in batch if item.row is not None]
        manifests = [item.sealed for item in batch if item.sealed is not None]
        known = self._session.seen.known()
        results = await self._session.api.write(rows, manifests)
        for item, result in zip(batch, results, strict=True):
            try:
                self._take(item, result, known, if_absent=if_absent)
            except HippyError as error:
                errors[item.position] = error

    async def _look_up(self, lost: Sequence[_Pending], errors: list[HippyError | None], *, if_absent: bool) -> None:
        """Read which rows are in the place of drafts that lost a race."""
        found = await self.read([item.draft.place for item in lost])
        for item, current in zip(lost, found, strict=True):
            item.before, item.is_lost = self._session.seen.get(item.draft.place), False
            if if_absent and current is not None:
                errors[item.position] = _is_there()

    def _take(self, item: _Pending, result: RowResult, known: Known, *, if_absent: bool) -> None:
        """Note a stored row; prepare a draft that lost a race for the next round; raise what ends it."""
        assert item.row is not None
        place = item.draft.place
        match result.status:
            case "stored":
                self._session.seen.note(place, SeenRow(item.row.version, item.row.id(self._session.network)), known)
            case "refused":
                raise from_wire(result.code or "internal", result.message or "the validator refused the row")
            case "conflict":
                item.row = None
                if result.current is None:  # an answer carries a limited number of them
                    item.is_lost = True
                    return
                self.check(place, result.current, known)
                item.before = self._session.seen.get(place)
                if if_absent and result.current.action == "put":
                    raise _is_there()


def _is_there() -> ConflictError:
    return ConflictError("an object is there already", hint="choose another name, or allow overwriting")


def _read_batch(places: Sequence[Place]) -> list[Place]:
    batch: list[Place] = []
    size = 0
    for place in places[:ROWS_MAX]:
        size += sum(map(len, place.name))
        if batch and size > READ_NAMES_BYTES_MAX:
            break
        batch.append(place)
    return batch
