"""What a page is made of, in tests: a subnet with miners good and bad, repairs under way and two other validators."""

from __future__ import annotations

from typing import Any

from hippy.chain.protocol import Metagraph, Neuron
from hippy.endpoint import Endpoint
from hippy.ids import ZERO_ID, MessageId, PublicKey
from hippy.validator.audit.lag import AuditLag
from hippy.validator.auditing.weighing import WeightsTry
from hippy.validator.page.figures import FollowedLog, HealthFigures, RepairFigures
from hippy.validator.page.status import Facts, standings_of, status_of
from hippy.validator.scoring import Leaves, Tally
from hippy.wire.audit import EpochHeader, HeadName
from hippy.wire.node import MinerEntry
from hippy.wire.score import MinerScore, ScoreRules, ScoreSheet
from hippy.wire.status import NetworkStatus
from tests.validator.score_world import GOOD_TALLY, TERABYTE, scored
from tests.validator.world import HOME, NOW

EPOCH = 412
HOTKEYS = [PublicKey(bytes([number]) * 32) for number in range(1, 33)]
OTHERS = [PublicKey(bytes([number]) * 32) for number in (101, 102, 103)]
COLDKEY = PublicKey(b"c" * 32)
STORED = TERABYTE // 4


def entry(number: int, **changes: Any) -> MinerEntry:
    """Return the miner of this number as the directory has it: live, a quarter full."""
    fields: dict[str, Any] = {
        "uid": number,
        "hotkey": HOTKEYS[number],
        "coldkey": COLDKEY,
        "endpoint": Endpoint("192.0.2.1", 4000 + number),
        "state": "live",
        "capacity_bytes": TERABYTE,
        "used_bytes": STORED + number * 2**30,
        "seen_time": NOW - 1 - number,
    }
    return MinerEntry.model_validate({**fields, **changes})


def score(number: int, **changes: Any) -> MinerScore:
    """Return the score of the miner of this number: everything as it should be."""
    given = {"hotkey": HOTKEYS[number], "coldkey": COLDKEY, "uid": number, "paid_bytes": STORED + number * 2**29}
    return scored(epoch=EPOCH - 1, **{**given, **changes})


def sheet(*scores: MinerScore) -> ScoreSheet:
    """Return the newest sheet."""
    return ScoreSheet(
        netuid=HOME.netuid,
        validator=HOME.hotkey,
        epoch=EPOCH - 1,
        prev_sheet=MessageId(b"p" * 32),
        rules=ScoreRules(),
        miners=tuple(sorted(scores, key=lambda each: each.hotkey)),
    )


def header() -> EpochHeader:
    """Return the header of the epoch under way, 41 minutes old."""
    return EpochHeader(
        network=HOME.network,
        netuid=HOME.netuid,
        validator=HOME.hotkey,
        epoch=EPOCH,
        time=NOW - 41 * 60,
        seed_commit=b"s" * 32,
        prev_header=MessageId(b"h" * 32),
        prev_epoch=EPOCH - 1,
        revealed=b"r" * 32,
        transcript_root=b"t" * 32,
        sheet_id=MessageId(b"i" * 32),
        first_round=9_000,
        rounds=1_440,
        heads=(HeadName(home=HOME.hotkey, term=1, seq=20, head=MessageId(ZERO_ID)),),
    )


def neuron(hotkey: PublicKey, uid: int, *, stake_rao: int = 0, permit: bool = False) -> Neuron:
    """Return a registered identity."""
    return Neuron(uid, hotkey, COLDKEY, None, permit, stake_rao, 0, 0.0)


def metagraph() -> Metagraph:
    """Return the subnet: ourselves with half of the stake, two other validators, and the miners."""
    validators = [neuron(HOME.hotkey, 200, stake_rao=2 * 10**12, permit=True)]
    validators += [neuron(hotkey, 201 + i, stake_rao=10**12, permit=True) for i, hotkey in enumerate(OTHERS[:2])]
    miners = [neuron(hotkey, uid, permit=uid == 0) for uid, hotkey in enumerate(HOTKEYS)]
    return Metagraph(block=5_000, tempo_blocks=360, neurons=tuple(miners + validators))


TROUBLED: dict[int, dict[str, Any]] = {
    3: {"leaves": Leaves(244, 12)},
    5: {"age_epochs": 14},
    7: {"tally": Tally(1_500, 1_680, 1_100, 1_120, 1_100 * 2**22, 1_100 * 100_000), "age_epochs": 100},
    9: {"tally": Tally(1_680, 1_680, 1_120, 1_120, 1_120 * 2**20, 1_120 * 1_000_000)},
    11: {"paid_bytes": 0, "leaves": Leaves()},
}
"""What some miners do less well, by number."""


def facts(**changes: Any) -> Facts:
    """Return a subnet of a dozen miners in the middle of an epoch, one of them silent, one new."""
    scores = [score(number, **TROUBLED.get(number, {"tally": GOOD_TALLY})) for number in range(11)]
    scores.append(score(11, **TROUBLED[11]))
    fields: dict[str, Any] = {
        "validator": HOME.hotkey,
        "network": HOME.network,
        "netuid": HOME.netuid,
        "now": NOW,
        "block": 148_320,
        "chain_epoch": EPOCH,
        "beacon_round": 9_820,
        "header": header(),
        "log_seq": 48_213,
        "metagraph": metagraph(),
        "miners": [
            *(entry(number) for number in range(10)),
            entry(10, state="silent", seen_time=NOW - 7_300),
            entry(11, used_bytes=0),
            entry(12, state="unpublished", endpoint=None, capacity_bytes=0, used_bytes=0, seen_time=0),
        ],
        "held_pieces": {HOTKEYS[number]: 61_000 + number for number in range(11)},
        "owed_batches": {HOTKEYS[10]: 3},
        "standings": standings_of(sheet(*scores)),
        "committed_segments": 61_930,
        "released_segments": 1_204,
        "entries": 37,
        "lag": AuditLag(due=0, owed=3, oldest_seconds=7_300),
        "weights": WeightsTry(EPOCH - 1, NOW - 40 * 60, "accepted", 11),
        "health": HealthFigures(
            {14: 61_021, 13: 710, 12: 150, 11: 30, 8: 12, 5: 4, 2: 2, -1: 1},
            7,
        ),
        "repair": RepairFigures(queued_segments=5, queued_bytes=21 * 2**20, stuck_segments=1, repairing=2),
        "followed": (FollowedLog(OTHERS[0], 9_000, 9_012, NOW - 4), FollowedLog(OTHERS[2], 77, 77, NOW - 300)),
    }
    return Facts(**{**fields, **changes})


def status(**changes: Any) -> NetworkStatus:
    """Return the status of :func:`facts`."""
    return status_of(facts(**changes))
