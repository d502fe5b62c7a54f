"""What weights a chain accepts."""

from __future__ import annotations

import math

import pytest

from hippy.chain.weights import check_weights
from hippy.errors import UsageError


@pytest.mark.parametrize("weights", [{0: 1.0}, {0: 0.0, 7: 1e-300}, {1: 5.0, 2: 1e308}])
def test_some_positive_weight_is_enough(weights: dict[int, float]) -> None:
    check_weights(weights)


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        ({}, "no weight is positive"),
        ({3: 0.0}, "no weight is positive"),
        ({3: 1.0, 4: -1e-9}, "uid 4"),
        ({3: math.nan}, "uid 3"),
        ({3: math.inf}, "uid 3"),
    ],
)
def test_meaningless_weights_are_named(weights: dict[int, float], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        check_weights(weights)
