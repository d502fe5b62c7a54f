"""Object rows, read with suspicion (docs/PROTOCOL.md §3.4). Writing them is hippy.client.writing's.

Owns checking that a row is ours, is about the name that was asked for, and is not older than one that was served
before (hippy.client.seen), and opening manifest and head. Where the bytes of an object are is its manifest's business.

Invariants: a row that is handed out is signed by us, for the name asked; a manifest is the one that its row names; a
row that is altered costs the others of the same call nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hippy.client.manifest import Head, Manifest, open_head, open_manifest
from hippy.client.names import Place
from hippy.client.seen import FIRST, Known, SeenRow
from hippy.errors import AuthError, HippyError, IntegrityError, NotFoundError, ProtocolError
from hippy.hashing import digest
from hippy.wire.object import ROWS_MAX, ObjectRow

if TYPE_CHECKING:
    from hippy.client.session import Session

READ_NAMES_BYTES_MAX: Final = 1024 * 1024
"""Encrypted names of one read; as hex, far below the limit of its body."""


@dataclass(frozen=True, slots=True)
class ReadRow:
    """A checked row with its manifest, decrypted."""

    row: ObjectRow
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class _Answered:
    """What the validator said of one place, unchecked, and what was known before it was asked."""

    position: int
    row: ObjectRow | None
    sealed: bytes | None
    known: Known


class Rows:
    """Rows of one account at its home validator."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def read(self, places: Sequence[Place]) -> list[ReadRow | HippyError | None]:
        """Return the live row of each place, None where there is none.

        Where the validator serves anything but what was written, the place has an IntegrityError instead.
        """
        found: list[ReadRow | HippyError | None] = [None] * len(places)
        async for answered in self._answers(places):
            try:
                found[answered.position] = self._open(places[answered.position], answered)
            except HippyError as error:
                found[answered.position] = error
        return found

    async def read_one(self, place: Place, label: str) -> ReadRow:
        """Return the live row of a place.

        Raises NotFoundError naming ``label``, IntegrityError.
        """
        (found,) = await self.read([place])
        if isinstance(found, HippyError):
            raise found
        if found is None:
            raise NotFoundError(f"there is no {label}", hint="hippy ls shows what there is")
        return found

    async def current(self, places: Sequence[Place]) -> list[ObjectRow | HippyError | None]:
        """Return the checked row of each place, a deletion too, whatever its manifest; None where none ever was.

        Where the validator serves anything but what was written, the place has an IntegrityError instead.
        """
        found: list[ObjectRow | HippyError | None] = [None] * len(places)
        async for answered in self._answers(places):
            try:
                found[answered.position] = self._checked(places[answered.position], answered)
            except HippyError as error:
                found[answered.position] = error
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

    async def _answers(self, places: Sequence[Place]) -> AsyncIterator[_Answered]:
        """Yield an answer for every place, asking for as many at once as fit a request, bucket by bucket."""
        by_bucket: dict[bytes, list[int]] = {}
        for position, place in enumerate(places):
            by_bucket.setdefault(place.bucket, []).append(position)
        for bucket, positions in by_bucket.items():
            done = 0
            while done < len(positions):
                asked = _read_batch(places, positions[done:])
                known = self._session.seen.known()
                for position in asked:
                    known.get(places[position])  # while nobody else can have made it newer
                answers = await self._session.api.read(bucket, [places[position].name for position in asked])
                for position, (answer, sealed) in zip(asked, answers, strict=False):
                    yield _Answered(position, answer.row, sealed, known)
                done += len(answers)

    def _checked(self, place: Place, answered: _Answered) -> ObjectRow | None:
        if answered.row is None:
            if answered.known.get(place) != FIRST:
                raise IntegrityError("the validator no longer serves an object that it served before")
            return None
        self.check(place, answered.row, answered.known)
        return answered.row

    def _open(self, place: Place, answered: _Answered) -> ReadRow | None:
        row, sealed = self._checked(place, answered), answered.sealed
        if row is None or row.action == "delete":
            return None
        if sealed is None or digest(sealed) != row.manifest_hash:
            raise IntegrityError("the validator served an altered manifest")
        manifest = open_manifest(sealed, place, self._session.keys.account, row.version)
        if not manifest.seal_keys().keys() <= set(row.segment_ids):
            raise IntegrityError("a manifest names segments that its row does not")
        return ReadRow(row, manifest)


def _read_batch(places: Sequence[Place], positions: Sequence[int]) -> list[int]:
    """Return the first positions whose names fit one request: at least one."""
    batch: list[int] = []
    size = 0
    for position in positions[:ROWS_MAX]:
        size += sum(map(len, places[position].name))
        if batch and size > READ_NAMES_BYTES_MAX:
            break
        batch.append(position)
    return batch
