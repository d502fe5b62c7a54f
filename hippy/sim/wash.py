"""Wash storage: an account that stores worthless bytes so that its own miners are paid for them.

What an account can do about where its pieces go, all of it through the real :func:`hippy.validator.placement.place`:
allocate, look at the tickets, give up and allocate again under another nonce (its quota is tied up for an hour each
time); and, once pieces cannot be delivered, have them drawn anew, three times an index and n/4 a segment. That
somebody can make any miner fail the two handshakes this takes is assumed, to be on the safe side.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from hippy.errors import TemporaryError
from hippy.ids import PublicKey
from hippy.validator.allocation import MOVES_PER_INDEX_MAX
from hippy.validator.placement import Draw, place
from hippy.wire.log import Candidate

Placement = tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class Wash:
    """How a colluding account goes about it: draws it may choose from, and whether it moves pieces."""

    redraws: int
    steers: bool = False


def account_name(strategy: str) -> str:
    """Return the name of the account that stores for the miners of a strategy."""
    return f"account of {strategy}"


def wash_placement(
    wash: Wash, friends: Collection[PublicKey], n: int, candidates: Sequence[Candidate], draws: Callable[[], Draw]
) -> tuple[Draw, Placement]:
    """Return where the pieces of one wash segment end up; ``draws`` allocates another one."""
    drawn = []
    for _ in range(wash.redraws):
        draw = draws()
        drawn.append((draw, place(range(n), candidates, draw, spread=True)))
    draw, placement = max(drawn, key=lambda one: sum(each.hotkey in friends for each in one[1]))
    return draw, _steered(placement, friends, candidates, draw) if wash.steers else placement


def _steered(
    placement: Placement, friends: Collection[PublicKey], candidates: Sequence[Candidate], draw: Draw
) -> Placement:
    """Return the placement after as many re-allocations as are allowed, each of a piece that a stranger got."""
    places = list(placement)
    tried: set[PublicKey] = set()
    moves = max(1, len(places) // 4)
    for index in range(len(places)):
        for _ in range(MOVES_PER_INDEX_MAX):
            if moves == 0 or places[index].hotkey in friends:
                break
            moves -= 1
            others = places[:index] + places[index + 1 :]
            tried.add(places[index].hotkey)
            excluded = tried | {each.hotkey for each in others}
            try:
                (places[index],) = place([index], candidates, draw, held=others, excluded=excluded, spread=True)
            except TemporaryError:  # nobody is left to take it
                return tuple(places)
    return tuple(places)
