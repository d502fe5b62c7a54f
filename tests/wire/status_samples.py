"""A network status and its parts, as tests of every message need them."""

from __future__ import annotations

from hippy.ids import NetworkId, PublicKey
from hippy.wire.canonical import Message
from hippy.wire.status import (
    AuditStatus,
    FollowedStatus,
    MinerStanding,
    MinerStatus,
    NetworkStatus,
    Reason,
    RepairStatus,
    SegmentHealth,
    SegmentsStatus,
    SpareCount,
    Totals,
    ValidatorStatus,
    WeightsStatus,
)

MINER, VALIDATOR = PublicKey(b"m" * 32), PublicKey(b"v" * 32)
REASON = Reason(name="age", value_ppm=335_000, rests_on="14 epochs since registration; 280 count in full")
STANDING = MinerStanding(
    held_bytes=10**12,
    proved_bytes=2**22,
    leaves_ok=256,
    leaves_bad=1,
    weight=9 * 10**11,
    share_ppm=1_000_000,
    health_ppm=900_000,
    reasons=(REASON,),
)
MINER_STATUS = MinerStatus(
    uid=3,
    hotkey=MINER,
    state="live",
    seen_time=1_800_000_000,
    capacity_bytes=2**40,
    used_bytes=2**39,
    held_pieces=61_000,
    owed_batches=1,
    standing=STANDING,
)
TOTALS = Totals(
    miners=1,
    live_miners=1,
    capacity_bytes=2**40,
    used_bytes=2**39,
    held_bytes=10**12,
    proved_bytes=2**22,
    leaves_ok=256,
    leaves_bad=1,
)
SPARE = SpareCount(spare=14, segments=61_000)
HEALTH = SegmentHealth(by_spare=(SPARE,), lost=1, at_threshold=7)
SEGMENTS = SegmentsStatus(committed=61_001, released=12, health=HEALTH)
REPAIR = RepairStatus(queued_segments=5, queued_bytes=2**24, stuck_segments=1, repairing=2)
WEIGHTS = WeightsStatus(epoch=411, time=1_800_000_000, outcome="accepted", miners=1)
AUDITS = AuditStatus(entries=37, due_batches=0, owed_batches=1, oldest_seconds=300)
FOLLOWED = FollowedStatus(seq=9_000, known_seq=9_012, behind=12, time=1_800_000_000)
OTHER = ValidatorStatus(hotkey=VALIDATOR, uid=7, stake_ppm=250_000, log=FOLLOWED)

STATUS_MESSAGES: list[Message] = [
    REASON,
    STANDING,
    MINER_STATUS,
    TOTALS,
    SPARE,
    HEALTH,
    SEGMENTS,
    REPAIR,
    WEIGHTS,
    AUDITS,
    FOLLOWED,
    OTHER,
    NetworkStatus(
        validator=VALIDATOR,
        network=NetworkId(b"n" * 32),
        netuid=7,
        software="hippy 0.1.0",
        protocol=1,
        time=1_800_000_000,
        block=148_320,
        beacon_round=9_820,
        chain_epoch=412,
        epoch=412,
        epoch_time=1_799_998_000,
        sheet_epoch=411,
        log_seq=48_213,
        totals=TOTALS,
        miners=(MINER_STATUS,),
        segments=SEGMENTS,
        repair=REPAIR,
        weights=WEIGHTS,
        audits=AUDITS,
        validators=(OTHER,),
    ),
]
