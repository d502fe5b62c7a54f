"""Is it all still there? Every miner that holds a piece is asked for one random leaf, with its proof.

Owns what is asked and what the answers come to. A leaf is checked against the piece's root (docs/PROTOCOL.md §2), so a
miner that answers has that leaf; it costs a few kilobytes a piece, and says nothing about the other leaves. Whole
objects are proved by reading them (hippy.client.get).

Invariants: a piece is ok only when its leaf led to its root; a segment that objects share is asked about once; so
many requests are under way at most, whatever is checked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from hippy.client.listing import Listed
from hippy.client.progress import Progress
from hippy.client.results import Health, Verdict
from hippy.client.tasks import task_group
from hippy.erasure.geometry import profile_of
from hippy.errors import HippyError, IntegrityError, ProtocolError
from hippy.ids import SegmentId
from hippy.proofs.ranges import parse_range, verify_range
from hippy.proofs.tree import LEAF_BYTES
from hippy.transport.client import Call
from hippy.wire.segment import Holding, SegmentRecord

if TYPE_CHECKING:
    from hippy.client.session import Session

LEAVES_AT_ONCE: Final = 64
"""Requests under way: a megabyte of answers."""

SEGMENTS_AT_ONCE: Final = 64
"""Records read together."""

PROOF_BYTES_MAX: Final = LEAF_BYTES + 4096
"""A leaf, its header and at most 32 siblings."""

LEAF_SECONDS: Final = 20.0
"""How long one miner may take: as long as any that sends nothing."""

_ORDER: Final[tuple[Verdict, ...]] = ("full", "repairable", "at_risk", "lost")


@dataclass(frozen=True, slots=True)
class SegmentHealth:
    """What the miners of one segment answered."""

    verdict: Verdict
    ok: int
    missing: int
    bad: int


NO_RECORD: Final = SegmentHealth("lost", 0, 0, 0)
"""A segment without a record that is right cannot be read."""


class Checker:
    """One check of many objects."""

    def __init__(self, session: Session, progress: Progress) -> None:
        self._session = session
        self._progress = progress
        self._turns = asyncio.Semaphore(LEAVES_AT_ONCE)

    async def run(self, listed: Sequence[Listed]) -> dict[SegmentId, SegmentHealth]:
        """Ask about every segment of the objects."""
        self._progress.stage("checking")
        self._progress.total(sum(each.head.size for each in listed))
        self._progress.advance(sum(each.head.size for each in listed if not each.row.segment_ids))
        shares = _shares(listed)
        wanted = sorted(shares)
        health: dict[SegmentId, SegmentHealth] = {}
        for start in range(0, len(wanted), SEGMENTS_AT_ONCE):
            asked = wanted[start : start + SEGMENTS_AT_ONCE]
            records = await self._session.api.segments(asked)
            async with task_group() as group:
                tasks = {each: group.create_task(self._segment(records[each], shares[each])) for each in asked}
            health.update({each: task.result() for each, task in tasks.items()})
        return health

    async def _segment(self, record: SegmentRecord | IntegrityError, share: int) -> SegmentHealth:
        """Ask about one segment, which stands for ``share`` bytes of progress."""
        if isinstance(record, IntegrityError) or record.account != self._session.keys.account:
            self._progress.advance(share)
            return NO_RECORD
        async with task_group() as group:
            tasks = [group.create_task(self._piece(record, holding)) for holding in record.holdings]
        answers = [task.result() for task in tasks]
        self._progress.advance(share)
        ok, bad, spec = answers.count("ok"), answers.count("bad"), record.spec
        return SegmentHealth(verdict_of(ok, spec.k, spec.n), ok, spec.n - ok - bad, bad)

    async def _piece(self, record: SegmentRecord, holding: Holding) -> Literal["ok", "missing", "bad"]:
        session, spec = self._session, record.spec
        root = spec.roots[holding.index]
        offset = int.from_bytes(session.entropy(8), "little") % spec.piece_length
        call = Call(
            "GET",
            f"/v1/pieces/{root.hex()}?offset={offset}&length=1&proof=1",
            answer_bytes_max=PROOF_BYTES_MAX,
            deadline_seconds=LEAF_SECONDS,
        )
        await session.miners.entries()  # that the validator is away does not make a piece missing
        try:
            async with self._turns:
                peer = await session.miners.peer_of(holding.miner)
                body = await session.http.bytes(peer, call)
            proof = parse_range(body)
            if (proof.piece_length, proof.first_leaf) != (spec.piece_length, offset // LEAF_BYTES):
                return "bad"
            verify_range(root, proof.piece_length, proof.first_leaf, proof.data, proof.siblings)
        except (IntegrityError, ProtocolError):
            return "bad"
        except HippyError:
            return "missing"
        return "ok"


def verdict_of(ok: int, k: int, n: int) -> Verdict:
    """Return what so many pieces that answer mean for a segment of this code."""
    if ok >= n:
        return "full"
    if ok > profile_of(k, n).repair_threshold:
        return "repairable"
    return "at_risk" if ok >= k else "lost"


def _shares(listed: Sequence[Listed]) -> dict[SegmentId, int]:
    """Return the segments of objects, each with its share of their bytes, for progress."""
    shares: dict[SegmentId, int] = {}
    for each in listed:
        rest = each.head.size
        for left, segment_id in zip(range(len(each.row.segment_ids), 0, -1), each.row.segment_ids, strict=True):
            share = -(-rest // left)
            shares[segment_id] = shares.get(segment_id, 0) + share
            rest -= share
    return shares


def health_of(listed: Listed, segments: dict[SegmentId, SegmentHealth]) -> Health:
    """Return what the segments of an object come to."""
    found: Sequence[SegmentHealth] = [segments[each] for each in listed.row.segment_ids]
    worst = max((_ORDER.index(each.verdict) for each in found), default=0)
    return Health(
        listed.uri,
        _ORDER[worst],
        sum(each.ok for each in found),
        sum(each.missing for each in found),
        sum(each.bad for each in found),
    )
