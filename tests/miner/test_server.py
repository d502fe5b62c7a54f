"""Reading pieces over HTTP, the handshake, and a whole miner from start to stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from hippy.chain.publish import PAUSE_SECONDS_MIN
from hippy.endpoint import Endpoint
from hippy.erasure.geometry import PIECE_LENGTH_MAX
from hippy.errors import AuthError, ConfigError, IntegrityError, NotFoundError, ProtocolError, RateLimitedError
from hippy.identity import save_keyfile
from hippy.ids import Root
from hippy.miner import server
from hippy.miner.server import run_miner
from hippy.miner.settings import MinerSettings
from hippy.proofs.ranges import parse_range, verify_range
from hippy.proofs.tree import LEAF_BYTES, root_of
from hippy.testing.clock import VirtualClock
from hippy.transport.client import Call, Peer, open_http
from hippy.transport.hello import shake_hands
from hippy.transport.outbox import SHARES, STALL_SECONDS
from tests.miner.world import ACCOUNT, LARGE, MIB, MINER, NETUID, NETWORK, OTHER, World, grant, piece, put, ticket

DATA = piece("a", LARGE)
ROOT = root_of(DATA)
RANGES = [(0, 1), (LEAF_BYTES - 1, 2), (LARGE - 1, 1), (0, LARGE), (3 * LEAF_BYTES, LEAF_BYTES)]


@pytest.mark.parametrize(("offset", "length"), RANGES)
async def test_ranged_read_verifies_against_the_root(world: World, offset: int, length: int) -> None:
    async with world.serving() as miner:
        await miner.stored(DATA)
        answer = await miner.get(ROOT, f"?offset={offset}&length={length}&proof=1")
        proof = parse_range(answer.body)
        assert (proof.piece_length, proof.first_leaf) == (LARGE, offset // LEAF_BYTES)
        verify_range(ROOT, LARGE, proof.first_leaf, proof.data, proof.siblings)
        begin = offset - proof.first_leaf * LEAF_BYTES
        assert bytes(proof.data)[begin : begin + length] == DATA[offset : offset + length]


BAD_QUERIES = [
    "?offset=0",
    "?offset=0&length=1",
    "?offset=0&length=1&proof=0",
    "?offset=0&length=1&proof=1&more=1",
    "?offset=0&offset=1&length=1&proof=1",
    "?offset=-1&length=1&proof=1",
    "?offset=00&length=1&proof=1",
    "?offset=0&length=0&proof=1",
    f"?offset=0&length={LARGE + 1}&proof=1",
    f"?offset={LARGE}&length=1&proof=1",
    "?offset=0&length=99999999999999999999&proof=1",
    "?offset=%D9%A3&length=1&proof=1",
]


@pytest.mark.parametrize("query", BAD_QUERIES)
async def test_bad_range_is_a_protocol_error(world: World, query: str) -> None:
    async with world.serving() as miner:
        await miner.stored(DATA)
        assert type((await miner.get(ROOT, query)).error()) is ProtocolError


async def test_unknown_piece_is_not_found(world: World) -> None:
    async with world.serving() as miner:
        for query in ("", "?offset=0&length=1&proof=1"):
            answer = await miner.get(Root(b"r" * 32), query)
            assert (answer.status, type(answer.error())) == (404, NotFoundError)


async def test_damaged_piece_is_422_and_its_undamaged_leaves_are_served(world: World) -> None:
    async with world.serving() as miner:
        await miner.stored(DATA)
        world.files().path(ROOT).write_bytes(bytes([DATA[0] ^ 1]) + DATA[1:])
        answer = await miner.get(ROOT)
        assert (answer.status, type(answer.error())) == (422, IntegrityError)
        assert (await miner.get(ROOT, "?offset=0&length=1&proof=1")).status == 422
        proof = parse_range((await miner.get(ROOT, f"?offset={LEAF_BYTES}&length=1&proof=1")).body)
        verify_range(ROOT, LARGE, 1, proof.data, proof.siblings)


async def test_many_readers_at_once_are_all_served(world: World) -> None:
    async with world.serving() as miner:
        await miner.stored(DATA)
        answers = await asyncio.gather(*(miner.get(ROOT) for _ in range(40)))
        assert all(answer.body == DATA for answer in answers)


async def test_reader_who_finds_no_turn_is_told_to_slow_down(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "READS_WAITING_MAX", 0)
    async with world.serving() as miner:
        await miner.stored(DATA)
        answer = await miner.get(ROOT)
        assert (answer.status, type(answer.error())) == (429, RateLimitedError)
        assert answer.headers["Retry-After"] == "1"


@asynccontextmanager
async def silent_readers(peer: Peer, root: Root, count: int) -> AsyncIterator[None]:
    """Readers of whole pieces from 127.0.0.1 that take nothing, as many as its share lets in being answered."""
    async with AsyncExitStack() as stack:
        streams = []
        for _ in range(count):
            stream, writer = await asyncio.open_connection(peer.endpoint.host, peer.endpoint.port, limit=1024)
            stack.callback(writer.transport.abort)
            writer.write(f"GET /v1/pieces/{root.hex()} HTTP/1.1\r\nHost: miner\r\n\r\n".encode())
            streams.append((stream, writer))
        for stream, _ in streams[: server.READ_BYTES_MAX // SHARES // PIECE_LENGTH_MAX]:
            assert await stream.readline() == b"HTTP/1.1 200 OK\r\n"
        yield


@pytest.mark.parametrize("count", [16, 64])
async def test_silent_readers_of_one_address_keep_no_other_waiting(world: World, count: int) -> None:
    data = piece("large", PIECE_LENGTH_MAX)
    root = root_of(data)
    async with world.serving() as miner, open_http(None, world.clock, source_host="127.0.0.2") as http:
        await miner.stored(data)
        async with silent_readers(miner.peer, root, count), asyncio.timeout(STALL_SECONDS):  # so none was cut for it
            whole = Call("GET", f"/v1/pieces/{root.hex()}", answer_bytes_max=PIECE_LENGTH_MAX)
            answers = await asyncio.gather(*(http.request(miner.peer, whole) for _ in range(8)))
            assert all(answer.body == data for answer in answers)
            part = Call("GET", f"/v1/pieces/{root.hex()}?offset=0&length=1&proof=1")
            assert (await http.request(miner.peer, part)).status == 200


async def test_turn_at_the_disk_ends_before_the_answer_is_sent(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "READS_MAX", 1)
    data = piece("large", PIECE_LENGTH_MAX)
    async with world.serving() as miner:
        await miner.stored(data)
        async with silent_readers(miner.peer, root_of(data), 8), asyncio.timeout(STALL_SECONDS):
            await miner.stored(DATA)
            call = Call("GET", f"/v1/pieces/{ROOT.hex()}", answer_bytes_max=LARGE)
            async with open_http(None, world.clock, source_host="127.0.0.2") as http:
                assert (await http.request(miner.peer, call)).body == DATA


async def test_hello_states_capacity_and_used_bytes(world: World) -> None:
    async with world.serving(capacity_bytes=MIB) as miner:
        await miner.stored(DATA)
        hello = await shake_hands(miner.http, miner.peer, "miner", NETWORK, local=True, clock=world.clock)
        assert (hello.capacity_bytes, hello.used_bytes, hello.netuid) == (MIB, LARGE, NETUID)


def settings(tmp_path: Path, hotkey_file: Path, netuid: int = NETUID) -> MinerSettings:
    return MinerSettings(
        network=f"local:{tmp_path}",
        netuid=netuid,
        hotkey_file=hotkey_file,
        data_dir=tmp_path / "node" / "data",
        capacity_bytes=MIB,
        disk_reserve_bytes=0,
    )


@asynccontextmanager
async def running(world: World, chosen: MinerSettings) -> AsyncIterator[Peer]:
    """Run a miner for the duration of the block, then cancel it and wait for its end."""
    ready: asyncio.Future[Endpoint] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(run_miner(chosen, clock=world.clock, ready=ready.set_result))
    try:
        async with asyncio.timeout(10):
            yield Peer(await ready, MINER.public_key)
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_miner_runs_until_cancelled_and_keeps_what_it_took(world: World, tmp_path: Path) -> None:
    save_keyfile(MINER, tmp_path / "hotkey")
    chosen = settings(tmp_path, tmp_path / "hotkey")
    async with open_http(ACCOUNT, world.clock) as http:
        for used in (0, LARGE):
            async with running(world, chosen) as peer:
                hello = await shake_hands(http, peer, "miner", NETWORK, local=True, clock=world.clock)
                assert (hello.capacity_bytes, hello.used_bytes) == (MIB, used)
                answer = await put(http, peer, grant(ticket(DATA, world.clock), world.clock), DATA)
                assert answer.status == 200


async def test_running_miner_has_published_its_endpoint(world: World, tmp_path: Path) -> None:
    save_keyfile(MINER, tmp_path / "hotkey")
    async with running(world, settings(tmp_path, tmp_path / "hotkey")) as peer:
        neuron = (await world.chain.metagraph()).by_hotkey(MINER.public_key)
        assert neuron is not None
        assert neuron.endpoint == peer.endpoint


MEMORY: list[Any] = []


def substrate(endpoint: str) -> Any:
    """What HIPPY_CHAIN_SUBSTRATE names here."""
    return MEMORY[-1].substrate()


async def test_miner_on_a_bittensor_chain_waits_until_its_endpoint_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("bittensor", reason="the chain SDK is not installed (extra: miner or validator)")
    from hippy.testing.substrate import MemoryChain

    memory, clock = MemoryChain(netuid=NETUID, serving_rate_limit=50), VirtualClock()
    memory.register(MINER.public_key, OTHER.public_key, permit=False, stake_rao=0)
    memory.neuron(0).axon_block = memory.block
    MEMORY.append(memory)
    monkeypatch.setenv("HIPPY_CHAIN_SUBSTRATE", f"{__name__}:substrate")
    wallet = tmp_path / "wallets" / "hippy"
    save_keyfile(MINER, wallet / "hotkeys" / "default")
    save_keyfile(OTHER, wallet / "coldkey")  # on a chain of this machine's own nobody minds
    chosen = settings(tmp_path, wallet / "hotkeys" / "default").model_copy(
        update={"network": "ws://127.0.0.1:1", "host": "127.0.1.1"}
    )
    ready: list[Endpoint] = []
    task = asyncio.create_task(run_miner(chosen, clock=clock, ready=ready.append))
    async with asyncio.timeout(10):
        while not memory.submitted:  # noqa: ASYNC110 - real threads load the key and open the store
            await asyncio.sleep(0.001)
    await clock.advance(PAUSE_SECONDS_MIN - 1)
    assert (ready, len(memory.submitted)) == ([], 1)
    memory.block += 50
    await clock.advance(1)
    assert [endpoint.host for endpoint in ready] == ["127.0.1.1"]
    assert memory.neuron(0).axon is not None
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_hotkey_that_is_not_registered_cannot_run(world: World, tmp_path: Path) -> None:
    save_keyfile(OTHER, tmp_path / "hotkey")
    with pytest.raises(AuthError):
        await run_miner(settings(tmp_path, tmp_path / "hotkey"), clock=world.clock, ready=lambda _: None)


async def test_settings_for_another_subnet_are_refused(world: World, tmp_path: Path) -> None:
    save_keyfile(MINER, tmp_path / "hotkey")
    with pytest.raises(ConfigError, match="subnet 7"):
        await run_miner(settings(tmp_path, tmp_path / "hotkey", netuid=8), clock=world.clock, ready=lambda _: None)


async def test_coldkey_beside_the_hotkey_keeps_a_miner_from_starting(tmp_path: Path) -> None:
    wallet = tmp_path / "wallets" / "hippy"
    save_keyfile(MINER, wallet / "hotkeys" / "default")
    save_keyfile(OTHER, wallet / "coldkey")
    chosen = settings(tmp_path, wallet / "hotkeys" / "default").model_copy(
        update={"network": "finney", "host": "8.8.8.8"}
    )
    with pytest.raises(ConfigError, match="unencrypted coldkey"):
        await run_miner(chosen, clock=VirtualClock(), ready=lambda _: None)
