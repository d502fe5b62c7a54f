"""The bench of the erasure code times the right operations, and only right ones."""

from __future__ import annotations

import pytest

from hippy.bench.codec import CODES, OPERATIONS, SHARDS_BYTES, measure_codec
from hippy.bench.measure import Pace, Spread
from hippy.bench.shape import Shape
from hippy.errors import IntegrityError
from tests.bench.engines import ZFEC, WatchedEngine, ticking, watched

PACE = Pace(rounds=3, seconds_max=None)


def test_every_operation_is_timed_with_both_engines() -> None:
    group = measure_codec(Shape(2, 5, 100), watched(), PACE, timer=ticking())
    names = [each.name for each in group.measurements]
    assert names == [f"{operation}, {engine}" for engine in ("watched", "zfec") for operation in OPERATIONS]
    assert {each.user_bytes for each in group.measurements} == {200}
    assert group.rounds == 3


def test_ratios_are_those_of_the_same_operation() -> None:
    group = measure_codec(Shape(2, 5, 100), watched(), PACE, timer=ticking())
    assert [(ratio.case, ratio.to) for ratio in group.ratios] == [(f"{each}, watched", "zfec") for each in OPERATIONS]
    assert {ratio.spread for ratio in group.ratios} == {Spread(1.0, 1.0, 1.0)}  # on this clock all take as long


def test_zfec_is_not_compared_with_itself() -> None:
    group = measure_codec(Shape(2, 5, 100), ZFEC, PACE, timer=ticking())
    assert [each.name for each in group.measurements] == [f"{operation}, zfec" for operation in OPERATIONS]
    assert group.ratios == ()


@pytest.mark.parametrize(("k", "n", "lost"), [(4, 8, 4), (10, 24, 10), (16, 24, 8)])
def test_the_worst_decoding_has_lost_as_many_data_pieces_as_can_be_replaced(k: int, n: int, lost: int) -> None:
    choice = watched()
    measure_codec(Shape(k, n, 10), choice, Pace(rounds=1), timer=ticking())
    assert isinstance(choice.engine, WatchedEngine)
    assert choice.engine.decoded[:2] == [list(range(lost)), [0]]


@pytest.mark.parametrize("wrong", ["encode", "decode", "repair"])
def test_an_engine_that_computes_wrong_bytes_is_not_timed(wrong: str) -> None:
    with pytest.raises(IntegrityError, match=f"^{wrong}, watched: "):
        measure_codec(Shape(2, 5, 100), watched(wrong), PACE, timer=ticking())


def test_what_is_measured_without_options_is_possible() -> None:
    assert len({Shape(k, n, length) for k, n in CODES for length in SHARDS_BYTES}) == 9
