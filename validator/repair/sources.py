"""Which pieces a lost one is made of: k that can be read, spread over their miners. Pure; chance is an argument.

Any k healthy pieces will do. Those are taken whose miners have the fewest orders reading from them now, by chance among
equals; after a mismatch others than those it was made of, as far as there are others.

Example::

    chosen = choose_sources(readable, 10, suspects=notes.suspects, rng=rng)
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from hippy.wire.repair import RepairSource

ORDERS_PER_SOURCE_MAX: Final = 2
"""Orders that read from one miner at a time: it has clients to serve."""


@dataclass(frozen=True, slots=True)
class Readable:
    """A piece that may be read: its holder answers and did not fail us. ``orders`` read from that miner now."""

    source: RepairSource
    orders: int = 0


def choose_sources(
    readable: Sequence[Readable], k: int, *, suspects: Collection[int] = (), rng: Random
) -> tuple[RepairSource, ...] | None:
    """Return k sources in the order of their indices, None where fewer can be read now."""
    free = [each for each in readable if each.orders < ORDERS_PER_SOURCE_MAX]
    if len(free) < k:
        return None
    ranked = sorted(free, key=lambda each: (each.source.index in suspects, each.orders, rng.random()))
    return tuple(sorted((each.source for each in ranked[:k]), key=lambda source: source.index))
