"""A validator's view of its network in numbers: ``GET /v1/status`` (docs/PROTOCOL.md §5.6).

What the network page shows, open to all and unsigned. Nothing in it is about an account: no key, no name, no bytes of
one. What a validator does not count is absent, which is not the same as zero.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from hippy.wire.canonical import Message
from hippy.wire.fields import U16, U32, Count, Key, Network, Seconds, Text
from hippy.wire.node import MINERS_MAX
from hippy.wire.score import FactorName, Ppm

STATUS_BYTES_MAX: Final = 2 * 1024 * 1024
"""MINERS_MAX miners of some 500 bytes with five reasons of 250 bytes each."""

SPARE_MAX: Final = 254
"""n is at most 255 and k at least 1."""

WeightsOutcome = Literal["accepted", "delayed", "refused", "nobody_earned"]


class Reason(Message):
    """A factor that costs a miner something: its value and what that rests on, in words."""

    TYPE = "reason"
    name: FactorName
    value_ppm: Ppm | None = None
    rests_on: Text


class MinerStanding(Message):
    """What the newest sheet says of a miner.

    ``held_bytes`` are bytes of distinct roots; ``leaves_ok`` were shown and ``leaves_bad`` were not in the sheet's
    epoch, and ``proved_bytes`` is what the shown ones cover at most; ``share_ppm`` is its part of all weights;
    ``health_ppm`` is Q·U·R·T of PROTOCOL §6, everything but size and age.
    """

    TYPE = "miner-standing"
    held_bytes: Count
    proved_bytes: Count
    leaves_ok: Count
    leaves_bad: Count
    weight: Count
    share_ppm: Ppm
    health_ppm: Ppm
    reasons: Annotated[tuple[Reason, ...], Field(max_length=6)]


class MinerStatus(Message):
    """One miner; ``standing`` is absent until a sheet has it. ``seen_time`` is the last good handshake, 0 for never.

    ``held_pieces`` are holdings that have not ended, now; ``capacity_bytes`` and ``used_bytes`` are its own word.
    """

    TYPE = "miner-status"
    uid: U16
    hotkey: Key
    state: Literal["live", "silent", "unpublished"]
    seen_time: Seconds
    capacity_bytes: Count
    used_bytes: Count
    held_pieces: Count
    owed_batches: U32
    standing: MinerStanding | None = None


class Totals(Message):
    """Sums over the miners; a sum beyond 2^53-1 is told as that."""

    TYPE = "totals"
    miners: Count
    live_miners: Count
    capacity_bytes: Count
    used_bytes: Count
    held_bytes: Count
    proved_bytes: Count
    leaves_ok: Count
    leaves_bad: Count


class SpareCount(Message):
    """How many segments have this many healthy pieces more than the k they need."""

    TYPE = "spare-count"
    spare: Annotated[int, Field(ge=0, le=SPARE_MAX)]
    segments: Count


class SegmentHealth(Message):
    """Segments by spare pieces, ascending; how many have fewer than k, and how many few enough to be repaired."""

    TYPE = "segment-health"
    by_spare: Annotated[tuple[SpareCount, ...], Field(max_length=SPARE_MAX + 1)]
    lost: Count
    at_threshold: Count


class SegmentsStatus(Message):
    """The segments of all accounts together; ``health`` is absent where it is not counted."""

    TYPE = "segments-status"
    committed: Count
    released: Count
    health: SegmentHealth | None = None


class RepairStatus(Message):
    """The repair queue: segments in it, bytes to be made for them, those that wait for miners or sources, and pieces
    that are being made now."""

    TYPE = "repair-status"
    queued_segments: Count
    queued_bytes: Count
    stuck_segments: Count
    repairing: Count


class WeightsStatus(Message):
    """What became of the newest sheet's weights at the latest try, since the validator started."""

    TYPE = "weights-status"
    epoch: Count
    time: Seconds
    outcome: WeightsOutcome
    miners: Count


class AuditStatus(Message):
    """How far asking is behind: batches due and not asked, asked and not settled, and the age of the oldest of these.

    ``entries`` are outcomes in the present epoch's transcript.
    """

    TYPE = "audit-status"
    entries: Count
    due_batches: Count
    owed_batches: Count
    oldest_seconds: Count


class FollowedStatus(Message):
    """A followed log: the newest record we have, the newest that is known of, the difference, and when we came so far.

    ``time`` is 0 where nothing was ever read of it.
    """

    TYPE = "followed-status"
    seq: Count
    known_seq: Count
    behind: Count
    time: Seconds


class ValidatorStatus(Message):
    """Another validator: a neuron with a permit that is no miner, or the home of a log that is followed.

    ``uid`` is absent when it is not registered, ``log`` when it is not followed. ``stake_ppm`` is its part of the stake
    of all validators.
    """

    TYPE = "validator-status"
    hotkey: Key
    uid: U16 | None = None
    stake_ppm: Ppm
    log: FollowedStatus | None = None


class NetworkStatus(Message):
    """``GET /v1/status``: one validator's view of its network.

    ``epoch`` is the one that is audited, since ``epoch_time``; ``log_seq`` is the newest record of our log.
    ``chain_epoch`` and ``block`` are absent while the chain does not tell, ``sheet_epoch`` until an epoch has ended,
    ``repair`` where no repairs are kept count of, ``weights`` until some were to be set.
    """

    TYPE = "network-status"
    validator: Key
    network: Network
    netuid: U16
    software: Text
    protocol: U16
    time: Seconds
    block: Count | None = None
    beacon_round: Count
    chain_epoch: Count | None = None
    epoch: Count | None = None
    epoch_time: Seconds | None = None
    sheet_epoch: Count | None = None
    log_seq: Count
    totals: Totals
    miners: Annotated[tuple[MinerStatus, ...], Field(max_length=MINERS_MAX)]
    segments: SegmentsStatus
    repair: RepairStatus | None = None
    weights: WeightsStatus | None = None
    audits: AuditStatus
    validators: Annotated[tuple[ValidatorStatus, ...], Field(max_length=MINERS_MAX)]
