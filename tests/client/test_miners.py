"""Whom to ask first, and how many miners could hold pieces of one segment."""

from __future__ import annotations

from typing import Literal, cast

import pytest

from hippy.client.miners import DIRECTORY_SECONDS, Miners
from hippy.client.validator_api import ValidatorApi
from hippy.endpoint import Endpoint
from hippy.errors import UnreachableError
from hippy.ids import NetworkId, PublicKey
from hippy.testing.clock import VirtualClock
from hippy.transport.client import Http
from hippy.wire.node import Directory, MinerEntry

VALIDATOR = PublicKey(b"v" * 32)


def entry(
    number: int, host: str | None, *, coldkey: int | None = None, state: Literal["live", "silent"] = "live"
) -> MinerEntry:
    return MinerEntry(
        uid=number,
        hotkey=PublicKey(bytes([1, number]) * 16),
        coldkey=PublicKey(bytes([2, number if coldkey is None else coldkey]) * 16),
        endpoint=Endpoint(host, 80) if host else None,
        state=state,
        capacity_bytes=1,
        used_bytes=0,
        seen_time=0,
    )


ENTRIES = (
    entry(0, "1.1.1.1"),
    entry(1, "1.1.1.2"),  # the same /24
    entry(2, "1.1.2.1", coldkey=0),  # the same owner
    entry(3, "1.1.3.1"),
    entry(4, "1.1.4.1", state="silent"),
    entry(5, None),
)


class ScriptedApi:
    def __init__(self) -> None:
        self.asked = 0

    async def directory(self) -> Directory:
        self.asked += 1
        return Directory(validator=VALIDATOR, netuid=1, time=0, miners=ENTRIES)


def miners_of(api: ScriptedApi, clock: VirtualClock, *, local: bool = False) -> Miners:
    unused = cast("Http", None)
    return Miners(unused, cast("ValidatorApi", api), NetworkId(b"n" * 32), clock, local=local)


async def test_one_miner_counts_per_owner_and_network() -> None:
    assert await miners_of(ScriptedApi(), VirtualClock()).independent_count() == 2


async def test_every_live_miner_counts_on_a_local_network() -> None:
    assert await miners_of(ScriptedApi(), VirtualClock(), local=True).independent_count() == 4


async def test_directory_is_read_again_after_a_minute() -> None:
    api, clock = ScriptedApi(), VirtualClock()
    miners = miners_of(api, clock)
    await miners.entries()
    await miners.entries()
    assert api.asked == 1
    await clock.advance(DIRECTORY_SECONDS)
    await miners.entries()
    assert api.asked == 2


async def test_miner_that_failed_is_asked_later_until_it_does_well_again() -> None:
    miners = miners_of(ScriptedApi(), VirtualClock())
    key = ENTRIES[0].hotkey
    assert await miners.is_good(key)
    miners.failed(key)
    assert not await miners.is_good(key)
    for _ in range(3):
        miners.succeeded(key)
    assert await miners.is_good(key)


async def test_silent_and_unknown_miners_are_not_good() -> None:
    miners = miners_of(ScriptedApi(), VirtualClock())
    assert not await miners.is_good(ENTRIES[4].hotkey)
    assert not await miners.is_good(VALIDATOR)


async def test_miner_without_endpoint_is_unreachable() -> None:
    miners = miners_of(ScriptedApi(), VirtualClock())
    for key in (ENTRIES[5].hotkey, VALIDATOR):
        with pytest.raises(UnreachableError):
            await miners.peer_of(key)
