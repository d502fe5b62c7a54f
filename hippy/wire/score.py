"""Scores on the wire: the sheet of an epoch and what is told about one miner (PROTOCOL §5.6, §6).

Everything is an integer: ppm are millionths, alpha and beta millionths of a leaf, so that everybody computes the same
sheet. Formulas are hippy.validator.scoring's.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from hippy.wire.canonical import Message
from hippy.wire.fields import INTEGER_MAX, U16, U32, Count, Key, Message32, RootId, Seconds, Text
from hippy.wire.node import MINERS_MAX

SHEET_BYTES_MAX: Final = 2 * 1024 * 1024
REPORT_BYTES_MAX: Final = 256 * 1024
HISTORY_MAX: Final = 160
"""Epochs of history in a miner's report: a week and a bit of 72-minute epochs."""

FAILURES_MAX: Final = 50
ACCOUNTS_MAX: Final = 50

Ppm = Annotated[int, Field(ge=0, le=1_000_000)]
Percent = Annotated[int, Field(ge=0, le=100)]
FactorName = Literal["bytes", "proofs", "uptime", "reads", "speed", "age"]


class ScoreRules(Message):
    """The constants of PROTOCOL §6; a validator that changes one says so in its sheets.

    ``*_ppm`` are millionths, ``*_percent`` hundredths, of unpaid bytes or kept of alpha and beta per epoch, ``*bps*``
    bits per second. The bounds keep every formula defined whatever a sheet from outside says.
    """

    TYPE = "score-rules"
    unpaid_percent: Percent = 10
    slow_percent: Percent = 95
    fast_percent: Percent = 50
    proof_floor_ppm: Annotated[int, Field(ge=0, le=999_999)] = 950_000
    uptime_floor_ppm: Ppm = 900_000
    uptime_span_ppm: Annotated[int, Field(ge=1, le=1_000_000)] = 85_000
    reads_floor_ppm: Ppm = 900_000
    reads_span_ppm: Annotated[int, Field(ge=1, le=1_000_000)] = 90_000
    bps_per_terabyte: Count = 10_000_000
    bps_min: Annotated[int, Field(ge=1, le=INTEGER_MAX)] = 25_000_000
    bps_max: Annotated[int, Field(ge=1, le=INTEGER_MAX)] = 1_000_000_000
    age_floor_ppm: Ppm = 300_000
    age_epochs: Annotated[int, Field(ge=1, le=INTEGER_MAX)] = 280
    window_epochs: Annotated[int, Field(ge=1, le=INTEGER_MAX)] = 140
    credit_live: Count = 240
    credit_reads: Count = 160
    escalated_epochs: U16 = 4


class MinerScore(Message):
    """One miner in the sheet of an epoch. Sums of probes are over the rules' window, this epoch included."""

    TYPE = "miner-score"
    hotkey: Key
    coldkey: Key
    uid: U16
    paid_bytes: Count
    unpaid_bytes: Count
    leaves_ok: Count
    leaves_bad: Count
    slow_alpha: Count
    slow_beta: Count
    fast_alpha: Count
    fast_beta: Count
    escalated_until: Count | None = None
    live_ok: Count
    live_total: Count
    reads_ok: Count
    reads_total: Count
    read_bytes: Count
    read_microseconds: Count
    age_epochs: Count
    proof_ppm: Ppm
    uptime_ppm: Ppm
    reads_ppm: Ppm
    speed_ppm: Ppm
    age_ppm: Ppm
    weight: Count


class ScoreSheet(Message):
    """All scores of one epoch by one validator, sorted by hotkey; the next epoch's header names its id."""

    TYPE = "score-sheet"
    netuid: U16
    validator: Key
    epoch: Count
    prev_sheet: Message32
    rules: ScoreRules
    miners: Annotated[tuple[MinerScore, ...], Field(max_length=MINERS_MAX)]


class Factor(Message):
    """One factor of a weight: its value, what it rests on, and what the miner can do about it if it costs anything."""

    TYPE = "factor"
    name: FactorName
    value_ppm: Ppm | None = None
    rests_on: Text
    todo: Text | None = None


class PastScore(Message):
    """One epoch of a miner's history."""

    TYPE = "past-score"
    epoch: Count
    bytes: Count
    leaves_ok: Count
    leaves_bad: Count
    proof_ppm: Ppm
    uptime_ppm: Ppm
    reads_ppm: Ppm
    speed_ppm: Ppm
    age_ppm: Ppm
    weight: Count


class AuditFailure(Message):
    """A batch that failed; ``roots`` are the first pieces that were not shown, none where nothing was answered."""

    TYPE = "audit-failure"
    epoch: Count
    batch: U32
    time: Seconds
    kind: Literal["wrong", "unanswered"]
    bad: Count
    roots: Annotated[tuple[RootId, ...], Field(max_length=8)]


class AccountBytes(Message):
    """Bytes that a miner holds for one account."""

    TYPE = "account-bytes"
    account: Key
    bytes: Count


class MinerReport(Message):
    """``GET /v1/miners/{hotkey}``: why a miner weighs what it weighs, newest epoch first.

    ``score`` is missing until an epoch with this miner in it has ended; ``share_ppm`` is its part of all weights.
    ``drain_time`` is when it asked to leave, if it did.
    """

    TYPE = "miner-report"
    validator: Key
    hotkey: Key
    time: Seconds
    epoch: Count
    state: Literal["live", "silent", "unpublished", "unregistered"]
    drain_time: Seconds | None = None
    score: MinerScore | None = None
    share_ppm: Ppm
    owed_batches: U32
    factors: Annotated[tuple[Factor, ...], Field(max_length=6)]
    history: Annotated[tuple[PastScore, ...], Field(max_length=HISTORY_MAX)]
    failures: Annotated[tuple[AuditFailure, ...], Field(max_length=FAILURES_MAX)]
    accounts: Annotated[tuple[AccountBytes, ...], Field(max_length=ACCOUNTS_MAX)]
