"""The bench of trees and proofs times right ones."""

from __future__ import annotations

from typing import Any

import pytest

from hippy.bench import proofs
from hippy.bench.measure import Pace
from hippy.bench.proofs import RANGE_BYTES, measure_proofs
from hippy.errors import HippyError, IntegrityError, UsageError
from hippy.ids import ZERO_ID
from tests.bench.engines import ticking

PACE = Pace(rounds=1, seconds_max=None)
PIECE_BYTES = 2 * RANGE_BYTES


def test_trees_proofs_and_an_audit_are_timed() -> None:
    group = measure_proofs(PACE, timer=ticking(), piece_bytes=PIECE_BYTES)
    assert {each.name: each.user_bytes for each in group.measurements} == {
        "BLAKE3": PIECE_BYTES,
        "tree": PIECE_BYTES,
        "tree in chunks": PIECE_BYTES,
        "leaf proved": 16_384,
        "ranged read verified": RANGE_BYTES,
        "audit of 64 verified": RANGE_BYTES,
    }
    assert [(ratio.case, ratio.to, ratio.spread.median) for ratio in group.ratios] == [
        ("tree", "BLAKE3", 1.0),
        ("tree in chunks", "BLAKE3", 1.0),
    ]


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("piece_root", lambda *_: ZERO_ID),
        ("verify", lambda *_: False),
        ("prove", lambda hashes, _first, _count: list(hashes[:7])),
    ],
)
def test_what_does_not_prove_anything_is_not_timed(name: str, wrong: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proofs, name, wrong)
    with pytest.raises(HippyError):
        measure_proofs(PACE, timer=ticking(), piece_bytes=PIECE_BYTES)


def test_a_tree_that_is_wrong_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proofs, "piece_root", lambda *_: ZERO_ID)
    with pytest.raises(IntegrityError, match=r"^tree in chunks: "):
        measure_proofs(PACE, timer=ticking(), piece_bytes=PIECE_BYTES)


def test_a_piece_shorter_than_two_ranged_reads_is_refused() -> None:
    with pytest.raises(UsageError, match="too short"):
        measure_proofs(PACE, timer=ticking(), piece_bytes=PIECE_BYTES - 1)
