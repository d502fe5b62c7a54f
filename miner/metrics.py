"""A miner's figures as metrics (hippy.miner.figures has what they are; deploy/METRICS.md lists them for operators).

Example::

    admin.attach(attached(settings.data_dir, store.figures, drain_routes(draining)))
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from hippy.miner.figures import Figures
from hippy.transport.admin import Attached
from hippy.transport.figures import Metric, Sample
from hippy.transport.readiness import disk_check
from hippy.transport.server import Route

CAPACITY: Final = Metric("hippy_miner_capacity_bytes", "gauge", "Bytes of pieces that the operator offers.")
USED: Final = Metric("hippy_miner_used_bytes", "gauge", "Bytes of pieces accounted as used, trash among them.")
TRASH: Final = Metric(
    "hippy_miner_trash_bytes", "gauge", "Bytes of pieces whose last obligation ended, not removed yet."
)
ALLOCATED: Final = Metric(
    "hippy_miner_allocated_bytes", "gauge", "Bytes that the miner's files take on the file system, as du says."
)
FREE: Final = Metric("hippy_miner_free_bytes", "gauge", "Bytes that the file system has free.")
BALLAST: Final = Metric("hippy_miner_has_ballast", "gauge", "1 while the file is there that a full disk gives up.")
PIECES: Final = Metric("hippy_miner_pieces", "gauge", "Pieces held.")
OBLIGATIONS: Final = Metric("hippy_miner_obligations", "gauge", "Tickets that pieces are owed for.")
QUARANTINE_BYTES: Final = Metric("hippy_miner_quarantine_bytes", "gauge", "Bytes of bad pieces that were put aside.")
QUARANTINE: Final = Metric("hippy_miner_quarantine_pieces", "gauge", "Bad pieces that were put aside.")
SCRUB_STARTED: Final = Metric(
    "hippy_miner_scrub_started_seconds", "gauge", "Unix time at which the present round of the check began; 0: never."
)
SCRUB_BYTES: Final = Metric("hippy_miner_scrub_bytes", "gauge", "Bytes checked in the present round.")
SCRUB_PIECES: Final = Metric("hippy_miner_scrub_pieces", "gauge", "Pieces checked in the present round.")
SCRUB_ROUNDS: Final = Metric("hippy_miner_scrub_rounds_total", "counter", "Rounds of the background check that ended.")
SCRUB_BAD: Final = Metric("hippy_miner_scrub_bad_total", "counter", "Pieces that the background check found bad.")
UPLOADS: Final = Metric(
    "hippy_miner_uploads_total", "counter", "Uploads: stored, repeated, or the code of the error.", ("outcome",)
)
REPAIRS: Final = Metric(
    "hippy_miner_repairs_total",
    "counter",
    "Orders to repair: made, copied, repeated, sources (some could not be had), mismatch, or the code of the error.",
    ("outcome",),
)
READS: Final = Metric("hippy_miner_reads_total", "counter", "Reads: read, or the code of the error.", ("outcome",))
AUDITS: Final = Metric(
    "hippy_miner_audits_total", "counter", "Audits: answered, or the code of the error.", ("outcome",)
)
LEAVES: Final = Metric(
    "hippy_miner_audit_leaves_total", "counter", "Leaves in answers to audits, by status.", ("status",)
)
RELEASES: Final = Metric("hippy_miner_releases_total", "counter", "What issuers said of tickets.", ("state",))
DRAINING: Final = Metric("hippy_miner_draining", "gauge", "1 while the miner is leaving (hippy miner drain), else 0.")
DRAIN_PIECES: Final = Metric(
    "hippy_miner_drain_pieces", "gauge", "Pieces that a leaving miner still holds, as its validators say."
)
DRAIN_BYTES: Final = Metric(
    "hippy_miner_drain_bytes", "gauge", "Bytes that a leaving miner still holds, as its validators say."
)
REMOVED: Final = Metric("hippy_miner_removed_pieces_total", "counter", "Pieces of trash that were removed.")
REMOVED_BYTES: Final = Metric("hippy_miner_removed_bytes_total", "counter", "Bytes of trash that were removed.")

METRICS: Final = (
    *(CAPACITY, USED, TRASH, ALLOCATED, FREE, BALLAST, PIECES, OBLIGATIONS, QUARANTINE_BYTES, QUARANTINE),
    *(SCRUB_STARTED, SCRUB_BYTES, SCRUB_PIECES, SCRUB_ROUNDS, SCRUB_BAD),
    *(UPLOADS, REPAIRS, READS, AUDITS, LEAVES, RELEASES, DRAINING, DRAIN_PIECES, DRAIN_BYTES, REMOVED, REMOVED_BYTES),
)


def attached(data_dir: Path, figures: Figures, routes: Sequence[Route] = ()) -> Attached:
    """Return what the admin port shows of a miner whose store is open, and the routes that it answers there."""
    checks = {"disk": disk_check(data_dir)}
    return Attached(checks=checks, metrics=METRICS, figures=figures_of(figures), routes=routes)


def figures_of(figures: Figures) -> Callable[[], Awaitable[Iterable[Sample]]]:
    """Return what gives a miner's samples when asked."""

    async def samples() -> Iterable[Sample]:
        return list(_samples(figures))

    return samples


def _samples(figures: Figures) -> Iterator[Sample]:
    """Yield every figure that is known; what is not known yet has no sample."""
    totals = figures.totals
    yield CAPACITY.sample(figures.capacity_bytes)
    yield USED.sample(totals.used_bytes)
    yield TRASH.sample(totals.trash_bytes)
    for metric, known in ((ALLOCATED, figures.allocated_bytes), (FREE, figures.free_bytes)):
        if known is not None:
            yield metric.sample(known)
    yield BALLAST.sample(figures.has_ballast)
    yield PIECES.sample(totals.pieces)
    yield OBLIGATIONS.sample(totals.obligations)
    yield QUARANTINE_BYTES.sample(figures.quarantine_bytes)
    yield QUARANTINE.sample(figures.quarantine_pieces)
    yield SCRUB_STARTED.sample(figures.scrub_started)
    yield SCRUB_BYTES.sample(figures.scrub_bytes)
    yield SCRUB_PIECES.sample(figures.scrub_pieces)
    yield SCRUB_ROUNDS.sample(figures.scrub_rounds)
    yield SCRUB_BAD.sample(figures.scrub_bad)
    for metric, outcomes in (
        (UPLOADS, figures.uploads),
        (REPAIRS, figures.repairs),
        (READS, figures.reads),
        (AUDITS, figures.audits),
        (LEAVES, figures.leaves),
        (RELEASES, figures.releases),
    ):
        for outcome, count in sorted(outcomes.items()):
            yield metric.sample(count, outcome)
    yield DRAINING.sample(figures.is_draining)
    for metric, known in ((DRAIN_PIECES, figures.drain_pieces), (DRAIN_BYTES, figures.drain_bytes)):
        if known is not None:
            yield metric.sample(known)
    yield REMOVED.sample(figures.removed_pieces)
    yield REMOVED_BYTES.sample(figures.removed_bytes)
