"""Released records as a validator of bad will writes them: any body, with all that the registry makes of it."""

from __future__ import annotations

from hippy.kv import Transaction
from hippy.validator.holdings import end_released
from hippy.validator.leases import end
from hippy.validator.log import append
from hippy.validator.tables import get_segment
from hippy.wire.log import SegmentReleased
from tests.validator.world import HOME


def released(txn: Transaction, body: SegmentReleased, now: int) -> int:
    """Log a body and end what it releases; return the record's seq."""
    seq = append(txn, HOME, [body], now)
    record = get_segment(txn, body.segment_id)
    assert record is not None
    end(txn, body.segment_id, seq)
    end_released(txn, record, seq)
    return seq
