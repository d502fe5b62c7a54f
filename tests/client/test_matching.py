"""Patterns against what a real validator lists; searching, adding up; getting by pattern and filter."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hippy.client.finding import Query
from hippy.client.sdk import AsyncClient
from hippy.errors import NotFoundError, UsageError
from tests.client.network import Network

STORED = ("a.bin", "b.txt", "runs/1/model.bin", "runs/1/log.txt", "runs/2/model.bin", "runs/x")


@pytest.fixture
async def client(network: Network) -> AsyncIterator[AsyncClient]:
    async with AsyncClient.open(network.credentials) as opened:
        for name in STORED:
            await opened.put(name.encode() * 3, f"hippy://globs/{name}")
        yield opened


async def globbed(client: AsyncClient, path: str, *, directories: bool = False) -> list[str]:
    entries = await client.glob(f"hippy://globs/{path}", directories=directories)
    assert entries is not None
    return [entry.path + "/" * entry.is_dir for entry in entries]


@pytest.mark.parametrize(
    ("pattern", "directories", "found"),
    [
        ("*.bin", False, ["a.bin"]),
        ("*", False, ["a.bin", "b.txt"]),
        ("*", True, ["a.bin", "b.txt", "runs/"]),
        ("runs/*/model.bin", False, ["runs/1/model.bin", "runs/2/model.bin"]),
        ("r*/[!2]/*.bin", False, ["runs/1/model.bin"]),
        ("runs/*/", True, ["runs/1/", "runs/2/"]),
        ("**/*.bin", False, ["a.bin", "runs/1/model.bin", "runs/2/model.bin"]),
        ("**", False, list(STORED)),
        ("runs/**/1", True, ["runs/1/"]),
        ("**/*", True, ["a.bin", "b.txt", "runs/"]),  # what is below runs/ comes with it
    ],
)
async def test_patterns_find(client: AsyncClient, pattern: str, directories: bool, found: list[str]) -> None:
    assert sorted(await globbed(client, pattern, directories=directories)) == sorted(found)


async def test_a_name_that_is_there_as_written_is_no_pattern(client: AsyncClient) -> None:
    await client.put(b"literal", "hippy://globs-literal/a*")
    await client.put(b"other", "hippy://globs-literal/ab")
    assert await client.glob("hippy://globs-literal/a*") is None
    assert await client.glob("hippy://globs-literal/ab") is None
    found = await client.glob("hippy://globs-literal/a?")
    assert found is not None
    assert [entry.path for entry in found] == ["a*", "ab"]
    await client.put(b"below", "hippy://globs-literal/d[1]/x")
    assert await client.glob("hippy://globs-literal/d[1]", directories=True) is None


async def test_a_pattern_that_matches_nothing_is_not_found(client: AsyncClient) -> None:
    with pytest.raises(NotFoundError, match="nothing matches"):
        await client.glob("hippy://globs/*.zip")
    with pytest.raises(NotFoundError) as caught:
        await client.glob("hippy://globs/run*")
    assert "-r" in str(caught.value.hint)


async def test_matching_objects_are_brought_under_their_names(client: AsyncClient, tmp_path: Path) -> None:
    result = await client.get_glob("hippy://globs/*.*", tmp_path)
    assert (result.files, sorted(path.name for path in tmp_path.iterdir())) == (2, ["a.bin", "b.txt"])
    with pytest.raises(UsageError, match=r"would both become model\.bin"):
        await client.get_glob("hippy://globs/runs/*/model.bin", tmp_path)
    await client.get_glob("hippy://globs/runs/*", tmp_path / "r", recursive=True, exclude=["log.txt"])
    assert _files(tmp_path / "r") == ["1/model.bin", "2/model.bin", "x"]
    assert (tmp_path / "r/2/model.bin").read_bytes() == b"runs/2/model.bin" * 3


async def test_filters_choose_what_is_brought_and_what_is_stored(client: AsyncClient, tmp_path: Path) -> None:
    await client.get_dir("hippy://globs", tmp_path / "bins", include=["*.bin"])
    assert _files(tmp_path / "bins") == ["a.bin", "runs/1/model.bin", "runs/2/model.bin"]
    await client.put_dir(tmp_path / "bins", "hippy://globs-put/", exclude=["runs/2/", "a.*"])
    assert [entry.path for entry in await client.list("hippy://globs-put/", recursive=True)] == ["runs/1/model.bin"]


async def test_a_plan_says_what_would_be_brought(client: AsyncClient) -> None:
    one = await client.plan_get("hippy://globs/a.bin")
    assert [(pair.source, pair.target, pair.size) for pair in one] == [("hippy://globs/a.bin", "a.bin", 15)]
    tree = await client.plan_get("hippy://globs/runs", recursive=True, exclude=["*.txt", "x"])
    assert [(pair.source, pair.target) for pair in tree] == [
        ("hippy://globs/runs/1/model.bin", "1/model.bin"),
        ("hippy://globs/runs/2/model.bin", "2/model.bin"),
    ]
    globs = await client.plan_get("hippy://globs/run*/1", recursive=True)
    assert [pair.target for pair in globs] == ["1/log.txt", "1/model.bin"]


async def test_find_goes_by_name_type_and_size(client: AsyncClient) -> None:
    async def found(query: Query) -> list[str]:
        return [entry.path for entry in await client.find("hippy://globs/runs", query)]

    assert await found(Query(kind="d")) == ["runs/1", "runs/2"]
    assert await found(Query(names=("*.txt", "x"))) == ["runs/1/log.txt", "runs/x"]
    assert await found(Query(size_max=20)) == ["runs/x"]
    with pytest.raises(NotFoundError):
        await client.find("hippy://globs/nothing", Query())


async def test_directories_add_up(client: AsyncClient) -> None:
    usages = {each.path: each for each in await client.du("hippy://globs/runs")}
    assert list(usages) == ["runs", "runs/1", "runs/2"]
    assert (usages["runs"].objects, usages["runs/1"].objects) == (4, 2)
    assert usages["runs"].bytes == 3 * sum(len(name) for name in STORED if name.startswith("runs"))
    assert usages["runs"].stored_bytes == 0  # all of it lies in manifests
    (one,) = await client.du("hippy://globs/a.bin", stored=False)
    assert (one.path, one.objects, one.bytes, one.stored_bytes) == ("a.bin", 1, 15, None)


async def test_stored_bytes_count_a_shared_segment_once(client: AsyncClient) -> None:
    await client.put(b"y" * 40_000, "hippy://du/one/x")
    await client.copy("hippy://du/one/x", "hippy://du/two/x")
    usages = {each.path: each.stored_bytes for each in await client.du("hippy://du/")}
    assert usages == {"": 80_000, "one": 80_000, "two": 80_000}


async def test_nothing_uses_nothing_but_a_bucket_may_be_empty(client: AsyncClient) -> None:
    with pytest.raises(NotFoundError):
        await client.du("hippy://globs/nothing")
    (empty,) = await client.du("hippy://globs-none/")
    assert (empty.objects, empty.bytes, empty.stored_bytes) == (0, 0, 0)


def _files(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
