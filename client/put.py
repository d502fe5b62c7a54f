"""Files become objects: the pipeline of a put.

One reader fills segment buffers in the order of the files; each filled buffer is prepared in a thread and
uploaded by a task of its own, while the reader is at the next. An object's row is written only after every
segment it names is committed, in batches. Memory is bounded by the number of buffers (hippy.client.buffers).

A file that cannot be read, or changes meanwhile, fails alone. When a segment cannot be stored, reading stops,
what is complete gets its rows, and the error is raised: what was acknowledged is there, the rest is not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from hippy.client.buffers import BufferPool, buffer_count
from hippy.client.leases import Leases
from hippy.client.manifest import (
    INLINE_BYTES_MAX,
    Manifest,
    ManifestExtent,
    ManifestSegment,
    fits_a_row,
    inline_manifest,
)
from hippy.client.names import Place
from hippy.client.packing import SegmentPlan, plan_segments, segment_bytes_max
from hippy.client.prepare import FileReading, Filled, fill, prepare_segment
from hippy.client.progress import Progress
from hippy.client.results import Failure
from hippy.client.rows import Rows
from hippy.client.session import Session
from hippy.client.sources import BytesSource, Source
from hippy.client.tasks import task_group
from hippy.client.upload import SegmentUploader
from hippy.client.writing import Draft, RowWriter
from hippy.erasure.codec import Codec
from hippy.erasure.geometry import Profile
from hippy.errors import HippyError, TemporaryError
from hippy.ids import SegmentId
from hippy.wire.object import ROW_SEGMENTS_MAX, ROWS_MAX

INLINE_BATCH: Final = 64
"""Short files read by one visit to a worker thread."""


@dataclass(frozen=True, slots=True)
class Item:
    """A source and the place where it is to go; ``label`` names it to people."""

    label: str
    place: Place
    source: Source


@dataclass(slots=True)
class PutTotals:
    """What a put has achieved so far."""

    files: int = 0
    bytes: int = 0
    stored_bytes: int = 0
    segments: int = 0
    missing_pieces: int = 0
    failures: list[Failure] = field(default_factory=list)


@dataclass(slots=True)
class _File:
    """One file on its way: its chunks still to be committed, and the extents that were."""

    item: Item
    reading: FileReading
    chunks_left: int
    extents: dict[int, ManifestExtent] = field(default_factory=dict)
    seal_keys: dict[SegmentId, bytes] = field(default_factory=dict, repr=False)


class Putter:
    """One put of many files under one profile."""

    def __init__(self, session: Session, profile: Profile, progress: Progress, *, if_absent: bool = False) -> None:
        self.totals = PutTotals()
        self._session = session
        self._profile = profile
        self._progress = progress
        self._if_absent = if_absent
        self._codec = Codec(profile.k, profile.n)
        self._pool = BufferPool(profile.n, buffer_count(profile.n))
        self._uploader = SegmentUploader(session, profile, progress)
        self._leases = Leases(session)
        self._writer = RowWriter(session, Rows(session))
        self._files: dict[int, _File] = {}
        self._drafts: list[tuple[Item, Draft]] = []
        self._writing = asyncio.Lock()
        self._fatal: HippyError | None = None

    async def run(self, items: Sequence[Item]) -> PutTotals:
        """Store all items.

        Raises what ended the put early: TemporaryError, QuotaError and whatever else no other file would escape.
        Failures of single files are in the totals.
        """
        try:
            await self._put_inline([item for item in items if item.source.size <= INLINE_BYTES_MAX])
            async with self._leases.renewing():
                await self._put_segments([item for item in items if item.source.size > INLINE_BYTES_MAX])
                await self._write_rows(at_least=1)
        finally:
            for file in self._files.values():
                file.reading.close()
        if self._fatal is not None:
            raise self._fatal
        return self.totals

    async def _put_inline(self, items: Sequence[Item]) -> None:
        for start in range(0, len(items), INLINE_BATCH):
            batch = items[start : start + INLINE_BATCH]
            for item, outcome in zip(batch, await asyncio.to_thread(_read_short, batch), strict=True):
                if isinstance(outcome, HippyError):
                    self._fail(item, outcome)
                else:
                    self._drafts.append((item, Draft(item.place, outcome)))
            await self._write_rows(at_least=ROWS_MAX)

    async def _put_segments(self, items: Sequence[Item]) -> None:
        limit = segment_bytes_max(self._profile.k)
        plans = plan_segments(((number, item.source.size) for number, item in enumerate(items)), limit)
        async with task_group() as group:
            for plan in plans:
                buffer = await self._pool.take()
                if self._fatal is not None:
                    self._pool.give_back(buffer)
                    break
                self._begin_files(plan, items, limit)
                filled = await self._fill(plan, buffer)
                group.create_task(self._finish_segment(filled, buffer))

    def _begin_files(self, plan: SegmentPlan, items: Sequence[Item], limit: int) -> None:
        for chunk in plan.chunks:
            if chunk.offset == 0:
                item = items[chunk.file]
                chunks = -(-item.source.size // limit)
                self._files[chunk.file] = _File(item, FileReading(item.label, item.source), chunks)

    async def _fill(self, plan: SegmentPlan, buffer: memoryview) -> Filled:
        readings = {
            number: self._files[number].reading for number in {chunk.file for chunk in plan.chunks} & self._files.keys()
        }
        present = SegmentPlan(tuple(chunk for chunk in plan.chunks if chunk.file in readings))
        filled = await asyncio.to_thread(fill, present, readings, buffer, self._session.keys, self._session.entropy)
        for number, reading in readings.items():
            if reading.error is not None:
                self._fail(self._files.pop(number).item, reading.error)
        return filled

    async def _finish_segment(self, filled: Filled, buffer: memoryview) -> None:
        """Prepare and upload what a buffer holds, give the buffer back, and complete files."""
        try:
            if not filled.data_length or self._fatal is not None:
                return
            committed = await self._store(filled, buffer)
        except HippyError as error:
            self._fatal = self._fatal or error
            return
        finally:
            self._pool.give_back(buffer)
        for number, extent in committed:
            file = self._files.get(number)
            if file is not None:  # else it failed at a later chunk
                await self._add_extent(number, file, extent)
        await self._write_rows(at_least=ROWS_MAX)

    async def _store(self, filled: Filled, buffer: memoryview) -> list[tuple[int, _Committed]]:
        session = self._session
        segment = await asyncio.to_thread(
            prepare_segment, buffer, filled.data_length, self._codec, session.keys, session.entropy
        )
        stored = await self._uploader.upload(segment)
        self._leases.begin(segment.segment_id)
        self.totals.segments += 1
        self.totals.missing_pieces += segment.spec.n - stored
        self.totals.stored_bytes += stored * segment.spec.piece_length
        return [
            (
                extent.file,
                _Committed(
                    extent.first_byte,
                    ManifestExtent(
                        segment_id=segment.segment_id, offset=extent.offset, length=extent.length, key=extent.key
                    ),
                    segment.seal_key,
                ),
            )
            for extent in filled.extents
        ]

    async def _add_extent(self, number: int, file: _File, committed: _Committed) -> None:
        file.extents[committed.first_byte] = committed.extent
        file.seal_keys[committed.extent.segment_id] = committed.seal_key
        file.chunks_left -= 1
        self._progress.advance(committed.extent.length)
        if file.chunks_left:
            return
        del self._files[number]
        try:
            self._drafts.append((file.item, await self._draft(file)))
        except HippyError as error:
            self._fatal = self._fatal or error

    async def _draft(self, file: _File) -> Draft:
        """Return the row of a file whose segments are all committed, storing its manifest if that is too long."""
        assert file.reading.hash is not None, "a file whose chunks are all committed was read to its end"
        source = file.item.source
        manifest = _extents_manifest(
            Manifest(
                kind="extents",
                size=source.size,
                hash=file.reading.hash,
                mode=source.mode,
                mtime_us=source.mtime_us,
            ),
            file,
        )
        segment_ids = set(file.seal_keys)
        if not fits_a_row(manifest):
            stored = await self._store_manifest(manifest)
            segment_ids |= stored.seal_keys.keys()
            manifest = _extents_manifest(manifest.model_copy(update={"kind": "indirect"}), stored)
        if len(segment_ids) > ROW_SEGMENTS_MAX:
            raise TemporaryError(
                f"{file.item.label} takes {len(segment_ids)} segments, an object has at most {ROW_SEGMENTS_MAX}",
                hint="use a code with a larger k, or cut the file in two",
            )
        return Draft(file.item.place, manifest, tuple(segment_ids))

    async def _store_manifest(self, manifest: Manifest) -> _File:
        """Store a manifest that is too long for a row as if it were a file."""
        source = BytesSource(manifest.encode())
        item = Item("a manifest", Place(b"", (), b""), source)
        file = _File(item, FileReading(item.label, source), 0)
        for plan in plan_segments([(0, source.size)], segment_bytes_max(self._profile.k)):
            buffer = await self._pool.take()
            try:
                filled = await asyncio.to_thread(
                    fill, plan, {0: file.reading}, buffer, self._session.keys, self._session.entropy
                )
                for _, committed in await self._store(filled, buffer):
                    file.extents[committed.first_byte] = committed.extent
                    file.seal_keys[committed.extent.segment_id] = committed.seal_key
            finally:
                self._pool.give_back(buffer)
        return file

    async def _write_rows(self, *, at_least: int) -> None:
        """Write the rows of complete files once there are enough of them."""
        async with self._writing:
            if len(self._drafts) < at_least:
                return
            ready, self._drafts = self._drafts, []
            try:
                outcomes = await self._writer.write([draft for _, draft in ready], if_absent=self._if_absent)
            except HippyError as error:
                self._fatal = self._fatal or error
                return
        for (item, draft), refused in zip(ready, outcomes, strict=True):
            if refused is not None:
                self._fail(item, refused)
                continue
            self._leases.end(draft.segment_ids)
            self.totals.files += 1
            self.totals.bytes += item.source.size
            if draft.manifest is not None and draft.manifest.kind == "inline":
                self._progress.advance(item.source.size)

    def _fail(self, item: Item, error: HippyError) -> None:
        self.totals.failures.append(Failure(item.label, error))


@dataclass(frozen=True, slots=True)
class _Committed:
    """An extent that is safe, where it lies in its file, and the seal key of its segment."""

    first_byte: int
    extent: ManifestExtent
    seal_key: bytes = field(repr=False)


def _extents_manifest(manifest: Manifest, file: _File) -> Manifest:
    ordered = [file.extents[first] for first in sorted(file.extents)]
    return manifest.model_copy(
        update={
            "extents": tuple(ordered),
            "segments": tuple(
                ManifestSegment(segment_id=segment_id, seal_key=key)
                for segment_id, key in sorted(file.seal_keys.items())
            ),
        }
    )


def _read_short(items: Iterable[Item]) -> list[Manifest | HippyError]:
    """Return the inline manifest of each item, or why there is none."""
    outcomes: list[Manifest | HippyError] = []
    for item in items:
        reading = FileReading(item.label, item.source)
        content = reading.read_whole()
        mode, mtime_us = item.source.mode, item.source.mtime_us
        outcomes.append(reading.error or inline_manifest(content, mode=mode, mtime_us=mtime_us))
    return outcomes
