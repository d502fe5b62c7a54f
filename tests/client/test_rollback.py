"""A row or manifest that a validator rolls back or swaps is detected (docs/PROTOCOL.md §8, 14), and fails alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from hippy.client.sdk import AsyncClient
from hippy.errors import IntegrityError
from hippy.wire.object import ListAnswer, ReadAnswer
from hippy.wire.parts import encode_parts, parse_parts
from tests.client.network import Network, lying_validator
from tests.client.tape import Tape

READ, LIST = "/v1/objects/read", "/v1/objects/list"


class OldManifests(Tape):
    """Answers reads with the rows of now and the manifests of the first read."""

    def __call__(self, path: str, body: bytes) -> bytes:
        then = super().__call__(path, body)
        if path != READ or not self.plays:
            return body
        answer, _ = parse_parts(ReadAnswer, body)
        _, blobs = parse_parts(ReadAnswer, then)
        return encode_parts(answer, blobs)


def swapped(body: bytes, *, rows: bool, manifests: bool) -> bytes:
    """Answer a read of two names with what belongs to the other one."""
    answer, blobs = parse_parts(ReadAnswer, body)
    if len(answer.results) != 2:
        return body
    results = answer.results[::-1] if rows else answer.results
    return encode_parts(answer.model_copy(update={"results": results}), blobs[::-1] if manifests else blobs)


async def test_a_row_rolled_back_is_detected(network: Network) -> None:
    past = Tape(READ)
    async with lying_validator(network.credentials, past) as credentials, AsyncClient.open(credentials) as client:
        await client.put(b"one", "hippy://rollback/row")
        assert await client.get("hippy://rollback/row") == b"one"
        await client.put(b"two", "hippy://rollback/row")
        past.plays = True
        with pytest.raises(IntegrityError, match="version 1 of an object whose version 2 was seen"):
            await client.get("hippy://rollback/row")


async def test_a_listing_rolled_back_is_detected(network: Network) -> None:
    past = Tape(LIST)
    async with lying_validator(network.credentials, past) as credentials, AsyncClient.open(credentials) as client:
        await client.put(b"one", "hippy://rollback-list/x")
        await client.list("hippy://rollback-list", recursive=True)
        await client.put(b"two", "hippy://rollback-list/x")
        past.plays = True
        with pytest.raises(IntegrityError, match="version 1 of an object whose version 2 was seen"):
            await client.list("hippy://rollback-list", recursive=True)


async def test_a_deleted_row_rolled_back_is_detected(network: Network) -> None:
    past = Tape(READ)
    async with lying_validator(network.credentials, past) as credentials, AsyncClient.open(credentials) as client:
        await client.put(b"one", "hippy://rollback/deleted")
        await client.get("hippy://rollback/deleted")
        await client.delete("hippy://rollback/deleted")
        past.plays = True
        with pytest.raises(IntegrityError, match="version 1 of an object whose version 2 was seen"):
            await client.get("hippy://rollback/deleted")


async def test_a_manifest_rolled_back_is_detected(network: Network) -> None:
    past = OldManifests(READ)
    async with lying_validator(network.credentials, past) as credentials, AsyncClient.open(credentials) as client:
        await client.put(b"one", "hippy://rollback/manifest")
        assert await client.get("hippy://rollback/manifest") == b"one"
        await client.put(b"two", "hippy://rollback/manifest")
        past.plays = True
        with pytest.raises(IntegrityError, match="altered manifest"):
            await client.get("hippy://rollback/manifest")


@pytest.mark.parametrize(
    ("rows", "manifests"), [(True, True), (True, False), (False, True)], ids=["objects", "rows", "manifests"]
)
async def test_rows_or_manifests_swapped_are_detected(
    network: Network, tmp_path: Path, rows: bool, manifests: bool
) -> None:
    async with AsyncClient.open(network.credentials) as client:
        await client.put(b"aa", "hippy://swapped/a")
        await client.put(b"bb", "hippy://swapped/b")
    async with (
        lying_validator(
            network.credentials,
            lambda path, body: swapped(body, rows=rows, manifests=manifests) if path == READ else body,
        ) as credentials,
        AsyncClient.open(credentials) as client,
    ):
        result = await client.get_dir("hippy://swapped", tmp_path)
    assert [type(failure.error) for failure in result.failures] == [IntegrityError] * 2
    assert (result.files, list(tmp_path.iterdir())) == (0, [])


async def test_one_altered_row_of_a_listing_fails_alone(network: Network, tmp_path: Path) -> None:
    async with AsyncClient.open(network.credentials) as client:
        for name in ("a", "b", "c"):
            await client.put(name.encode(), f"hippy://altered/t/{name}")
        bad = client._object("hippy://altered/t/b")[0].name

    def altered(path: str, body: bytes) -> bytes:
        if path != LIST:
            return body
        answer = ListAnswer.parse(body, limit=len(body))
        rows = [row.model_copy(update={"time": 1}) if row.name == bad else row for row in answer.rows]
        return answer.model_copy(update={"rows": tuple(rows)}).encode()

    async with lying_validator(network.credentials, altered) as credentials, AsyncClient.open(credentials) as client:
        result = await client.get_dir("hippy://altered/t", tmp_path)
    ((path, error),) = [(failure.path, failure.error) for failure in result.failures]
    assert (path, type(error), result.files) == ("t/b", IntegrityError, 2)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a", "c"]


async def test_one_altered_row_of_a_read_fails_alone(network: Network, tmp_path: Path) -> None:
    async with AsyncClient.open(network.credentials) as client:
        for name in ("a", "b", "c"):
            await client.put(name.encode(), f"hippy://altered-read/{name}")

    def altered(path: str, body: bytes) -> bytes:
        if path != READ:
            return body
        answer, blobs = parse_parts(ReadAnswer, body)
        return encode_parts(answer, [bytes(len(blobs[0])), *blobs[1:]])

    async with lying_validator(network.credentials, altered) as credentials, AsyncClient.open(credentials) as client:
        result = await client.get_dir("hippy://altered-read", tmp_path)
    assert [(failure.path, type(failure.error)) for failure in result.failures] == [("a", IntegrityError)]
    assert result.files == 2
