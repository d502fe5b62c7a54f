"""What a miner counts and measures for whoever watches it, in one object.

The store and the routes write it as they go, the background work refreshes what has to be looked up; reading costs
nothing and may happen at any time in the event loop's thread. Counters only grow, and begin anew with the process.

>>> figures = Figures(capacity_bytes=10**12)
>>> figures.uploads["stored"] += 1
>>> figures.uploads["stored"], figures.allocated_bytes
(1, None)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from hippy.errors import HippyError
from hippy.miner.tables import Totals


@dataclass(slots=True)
class Figures:
    """Bytes, pieces and seconds as they are now, and outcomes since the start; None: not known yet."""

    capacity_bytes: int
    """What the operator offers."""

    totals: Totals = field(default_factory=Totals)
    """The index's sums: bytes accounted as used, those of trash among them, pieces, obligations."""

    allocated_bytes: int | None = None
    """What the miner's files take on the filesystem, as ``du`` says, at most some ten minutes old."""

    free_bytes: int | None = None
    """What the filesystem has free, some seconds old."""

    has_ballast: bool = False
    """Whether the file is there that is given up when the filesystem is full (hippy.miner.ballast)."""

    quarantine_bytes: int = 0
    quarantine_pieces: int = 0

    scrub_started: float = 0.0
    """When the present round of the background check began, Unix seconds; 0: never."""

    scrub_bytes: int = 0
    """Bytes checked in the present round."""

    scrub_pieces: int = 0
    scrub_rounds: int = 0
    """Rounds ended since the start."""

    scrub_bad: int = 0
    """Pieces that the background check found bad since the start."""

    uploads: Counter[str] = field(default_factory=Counter)
    """``stored``, ``repeated`` (answered with the receipt there was), or the code of the error (PROTOCOL §9)."""

    repairs: Counter[str] = field(default_factory=Counter)
    """Orders: ``made``, ``copied``, ``repeated`` (answered as before), ``sources`` (some could not be had),
    ``mismatch``, or the code of the error."""

    reads: Counter[str] = field(default_factory=Counter)
    """``read``, or the code of the error."""

    audits: Counter[str] = field(default_factory=Counter)
    """``answered``, or the code of the error."""

    leaves: Counter[str] = field(default_factory=Counter)
    """Leaves in answers to audits, by status: ``ok``, ``lost``, ``released``, ``never_received``."""

    releases: Counter[str] = field(default_factory=Counter)
    """What issuers said of tickets: ``live``, ``unknown``, ``released``, ``refused`` (a release that is none),
    ``unanswered``."""

    is_draining: bool = False
    """Whether this miner is leaving."""

    drain_pieces: int | None = None
    drain_bytes: int | None = None
    """What it still holds, as all its validators said last; None where it does not leave, too."""

    removed_pieces: int = 0
    removed_bytes: int = 0
    """Trash removed since the start."""


@contextmanager
def counting_errors(outcomes: Counter[str]) -> Iterator[None]:
    """Count the error that ends the block, if one does, by its code."""
    try:
        yield
    except HippyError as error:
        outcomes[error.code] += 1
        raise
