"""PUT /v1/pieces over real HTTP: what is stored, what is refused, with which error, and what is kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from hippy.chain.protocol import Chain, Metagraph
from hippy.endpoint import Endpoint
from hippy.errors import (
    AuthError,
    HippyError,
    IntegrityError,
    NoSpaceError,
    ProtocolError,
    RateLimitedError,
    TemporaryError,
    TooLargeError,
)
from hippy.identity import Identity
from hippy.ids import NetworkId, Root
from hippy.miner.bounds import Budget
from hippy.miner.drains import Wish
from hippy.miner.server import Pieces
from hippy.miner.service import MinerService
from hippy.proofs.tree import root_of
from hippy.transport.client import Answer, Call, Peer, open_http
from hippy.transport.server import Guard, Route, build_app, serving
from hippy.wire.btauth import NonceWindow
from hippy.wire.ticket import TICKET_HEADER, Receipt, TicketProof
from tests.miner.world import (
    ACCOUNT,
    LARGE,
    MINER,
    NETWORK,
    OTHER,
    SMALL,
    VALIDATOR,
    World,
    grant,
    identity,
    piece,
    piece_files,
    put,
    refusal_of,
    ticket,
)

LENGTHS = [1, 16_384, 16_385, SMALL, LARGE, 4 * 1024 * 1024]


@asynccontextmanager
async def relaying(target: Endpoint) -> AsyncIterator[tuple[Endpoint, bytearray]]:
    """Relay one connection, which ends inside the block, and keep what its client sends."""
    sent, ended = bytearray(), asyncio.Event()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, log: bytearray | None) -> None:
        try:
            while data := await reader.read(65_536):
                if log is not None:
                    log += data
                writer.write(data)
        finally:
            writer.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(target.host, target.port)
        pumps = pump(reader, far_writer, sent), pump(far_reader, writer, None)
        await asyncio.gather(*pumps, return_exceptions=True)  # either end may hang up on the other
        ended.set()

    async with await asyncio.start_server(relay, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        yield Endpoint(host, port), sent
        await ended.wait()


def error_of(answer: Answer) -> type[HippyError]:
    error = answer.error()
    assert error is not None
    return type(error)


@pytest.mark.parametrize("length", LENGTHS)
async def test_stored_piece_comes_back_under_a_signed_receipt(world: World, length: int) -> None:
    data = piece("a", length)
    async with world.serving() as miner:
        proof = miner.proof(data)
        receipt = Receipt.parse((await miner.put(proof, data)).body)
        receipt.check_signature(MINER.public_key, NETWORK)
        assert receipt.ticket_id == proof.ticket.id(NETWORK)
        assert (receipt.root, receipt.piece_length, receipt.miner) == (proof.ticket.root, length, MINER.public_key)
        assert (await miner.get(proof.ticket.root)).body == data
        assert miner.store.space() == (64 * 1024 * 1024, length)


@pytest.mark.parametrize("length", [SMALL, LARGE])
async def test_repeat_gets_the_same_receipt_even_from_a_full_miner(world: World, length: int) -> None:
    data = piece("a", length)
    async with world.serving(capacity_bytes=length) as miner:
        proof = miner.proof(data)
        first = await miner.put(proof, data)
        await world.clock.advance(5)
        assert (await miner.put(proof, data)).body == first.body
        assert miner.store.space()[1] == length


@pytest.mark.parametrize("length", [SMALL, LARGE])
@pytest.mark.parametrize("met", ["by a read", "at start"])
async def test_repeat_for_a_lost_piece_heals_it_under_the_same_receipt_even_on_a_full_miner(
    world: World, length: int, met: str
) -> None:
    data = piece("a", length)
    async with world.serving(capacity_bytes=length) as miner:
        proof = miner.proof(data)
        first = await miner.put(proof, data)
    world.files().path(proof.ticket.root).unlink()
    async with world.serving(capacity_bytes=length) as miner:
        if met == "by a read":
            world.files().write(proof.ticket.root, b"x" * length, [])
            assert (await miner.get(proof.ticket.root)).status == 422
        await world.clock.advance(5)
        assert (await miner.put(proof, data)).body == first.body
        assert (await miner.get(proof.ticket.root)).body == data
        assert miner.store.space()[1] == length
        assert not await miner.store.losses.knows(proof.ticket.root)


@pytest.mark.parametrize("length", [SMALL, LARGE])
async def test_a_miner_that_leaves_refuses_new_tickets_and_answers_and_heals_those_it_has(
    world: World, length: int
) -> None:
    data, other = piece("a", length), piece("b", length)
    async with world.serving() as miner:
        proof = miner.proof(data)
        first = await miner.put(proof, data)
        await miner.store.drains.wish(Wish("start", 1))
    async with world.serving() as miner:
        for new in (miner.proof(other), miner.proof(data, serial=2)):
            answer = await miner.put(new, other if new.ticket.root == root_of(other) else data)
            assert error_of(answer) is NoSpaceError
            assert refusal_of(answer).code == "no_space"
        assert (await miner.put(proof, data)).body == first.body
        world.files().write(proof.ticket.root, b"x" * length, [])
        assert (await miner.get(proof.ticket.root)).status == 422
        assert (await miner.put(proof, data)).body == first.body
        assert (await miner.get(proof.ticket.root)).body == data
        await miner.store.drains.wish(Wish("stop", 2))
        assert (await miner.put(miner.proof(other), other)).status == 200


async def test_same_ticket_sent_twice_at_once_gets_one_receipt(world: World) -> None:
    data = piece("a")
    async with world.serving() as miner:
        proof = miner.proof(data)
        first, second = await asyncio.gather(miner.put(proof, data), miner.put(proof, data))
        assert (first.status, first.body) == (200, second.body)


async def test_restart_keeps_pieces_and_receipts(world: World) -> None:
    data = piece("a")
    async with world.serving() as miner:
        proof = miner.proof(data)
        first = await miner.put(proof, data)
    async with world.serving() as miner:
        assert (await miner.get(proof.ticket.root)).body == data
        assert (await miner.put(proof, data)).body == first.body
        assert miner.store.space()[1] == SMALL


async def test_two_accounts_with_one_root_are_two_obligations_and_counted_once(world: World) -> None:
    data = piece("a")
    async with world.serving() as miner:
        mine = await miner.stored(data)
        proof = miner.proof(data, account=OTHER.public_key)
        theirs = Receipt.parse((await miner.put(proof, data, http=miner.other)).body)
        assert mine.ticket_id != theirs.ticket_id
        assert await miner.store.receipt(mine.root, mine.ticket_id) == mine
        assert await miner.store.receipt(mine.root, theirs.ticket_id) == theirs
        assert miner.store.space()[1] == SMALL


@pytest.mark.parametrize("length", [SMALL, LARGE])
async def test_root_mismatch_is_422_and_keeps_nothing(world: World, length: int) -> None:
    data = piece("a", length)
    damaged = bytes([data[0] ^ 1]) + data[1:]
    async with world.serving(capacity_bytes=length) as miner:
        answer = await miner.put(miner.proof(data), damaged)
        assert (answer.status, error_of(answer)) == (422, IntegrityError)
        assert piece_files(world.data_dir) == []
        assert miner.store.space()[1] == 0
        assert (await miner.stored(data)).piece_length == length, "what was set aside came back"


def altered(change: dict[str, Any]) -> Callable[[World, bytes], TicketProof]:
    """A ticket changed after it was granted."""

    def make(world: World, data: bytes) -> TicketProof:
        proof = grant(ticket(data, world.clock), world.clock)
        return proof.model_copy(update={"ticket": proof.ticket.model_copy(update=change)})

    return make


def granted(*, signer: Identity = VALIDATOR, **changes: Any) -> Callable[[World, bytes], TicketProof]:
    """A ticket that was granted like this."""
    return lambda world, data: grant(ticket(data, world.clock, **changes), world.clock, signer)


def with_siblings(change: Callable[[tuple[bytes, ...]], tuple[bytes, ...]]) -> Callable[[World, bytes], TicketProof]:
    def make(world: World, data: bytes) -> TicketProof:
        proof = grant(ticket(data, world.clock), world.clock)
        return proof.model_copy(update={"siblings": change(proof.siblings)})

    return make


BAD_TICKETS: dict[str, tuple[Callable[[World, bytes], TicketProof], type[HippyError]]] = {
    "other network": (granted(network=NetworkId(b"o" * 32)), AuthError),
    "other subnet": (granted(netuid=8), AuthError),
    "other miner": (granted(miner=OTHER.public_key), AuthError),
    "upload_by past": (granted(upload_by=1), AuthError),
    "keep_until past": (granted(keep_until=1), AuthError),
    "other account": (granted(account=OTHER.public_key), AuthError),
    "other length": (granted(piece_length=SMALL + 1), ProtocolError),
    "no permit": (granted(validator=OTHER.public_key, signer=OTHER), AuthError),
    "a miner is no validator": (granted(validator=MINER.public_key, signer=MINER), AuthError),
    "signed by another": (granted(signer=OTHER), AuthError),
    "altered index": (altered({"index": 4}), AuthError),
    "altered class": (altered({"pay_class": "unpaid"}), AuthError),
    "altered path": (with_siblings(lambda siblings: (b"x" * 32, *siblings[1:])), AuthError),
    "short path": (with_siblings(lambda siblings: siblings[1:]), ProtocolError),
}


@pytest.mark.parametrize("name", BAD_TICKETS)
async def test_bad_ticket_is_refused_for_what_is_wrong_with_it(world: World, name: str) -> None:
    make, expected = BAD_TICKETS[name]
    data = piece("a")
    async with world.serving() as miner:
        answer = await miner.put(make(world, data), data)
        assert error_of(answer) is expected
        assert "X-Hippy-Refusal" not in answer.headers
        assert piece_files(world.data_dir) == []


async def test_ticket_counts_until_its_last_second(world: World) -> None:
    data = piece("a")
    async with world.serving() as miner:
        proof = miner.proof(data, upload_by=int(world.clock.now()) + 10)
        await world.clock.advance(10)
        assert (await miner.put(proof, data)).status == 200


async def test_path_that_names_another_piece_is_a_protocol_error(world: World) -> None:
    async with world.serving() as miner:
        data = piece("a")
        assert error_of(await miner.put(miner.proof(data), data, root=Root(b"r" * 32))) is ProtocolError


async def test_unsigned_request_is_refused_before_its_ticket_is_parsed(world: World) -> None:
    async with world.serving() as miner:
        call = Call("PUT", f"/v1/pieces/{'00' * 32}", body=b"x", headers={TICKET_HEADER: "{"}, body_signed=False)
        async with open_http(None, world.clock) as http:
            assert error_of(await http.request(miner.peer, call)) is AuthError


@pytest.mark.parametrize(
    ("told", "expected"),
    [("", ProtocolError), ("{}", ProtocolError), ("é", ProtocolError), ("x" * 7169, TooLargeError)],
)
async def test_header_that_is_no_ticket_is_refused(world: World, told: str, expected: type[HippyError]) -> None:
    async with world.serving() as miner:
        call = Call("PUT", f"/v1/pieces/{'00' * 32}", body=b"x", headers={TICKET_HEADER: told}, body_signed=False)
        assert error_of(await miner.http.request(miner.peer, call)) is expected


async def test_size_is_checked_before_the_signature(world: World) -> None:
    async with world.serving() as miner, open_http(None, world.clock) as http:
        signature = {f"X-Bittensor-{name}": "x" for name in ("Signature", "Hotkey", "Nonce", "Receiver")}
        headers = {TICKET_HEADER: "x" * 7169, **signature}
        call = Call("PUT", f"/v1/pieces/{'00' * 32}", body=b"x", headers=headers, body_signed=False)
        assert error_of(await http.request(miner.peer, call)) is TooLargeError


async def test_ticket_in_another_spelling_is_refused(world: World) -> None:
    async with world.serving() as miner:
        data = piece("a")
        proof = miner.proof(data)
        headers = {TICKET_HEADER: proof.encode().decode().replace(":", ": ", 1)}
        target = f"/v1/pieces/{proof.ticket.root.hex()}"
        call = Call("PUT", target, body=data, headers=headers, body_signed=False)
        assert error_of(await miner.http.request(miner.peer, call)) is ProtocolError


@pytest.mark.parametrize("change", [-1, 1])
@pytest.mark.parametrize("length", [SMALL, LARGE])
async def test_body_of_another_length_than_the_ticket_is_refused(world: World, length: int, change: int) -> None:
    async with world.serving() as miner:
        answer = await miner.put(miner.proof(piece("a", length)), piece("a", length + change))
        assert error_of(answer) is ProtocolError
        assert piece_files(world.data_dir) == []


async def test_piece_above_the_limit_is_413(world: World) -> None:
    async with world.serving() as miner:
        answer = await miner.put(miner.proof(piece("a")), piece("a", 4 * 1024 * 1024 + 1))
        assert answer.status == 413


async def test_body_without_length_is_refused(world: World) -> None:
    data = piece("a", 5)
    async with world.serving() as miner:
        body = b"5\r\n" + data + b"\r\n0\r\n\r\n"
        told = await miner.raw_put(miner.proof(data), {"Transfer-Encoding": "chunked"}, body)
        assert told.startswith(b"HTTP/1.1 400")


async def test_compressed_body_is_refused(world: World) -> None:
    data = piece("a", 5)
    async with world.serving() as miner:
        extra = {"Content-Length": "5", "Content-Encoding": "deflate"}
        assert (await miner.raw_put(miner.proof(data), extra, data)).startswith(b"HTTP/1.1 400")


async def test_body_that_breaks_off_keeps_nothing_and_gives_its_space_back(world: World) -> None:
    data = piece("a")
    async with world.serving(capacity_bytes=SMALL) as miner:
        proof = miner.proof(data)
        told = await miner.raw_put(proof, {"Content-Length": str(SMALL)}, data[:-1], hang_up_after=b"")
        assert told == b""
        assert piece_files(world.data_dir) == []
        assert (await miner.put(proof, data)).status == 200


async def test_client_that_leaves_when_told_to_go_on_gives_its_space_back(world: World) -> None:
    data = piece("a", LARGE)
    async with world.serving(capacity_bytes=LARGE) as miner:
        extra = {"Content-Length": str(LARGE), "Expect": "100-continue"}
        told = await miner.raw_put(miner.proof(data), extra, hang_up_after=b"\r\n\r\n")
        assert told == b"HTTP/1.1 100 Continue\r\n\r\n"
        await miner.stored(data)


async def test_full_miner_answers_507_to_a_head_alone(world: World) -> None:
    data = piece("a", LARGE)
    async with world.serving(capacity_bytes=LARGE - 1) as miner:
        extra = {"Content-Length": str(LARGE), "Expect": "100-continue"}
        told = await miner.raw_put(miner.proof(data), extra, hang_up_after=b"\r\n\r\n")
        assert told.startswith(b"HTTP/1.1 507")
        assert b"X-Hippy-Refusal: {" in told


@pytest.mark.parametrize(("capacity_bytes", "sends_body"), [(LARGE - 1, False), (LARGE, True)])
async def test_body_is_sent_only_to_a_miner_with_room(world: World, capacity_bytes: int, sends_body: bool) -> None:
    data = piece("a", LARGE)
    async with world.serving(capacity_bytes) as miner, relaying(miner.peer.endpoint) as (through, relayed):
        async with open_http(ACCOUNT, world.clock) as http:
            answer = await put(http, replace(miner.peer, endpoint=through), miner.proof(data), data)
        assert answer.status == (200 if sends_body else 507)
        body_bytes = len(relayed) - relayed.index(b"\r\n\r\n") - 4
        assert body_bytes == (LARGE if sends_body else 0)


@pytest.mark.parametrize("length", [SMALL, LARGE])
async def test_full_miner_signs_its_refusal(world: World, length: int) -> None:
    data = piece("a", length)
    async with world.serving(capacity_bytes=length - 1) as miner:
        proof = miner.proof(data)
        answer = await miner.put(proof, data)
        assert (answer.status, error_of(answer)) == (507, NoSpaceError)
        refusal = refusal_of(answer)
        assert (refusal.ticket_id, refusal.miner) == (proof.ticket.id(NETWORK), MINER.public_key)
        assert (refusal.code, refusal.time) == ("no_space", int(world.clock.now()))


async def test_refusal_for_space_takes_no_memory(world: World) -> None:
    async with world.serving(capacity_bytes=SMALL, in_flight_max=LARGE) as miner:
        for _ in range(3):
            assert (await miner.put(miner.proof(piece("a", LARGE)), piece("a", LARGE))).status == 507
        await miner.stored(piece("b"))


async def test_admission_that_never_gets_its_handler_gives_its_space_back(world: World) -> None:
    """As when the connection breaks right after 100 Continue: the request's task ends, and that is enough."""

    async def broken(_: web.Request) -> web.StreamResponse:
        return web.Response(status=500)

    async with world.store(capacity_bytes=LARGE) as store:
        service = MinerService(MINER, world.chain, store, Budget(LARGE, "bytes"), world.clock)
        pieces = Pieces(service, store, Guard(MINER.public_key, world.clock, NonceWindow()))
        app = build_app([Route("PUT", "/v1/pieces/{root}", broken, expect=pieces.admit)])
        async with serving(app, "127.0.0.1", 0) as endpoint, open_http(ACCOUNT, world.clock) as http:
            proof = grant(ticket(piece("a", LARGE), world.clock), world.clock)
            for _ in range(2):
                answer = await put(http, Peer(endpoint, MINER.public_key), proof, piece("a", LARGE))
                assert answer.status == 500, "and not 429 or 507"


async def test_disk_reserve_is_left_free(world: World) -> None:
    async with world.serving() as miner:
        miner.store._space._disk_reserve_bytes = 2**60
        answer = await miner.put(miner.proof(piece("a")), piece("a"))
        assert refusal_of(answer).code == "no_space"


async def test_concurrent_uploads_cannot_exceed_the_capacity(world: World) -> None:
    capacity = 2 * LARGE + LARGE // 2
    async with world.serving(capacity_bytes=capacity) as miner:
        pieces = [piece(f"piece {number}", LARGE) for number in range(6)]
        answers = await asyncio.gather(*(miner.put(miner.proof(data), data) for data in pieces))
        assert sorted(answer.status for answer in answers) == [200, 200, 507, 507, 507, 507]
        assert miner.store.space() == (capacity, 2 * LARGE)


async def test_too_many_bytes_in_flight_are_429_with_a_refusal(world: World) -> None:
    async with world.serving(in_flight_max=LARGE) as miner:
        answer = await miner.put(miner.proof(piece("a", LARGE + 1)), piece("a", LARGE + 1))
        assert (answer.status, error_of(answer)) == (429, RateLimitedError)
        assert answer.headers["Retry-After"] == "1"
        assert refusal_of(answer).code == "rate_limited"
        for name in ("b", "c", "d"):
            await miner.stored(piece(name, LARGE))


class SilentChain:
    """A chain that cannot be reached."""

    def __init__(self, chain: Chain) -> None:
        self.network, self.netuid, self.is_local = chain.network, chain.netuid, chain.is_local

    async def metagraph(self) -> Metagraph:
        raise TemporaryError("no chain")


async def test_miner_without_its_chain_answers_503_with_a_refusal(world: World) -> None:
    silent: Any = SilentChain(world.chain)
    async with world.serving(chain=silent) as miner:
        answer = await miner.put(miner.proof(piece("a")), piece("a"))
        assert (answer.status, error_of(answer)) == (503, TemporaryError)
        assert refusal_of(answer).code == "temporary"


async def test_failing_disk_is_told_with_a_refusal_and_gives_space_back(world: World) -> None:
    data = piece("a")
    async with world.serving(capacity_bytes=SMALL) as miner:
        incoming = world.data_dir / "incoming"
        incoming.rmdir()
        answer = await miner.put(miner.proof(data), data)
        assert (answer.status, refusal_of(answer).code) == (503, "temporary")
        incoming.mkdir()
        await miner.stored(data)


async def test_replayed_request_is_refused(world: World) -> None:
    data = piece("a", 5)
    async with world.serving() as miner:
        extra = {"Content-Length": "5"}
        proof = miner.proof(data)
        assert (await miner.raw_put(proof, extra, data)).startswith(b"HTTP/1.1 200")
        assert (await miner.raw_put(proof, extra, data)).startswith(b"HTTP/1.1 401")


async def test_request_signed_for_another_miner_is_refused(world: World) -> None:
    async with world.serving() as miner:
        stranger = replace(miner.peer, hotkey=identity("stranger").public_key)
        assert error_of(await put(miner.http, stranger, miner.proof(piece("a")), piece("a"))) is AuthError
