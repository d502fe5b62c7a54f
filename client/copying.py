"""Copies without moving data: a new row names the same segments, its manifest sealed for the new place.

Owns which objects go where, and that a move never loses one: the copy's row is durable before the source's row is
deleted, and the deletion replaces exactly the row that was copied. Rows are hippy.client.writing's.

A copy names segments that its source named, so it needs no lease: a source that is deleted meanwhile leaves a day
(docs/PROTOCOL.md §4.2, Drop).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from hippy.client.listing import Listing, path_of
from hippy.client.names import Place, seal_path
from hippy.client.results import Failure, Pair
from hippy.client.rows import ReadRow, Rows
from hippy.client.uri import Uri, parse_uri
from hippy.client.writing import Draft, RowWriter
from hippy.errors import HippyError, NotFoundError, UsageError

if TYPE_CHECKING:
    from hippy.client.progress import Progress
    from hippy.client.session import Session

MANIFESTS_AT_ONCE: Final = 200
"""Objects copied by one read and one write; their manifests take 50 MiB at most."""


@dataclass(slots=True)
class CopyTotals:
    """What a copy or move has done so far."""

    files: int = 0
    bytes: int = 0
    failures: list[Failure] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Job:
    """One object to copy."""

    label: str
    source: Place
    target: Place


class Copier:
    """Copies and moves of one account."""

    def __init__(self, session: Session, rows: Rows, writer: RowWriter, listing: Listing, progress: Progress) -> None:
        self._session = session
        self._rows = rows
        self._writer = writer
        self._listing = listing
        self._progress = progress

    async def plan(self, source: Uri, target: Uri, *, recursive: bool) -> list[Pair]:
        """Return what a copy from one URI to another would copy.

        One object goes to ``target``, or below it under its own name where that ends in a slash. With ``recursive``
        everything below ``source`` goes below ``target``, the object at ``source`` too if there is one.

        Raises NotFoundError when there is nothing, UsageError when a target is also a source.
        """
        pairs = []
        if not source.slash:
            here = target.below(source.name) if target.slash else target
            pairs = [Pair(str(source), str(here), entry.size) for entry in await self._listing.object_itself(source)]
        elif not recursive:
            raise UsageError(f"{source} names a directory", hint="use recursive (-r) for everything below it")
        if recursive:
            below = [
                Pair(str(source.below(*each.components)), str(target.below(*each.components)), each.head.size)
                async for each in self._listing.below(source)
            ]
            pairs += sorted(below, key=lambda pair: pair.source.split("/"))
        if not pairs:
            hint = "hippy ls shows what there is" if recursive else await self._listing.hint_at(source)
            raise NotFoundError(f"there is no {source}", hint=hint)
        check_apart(pairs)
        return pairs

    async def copy(self, pairs: Sequence[Pair], *, if_absent: bool, move: bool = False) -> CopyTotals:
        """Copy objects, or with ``move`` copy and then delete each; failures are in the totals, by source."""
        totals = CopyTotals()
        self._progress.stage("moving" if move else "copying")
        self._progress.total(sum(pair.size for pair in pairs))
        for start in range(0, len(pairs), MANIFESTS_AT_ONCE):
            batch = pairs[start : start + MANIFESTS_AT_ONCE]
            await self._copy_batch(batch, totals, if_absent=if_absent, move=move)
        return totals

    async def _copy_batch(self, pairs: Sequence[Pair], totals: CopyTotals, *, if_absent: bool, move: bool) -> None:
        jobs = list(self._jobs(pairs, totals.failures))
        found: list[tuple[_Job, ReadRow]] = []
        for job, row in zip(jobs, await self._rows.read([job.source for job in jobs]), strict=True):
            if isinstance(row, ReadRow):
                found.append((job, row))
            else:
                gone = NotFoundError("it was deleted meanwhile", hint="hippy ls shows what is there now")
                totals.failures.append(Failure(job.label, row or gone))
        drafts = [Draft(job.target, read.manifest, read.row.segment_ids) for job, read in found]
        copied = self._succeeded(found, await self._writer.write(drafts, if_absent=if_absent), totals)
        if move:
            gone_drafts = [Draft(job.source, None, replaces=read.row) for job, read in copied]
            copied = self._succeeded(copied, await self._writer.write(gone_drafts, if_unchanged=True), totals)
        for _, read in copied:
            totals.files += 1
            totals.bytes += read.manifest.size
            self._progress.advance(read.manifest.size)

    def _jobs(self, pairs: Sequence[Pair], failures: list[Failure]) -> Iterator[_Job]:
        for pair in pairs:
            source, target = parse_uri(pair.source), parse_uri(pair.target)
            try:
                yield _Job(path_of(source), self._place(source), self._place(target))
            except HippyError as error:
                failures.append(Failure(path_of(source), error))

    def _succeeded(
        self, done: Sequence[tuple[_Job, ReadRow]], errors: Sequence[HippyError | None], totals: CopyTotals
    ) -> list[tuple[_Job, ReadRow]]:
        """Return what went well, and note the rest."""
        for (job, _), error in zip(done, errors, strict=True):
            if error is not None:
                totals.failures.append(Failure(job.label, error))
        return [each for each, error in zip(done, errors, strict=True) if error is None]

    def _place(self, uri: Uri) -> Place:
        return seal_path(self._session.keys, uri.bucket, uri.components)


def check_apart(pairs: Sequence[Pair]) -> None:
    """Raises UsageError when an object would be written over another that is still to be copied, or twice."""
    sources = {pair.source for pair in pairs}
    taken: set[str] = set()
    for pair in pairs:
        if pair.target in sources:
            raise UsageError(
                f"{pair.target} is a source as well as a target", hint="copy or move in two steps, by another name"
            )
        if pair.target in taken:
            raise UsageError(f"two objects would become {pair.target}", hint="copy or move them one by one")
        taken.add(pair.target)
