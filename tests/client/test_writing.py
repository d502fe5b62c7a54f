"""Rows and their drops, against a real validator that refuses a write which lacks one."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from hippy.client import writing
from hippy.client.sdk import AsyncClient
from hippy.client.uri import parse_uri
from hippy.client.validator_api import ValidatorApi
from hippy.client.writing import Draft
from hippy.errors import ConflictError, IntegrityError
from hippy.ids import SegmentId
from hippy.wire.object import Drop, ObjectRow, ReadAnswer, RowResult, WriteAnswer
from hippy.wire.parts import encode_parts, parse_parts
from tests.client.network import NETWORK, Network, lying_validator


def data_of(name: int) -> bytes:
    return random.Random(name).randbytes(20_000)


class Recorder:
    """Notes which drops go with each write, and how often rows are read."""

    def __init__(self, api: ValidatorApi) -> None:
        self.drops: list[tuple[Drop, ...]] = []
        self.reads = 0
        self._write, self._read = api.write, api.read

    async def write(
        self, rows: Sequence[ObjectRow], manifests: Sequence[bytes], drops: Sequence[Drop] = ()
    ) -> tuple[RowResult, ...]:
        self.drops.append(tuple(drops))
        return await self._write(rows, manifests, drops)

    async def read(self, bucket: bytes, names: Sequence[tuple[bytes, ...]]) -> object:
        self.reads += 1
        return await self._read(bucket, names)

    def dropped(self) -> set[SegmentId]:
        return {drop.segment_id for drops in self.drops for drop in drops}


@asynccontextmanager
async def recorded(network: Network) -> AsyncIterator[tuple[AsyncClient, Recorder]]:
    async with AsyncClient.open(network.credentials) as client:
        api = client._session.api
        recorder = Recorder(api)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(api, "write", recorder.write)
            patch.setattr(api, "read", recorder.read)
            yield client, recorder


async def segments_of(client: AsyncClient, uri: str) -> set[SegmentId]:
    place, _ = client._object(uri)
    (row,) = await client._rows.current([place])
    assert isinstance(row, ObjectRow)
    return set(row.segment_ids)


async def test_new_names_cost_no_read_and_no_drop(network: Network) -> None:
    async with recorded(network) as (client, recorder):
        await client.put(data_of(1), "hippy://drops/new")
        assert (recorder.reads, recorder.drops) == (0, [()])


async def test_overwriting_drops_what_the_old_row_names_alone(network: Network) -> None:
    async with recorded(network) as (client, recorder):
        await client.put(data_of(1), "hippy://drops/over")
        old = await segments_of(client, "hippy://drops/over")
        await client.put(data_of(2), "hippy://drops/over")
        assert recorder.dropped() == old
        for drop in recorder.drops[-1]:
            drop.check_signature(network.credentials.account, NETWORK)
        assert await client.get("hippy://drops/over") == data_of(2)


async def test_overwriting_what_another_session_wrote_drops_it_too(network: Network) -> None:
    async with AsyncClient.open(network.credentials) as first:
        await first.put(data_of(3), "hippy://drops/other")
        old = await segments_of(first, "hippy://drops/other")
    async with recorded(network) as (client, recorder):
        await client.put(data_of(4), "hippy://drops/other")
        assert recorder.drops[0] == ()  # nothing was known; the conflict told of the row
        assert recorder.dropped() == old


async def test_deleting_a_tree_drops_all_of_it_and_reads_no_row_that_was_listed(network: Network) -> None:
    async with recorded(network) as (client, recorder):
        names = [f"hippy://drops/tree/{number}" for number in range(3)]
        for number, name in enumerate(names):
            await client.put(data_of(10 + number), name)
        owned = set().union(*[await segments_of(client, name) for name in names])
        reads = recorder.reads
        await client.delete("hippy://drops/tree/", recursive=True)
        assert recorder.dropped() == owned
        assert recorder.reads == reads + 1  # for an object that is called as the directory


async def test_a_row_that_names_the_same_segments_drops_none(network: Network) -> None:
    async with recorded(network) as (client, recorder):
        await client.put(data_of(5), "hippy://drops/same")
        place, _ = client._object("hippy://drops/same")
        found = await client._rows.read_one(place, "it")
        draft = Draft(place, found.manifest, found.row.segment_ids)
        assert await client._writer.write([draft]) == [None]
        assert recorder.dropped() == set()
        assert await client.get("hippy://drops/same") == data_of(5)


async def test_more_drops_than_a_write_carries_go_with_several(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with recorded(network) as (client, recorder):
        names = [f"hippy://drops/many/{number}" for number in range(3)]
        for number, name in enumerate(names):
            await client.put(data_of(20 + number), name)
        monkeypatch.setattr(writing, "DROPS_MAX", 1)
        result = await client.delete("hippy://drops/many", recursive=True)
        assert (result.files, result.failures) == (3, ())
        assert [len(drops) for drops in recorder.drops[-3:]] == [1, 1, 1]


def altered_current(body: bytes) -> bytes:
    """The row of a conflict without its segments, so that none would be dropped."""
    answer = WriteAnswer.parse(body)
    results = tuple(
        result.model_copy(update={"current": result.current.model_copy(update={"segment_ids": ()})})
        if result.current is not None
        else result
        for result in answer.results
    )
    return answer.model_copy(update={"results": results}).encode()


async def test_which_segments_to_drop_is_not_taken_from_the_validators_word(network: Network) -> None:
    async with AsyncClient.open(network.credentials) as client:
        await client.put(data_of(6), "hippy://drops/word")
    async with (
        lying_validator(
            network.credentials, lambda path, body: altered_current(body) if path == "/v1/objects" else body
        ) as credentials,
        AsyncClient.open(credentials) as client,
    ):
        with pytest.raises(IntegrityError):
            await client.put(data_of(7), "hippy://drops/word")
    async with AsyncClient.open(network.credentials) as client:
        assert await client.get("hippy://drops/word") == data_of(6)


def without_manifests(body: bytes) -> bytes:
    answer, blobs = parse_parts(ReadAnswer, body)
    return encode_parts(answer, [bytes(len(blob)) for blob in blobs])


async def test_an_object_whose_manifest_is_altered_can_be_overwritten_and_deleted(network: Network) -> None:
    async with AsyncClient.open(network.credentials) as client:
        await client.put(data_of(8), "hippy://drops/broken")
    async with (
        lying_validator(
            network.credentials, lambda path, body: without_manifests(body) if "read" in path else body
        ) as credentials,
        AsyncClient.open(credentials) as client,
    ):
        with pytest.raises(IntegrityError):
            await client.get("hippy://drops/broken")
        await client.put(data_of(9), "hippy://drops/broken")
        await client.delete("hippy://drops/broken")


async def test_a_row_is_not_written_over_another_than_it_replaces_when_that_is_asked_for(network: Network) -> None:
    async with AsyncClient.open(network.credentials) as client:
        await client.put(b"one", "hippy://drops/cas")
        place, _ = client._object("hippy://drops/cas")
        found = await client._rows.read_one(place, "it")
        async with AsyncClient.open(network.credentials) as other:
            await other.put(b"two", "hippy://drops/cas")
        stale = [Draft(place, None, replaces=found.row)]
        assert _kinds(await client._writer.write(stale, if_unchanged=True)) == [ConflictError]
        assert await client.get("hippy://drops/cas") == b"two"
        assert _kinds(await client._writer.write(stale, if_unchanged=True)) == [ConflictError]  # now seen to be old
        assert await client.get("hippy://drops/cas") == b"two"


def _kinds(errors: Iterable[object]) -> list[type]:
    return [type(error) for error in errors]


async def test_rows_of_several_buckets_are_looked_up_bucket_by_bucket(network: Network) -> None:
    uris = [f"hippy://bucket{number}/x" for number in range(3)]
    async with AsyncClient.open(network.credentials) as client:
        for uri in uris:
            await client.put(uri.encode(), uri)
        places = [client._object(uri)[0] for uri in (*uris, *uris)]
        rows = await client._rows.current(places)
        assert [row.bucket for row in rows if isinstance(row, ObjectRow)] == [place.bucket for place in places]
        assert parse_uri(uris[0]).bucket == "bucket0"


async def test_a_row_is_signed_when_its_turn_comes(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "ROWS_MAX", 2)
    signed: list[int] = []
    signing = ObjectRow.signed

    def counted(row: ObjectRow, *args: Any) -> ObjectRow:
        signed.append(1)
        return signing(row, *args)

    async with recorded(network) as (client, recorder):
        for name in range(5):
            await client.put(b"x", f"hippy://rows-turns/{name}")
        ahead: list[int] = []
        write = recorder.write

        async def noted(*args: Any) -> tuple[RowResult, ...]:
            ahead.append(len(signed))
            return await write(*args)

        monkeypatch.setattr(ObjectRow, "signed", counted)
        monkeypatch.setattr(client._session.api, "write", noted)
        assert (await client.delete("hippy://rows-turns/", recursive=True)).files == 5
    # One is signed to see that it does not fit any more.
    assert ahead == [3, 5, 5]
