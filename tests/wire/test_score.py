"""Sheets and reports fit their limits, and rules from outside leave every formula defined (PROTOCOL §5.6, §6)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hippy.errors import ProtocolError
from hippy.ids import PublicKey, Root
from hippy.wire.canonical import Message
from hippy.wire.fields import INTEGER_MAX
from hippy.wire.node import MINERS_MAX
from hippy.wire.score import (
    ACCOUNTS_MAX,
    FAILURES_MAX,
    HISTORY_MAX,
    REPORT_BYTES_MAX,
    SHEET_BYTES_MAX,
    AuditFailure,
    Factor,
    FactorName,
    MinerReport,
    MinerScore,
    ScoreRules,
    ScoreSheet,
)
from tests.wire.audit_samples import ACCOUNT, FAILURE, PAST, REPORT, RULES, SCORE_MESSAGES, SHEET, score

NAMES: tuple[FactorName, ...] = ("bytes", "proofs", "uptime", "reads", "speed", "age")


def largest(message: Message) -> dict[str, Any]:
    """Every number of a message as long as it may be; ppm are a million."""
    values = message.model_dump()
    return {
        name: 10**6 if name.endswith("ppm") else INTEGER_MAX if isinstance(value, int) else value
        for name, value in values.items()
    }


@pytest.mark.parametrize("message", SCORE_MESSAGES, ids=lambda message: message.TYPE)
def test_a_message_survives_the_wire(message: Message) -> None:
    assert type(message).parse(message.encode()) == message


def test_the_rules_are_the_constants_of_the_protocol() -> None:
    assert json.loads(RULES.encode()) == {
        "unpaid_percent": 10,
        "slow_percent": 95,
        "fast_percent": 50,
        "proof_floor_ppm": 950_000,
        "uptime_floor_ppm": 900_000,
        "uptime_span_ppm": 85_000,
        "reads_floor_ppm": 900_000,
        "reads_span_ppm": 90_000,
        "bps_per_terabyte": 10_000_000,
        "bps_min": 25_000_000,
        "bps_max": 1_000_000_000,
        "age_floor_ppm": 300_000,
        "age_epochs": 280,
        "window_epochs": 140,
        "credit_live": 20 * 12,
        "credit_reads": 20 * 8,
        "escalated_epochs": 4,
    }


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("proof_floor_ppm", 1_000_000),
        ("uptime_span_ppm", 0),
        ("reads_span_ppm", 0),
        ("bps_min", 0),
        ("bps_max", 0),
        ("age_epochs", 0),
        ("window_epochs", 0),
        ("unpaid_percent", 101),
        ("slow_percent", 101),
        ("fast_percent", 101),
        ("escalated_epochs", 65_536),
    ],
)
def test_rules_that_leave_a_formula_undefined_are_refused(name: str, wrong: int) -> None:
    values = {**json.loads(RULES.encode()), name: wrong}
    with pytest.raises(ProtocolError, match=name):
        ScoreRules.parse(json.dumps(values, sort_keys=True, separators=(",", ":")).encode())


def test_a_sheet_says_all_its_rules_even_where_they_are_the_usual_ones() -> None:
    values = json.loads(SHEET.encode())
    assert len(values["rules"]) == 17
    del values["rules"]["age_epochs"]
    with pytest.raises(ProtocolError, match="canonical"):
        ScoreSheet.parse(json.dumps(values, sort_keys=True, separators=(",", ":")).encode(), limit=SHEET_BYTES_MAX)


def test_the_largest_sheet_fits_its_limit() -> None:
    row = {**largest(score()), "uid": 65_535}
    rows = tuple(
        MinerScore(**{**row, "hotkey": PublicKey((number + 1).to_bytes(32, "big"))}) for number in range(MINERS_MAX)
    )
    sheet = SHEET.model_copy(update={"miners": rows})
    assert ScoreSheet.parse(sheet.encode(), limit=SHEET_BYTES_MAX) == sheet


@pytest.mark.parametrize("miners", [256, MINERS_MAX])
def test_a_sheet_of_miners_that_earn_nothing_is_not_too_dense(miners: int) -> None:
    nothing = {name: 0 for name, value in score().model_dump().items() if isinstance(value, int)}
    sheet = SHEET.model_copy(update={"miners": tuple(score(number, **nothing) for number in range(miners))})
    assert ScoreSheet.parse(sheet.encode(), limit=SHEET_BYTES_MAX) == sheet


def test_a_report_of_a_miner_that_earns_nothing_is_not_too_dense() -> None:
    past = PAST.model_copy(update=dict.fromkeys(type(PAST).model_fields, 0))
    failure = FAILURE.model_copy(update={"epoch": 0, "batch": 0, "time": 0, "bad": 0, "roots": ()})
    report = REPORT.model_copy(update={"history": (past,) * HISTORY_MAX, "failures": (failure,) * FAILURES_MAX})
    assert MinerReport.parse(report.encode(), limit=REPORT_BYTES_MAX) == report


def test_the_largest_report_fits_its_limit() -> None:
    factors = tuple(Factor(name=name, value_ppm=10**6, rests_on='"' * 256, todo="\\" * 256) for name in NAMES)
    failure = AuditFailure(**{**largest(FAILURE), "batch": 2**32 - 1, "roots": (Root(b"r" * 32),) * 8})
    report = REPORT.model_copy(
        update={
            "factors": factors,
            "history": (type(PAST)(**largest(PAST)),) * HISTORY_MAX,
            "failures": (failure,) * FAILURES_MAX,
            "accounts": (type(ACCOUNT)(**largest(ACCOUNT)),) * ACCOUNTS_MAX,
        }
    )
    assert MinerReport.parse(report.encode(), limit=REPORT_BYTES_MAX) == report


def test_a_report_of_a_miner_that_is_in_no_sheet_yet_has_no_score() -> None:
    report = REPORT.model_copy(update={"score": None, "history": (), "factors": ()})
    assert "score" not in json.loads(report.encode())
    assert MinerReport.parse(report.encode()) == report


def test_a_share_above_a_million_is_refused() -> None:
    raw = REPORT.encode().replace(b'"proof_ppm":1000000', b'"proof_ppm":1000001', 1)
    assert raw != REPORT.encode()
    with pytest.raises(ProtocolError, match="proof_ppm"):
        MinerReport.parse(raw)


def test_words_of_a_factor_are_printable_ascii_of_at_most_256_characters() -> None:
    for wrong in ("x" * 257, "\n", "\x1b[31m", "é"):
        values = {"name": "age", "rests_on": wrong}
        with pytest.raises(ProtocolError):
            Factor.parse(json.dumps(values, sort_keys=True, separators=(",", ":")).encode())
