"""Buckets, against a real validator."""

from __future__ import annotations

import pytest

from hippy.client.buckets import bucket_name
from hippy.client.sdk import AsyncClient
from hippy.errors import ConflictError, NotFoundError, UsageError
from tests.client.network import Network


async def test_a_bucket_that_was_made_stays_when_it_is_empty(network: Network) -> None:
    async with AsyncClient.open(network.credentials) as client:
        assert not await client.create_bucket("made")
        assert await client.create_bucket("made")
        await client.put(b"x", "hippy://made/x")
        await client.delete("hippy://made/x")
        assert "made" in await client.buckets()
        await client.delete_bucket("made")
        assert "made" not in await client.buckets()
        with pytest.raises(NotFoundError):
            await client.delete_bucket("made")


async def test_a_bucket_with_objects_is_not_unmade(network: Network) -> None:
    async with AsyncClient.open(network.credentials) as client:
        await client.create_bucket("full")
        await client.put(b"x", "hippy://full/x")
        with pytest.raises(ConflictError):
            await client.delete_bucket("full")


def test_a_bucket_is_named_alone_or_as_uri() -> None:
    assert bucket_name("data") == bucket_name("hippy://data") == bucket_name("hippy://data/") == "data"
    with pytest.raises(UsageError, match="names something in a bucket"):
        bucket_name("hippy://data/x")
    with pytest.raises(UsageError):
        bucket_name("")
