"""What counts as an answer, and whether a miner that gives none was there: real sockets, any behaviour."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import pytest
from aiohttp import web

from hippy.chain.local import LocalChain, open_local_chain
from hippy.endpoint import Endpoint
from hippy.errors import (
    AuthError,
    HippyError,
    IntegrityError,
    RateLimitedError,
    TemporaryError,
    UsageError,
)
from hippy.identity import Identity
from hippy.ids import PublicKey
from hippy.proofs.evidence import evidence_of, response_hash
from hippy.proofs.inventory import PieceLeaf
from hippy.proofs.request import AuditRequest, Scope, parse_request, request_hash
from hippy.proofs.response import AuditResponse, ResponseEntry, Status, encode_response
from hippy.proofs.verify import Verdict, Verified
from hippy.testing.clock import VirtualClock
from hippy.transport import limits
from hippy.transport.client import Peer, open_http
from hippy.transport.hello import HelloDesk
from hippy.transport.server import Route, build_app, serving
from hippy.validator.audit.rules import AuditRules
from hippy.validator.auditing import asking
from hippy.validator.auditing.asking import PER_MINER_MAX, Asker, NoAnswer
from hippy.validator.directory import MinerDirectory
from tests.proofs.audit_world import piece_of
from tests.validator.auditing.fakes import until
from tests.validator.world import HOME, MINERS

RULES = AuditRules(answer_seconds=5, answer_bytes_per_second=10**9, there_seconds=30, back_looks=0)
GOOD = piece_of(20_000)
LENGTHS = {GOOD.root: 20_000}
SOON = replace(RULES, answer_seconds=0.2)
"""For those that a test waits for in vain."""

THERE, GONE = NoAnswer(was_there=True), NoAnswer(was_there=False)

Answer = Callable[["MinerStub", bytes], Awaitable[web.StreamResponse]]


def request(attempt: int = 0) -> AuditRequest:
    leaves = (PieceLeaf(GOOD.root, 1), PieceLeaf(GOOD.root, 0))
    return AuditRequest(7, 2, 1_042, attempt, b"t" * 32, leaves)


def scope(miner: Identity) -> Scope:
    return Scope(HOME.network, HOME.netuid, HOME.hotkey, miner.public_key)


def response(body: bytes, miner: Identity, *, signer: Identity | None = None, lost: bool = False) -> bytes:
    asked = parse_request(body)
    entries = [ResponseEntry(Status.LOST) if lost else GOOD.show(leaf) for _, leaf in asked.entries]
    bound_to = request_hash(scope(miner), body)
    signed = response_hash(evidence_of(bound_to, entries))
    parts = encode_response(AuditResponse(bound_to, tuple(entries), signed, (signer or miner).sign(signed)))
    return b"".join(bytes(part) for part in parts)


@dataclass
class MinerStub:
    """Greets as a miner does while ``greets``; answers audits as a test has it."""

    identity: Identity
    answer: Answer
    peer: Peer
    greets: bool = True
    greets_from: int = 0
    """The first greeting that is answered."""

    greetings: int = 0
    under_way: int = 0
    most_under_way: int = 0
    audits: int = 0


@dataclass
class World:
    """An asker and its clock; miners are added by :meth:`miner`."""

    clock: VirtualClock
    chain_file: Path
    chain: LocalChain
    directory: MinerDirectory
    asker: Asker

    @asynccontextmanager
    async def miner(self, answer: Answer, number: int = 0) -> AsyncIterator[MinerStub]:
        identity = MINERS[number]
        stub = MinerStub(identity, answer, Peer(Endpoint("127.0.0.1", 9), identity.public_key))
        desk = HelloDesk(identity, "miner", HOME.network, HOME.netuid, self.clock, space=lambda: (2**30, 0))

        async def greet(incoming: web.Request) -> web.StreamResponse:
            stub.greetings += 1
            if not stub.greets or stub.greetings < stub.greets_from:
                raise TemporaryError("not now")
            return await desk.route().handler(incoming)

        async def audit(incoming: web.Request) -> web.StreamResponse:
            stub.audits += 1
            stub.under_way += 1
            stub.most_under_way = max(stub.most_under_way, stub.under_way)
            try:
                return await stub.answer(stub, await incoming.read())
            finally:
                stub.under_way -= 1

        app = build_app([Route("GET", "/v1/hello", greet), Route("POST", "/v1/audit", audit)])
        async with serving(app, "127.0.0.1", 0) as endpoint:
            stub.peer = await self.publish(identity, endpoint)
            yield stub

    async def publish(self, identity: Identity, endpoint: Endpoint) -> Peer:
        hotkey = identity.public_key
        await self.chain.register(hotkey, PublicKey(hotkey[::-1]), validator_permit=False, stake_rao=0)
        async with open_local_chain(self.chain_file, hotkey=hotkey, clock=self.clock) as own:
            await own.publish_endpoint(endpoint)
        await self.directory.refresh()
        return Peer(endpoint, hotkey)

    async def ask(self, miner: MinerStub, attempt: int = 0) -> Verified | NoAnswer:
        return await self.asker.ask(miner.peer, request(attempt), scope(miner.identity), LENGTHS)


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(limits, "SHUTDOWN_SECONDS", 0.01)
    clock, path = VirtualClock(), tmp_path / "chain.sqlite"
    LocalChain.create(path, clock=clock, network=HOME.network, genesis_secret=b"g" * 32, netuid=HOME.netuid)
    async with (
        open_local_chain(path, hotkey=None, clock=clock) as chain,
        open_http(None, clock) as greeting,
        open_http(HOME.identity, clock) as signing,
    ):
        directory = MinerDirectory(greeting, chain, HOME, clock, probe_seconds=60, stale_seconds=60)
        yield World(clock, path, chain, directory, Asker(signing, directory, clock, Random(7), RULES))


def body(make: Callable[[MinerStub, bytes], bytes], status: int = 200) -> Answer:
    async def answer(miner: MinerStub, asked: bytes) -> web.StreamResponse:
        return web.Response(status=status, body=make(miner, asked))

    return answer


right = body(lambda miner, asked: response(asked, miner.identity))


def raising(error: HippyError) -> Answer:
    async def answer(_: MinerStub, __: bytes) -> web.StreamResponse:
        raise error

    return answer


async def reset(_: MinerStub, __: bytes) -> web.StreamResponse:
    raise ConnectionResetError


async def too_slow(_: MinerStub, __: bytes) -> web.StreamResponse:
    await asyncio.sleep(5)
    return web.Response()


def other_attempt(miner: MinerStub, asked: bytes) -> bytes:
    """A right answer to the request before."""
    changed = bytearray(asked)
    changed[4 + 8 + 4 + 8] ^= 1
    return response(bytes(changed), miner.identity)


def altered(miner: MinerStub, asked: bytes) -> bytes:
    changed = bytearray(response(asked, miner.identity))
    changed[100] ^= 1
    return bytes(changed)


NO_ANSWERS: dict[str, Answer] = {
    "empty": body(lambda _, __: b""),
    "malformed": body(lambda _, __: b"HPR1" + bytes(200)),
    "cut": body(lambda miner, asked: response(asked, miner.identity)[:-1]),
    "altered": body(altered),
    "of another request": body(other_attempt),
    "signed by another": body(lambda miner, asked: response(asked, miner.identity, signer=MINERS[5])),
    "too long": body(lambda _, __: bytes(asking.ANSWER_BYTES_MAX + 1)),
    "right, but an error": body(lambda miner, asked: response(asked, miner.identity), status=500),
    "right, but elsewhere": body(lambda miner, asked: response(asked, miner.identity), status=307),
    "429": raising(RateLimitedError("later")),
    "500": raising(HippyError("broken")),
    "not for us": raising(AuthError("no permit")),
    "a fault that it says is ours": raising(UsageError("your request cannot be used")),
    "a fault that it says is in the bytes": raising(IntegrityError("the piece is damaged")),
    "reset": reset,
    "slow": too_slow,
}


async def test_a_right_answer_is_judged(world: World) -> None:
    async with world.miner(right) as miner:
        answer = await world.ask(miner)
        assert isinstance(answer, Verified)
        assert answer.verdicts == (Verdict.OK, Verdict.OK)
        assert (miner.audits, miner.greetings) == (1, 1)


async def test_an_answer_that_shows_nothing_is_an_answer(world: World) -> None:
    async with world.miner(body(lambda miner, asked: response(asked, miner.identity, lost=True))) as miner:
        answer = await world.ask(miner)
        assert isinstance(answer, Verified)
        assert answer.verdicts == (Verdict.LOST, Verdict.LOST)


@pytest.mark.parametrize("name", NO_ANSWERS)
async def test_any_other_is_no_answer_of_a_miner_that_is_there(world: World, name: str) -> None:
    async with world.miner(NO_ANSWERS[name]) as miner:
        world.asker._rules = SOON if name == "slow" else RULES
        assert await world.ask(miner) == THERE
        assert miner.greetings == 1 + asking.LIVENESS_CHECKS


@pytest.mark.parametrize("name", ["malformed", "429", "500", "reset", "slow"])
async def test_a_miner_that_greets_nobody_either_is_not_there(world: World, name: str) -> None:
    async with world.miner(NO_ANSWERS[name]) as miner:
        assert await world.directory.greet(miner.peer)
        await world.clock.advance(RULES.there_seconds + 1)
        miner.greets = False
        world.asker._rules = SOON if name == "slow" else RULES
        assert await world.ask(miner) == GONE
        assert miner.audits == 1


async def test_a_contact_shortly_before_shows_that_a_miner_was_there(world: World) -> None:
    async with world.miner(NO_ANSWERS["500"]) as miner:
        assert await world.directory.greet(miner.peer)
        await world.clock.advance(RULES.there_seconds)
        miner.greets = False
        assert await world.ask(miner) == THERE


async def test_one_greeting_of_three_is_enough(world: World) -> None:
    async with world.miner(NO_ANSWERS["500"]) as miner:
        assert await world.directory.greet(miner.peer)
        await world.clock.advance(RULES.there_seconds + 1)
        miner.greets_from = 1 + asking.LIVENESS_CHECKS
        assert await world.ask(miner) == THERE
        await world.clock.advance(RULES.there_seconds + 1)
        miner.greets_from += 1 + asking.LIVENESS_CHECKS
        assert await world.ask(miner) == GONE


@pytest.mark.parametrize(("back_after_seconds", "told"), [(20, THERE), (149, THERE), (None, GONE)])
async def test_who_unplugs_for_a_moment_is_seen_when_it_is_back(
    world: World, back_after_seconds: int | None, told: NoAnswer
) -> None:
    looking = replace(RULES, back_seconds=150, back_looks=3)
    async with world.miner(NO_ANSWERS["500"]) as miner:
        assert await world.directory.greet(miner.peer)
        await world.clock.advance(RULES.there_seconds + 1)
        miner.greets = False
        world.asker._rules = looking
        world.asker._rng = _Fixed([10.0, 80.0, 150.0])
        asked = asyncio.create_task(world.ask(miner))
        passed = 0
        while not asked.done():
            await asyncio.sleep(0.001)  # real sockets
            await world.clock.advance(1)
            passed += 1
            if back_after_seconds is not None and passed >= back_after_seconds:
                miner.greets = True
        assert await asked == told


class _Fixed(Random):
    """Looks at these moments."""

    def __init__(self, moments: list[float]) -> None:
        super().__init__(0)
        self._moments = moments

    def uniform(self, _low: float, _high: float) -> float:
        return self._moments.pop()


async def test_a_miner_without_an_endpoint_is_not_there(world: World) -> None:
    assert await world.asker.ask(None, request(), scope(MINERS[0]), LENGTHS) == GONE


async def test_a_closed_port_is_not_there(world: World) -> None:
    peer = await world.publish(MINERS[0], Endpoint("127.0.0.1", 9))
    assert await world.asker.ask(peer, request(), scope(MINERS[0]), LENGTHS) == GONE


async def test_nobody_is_asked_who_has_not_answered_a_handshake(world: World) -> None:
    async with world.miner(right) as miner:
        impostor = replace(miner.peer, hotkey=MINERS[1].public_key)
        assert await world.asker.ask(impostor, request(), scope(MINERS[1]), LENGTHS) == GONE
        assert miner.audits == 0


async def test_a_handshake_at_an_endpoint_left_behind_does_not_count(world: World) -> None:
    async with world.miner(right) as miner:
        assert await world.directory.greet(miner.peer)
        moved = replace(miner.peer, endpoint=Endpoint("127.0.0.1", 9))
        assert await world.asker.ask(moved, request(), scope(miner.identity), LENGTHS) == GONE


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\0" * 100,
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nSet-Cookie: \xff\x00=;;=\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://[::1\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 401 No\r\nWWW-Authenticate: \xff\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 20_000 + b"\r\n\r\n",
        b"HTTP/1.1 400 Bad\r\nContent-Type: \xff/\xfe; charset=none\r\nContent-Length: 2\r\n\r\n[]",
        b'HTTP/1.1 400 Bad\r\nContent-Length: 41\r\n\r\n{"error":{"code":[],"message":{"x":null}}}',
        b"HTTP/1.1 400 Bad\r\nContent-Length: 20000\r\n\r\n" + b"[" * 20_000,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 50,
    ],
)
async def test_whatever_is_said_instead_of_http_is_no_answer(world: World, said: bytes) -> None:
    """What raised anything else would be taken for our own fault, and cost the miner nothing."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(said)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async with world.miner(right) as miner:
        assert await world.directory.greet(miner.peer)
        server = await asyncio.start_server(speak, "127.0.0.1", 0)
        # Where it greeted before: it is asked without another handshake.
        sighting = world.directory._sightings[miner.peer.hotkey]
        endpoint = Endpoint("127.0.0.1", server.sockets[0].getsockname()[1])
        world.directory._sightings[miner.peer.hotkey] = replace(sighting, endpoint=endpoint)
        async with server:
            asked = world.asker.ask(replace(miner.peer, endpoint=endpoint), request(), scope(miner.identity), LENGTHS)
            assert await asked == THERE  # by the sighting


async def test_a_length_of_ours_that_does_not_fit_is_our_own_fault(world: World) -> None:
    async with world.miner(right) as miner:
        with pytest.raises(UsageError):
            await world.asker.ask(miner.peer, request(), scope(miner.identity), {})


async def test_two_batches_of_a_miner_are_under_way_at_once(world: World) -> None:
    gate = asyncio.Event()

    async def held_back(miner: MinerStub, asked: bytes) -> web.StreamResponse:
        await until(lambda: miner.under_way == PER_MINER_MAX or gate.is_set())
        gate.set()
        return await right(miner, asked)

    async with world.miner(held_back) as miner:
        answers = await asyncio.gather(*(world.ask(miner, attempt) for attempt in range(6)))
        assert all(isinstance(answer, Verified) for answer in answers)
        assert miner.most_under_way == PER_MINER_MAX


async def test_a_miner_with_many_batches_due_delays_no_other(world: World) -> None:
    gate = asyncio.Event()

    async def held_back(miner: MinerStub, asked: bytes) -> web.StreamResponse:
        await gate.wait()
        return await right(miner, asked)

    async with world.miner(held_back) as slow, world.miner(right, 1) as quick:
        world.asker._rules = replace(RULES, answer_seconds=30)
        waiting = [asyncio.create_task(world.ask(slow, attempt)) for attempt in range(2 * asking.ASKING_MAX)]
        await until(lambda: slow.under_way == PER_MINER_MAX)
        async with asyncio.timeout(15):
            assert isinstance(await world.ask(quick), Verified)
        gate.set()
        assert all(isinstance(answer, Verified) for answer in await asyncio.gather(*waiting))
