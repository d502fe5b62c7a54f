"""One valid message of every type of audits and scores, with every optional field present."""

from __future__ import annotations

from typing import Any, Final

from hippy.ids import ZERO_ID, MessageId, NetworkId, PublicKey, Root
from hippy.wire.audit import EpochHeader, Epochs, HeadName, LostAnswer, LostReport
from hippy.wire.canonical import Message
from hippy.wire.score import (
    AccountBytes,
    AuditFailure,
    Factor,
    MinerReport,
    MinerScore,
    PastScore,
    ScoreRules,
    ScoreSheet,
)

NETWORK: Final = NetworkId(b"N" * 32)
TIME: Final = 1_800_000_000
VALIDATOR: Final = PublicKey(b"v" * 32)
MINER: Final = PublicKey(b"m" * 32)

HEAD: Final = HeadName(home=VALIDATOR, term=1, seq=9, head=MessageId(b"h" * 32))


def header(**changes: Any) -> EpochHeader:
    """Return the header of epoch 7, which follows that of epoch 6."""
    fields: dict[str, Any] = {
        "network": NETWORK,
        "netuid": 7,
        "validator": VALIDATOR,
        "epoch": 7,
        "time": TIME,
        "seed_commit": b"c" * 32,
        "prev_header": MessageId(b"p" * 32),
        "prev_epoch": 6,
        "revealed": b"r" * 32,
        "transcript_root": b"t" * 32,
        "sheet_id": MessageId(b"s" * 32),
        "first_round": 900,
        "rounds": 360,
        "heads": (HEAD,),
    }
    return EpochHeader(**{**fields, **changes})


def first_header(**changes: Any) -> EpochHeader:
    """Return a header before which there is none."""
    told = dict.fromkeys(("prev_epoch", "revealed", "transcript_root", "sheet_id"))
    return header(**{"prev_header": MessageId(ZERO_ID), "rounds": 0, **told, **changes})


def score(number: int = 0, **changes: Any) -> MinerScore:
    """Return the score of a miner that does well; ``number`` makes its hotkey."""
    fields: dict[str, Any] = {
        "hotkey": PublicKey(number.to_bytes(2, "big") + b"m" * 30),
        "coldkey": PublicKey(b"c" * 32),
        "uid": number,
        "paid_bytes": 250_000_000_000,
        "unpaid_bytes": 30_000_000_000,
        "leaves_ok": 256,
        "leaves_bad": 0,
        "slow_alpha": 5_120_000_000,
        "slow_beta": 0,
        "fast_alpha": 512_000_000,
        "fast_beta": 0,
        "escalated_until": 11,
        "live_ok": 1_679,
        "live_total": 1_680,
        "reads_ok": 1_118,
        "reads_total": 1_120,
        "read_bytes": 4_697_620_480,
        "read_microseconds": 400_000_000,
        "age_epochs": 400,
        "proof_ppm": 1_000_000,
        "uptime_ppm": 1_000_000,
        "reads_ppm": 1_000_000,
        "speed_ppm": 1_000_000,
        "age_ppm": 1_000_000,
        "weight": 253_000_000_000,
    }
    return MinerScore(**{**fields, **changes})


RULES: Final = ScoreRules()
FACTOR: Final = Factor(name="proofs", value_ppm=176_400, rests_on="243 of 256 leaves shown", todo="check the disk")
PAST: Final = PastScore(
    epoch=7,
    bytes=10**12,
    leaves_ok=243,
    leaves_bad=13,
    proof_ppm=176_400,
    uptime_ppm=1_000_000,
    reads_ppm=1_000_000,
    speed_ppm=1_000_000,
    age_ppm=300_000,
    weight=52_920_000_000,
)
FAILURE: Final = AuditFailure(epoch=7, batch=3, time=TIME, kind="wrong", bad=13, roots=(Root(b"1" * 32),))
ACCOUNT: Final = AccountBytes(account=PublicKey(b"a" * 32), bytes=1)
REPORT: Final = MinerReport(
    drain_time=TIME - 9,
    validator=VALIDATOR,
    hotkey=MINER,
    time=TIME,
    epoch=7,
    state="live",
    score=score(),
    share_ppm=4_000,
    owed_batches=2,
    factors=(FACTOR,),
    history=(PAST,),
    failures=(FAILURE,),
    accounts=(ACCOUNT,),
)
SHEET: Final = ScoreSheet(
    netuid=7, validator=VALIDATOR, epoch=7, prev_sheet=MessageId(b"p" * 32), rules=RULES, miners=(score(),)
)

AUDIT_MESSAGES: Final[list[Message]] = [
    HEAD,
    header(),
    Epochs(first=1, last=7),
    LostReport(miner=MINER, validator=VALIDATOR, roots=(Root(b"1" * 32),), time=TIME),
    LostAnswer(recorded=1),
]
SCORE_MESSAGES: Final[list[Message]] = [RULES, score(), SHEET, FACTOR, PAST, FAILURE, ACCOUNT, REPORT]
