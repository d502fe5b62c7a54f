"""The named points of the client stand where they say, in the order in which things become durable."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import pytest

from hippy.client.sdk import AsyncClient
from hippy.errors import NotFoundError
from hippy.points import watching
from tests.client.network import Network

PUT = ["client.allocated", "client.piece", "client.pieces", "client.committed", "client.before_rows", "client.rows"]
GET = ["client.file_written", "client.file_renamed"]


class Crash(Exception):  # noqa: N818 - no error of ours: what a test has happen
    """A client that ends at a point."""


async def test_a_put_reaches_its_points_in_order_and_then_a_get_its_own(network: Network, tmp_path: Path) -> None:
    visits: list[str] = []
    with watching(lambda point: visits.append(point) if point.startswith("client.") else None):
        async with AsyncClient.open(network.credentials) as client:
            await client.put(b"x" * 20_000, "hippy://points/x")
            assert visits.count("client.piece") == 8
            assert [point for point, _ in groupby(visits)] == PUT
            visits.clear()
            await client.get_file("hippy://points/x", tmp_path / "x")
            assert visits == GET


@pytest.mark.parametrize("point", PUT[:-1])
async def test_a_put_that_ends_before_its_row_is_written_leaves_nothing_to_see(network: Network, point: str) -> None:
    await _crash_at(network, point, f"hippy://points/{point}")
    async with AsyncClient.open(network.credentials) as client:
        with pytest.raises(NotFoundError):
            await client.get(f"hippy://points/{point}")


async def test_a_put_that_ends_after_its_row_is_written_is_whole(network: Network) -> None:
    await _crash_at(network, "client.rows", "hippy://points/rows")
    async with AsyncClient.open(network.credentials) as client:
        assert await client.get("hippy://points/rows") == b"x" * 20_000


async def _crash_at(network: Network, point: str, uri: str) -> None:
    def crash(reached: str) -> None:
        if reached == point:
            raise Crash

    async with AsyncClient.open(network.credentials) as client:
        with watching(crash), pytest.raises(Crash):
            await client.put(b"x" * 20_000, uri)


@pytest.mark.parametrize(("point", "is_there"), [("client.file_written", False), ("client.file_renamed", True)])
async def test_a_file_is_there_whole_or_not_at_all(
    network: Network, tmp_path: Path, point: str, is_there: bool
) -> None:
    def crash(reached: str) -> None:
        if reached == point:
            raise Crash

    async with AsyncClient.open(network.credentials) as client:
        await client.put(b"x" * 20_000, "hippy://points/file")
        with watching(crash), pytest.raises(Crash):
            await client.get_file("hippy://points/file", tmp_path / "x")
    assert (tmp_path / "x").exists() is is_there
    assert not is_there or (tmp_path / "x").read_bytes() == b"x" * 20_000
