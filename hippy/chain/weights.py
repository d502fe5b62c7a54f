"""What weights any chain accepts, and what they mean: the one check in front of every ``set_weights``. Pure.

>>> check_weights({3: 0.5, 4: 0.0})
>>> normalised({3: 6.0, 4: 0.0, 5: 2.0})
{3: 0.75, 5: 0.25}
"""

from __future__ import annotations

from collections.abc import Mapping
from math import fsum, isfinite
from typing import Final

from hippy.errors import UsageError

UID_MAX: Final = 65_535
"""A chain's uids have 16 bits; beyond them nobody can be registered."""


def check_weights(weights: Mapping[int, float]) -> None:
    """Refuse weights that mean nothing: none at all, negative or not finite, or no positive one.

    Whether the uids are registered only the chain can say. Raises UsageError.
    """
    for uid, weight in weights.items():
        if not (isfinite(weight) and weight >= 0):
            raise UsageError(f"the weight of uid {uid} is {weight}; weights are finite and not negative")
    if not any(weight > 0 for weight in weights.values()):
        raise UsageError("no weight is positive", hint="set no weights when there is nobody to reward")


def normalised(weights: Mapping[int, float]) -> dict[int, float]:
    """Return the positive ones of finite weights ≥ 0, scaled to sum 1; empty when there is none."""
    positive = {uid: weight for uid, weight in weights.items() if weight > 0}
    if not positive:
        return {}
    # Dividing by the largest first keeps the sum finite for any finite weights.
    largest = max(positive.values())
    total = fsum(weight / largest for weight in positive.values())
    return {uid: weight / largest / total for uid, weight in positive.items()}
