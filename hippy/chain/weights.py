"""What weights any chain accepts: the one check in front of every ``set_weights``. Pure.

>>> check_weights({3: 0.5, 4: 0.0})
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite

from hippy.errors import UsageError


def check_weights(weights: Mapping[int, float]) -> None:
    """Refuse weights that mean nothing: none at all, negative or not finite, or no positive one.

    Whether the uids are registered only the chain can say. Raises UsageError.
    """
    for uid, weight in weights.items():
        if not (isfinite(weight) and weight >= 0):
            raise UsageError(f"the weight of uid {uid} is {weight}; weights are finite and not negative")
    if not any(weight > 0 for weight in weights.values()):
        raise UsageError("no weight is positive", hint="set no weights when there is nobody to reward")
