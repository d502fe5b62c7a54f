"""A node is kept from serving by a chain that was not read lately, not by one that hiccups."""

from __future__ import annotations

from typing import Any, cast

from hippy.chain.fresh import FRESH_SECONDS, ChainReads
from hippy.chain.protocol import BeaconNotYet, Chain
from hippy.errors import UnreachableError
from hippy.testing.clock import VirtualClock


class Flaky:
    """The three calls of a chain that are made, each of which may fail."""

    def __init__(self) -> None:
        self.is_away = False
        self.has_beacon = True
        self.beacons = 0

    async def current_block(self) -> int:
        if self.is_away:
            raise UnreachableError("the chain does not answer")
        return 7

    async def beacon_round(self) -> int:
        return 3

    async def beacon(self, _: int) -> bytes:
        self.beacons += 1
        if not self.has_beacon:
            raise BeaconNotYet
        return b"b" * 32


def reads() -> tuple[Flaky, VirtualClock, ChainReads]:
    chain, clock = Flaky(), VirtualClock()
    return chain, clock, ChainReads(cast(Chain, cast(Any, chain)), clock)


async def test_a_chain_that_answers_is_fine_and_its_beacon_is_asked_once() -> None:
    chain, _, watch = reads()
    assert await watch.check() is None
    assert await watch.check() is None
    assert chain.beacons == 1


async def test_an_outage_counts_when_it_lasts() -> None:
    chain, clock, watch = reads()
    assert await watch.check() is None
    chain.is_away = True
    await clock.advance(FRESH_SECONDS)
    assert await watch.check() is None
    await clock.advance(1)
    assert await watch.check() == f"the chain was last read {FRESH_SECONDS + 1:.0f} s ago: the chain does not answer"
    chain.is_away = False
    assert await watch.check() is None


async def test_a_chain_that_was_never_read_is_a_reason() -> None:
    chain, _, watch = reads()
    chain.is_away = True
    assert "not read yet: the chain does not answer" in (await watch.check() or "")


async def test_without_a_beacon_nothing_can_be_placed() -> None:
    chain, _, watch = reads()
    chain.has_beacon = False
    assert await watch.check() == "no beacon was seen yet"
    chain.has_beacon = True
    assert await watch.check() is None
