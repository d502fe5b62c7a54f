"""The bench of a preparation times the whole and all its stages, which come to the same pieces."""

from __future__ import annotations

import pytest

from hippy.bench.measure import Pace
from hippy.bench.segment import CODE, PIECE_BYTES, STAGES, measure_segment
from hippy.bench.shape import Shape
from hippy.errors import IntegrityError, UsageError
from tests.bench.engines import ZFEC, ticking, watched

PACE = Pace(rounds=3, seconds_max=None)
SHAPE = Shape(3, 7, 1000)


def test_whole_threads_and_every_stage_are_timed() -> None:
    group = measure_segment(SHAPE, watched(), PACE, timer=ticking())
    assert [each.name for each in group.measurements] == ["whole, watched", "whole, zfec", "two threads", *STAGES]
    assert [each.user_bytes for each in group.measurements] == [3000, 3000, 18_000, *(3000 for _ in STAGES)]


def test_ratios_compare_engine_threads_and_stages() -> None:
    group = measure_segment(SHAPE, watched(), PACE, timer=ticking())
    found = {(ratio.case, ratio.to): ratio.spread.median for ratio in group.ratios}
    # On this clock each sample takes a second: two threads do six segments in it, the seven stages take seven.
    assert found == {
        ("whole, watched", "zfec"): 1.0,
        ("two threads", "one"): 6.0,
        ("whole, watched", "its stages"): len(STAGES),
    }


def test_zfec_is_not_compared_with_itself() -> None:
    group = measure_segment(SHAPE, ZFEC, PACE, timer=ticking())
    assert [each.name for each in group.measurements] == ["whole, zfec", "two threads", *STAGES]
    assert {ratio.to for ratio in group.ratios} == {"one", "its stages"}


def test_an_engine_that_computes_wrong_bytes_is_not_timed() -> None:
    with pytest.raises(IntegrityError, match=r"^whole, watched: "):
        measure_segment(SHAPE, watched("encode"), PACE, timer=ticking())


def test_stages_that_end_with_other_pieces_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hippy.bench.segment.xor_seal", lambda *_: None)
    monkeypatch.setattr("hippy.bench.segment._Preparation.opened", lambda self, _: self.content)
    with pytest.raises(IntegrityError, match=r"^seal: "):
        measure_segment(SHAPE, ZFEC, PACE, timer=ticking())


def test_pieces_that_a_preparation_would_fill_up_are_refused() -> None:
    with pytest.raises(UsageError, match="pieces of 31 bytes"):
        measure_segment(Shape(3, 7, 31), ZFEC, PACE, timer=ticking())
    assert measure_segment(Shape(3, 7, 32), ZFEC, PACE, timer=ticking()).rounds == 3


def test_what_is_measured_without_options_is_possible() -> None:
    assert Shape(*CODE, PIECE_BYTES).user_bytes == 40 * 1024 * 1024
