"""What a registry knows of a segment when one of its pieces is to be repaired: read in one view.

Example::

    facts = facts_of(reader, Choice(segment_id, 3))
    if facts is None:
        ...                                 # there is nothing to repair any more
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from hippy.ids import PublicKey
from hippy.kv import Reader
from hippy.validator.holdings import former_miners, lost_indices
from hippy.validator.leases import is_released
from hippy.validator.repair.choosing import Choice
from hippy.validator.repair.jobs import Notes, get_notes, jobs, miners_of, tried
from hippy.validator.repair.moves import current_holder, flawed_indices
from hippy.validator.tables import ENVELOPES, get_allocation, get_message, get_segment
from hippy.wire.log import Envelopes
from hippy.wire.segment import SegmentRecord


@dataclass(frozen=True, slots=True)
class Facts:
    """A segment as it was when a repair of one of its pieces was planned."""

    record: SegmentRecord
    envelopes: Envelopes | None
    notes: Notes
    holders: dict[int, PublicKey]
    """Who holds which piece now."""

    excluded: frozenset[PublicKey]
    """Who had or was given a piece of the segment, and whoever refused one."""

    making: frozenset[PublicKey]
    """Who makes another piece of it now."""

    reading: Counter[PublicKey]
    """Orders that read from each miner now."""

    busy: frozenset[PublicKey]
    """Miners that make a piece now, of whatever segment."""


def facts_of(reader: Reader, choice: Choice) -> Facts | None:
    """Return what a repair is planned from, None where there is nothing to repair: the segment is released, the piece
    is held, or cannot be made."""
    facts = segment_facts(reader, choice)
    if facts is None or choice.index in flawed_indices(reader, choice.segment_id):
        return None
    return facts if facts.holders.get(choice.index) == choice.drained else None


def segment_facts(reader: Reader, choice: Choice) -> Facts | None:
    """Return what is known of a segment, whatever became of the piece; None where it is released."""
    record = get_segment(reader, choice.segment_id)
    if record is None or is_released(reader, choice.segment_id):
        return None
    allocation = get_allocation(reader, choice.segment_id)
    refused = () if allocation is None else allocation.tried
    under_way = list(jobs(reader))
    return Facts(
        record=record,
        envelopes=get_message(reader, ENVELOPES + choice.segment_id, Envelopes),
        notes=get_notes(reader, choice.segment_id, choice.index),
        holders=_holders(reader, record),
        excluded=frozenset(
            (
                *(holding.miner for holding in record.holdings),
                *former_miners(reader, choice.segment_id),
                *(each.miner for each in tried(reader, choice.segment_id)),
                *refused,
            )
        ),
        making=frozenset(miner for job in under_way if job.segment_id == choice.segment_id for miner in miners_of(job)),
        reading=Counter(source.miner for job in under_way for source in job.sources),
        busy=frozenset(miner for job in under_way for miner in miners_of(job)),
    )


def _holders(reader: Reader, record: SegmentRecord) -> dict[int, PublicKey]:
    lost = lost_indices(reader, record.segment_id)
    return {
        holding.index: holding.miner
        for holding in record.holdings
        if holding.index not in lost and current_holder(reader, record, holding.index) is not None
    }
