"""What weights a chain accepts."""

from __future__ import annotations

import math

import pytest

from hippy.chain.weights import check_weights, normalised
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


@pytest.mark.parametrize(
    ("weights", "shares"),
    [
        ({}, {}),
        ({3: 0.0}, {}),
        ({3: 6.0, 4: 0.0, 5: 2.0}, {3: 0.75, 5: 0.25}),
        ({1: 65_535, 2: 65_535}, {1: 0.5, 2: 0.5}),
        ({1: 1e308, 2: 1e308}, {1: 0.5, 2: 0.5}),
        ({7: 5e-324}, {7: 1.0}),
    ],
)
def test_normalised_weights_sum_to_one(weights: dict[int, float], shares: dict[int, float]) -> None:
    assert normalised(weights) == shares
