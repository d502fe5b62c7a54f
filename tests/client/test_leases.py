"""Leases are renewed while a put runs, with time that a test moves on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import cast

import pytest

from hippy.client.leases import FIRST_SECONDS, Leases
from hippy.client.sdk import AsyncClient
from hippy.client.session import Session
from hippy.client.uri import parse_uri
from hippy.errors import ConflictError, HippyError, NotFoundError, UnreachableError
from hippy.ids import SegmentId
from hippy.testing.clock import VirtualClock
from tests.client.network import Network

ONE, TWO = SegmentId(b"1" * 32), SegmentId(b"2" * 32)


class Api:
    """Notes renewals, for ``seconds`` each; ``error`` is raised for those that name one of ``gone``."""

    def __init__(self, clock: VirtualClock, seconds: int) -> None:
        self.clock, self.seconds = clock, seconds
        self.renewed: list[list[SegmentId]] = []
        self.gone: set[SegmentId] = set()
        self.error: HippyError = ConflictError("released")

    async def renew(self, segment_ids: Sequence[SegmentId]) -> tuple[int, ...]:
        if self.gone & set(segment_ids):
            raise self.error
        self.renewed.append(list(segment_ids))
        return (int(self.clock.now()) + self.seconds,) * len(segment_ids)


def leases(*, seconds: int = 240) -> tuple[Leases, Api, VirtualClock]:
    clock = VirtualClock()
    api = Api(clock, seconds)
    return Leases(cast("Session", SimpleNamespace(api=api, clock=clock))), api, clock


async def test_a_segment_without_a_row_is_renewed_again_and_again() -> None:
    held, api, clock = leases()
    held.begin(ONE)
    async with held.renewing():
        await asyncio.sleep(0)
        for _ in range(12):
            await clock.advance(FIRST_SECONDS / 4)
    assert api.renewed == [[ONE]] * 3


async def test_a_segment_that_a_row_names_is_not_renewed() -> None:
    held, api, clock = leases()
    held.begin(ONE)
    held.begin(TWO)
    held.end([ONE])
    await clock.advance(FIRST_SECONDS)
    await held.renew()
    assert api.renewed == [[TWO]]


@pytest.mark.parametrize(
    ("held_seconds", "seconds"), [(120, 60), (280, 70), (28 * 3600, 7 * 3600), (7 * 86_400, 42 * 3600)]
)
async def test_leases_are_renewed_after_a_quarter_of_what_the_validator_says_they_hold(
    held_seconds: int, seconds: int
) -> None:
    held, api, clock = leases(seconds=held_seconds)
    held.begin(ONE)
    await clock.advance(FIRST_SECONDS - 1)
    await held.renew()
    assert api.renewed == []
    await clock.advance(1)
    await held.renew()
    assert api.renewed == [[ONE]]
    await clock.advance(seconds - 1)
    await held.renew()
    assert api.renewed == [[ONE]]
    await clock.advance(1)
    await held.renew()
    assert api.renewed == [[ONE], [ONE]]


async def test_a_segment_that_is_gone_costs_the_others_nothing() -> None:
    held, api, clock = leases()
    held.begin(ONE)
    held.begin(TWO)
    api.gone = {ONE}
    for _ in range(2):
        await clock.advance(FIRST_SECONDS)
        await held.renew()
    assert api.renewed == [[TWO], [TWO]]  # the second time nobody asked for the one that is gone


async def test_a_validator_that_is_away_is_asked_again() -> None:
    held, api, clock = leases()
    held.begin(ONE)
    api.gone, api.error = {ONE}, UnreachableError("away")
    await clock.advance(FIRST_SECONDS)
    await held.renew()
    api.gone = set()
    await held.renew()
    assert api.renewed == [[ONE]]


async def test_a_put_holds_its_segments_until_their_row_is_stored(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[tuple[str, SegmentId]] = []
    monkeypatch.setattr(Leases, "begin", lambda _, segment_id: heard.append(("begin", segment_id)))
    monkeypatch.setattr(Leases, "end", lambda _, segment_ids: heard.extend(("end", each) for each in segment_ids))
    async with AsyncClient.open(network.credentials) as client:
        await client.put(b"x" * 20_000, "hippy://leases/held")
        (held,) = await client._listing.listed_itself(parse_uri("hippy://leases/held"))
    (segment_id,) = held.row.segment_ids
    assert heard == [("begin", segment_id), ("end", segment_id)]


async def test_the_validator_renews_what_is_committed_and_knows_nothing_of_the_rest(network: Network) -> None:
    async with AsyncClient.open(network.credentials) as client:
        await client.put(b"x" * 20_000, "hippy://leases/x")
        (entry,) = await client._listing.listed_itself(parse_uri("hippy://leases/x"))
        assert await client._session.api.renew(entry.row.segment_ids) == (0,)  # a row names it
        with pytest.raises(NotFoundError):
            await client._session.api.renew([ONE])
