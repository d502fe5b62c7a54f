"""Yuma consensus, the part that decides who earns: validators' weights and stakes in, incentives out. Pure.

The local network computes incentives with this, so that one can watch what a chain would pay. The rule is
that of ``epoch`` and ``weighted_median_col`` in subtensor's ``pallets/subtensor/src/epoch``, written again
from its description: no self-weights, rows normalised, every column clipped at the largest weight that at
least half of the stake (kappa = 0.5) supports, the clipped columns summed by stake and normalised. Bonds,
dividends, commit-reveal and activity cut-offs are left to the real chain.

Invariants: incentives are non-negative and sum to 1 or to 0; a minority of stake cannot raise anybody above
what the majority supports; scaling a row or all stakes changes nothing; the order of the mappings does not matter.

>>> consensus_incentive({0: {1: 3.0, 2: 1.0}}, {0: 10, 1: 0, 2: 0})
{0: 0.0, 1: 0.75, 2: 0.25}
"""

from __future__ import annotations

from collections.abc import Mapping
from math import fsum
from typing import TypeAlias

from hippy.chain.weights import normalised

Row: TypeAlias = Mapping[int, float]


def consensus_incentive(weights: Mapping[int, Row], stakes: Mapping[int, int]) -> dict[int, float]:
    """Return every neuron's incentive, uid → share of 1; all zero when no staked validator weighs anybody.

    ``weights`` holds the rows of the validators with permit (uid → uid → finite weight ≥ 0), ``stakes`` the
    stake of every neuron in rao; each uid in ``weights`` must be in ``stakes``.
    """
    rows = {
        validator: row
        for validator in sorted(weights)
        if stakes[validator] > 0 and (row := _without_self(validator, weights[validator]))
    }
    ranks = {uid: _rank(uid, rows, stakes) for uid in sorted(stakes)}
    total = fsum(ranks.values())
    return {uid: rank / total if total > 0 else 0.0 for uid, rank in ranks.items()}


def _without_self(validator: int, row: Row) -> dict[int, float]:
    """Return the row without its self-weight and zeros, scaled to sum 1 (empty when nothing is left)."""
    return normalised({uid: weight for uid, weight in row.items() if uid != validator})


def _rank(uid: int, rows: Mapping[int, Row], stakes: Mapping[int, int]) -> float:
    """Return the stake-weighted sum of the clipped weights on one neuron."""
    column = [(row.get(uid, 0.0), stakes[validator]) for validator, row in rows.items()]
    limit = _supported_weight(column)
    return fsum(min(weight, limit) * stake for weight, stake in column)


def _supported_weight(column: list[tuple[float, int]]) -> float:
    """Return the largest weight w such that validators holding half of the stake or more say at least w."""
    total = sum(stake for _, stake in column)
    support = 0
    for weight, stake in sorted(column, reverse=True):
        support += stake
        if 2 * support >= total:
            return weight
    return 0.0
