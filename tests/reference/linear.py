"""Vectors over GF(2^8), slowly: what is a sum of what.

A vector is a dict from whatever names its coordinates to nonzero elements, so that only what occurs is written.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from functools import cache

from tests.reference import reed_solomon

Vector = Mapping[Hashable, int]

inverse = reed_solomon.inverse
times = cache(reed_solomon.times)


def plus(one: Vector, other: Vector, factor: int = 1) -> dict[Hashable, int]:
    """one + factor · other."""
    total = dict(one)
    for name, value in other.items():
        total[name] = total.get(name, 0) ^ times(factor, value)
    return {name: value for name, value in total.items() if value}


class Span:
    """All sums of some vectors."""

    def __init__(self, vectors: Iterable[Vector] = ()) -> None:
        self._rows: list[tuple[Hashable, dict[Hashable, int]]] = []
        for vector in vectors:
            self.add(vector)

    def __len__(self) -> int:
        """The dimension."""
        return len(self._rows)

    def rest(self, vector: Vector) -> dict[Hashable, int]:
        """What is left of a vector when sums of ours are taken from it: nothing, if it is one."""
        left = dict(vector)
        for name, row in self._rows:
            if name in left:
                left = plus(left, row, left[name])
        return left

    def add(self, vector: Vector) -> None:
        """Take another vector."""
        left = self.rest(vector)
        if left:
            name, value = next(iter(left.items()))
            self._rows.append((name, {each: times(inverse(value), factor) for each, factor in left.items()}))

    def __contains__(self, vector: Vector) -> bool:
        return not self.rest(vector)
