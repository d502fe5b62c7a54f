"""What is repaired next: the most urgent piece nobody works on, then a piece of a miner that wants to leave.

Functions on a reader. The queue is stored in the order of the time to loss that health alone gives; miners that are
silent now make some segments more urgent than that. So the head of the queue is ranked again with them, and beside it
a stretch that moves on through the rest: with every look another, so that a segment far behind whose miners fall silent
is found as well.

Example::

    found = choose(reader, Outlook(live, rate), skipped, after)
    found.choices                # the most urgent first
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

from hippy.ids import PublicKey, SegmentId
from hippy.kv import Reader
from hippy.validator.held import HeldPiece
from hippy.validator.holdings import lost_indices
from hippy.validator.repair.drains import next_pieces
from hippy.validator.repair.health import get_health, queued, segment_of
from hippy.validator.repair.jobs import piece_key
from hippy.validator.repair.moves import flawed_indices
from hippy.validator.repair_order import expected_hours_to_loss
from hippy.validator.tables import JOB, SEGMENT

HEAD_SEGMENTS: Final = 96
REST_SEGMENTS: Final = 32
"""Segments that are ranked for one choice; each takes some 0.1 ms."""

DRAIN_PIECES: Final = 64
"""Pieces of a miner that drains which are looked at for one choice."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What makes segments urgent: who answers now, and how many pieces are lost per piece and hour."""

    live: frozenset[PublicKey]
    losses_per_piece_hour: float


@dataclass(frozen=True, slots=True)
class Choice:
    """A piece to repair; ``drained`` is the miner that holds it and wants to leave."""

    segment_id: SegmentId
    index: int
    drained: PublicKey | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """Pieces to repair, one of a segment, the most urgent first, and where the next look at the rest begins."""

    choices: list[Choice]
    after: bytes | None


def choose(reader: Reader, outlook: Outlook, skipped: Collection[SegmentId], after: bytes | None) -> Found:
    """Return what of the queue is to be repaired next, but for segments that are ``skipped``."""
    head = queued(reader, HEAD_SEGMENTS)
    behind = None if len(head) < HEAD_SEGMENTS else max(head[-1], after or head[-1])
    rest = [] if behind is None else queued(reader, REST_SEGMENTS, behind)
    segments = [segment_id for key in (*head, *rest) if (segment_id := segment_of(key)) not in skipped]
    ranked = sorted((_hours(reader, segment_id, outlook), segment_id) for segment_id in segments)
    choices = [choice for _, segment_id in ranked for choice in _first_free(reader, segment_id)]
    return Found(choices, rest[-1] if len(rest) == REST_SEGMENTS else None)


def choose_drained(
    reader: Reader, miner: PublicKey, skipped: Collection[SegmentId], after: HeldPiece | None
) -> tuple[list[Choice], HeldPiece | None]:
    """Return pieces of a miner that wants to leave, behind ``after``, and where to go on; None: at the start."""
    pieces = next_pieces(reader, miner, after, DRAIN_PIECES)
    choices = [
        Choice(piece.segment_id, piece.index, miner)
        for piece in pieces
        if piece.segment_id not in skipped and not _has_job(reader, piece.segment_id, piece.index)
    ]
    return choices, pieces[-1] if len(pieces) == DRAIN_PIECES else None


def _hours(reader: Reader, segment_id: SegmentId, outlook: Outlook) -> float:
    """Return the expected time to the loss of a queued segment."""
    health = get_health(reader, segment_id)
    assert health is not None, "what is queued has a health"
    at_risk = sum(miner not in outlook.live for _, miner in _holders(reader, segment_id))
    return expected_hours_to_loss(
        health.healthy, health.k, outlook.losses_per_piece_hour, at_risk=min(at_risk, health.healthy)
    )


def _holders(reader: Reader, segment_id: SegmentId) -> Iterator[tuple[int, PublicKey]]:
    """Yield who holds which piece; read from JSON, for a record takes 1 ms to parse into a message."""
    stored = reader.get(SEGMENT + segment_id)
    assert stored is not None, "what is queued is committed"
    lost = lost_indices(reader, segment_id)
    for holding in json.loads(stored)["holdings"]:
        if holding["index"] not in lost:
            yield holding["index"], PublicKey(bytes.fromhex(holding["miner"]))


def _first_free(reader: Reader, segment_id: SegmentId) -> Iterator[Choice]:
    """Yield the first missing piece of a segment that nobody works on, if there is one."""
    health = get_health(reader, segment_id)
    assert health is not None
    there = {index for index, _ in _holders(reader, segment_id)} | flawed_indices(reader, segment_id)
    for index in range(health.n):
        if index not in there and not _has_job(reader, segment_id, index):
            yield Choice(segment_id, index)
            return


def _has_job(reader: Reader, segment_id: SegmentId, index: int) -> bool:
    return reader.get(JOB + piece_key(segment_id, index)) is not None
