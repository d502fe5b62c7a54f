"""A client, a real validator and real miners in one process: what was put comes back, whatever fails in between."""

from __future__ import annotations

import asyncio
import io
import os
import random
import threading
import unicodedata
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from hippy.client.buffers import BufferPool
from hippy.client.prepare import FileReading
from hippy.client.progress import SilentProgress
from hippy.client.results import PutResult
from hippy.client.sdk import AsyncClient
from hippy.client.sinks import FileSink
from hippy.errors import (
    ConflictError,
    IntegrityError,
    NotFoundError,
    QuotaError,
    TemporaryError,
    UsageError,
)
from tests.client.network import Network

MIB = 2**20
SEGMENT = 16 * MIB
"""Data of one segment at 4/8."""


@pytest.fixture(scope="module")
def running_network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with Network(tmp_path_factory.mktemp("network")).started() as network:
        yield network


@pytest.fixture
def network(running_network: Network) -> Iterator[Network]:
    yield running_network
    running_network.revive()


@pytest.fixture
async def client(network: Network) -> AsyncIterator[AsyncClient]:
    async with AsyncClient.open(network.credentials) as client:
        yield client


@pytest.fixture
def own_network(tmp_path: Path) -> Iterator[Network]:
    """A network for tests after which the validator thinks badly of some miner."""
    with Network(tmp_path / "network").started() as network:
        yield network


def data_of(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


async def put_on_first_eight(client: AsyncClient, network: Network, data: bytes, uri: str) -> PutResult:
    """Store data so that exactly the first eight miners hold a piece of every segment."""
    network.miners[8].refuses = True
    result = await client.put(data, uri)
    network.miners[8].refuses = False
    return result


@pytest.mark.parametrize(
    ("size", "segments"),
    [
        (0, 0),
        (1, 0),
        (4096, 0),
        (4097, 1),
        (MIB - 1, 1),
        (MIB, 1),
        (SEGMENT, 1),
        (SEGMENT + 1, 2),
        (2 * SEGMENT + 12_345, 3),
    ],
)
async def test_object_of_any_size_comes_back(client: AsyncClient, size: int, segments: int) -> None:
    data = data_of(size)
    uri = f"hippy://sizes/{size}"
    result = await client.put(data, uri)
    assert (result.files, result.bytes, result.segments, result.failures) == (1, size, segments, ())
    assert await client.get(uri) == data
    assert (await client.head(uri)).size == size


@pytest.mark.parametrize("dead", [(0, 1, 2, 3), (4, 5, 6, 7), (1, 3, 4, 6)])
async def test_object_comes_back_while_any_k_of_n_miners_live(
    client: AsyncClient, network: Network, dead: tuple[int, ...]
) -> None:
    data = data_of(SEGMENT + 5_000)
    await put_on_first_eight(client, network, data, "hippy://dead/x")
    network.kill(*(network.miners[index] for index in dead))
    assert await client.get("hippy://dead/x") == data


async def test_one_miner_too_few_says_how_many_pieces_are_missing(client: AsyncClient, network: Network) -> None:
    await put_on_first_eight(client, network, data_of(10_000), "hippy://dead/y")
    network.kill(*network.miners[:5])
    with pytest.raises(TemporaryError, match=r"only 3 of the k=4 pieces needed can be had now \(1 missing\)") as caught:
        await client.get("hippy://dead/y")
    assert caught.value.exit_code == 5
    assert "`hippy net status`" in (caught.value.hint or "")


async def test_corrupt_pieces_are_replaced_by_others(client: AsyncClient, network: Network) -> None:
    data = data_of(70_000 * 4)
    await put_on_first_eight(client, network, data, "hippy://corrupt/x")
    for miner in network.miners[:4]:
        miner.corrupts = True
    assert await client.get("hippy://corrupt/x") == data


async def test_too_many_corrupt_pieces_are_missing_pieces(client: AsyncClient, network: Network) -> None:
    await put_on_first_eight(client, network, data_of(70_000 * 4), "hippy://corrupt/y")
    for miner in network.miners[:5]:
        miner.corrupts = True
    with pytest.raises(TemporaryError, match="only 3 of the k=4"):
        await client.get("hippy://corrupt/y")


async def test_stalled_miners_are_raced_by_others(
    client: AsyncClient, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hippy.client.download.LAG_SECONDS", 0.05)
    data = data_of(30_000)
    await put_on_first_eight(client, network, data, "hippy://stalled/x")
    for miner in network.miners[:4]:
        miner.stalls = True
    assert await client.get("hippy://stalled/x") == data


async def test_piece_refused_by_a_full_miner_is_placed_anew(client: AsyncClient, network: Network) -> None:
    bad = network.miners[2]
    bad.refuses, before = True, bad.refused
    data = data_of(4 * 200_000)
    for number in range(4):  # one of nine miners is not asked for each segment
        await client.put(data, f"hippy://refused/{number}")
        assert await client.get(f"hippy://refused/{number}") == data
    assert bad.refused > before


async def test_pieces_of_dead_miners_are_placed_anew_or_done_without(own_network: Network) -> None:
    own_network.kill(*own_network.miners[:2])
    async with AsyncClient.open(own_network.credentials) as client:
        data = data_of(100_000)
        result = await client.put(data, "hippy://b/x")
        assert (result.missing_pieces, result.stored_bytes) == (1, 7 * 25_000)  # seven miners are left for eight pieces
        assert await client.get("hippy://b/x") == data


async def test_segment_with_too_few_receipts_is_never_a_success(own_network: Network) -> None:
    async with AsyncClient.open(own_network.credentials) as client:
        for miner in own_network.miners[:3]:
            miner.refuses = True
        with pytest.raises(TemporaryError, match="only 6 of 8 pieces were stored, 7 are needed") as caught:
            await client.put(data_of(100_000), "hippy://b/x")
        assert "not committed" in (caught.value.hint or "")
        with pytest.raises(NotFoundError):
            await client.head("hippy://b/x")


async def test_directory_comes_back_with_modes_and_times(client: AsyncClient, tmp_path: Path) -> None:
    names = [
        "empty",
        "a b/with  spaces.txt",
        "日本語/ünï côdé 🎉",
        unicodedata.normalize("NFD", "é-decomposed"),
        "deep/er/and/deeper/x",
        "%2e%2e",
    ]
    source = tmp_path / "source"
    for number, name in enumerate(names):
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data_of(number * 40_000, seed=number))
        path.chmod(0o600 + number)
        os.utime(path, ns=(0, (1_700_000_000 + number) * 10**9 + 123_000))
    (source / "link").symlink_to("empty")
    result = await client.put_dir(source, "hippy://tree/t")
    assert (result.files, result.failures, result.symlinks) == (len(names), (), ("link",))
    back = await client.get_dir("hippy://tree/t", tmp_path / "back")
    assert (back.files, back.failures, back.segments) == (len(names), (), 1)
    for name in names:
        before, after = source / name, tmp_path / "back" / unicodedata.normalize("NFC", name)
        assert after.read_bytes() == before.read_bytes()
        assert (after.stat().st_mode, after.stat().st_mtime_ns) == (before.stat().st_mode, before.stat().st_mtime_ns)
    assert {entry.path for entry in await client.list("hippy://tree/t", recursive=True)} == {
        unicodedata.normalize("NFC", f"t/{name}") for name in names
    }


async def test_composed_and_decomposed_spelling_find_one_object(client: AsyncClient) -> None:
    await client.put(b"x", "hippy://names/" + unicodedata.normalize("NFD", "café"))
    assert await client.get("hippy://names/" + unicodedata.normalize("NFC", "café")) == b"x"


async def test_two_spellings_of_one_name_in_a_directory_are_told(client: AsyncClient, tmp_path: Path) -> None:
    for form in ("NFC", "NFD"):
        (tmp_path / unicodedata.normalize(form, "é")).write_text(form)
    if len(list(tmp_path.iterdir())) < 2:
        pytest.skip("this file system keeps one of the two")
    result = await client.put_dir(tmp_path, "hippy://names/two")
    assert result.files == 1
    assert [type(failure.error) for failure in result.failures] == [ConflictError]


async def test_unreadable_file_is_told_while_others_go_on(client: AsyncClient, tmp_path: Path) -> None:
    for name in ("a", "b", "c", "d"):
        (tmp_path / name).write_bytes(data_of(10_000))
    (tmp_path / "b").unlink()
    (tmp_path / "b").symlink_to("gone")  # a link is left out
    os.mkfifo(tmp_path / "pipe")
    result = await client.put_dir(tmp_path, "hippy://odd/t")
    assert (result.files, result.symlinks) == (3, ("b",))
    assert [failure.path for failure in result.failures] == ["pipe"]


async def test_names_the_network_cannot_hold_are_told_while_others_go_on(client: AsyncClient, tmp_path: Path) -> None:
    for name in (b"good", b"not \xff utf-8", b"x" * 250):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(b"1")
    result = await client.put_dir(tmp_path, "hippy://odd/names")
    assert result.files == 1
    assert sorted(failure.path for failure in result.failures) == ["not \\udcff utf-8", "x" * 250]
    for failure in result.failures:
        assert f"{failure.path}: {failure.error}".encode()  # can be printed


async def test_file_that_changes_under_the_reader_fails_alone(
    client: AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_bytes(data_of(10_000))
    take = BufferPool.take

    async def take_late(pool: BufferPool) -> memoryview:
        (tmp_path / "b").write_bytes(b"shorter")  # after the walk, before the read
        return await take(pool)

    monkeypatch.setattr(BufferPool, "take", take_late)
    result = await client.put_dir(tmp_path, "hippy://odd/u")
    assert result.files == 2
    assert [(failure.path, type(failure.error)) for failure in result.failures] == [("b", TemporaryError)]
    assert {entry.path for entry in await client.list("hippy://odd/u")} == {"u/a", "u/c"}


async def test_overwritten_object_is_the_new_one_and_versions_count(client: AsyncClient, network: Network) -> None:
    uri = "hippy://over/x"
    await client.put(b"one", uri)
    async with AsyncClient.open(network.credentials) as other:
        await other.put(data_of(50_000), uri)  # it knows of no row, and is told
        assert (await other.head(uri)).version == 2
    await client.put(b"three", uri)
    assert await client.get(uri) == b"three"
    assert (await client.head(uri)).version == 3


async def test_put_if_absent_overwrites_nothing(client: AsyncClient) -> None:
    uri = "hippy://over/once"
    await client.put(b"one", uri, if_absent=True)
    with pytest.raises(ConflictError):
        await client.put(b"two", uri, if_absent=True)
    assert await client.get(uri) == b"one"
    await client.delete(uri)
    await client.put(b"three", uri, if_absent=True)
    assert await client.get(uri) == b"three"


async def test_deleted_object_is_gone(client: AsyncClient) -> None:
    for name in ("a", "b/c", "b/d"):
        await client.put(b"x", f"hippy://del/t/{name}")
    await client.delete("hippy://del/t/a")
    for call in (client.get, client.head, client.delete):
        with pytest.raises(NotFoundError):
            await call("hippy://del/t/a")
    assert (await client.delete("hippy://del/t", recursive=True)).files == 2
    with pytest.raises(NotFoundError):
        await client.list("hippy://del/t")


async def test_listing_folds_directories_or_shows_everything(client: AsyncClient) -> None:
    for name in ("x", "d/y", "d/e/z"):
        await client.put(b"123", f"hippy://list/{name}")
    assert [(e.path, e.is_dir) for e in await client.list("hippy://list/")] == [("d", True), ("x", False)]
    assert [e.path for e in await client.list("hippy://list", recursive=True)] == ["d/e/z", "d/y", "x"]
    assert [(e.path, e.size) for e in await client.list("hippy://list/d/y")] == [("d/y", 3)]
    assert [(e.path, e.is_dir) for e in await client.list("hippy://list/d/")] == [("d/e", True), ("d/y", False)]
    assert (await client.head("hippy://list/d/y")).path == "d/y"
    assert "list" in await client.buckets()


async def test_object_and_directory_of_one_name_get_back_as_far_as_files_can(
    client: AsyncClient, tmp_path: Path
) -> None:
    await client.put(b"1", "hippy://both/t/a")
    await client.put(b"2", "hippy://both/t/a/b")
    result = await client.get_dir("hippy://both/t", tmp_path / "back")
    assert (result.files, len(result.failures)) == (1, 1)


async def test_stream_is_stored_and_written(client: AsyncClient) -> None:
    data, out = data_of(300_000), io.BytesIO()
    await client.put(io.BytesIO(data), "hippy://streams/x")
    await client.get_to("hippy://streams/x", out)
    assert out.getvalue() == data


class Counting(SilentProgress):
    """Adds up what it hears."""

    def __init__(self) -> None:
        self.totals: list[int | None] = []
        self.moved = 0

    def total(self, total_bytes: int | None) -> None:
        self.totals.append(total_bytes)

    def advance(self, moved_bytes: int) -> None:
        self.moved += moved_bytes


async def test_progress_ends_at_its_total(network: Network, tmp_path: Path) -> None:
    sizes = (0, 10, 5000, SEGMENT + 1)
    for size in sizes:
        (tmp_path / f"in{size}").write_bytes(data_of(size))
    putting, getting = Counting(), Counting()
    async with AsyncClient.open(network.credentials, progress=putting) as client:
        await client.put_dir(tmp_path, "hippy://progress/t")
    async with AsyncClient.open(network.credentials, progress=getting) as client:
        await client.get_dir("hippy://progress/t", tmp_path / "out")
    for heard in (putting, getting):
        assert (heard.totals, heard.moved) == ([sum(sizes)], sum(sizes))


async def test_range_is_the_slice(client: AsyncClient) -> None:
    data = data_of(SEGMENT + 100_000)
    await client.put(data, "hippy://range/x")
    for offset, length in ((0, 10), (SEGMENT - 5, 10), (len(data) - 3, 100), (4 * MIB - 1, 2), (5, 0), (2**40, 1)):
        assert await client.get_range("hippy://range/x", offset, length) == data[offset : offset + length]


async def test_file_under_its_own_name_and_nothing_left_beside_it(client: AsyncClient, tmp_path: Path) -> None:
    path = tmp_path / "in.bin"
    path.write_bytes(data_of(30_000))
    await client.put(path, "hippy://files/dir/")
    (tmp_path / "out").mkdir()
    await client.get_file("hippy://files/dir/in.bin", tmp_path / "out")
    assert [entry.name for entry in (tmp_path / "out").iterdir()] == ["in.bin"]
    assert (tmp_path / "out" / "in.bin").read_bytes() == path.read_bytes()


async def test_failed_get_leaves_the_old_file_and_no_draft(
    client: AsyncClient, network: Network, tmp_path: Path
) -> None:
    await put_on_first_eight(client, network, data_of(10_000), "hippy://files/lost")
    (tmp_path / "old").write_bytes(b"old")
    network.kill(*network.miners[:5])
    with pytest.raises(TemporaryError):
        await client.get_file("hippy://files/lost", tmp_path / "old")
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [("old", b"old")]


async def test_get_writes_through_a_link_and_makes_directories(client: AsyncClient, tmp_path: Path) -> None:
    await client.put(b"new", "hippy://files/linked")
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    await client.get_file("hippy://files/linked", tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"
    await client.get_file("hippy://files/linked", tmp_path / "deep" / "er" / "file")
    assert (tmp_path / "deep" / "er" / "file").read_bytes() == b"new"


async def test_get_replaces_nothing_but_regular_files(client: AsyncClient, tmp_path: Path) -> None:
    await client.put(b"new", "hippy://files/special")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="no regular file"):
        await client.get_file("hippy://files/special", tmp_path / "pipe")
    assert (tmp_path / "pipe").is_fifo()


async def test_short_files_need_no_miners(network: Network) -> None:
    async with AsyncClient.open(network.credentials, profile="10/24") as client:
        await client.put(b"rides in its manifest", "hippy://files/short")
        assert await client.get("hippy://files/short") == b"rides in its manifest"


async def test_a_path_that_is_too_deep_fails_alone(client: AsyncClient, tmp_path: Path) -> None:
    deep = tmp_path.joinpath("tree", *"d" * 65)
    deep.mkdir(parents=True)
    (deep / "file").write_bytes(b"x")
    (tmp_path / "tree" / "other").write_bytes(b"y")
    result = await client.put_dir(tmp_path / "tree", "hippy://deep/")
    assert (result.files, [type(failure.error) for failure in result.failures]) == (1, [UsageError])


async def test_files_that_share_a_segment_fetch_it_once(client: AsyncClient, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for number in range(30):
        (source / str(number)).write_bytes(data_of(900_000, seed=number))
    put = await client.put_dir(source, "hippy://shared/t")
    assert put.segments == 2
    got = await client.get_dir("hippy://shared/t", tmp_path / "back")
    assert (got.files, got.segments) == (30, 2)


async def test_more_pieces_than_miners_names_both_numbers(network: Network) -> None:
    async with AsyncClient.open(network.credentials, profile="10/24") as client:
        with pytest.raises(TemporaryError, match="needs 24 independent miners, 9 are live") as caught:
            await client.put(b"x" * 5000, "hippy://b/x")
        assert caught.value.exit_code == 5


async def test_other_codes_work(network: Network) -> None:
    for profile in ("1/1", "2/3", "8/9"):
        async with AsyncClient.open(network.credentials, profile=profile) as client:
            data = data_of(9_000_001)
            await client.put(data, "hippy://codes/x")
            assert await client.get("hippy://codes/x") == data


async def test_account_without_room_is_told_by_quota(network: Network) -> None:
    async with AsyncClient.open(network.poor_credentials) as poor:
        with pytest.raises(QuotaError):
            await poor.put(data_of(100_000), "hippy://b/x")
        await poor.put(b"small", "hippy://b/small")
        assert await poor.get("hippy://b/small") == b"small"


async def test_strangers_read_nothing(client: AsyncClient, network: Network) -> None:
    await client.put(b"secret", "hippy://private/x")
    async with AsyncClient.open(network.poor_credentials) as other:
        with pytest.raises(NotFoundError):
            await other.get("hippy://private/x")


async def test_directory_uri_is_refused_where_an_object_is_meant(client: AsyncClient) -> None:
    with pytest.raises(UsageError):
        await client.get("hippy://b/dir/")
    with pytest.raises(UsageError):
        await client.put(b"no name", "hippy://b/dir/")


async def test_concurrent_puts_of_one_object_leave_one_of_them(client: AsyncClient) -> None:
    contents = [data_of(20_000, seed=number) for number in range(4)]
    outcomes = await asyncio.gather(*(client.put(data, "hippy://race/x") for data in contents), return_exceptions=True)
    assert all(isinstance(outcome, PutResult) for outcome in outcomes)
    assert await client.get("hippy://race/x") in contents


async def test_manifest_too_long_for_a_row_is_stored_as_segments(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hippy.client.put.fits_a_row", lambda _: False)  # else it takes 10 GB
    data = data_of(SEGMENT + 10)
    result = await client.put(data, "hippy://indirect/x")
    assert result.segments == 3
    assert await client.get("hippy://indirect/x") == data
    assert await client.get_range("hippy://indirect/x", SEGMENT - 1, 5) == data[SEGMENT - 1 : SEGMENT + 4]


def _finish_with_wrong_hash(reading: FileReading, _: bytes) -> None:
    reading.close()
    reading.hash = bytes(32)


async def test_file_whose_hash_is_wrong_is_not_delivered(
    client: AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").write_bytes(data_of(10_000))
    monkeypatch.setattr("hippy.client.prepare.FileReading._finish", _finish_with_wrong_hash)
    await client.put(tmp_path / "in", "hippy://wrong/x")
    with pytest.raises(IntegrityError, match="hash"):
        await client.get_file("hippy://wrong/x", tmp_path / "out")
    assert [entry.name for entry in tmp_path.iterdir()] == ["in"]


class Notes(SilentProgress):
    """Keeps what is worth a line."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)


async def test_bad_miner_is_told_of_once_and_failures_of_one_segment_read_alike(
    own_network: Network, tmp_path: Path
) -> None:
    source, notes = tmp_path / "source", Notes()
    source.mkdir()
    for number in range(20):
        (source / str(number)).write_bytes(data_of(6_000, seed=number))
    async with AsyncClient.open(own_network.credentials) as client:
        await client.put_dir(source, "hippy://alike/t")
    for miner in own_network.miners:
        miner.corrupts = True
    async with AsyncClient.open(own_network.credentials, progress=notes) as client:
        result = await client.get_dir("hippy://alike/t", tmp_path / "back")
    assert (result.files, len(result.failures)) == (0, 20)
    assert len({failure.error.message for failure in result.failures}) == 1
    assert len(notes.lines) == 8
    assert len({line.split(" not from ")[1] for line in notes.lines}) == 8


async def test_file_of_the_far_future_goes_with_the_others(client: AsyncClient, tmp_path: Path) -> None:
    for name, seconds, size in (("now", 10**9, 10), ("odd", 10**10, 10), ("large", 10**10, 6_000), ("old", -5, 10)):
        (tmp_path / name).write_bytes(data_of(size))
        os.utime(tmp_path / name, (seconds, seconds))
    result = await client.put_dir(tmp_path, "hippy://odd/times")
    assert (result.files, result.failures) == (4, ())
    assert (await client.head("hippy://odd/times/odd")).mtime_us == 2**53 - 1
    assert (await client.head("hippy://odd/times/large")).mtime_us == 2**53 - 1
    assert (await client.head("hippy://odd/times/old")).mtime_us == 0


@pytest.mark.parametrize("size", [100, 100_000, SEGMENT + 100_000])
async def test_pipe_that_nobody_reads_is_told_as_such(client: AsyncClient, size: int) -> None:
    await client.put(data_of(size), "hippy://pipes/x")
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb", buffering=0) as stream, pytest.raises(BrokenPipeError):
        await client.get_to("hippy://pipes/x", stream)
    with (
        os.fdopen(os.open("/dev/full", os.O_WRONLY), "wb", buffering=0) as full,
        pytest.raises(UsageError, match="No space left"),
    ):
        await client.get_to("hippy://pipes/x", full)


async def test_cancelled_get_leaves_no_draft(
    client: AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await client.put(data_of(2 * SEGMENT), "hippy://cancelled/x")
    writing, go_on, written, write = threading.Event(), threading.Event(), threading.Event(), FileSink.write

    def slow(sink: FileSink, data: bytes) -> None:
        writing.set()
        go_on.wait(10)
        try:
            write(sink, data)
        finally:
            written.set()

    monkeypatch.setattr(FileSink, "write", slow)
    task = asyncio.create_task(client.get_file("hippy://cancelled/x", tmp_path / "x"))
    await asyncio.to_thread(writing.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go_on.set()
    await asyncio.to_thread(written.wait, 10)
    assert list(tmp_path.iterdir()) == []
