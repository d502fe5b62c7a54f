"""Objects become files again: rows, manifests, segments, and the check of the whole (docs/PROTOCOL.md §4).

Files are brought back in the order of their segments, a few at a time, so that a segment which many share is
fetched once. The bytes of one file are decrypted, hashed and written in order while its next segment is on its way.

Invariants: a file is committed only when its BLAKE3 is the one in its manifest; a failure costs its own file.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from blake3 import blake3

from hippy.client.download import SegmentCache, SegmentData, SegmentFetcher, read_records
from hippy.client.manifest import Manifest, ManifestExtent, parse_inner
from hippy.client.progress import Progress
from hippy.client.results import Failure
from hippy.client.session import Session
from hippy.client.sinks import Sink
from hippy.client.tasks import task_group
from hippy.errors import HippyError, IntegrityError, UsageError
from hippy.ids import SegmentId

FILES_AT_ONCE: Final = 8
SEGMENTS_AHEAD: Final = 1
"""Segments of one file that are fetched while another of it is used."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """An object's manifest and where its bytes are to go; ``make_sink`` is called in a worker thread."""

    label: str
    manifest: Manifest
    make_sink: Callable[[], Sink]


@dataclass(slots=True)
class GetTotals:
    """What a get has brought back so far."""

    files: int = 0
    bytes: int = 0
    segments: int = 0
    failures: list[Failure] = field(default_factory=list)


class Getter:
    """One get of many files."""

    def __init__(self, session: Session, progress: Progress) -> None:
        self.totals = GetTotals()
        self._session = session
        self._progress = progress
        self._fetcher = SegmentFetcher(session, progress)

    async def run(self, wanted: Sequence[Wanted]) -> GetTotals:
        """Bring back every file that can be; the others are failures in the totals. May be called again."""
        direct = await self._resolve_all(wanted)
        cache = await self._cache_for([item.manifest for item in direct])
        queue = iter(_segment_order(direct))
        try:
            async with task_group() as group:
                for _ in range(min(FILES_AT_ONCE, len(direct))):
                    group.create_task(self._work(queue, cache))
        finally:
            await cache.close()
        self.totals.segments += cache.fetched
        return self.totals

    async def read_range(self, manifest: Manifest, offset: int, length: int) -> bytes:
        """Return ``length`` plain bytes from ``offset`` on, fewer where the file ends.

        Every piece is checked against its root; the hash of the whole file is not, as not all of it is read.
        """
        if offset < 0 or length < 0:
            raise UsageError("a range begins at 0 or later and is not negative")
        manifest = await self.resolve(manifest)
        end = min(offset + length, manifest.size)
        if manifest.content is not None:
            return manifest.content[offset:end]
        parts = [part for part in _places(manifest) if part.start < end and offset < part.start + part.extent.length]
        cache = await self._cache_for([manifest], only={part.extent.segment_id for part in parts})
        out = bytearray()
        try:
            for part in parts:
                first = max(0, offset - part.start)
                last = min(part.extent.length, end - part.start)
                async with cache.segment(part.extent.segment_id) as data:
                    out += await asyncio.to_thread(_plain, data, part.extent, first, last)
        finally:
            await cache.close()
        return bytes(out)

    async def resolve(self, manifest: Manifest) -> Manifest:
        """Return the manifest with the file's own extents, reading it from segments if it is indirect."""
        if manifest.kind != "indirect":
            return manifest
        inner = bytearray()
        cache = await self._cache_for([manifest])
        try:
            await _in_turn(cache, manifest, lambda data, extent: inner.extend(_plain(data, extent, 0, extent.length)))
        finally:
            await cache.close()
        return await asyncio.to_thread(parse_inner, bytes(inner), manifest)

    async def _resolve_all(self, wanted: Sequence[Wanted]) -> list[Wanted]:
        direct = []
        for item in wanted:
            try:
                direct.append(Wanted(item.label, await self.resolve(item.manifest), item.make_sink))
            except HippyError as error:
                self._fail(item, error)
        return direct

    async def _cache_for(self, manifests: Sequence[Manifest], only: set[SegmentId] | None = None) -> SegmentCache:
        seal_keys = {segment_id: key for manifest in manifests for segment_id, key in manifest.seal_keys().items()}
        needed = sorted(seal_keys if only is None else only)
        return SegmentCache(self._fetcher, await read_records(self._session, needed), seal_keys)

    async def _work(self, queue: Iterator[Wanted], cache: SegmentCache) -> None:
        for item in queue:
            try:
                await self._get(item, cache)
            except HippyError as error:
                self._fail(item, error)
            else:
                self.totals.files += 1
                self.totals.bytes += item.manifest.size

    async def _get(self, item: Wanted, cache: SegmentCache) -> None:
        """Bring one file back; a short one costs a single visit to a worker thread."""
        extents = item.manifest.extents or ()
        if len(extents) > 1:
            await self._get_long(item, cache)
        elif extents:
            async with cache.segment(extents[0].segment_id) as data:
                await asyncio.to_thread(_write_short, item, data)
            self._progress.advance(item.manifest.size)
        else:
            await asyncio.to_thread(_write_short, item, None)
            self._progress.advance(item.manifest.size)

    async def _get_long(self, item: Wanted, cache: SegmentCache) -> None:
        writing = _Writing(await asyncio.to_thread(item.make_sink), item.manifest)
        try:
            await _in_turn(cache, item.manifest, writing.decrypt, self._progress.advance)
            await asyncio.to_thread(writing.finish)
        finally:
            # When we are cancelled a thread may still be writing: the sink waits for it. A second cancellation is no
            # reason to leave a draft behind.
            await asyncio.shield(asyncio.to_thread(writing.sink.abandon))

    def _fail(self, item: Wanted, error: HippyError) -> None:
        self.totals.failures.append(Failure(item.label, error))


class _Writing:
    """The bytes of one file on their way to a sink, hashed; runs in worker threads."""

    def __init__(self, sink: Sink, manifest: Manifest) -> None:
        self.sink = sink
        self._manifest = manifest
        self._hasher = blake3()

    def take(self, data: bytearray | bytes) -> None:
        """Pass on plain bytes."""
        self._hasher.update(data)
        self.sink.write(data)

    def decrypt(self, data: SegmentData, extent: ManifestExtent) -> None:
        """Pass on the bytes of an extent."""
        self.take(_plain(data, extent, 0, extent.length))

    def finish(self) -> None:
        """Commit the file.

        Raises IntegrityError when its hash is not its manifest's.
        """
        if self._hasher.digest() != self._manifest.hash:
            raise IntegrityError("the file's hash is not the one in its manifest; nothing was written")
        self.sink.commit(self._manifest)


def _write_short(item: Wanted, data: SegmentData | None) -> None:
    """Write a file that is inline, or one extent of the segment ``data``; runs in a worker thread."""
    writing = _Writing(item.make_sink(), item.manifest)
    try:
        if data is None:
            writing.take(item.manifest.content or b"")
        for extent in item.manifest.extents or ():
            assert data is not None
            writing.decrypt(data, extent)
        writing.finish()
    finally:
        writing.sink.abandon()


@dataclass(frozen=True, slots=True)
class _Part:
    start: int
    extent: ManifestExtent


def _places(manifest: Manifest) -> list[_Part]:
    """Return the extents of a file with where they begin in it."""
    parts, start = [], 0
    for extent in manifest.extents or ():
        parts.append(_Part(start, extent))
        start += extent.length
    return parts


def _plain(data: SegmentData, extent: ManifestExtent, first: int, last: int) -> bytearray:
    """Return bytes ``first`` … ``last`` of an extent.

    Raises IntegrityError when the segment is shorter than the manifest says.
    """
    if extent.offset + extent.length > data.piece_length * len(data.pieces):
        raise IntegrityError("a manifest names bytes beyond the end of their segment")
    return data.plaintext(extent.key, extent.offset, last, first)


async def _in_turn(
    cache: SegmentCache,
    manifest: Manifest,
    use: Callable[[SegmentData, ManifestExtent], None],
    used: Callable[[int], None] = lambda _: None,
) -> None:
    """Have ``use`` called in a worker thread for each extent in order, while the next segments are fetched.

    ``used`` then hears in the event loop how many bytes that were.
    """
    extents = manifest.extents or ()
    for position, extent in enumerate(extents):
        async with cache.segment(extent.segment_id) as data:
            for coming in extents[position + 1 : position + 1 + SEGMENTS_AHEAD]:
                cache.expect(coming.segment_id)
            await asyncio.to_thread(use, data, extent)
        used(extent.length)


def _segment_order(wanted: Sequence[Wanted]) -> list[Wanted]:
    """Return the files so that those which share a segment follow each other."""
    ranks: dict[SegmentId, int] = {}
    for item in wanted:
        for extent in item.manifest.extents or ():
            ranks.setdefault(extent.segment_id, len(ranks))
    return sorted(wanted, key=lambda item: ranks[item.manifest.extents[0].segment_id] if item.manifest.extents else -1)
