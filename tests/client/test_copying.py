"""Copies and moves, against a real validator: nothing is uploaded, and nothing is lost."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

import pytest

from hippy.client import copying
from hippy.client.copying import check_apart
from hippy.client.manifest import PLAIN_BYTES_MAX
from hippy.client.results import Pair
from hippy.client.sdk import AsyncClient
from hippy.errors import ConflictError, NotFoundError, UnreachableError, UsageError
from tests.client.network import Network

DATA = random.Random(3).randbytes(30_000)


@pytest.fixture
async def client(network: Network) -> AsyncIterator[AsyncClient]:
    async with AsyncClient.open(network.credentials) as opened:
        yield opened


async def names(client: AsyncClient, uri: str) -> list[str]:
    try:
        return [entry.path for entry in await client.list(uri, recursive=True)]
    except NotFoundError:
        return []


async def test_a_copy_moves_no_data_and_outlives_its_source(client: AsyncClient) -> None:
    await client.put(DATA, "hippy://copy/one")
    before = (await client.whoami()).used_bytes
    result = await client.copy("hippy://copy/one", "hippy://elsewhere/two")
    assert (result.files, result.bytes, result.failures) == (1, len(DATA), ())
    assert (await client.whoami()).used_bytes - before < 10_000  # a row and its manifest
    await client.delete("hippy://copy/one")
    assert await client.get("hippy://elsewhere/two") == DATA


async def test_a_copy_keeps_mode_and_time_of_inline_objects_too(client: AsyncClient) -> None:
    await client.put(b"short", "hippy://copy/inline")
    await client.copy("hippy://copy/inline", "hippy://copy/inline2")
    source, copy = await client.head("hippy://copy/inline"), await client.head("hippy://copy/inline2")
    assert (copy.hash, copy.mode, copy.mtime_us) == (source.hash, source.mode, source.mtime_us)
    assert await client.get("hippy://copy/inline2") == b"short"


async def test_an_object_whose_manifest_is_indirect_is_copied(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hippy.client.manifest.PLAIN_BYTES_MAX", 300)
    assert PLAIN_BYTES_MAX > 300
    await client.put(DATA, "hippy://copy/long")
    place, _ = client._object("hippy://copy/long")
    assert (await client._rows.read_one(place, "it")).manifest.kind == "indirect"
    await client.move("hippy://copy/long", "hippy://copy/moved")
    assert await client.get("hippy://copy/moved") == DATA


async def test_a_target_that_ends_in_a_slash_is_a_directory(client: AsyncClient) -> None:
    await client.put(b"x", "hippy://copy/dir/x")
    await client.copy("hippy://copy/dir/x", "hippy://copy/into/")
    assert await names(client, "hippy://copy/into") == ["into/x"]


async def test_a_tree_is_copied_below_its_target(client: AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "MANIFESTS_AT_ONCE", 2)
    for name in ("a", "b/c", "b/d", "e"):
        await client.put(name.encode(), f"hippy://copy/tree/{name}")
    with pytest.raises(UsageError, match="names a directory"):
        await client.copy("hippy://copy/tree/", "hippy://copy/t2")
    with pytest.raises(NotFoundError) as caught:
        await client.copy("hippy://copy/tree", "hippy://copy/t2")
    assert "recursive" in str(caught.value.hint)
    result = await client.copy("hippy://copy/tree", "hippy://copy/t2/", recursive=True)
    assert result.files == 4
    assert await names(client, "hippy://copy/t2") == ["t2/a", "t2/b/c", "t2/b/d", "t2/e"]
    assert await client.get("hippy://copy/t2/b/c") == b"b/c"


async def test_a_move_leaves_nothing_behind(client: AsyncClient) -> None:
    for name in ("a", "b/c"):
        await client.put(name.encode(), f"hippy://move/tree/{name}")
    result = await client.move("hippy://move/tree/", "hippy://move/new", recursive=True)
    assert result.files == 2
    assert await names(client, "hippy://move") == ["new/a", "new/b/c"]
    await client.move("hippy://move/new/a", "hippy://move/renamed")
    assert await names(client, "hippy://move") == ["new/b/c", "renamed"]


async def test_a_copy_can_leave_what_is_there_alone(client: AsyncClient) -> None:
    await client.put(b"old", "hippy://copy/there")
    await client.put(b"new", "hippy://copy/here")
    with pytest.raises(ConflictError):
        await client.copy("hippy://copy/here", "hippy://copy/there", if_absent=True)
    with pytest.raises(ConflictError):
        await client.move("hippy://copy/here", "hippy://copy/there", if_absent=True)
    assert await client.get("hippy://copy/there") == b"old"
    assert await client.get("hippy://copy/here") == b"new"
    await client.copy("hippy://copy/here", "hippy://copy/there")
    assert await client.get("hippy://copy/there") == b"new"


async def test_a_source_that_changes_during_a_move_stays_as_it_is_then(
    client: AsyncClient, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    await client.put(b"first", "hippy://move/changing")
    write = client._writer.write

    async def write_late(drafts: object, **how: bool) -> object:
        if how.get("if_unchanged"):
            async with AsyncClient.open(network.credentials) as other:
                await other.put(b"second", "hippy://move/changing")
        return await write(drafts, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(client._writer, "write", write_late)
    with pytest.raises(ConflictError, match="changed meanwhile"):
        await client.move("hippy://move/changing", "hippy://move/changed")
    assert await client.get("hippy://move/changing") == b"second"
    assert await client.get("hippy://move/changed") == b"first"


async def test_a_move_whose_copy_fails_deletes_nothing(client: AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    await client.put(b"x", "hippy://move/kept")

    async def fail(*_: object, **__: object) -> object:
        raise UnreachableError("the validator is away")

    with monkeypatch.context() as patch:
        patch.setattr(client._session.api, "write", fail)
        with pytest.raises(UnreachableError):
            await client.move("hippy://move/kept", "hippy://move/nowhere")
    assert await client.get("hippy://move/kept") == b"x"


async def test_an_object_is_not_copied_onto_itself(client: AsyncClient) -> None:
    await client.put(b"x", "hippy://copy/self")
    with pytest.raises(UsageError, match="is a source as well"):
        await client.move("hippy://copy/self", "hippy://copy/self")
    assert await client.get("hippy://copy/self") == b"x"


def test_a_target_that_is_still_to_be_copied_is_refused() -> None:
    up_one = [Pair("b/data/x", "b/x", 1), Pair("b/data/data/x", "b/data/x", 1)]
    with pytest.raises(UsageError, match="b/data/x is a source as well"):
        check_apart(up_one)
    with pytest.raises(UsageError, match="two objects would become c"):
        check_apart([Pair("a", "c", 1), Pair("b", "c", 1)])
    check_apart([Pair("a", "c", 1), Pair("b", "d", 1)])


async def test_an_unknown_source_is_not_found(client: AsyncClient) -> None:
    for recursive in (False, True):
        with pytest.raises(NotFoundError) as caught:
            await client.copy("hippy://copy/nothing", "hippy://copy/x", recursive=recursive)
        assert caught.value.hint
