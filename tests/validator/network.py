"""A local network around one real validator: a real chain, real HTTP, and miners that only greet and sign.

A :class:`FakeMiner` keeps nothing. It answers the handshake, checks tickets as PROTOCOL §3.2 says, and signs a
receipt or, when told to, a refusal.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from aiohttp import web

from hippy.chain.local import LocalChain, open_local_chain
from hippy.chain.open import CHAIN_FILE
from hippy.clock import SystemClock
from hippy.endpoint import Endpoint
from hippy.errors import NoSpaceError
from hippy.hashing import digest
from hippy.identity import Identity, save_keyfile
from hippy.ids import NetworkId, Root
from hippy.seal import envelope_info, seal_envelope
from hippy.transport.client import Answer, Call, Http, Peer, open_http
from hippy.transport.hello import HelloDesk, shake_hands
from hippy.transport.server import Route, build_app, error_response, message_response, read_body, serving
from hippy.validator.server import run_validator
from hippy.validator.settings import AccountSettings, ValidatorSettings
from hippy.wire.canonical import Message
from hippy.wire.node import AccountStatus, Directory
from hippy.wire.segment import (
    AllocateRequest,
    Holding,
    SealEnvelope,
    SegmentCommit,
    SegmentSpec,
    TicketList,
)
from hippy.wire.ticket import Receipt, Refusal, Ticket, TicketProof, prove_tickets

NETWORK, NETUID = NetworkId(b"n" * 32), 1
ANSWER_BYTES = 32 * 1024 * 1024
VALIDATOR, ACCOUNT, STRANGER = (Identity.from_seed(letter * 32) for letter in (b"v", b"a", b"b"))
CLOCK = SystemClock()
WAIT_SECONDS = 20.0


class FakeMiner:
    """Greets, signs receipts, keeps nothing."""

    def __init__(self, number: int) -> None:
        self.identity = Identity.from_seed(bytes([number + 1]) * 32)
        self.refuses = False
        self.space = (2**40, 0)
        self.greetings = 0
        self.life = AsyncExitStack()

    async def start(self, network_dir: Path) -> None:
        """Serve on a free port and publish it."""
        desk = HelloDesk(self.identity, "miner", NETWORK, NETUID, CLOCK, space=self._greet)
        app = build_app([desk.route(), Route("PUT", "/v1/pieces/{root}", self._put)])
        await self.publish(network_dir, await self.life.enter_async_context(serving(app, "127.0.0.1", 0)))

    async def publish(self, network_dir: Path, endpoint: Endpoint) -> None:
        """Say on the chain where we are."""
        async with open_local_chain(network_dir / CHAIN_FILE, hotkey=self.identity.public_key, clock=CLOCK) as chain:
            await chain.publish_endpoint(endpoint)

    def _greet(self) -> tuple[int, int]:
        self.greetings += 1
        return self.space

    async def _put(self, request: web.Request) -> web.StreamResponse:
        proof = TicketProof.parse(request.headers["X-Hippy-Ticket"].encode())
        ticket_id = proof.check(NETWORK)
        await read_body(request, 2**22)
        now, hotkey = int(CLOCK.now()), self.identity.public_key
        if self.refuses:
            refusal = Refusal(ticket_id=ticket_id, miner=hotkey, code="no_space", time=now)
            told = refusal.signed(self.identity, NETWORK).encode().decode()
            return error_response(NoSpaceError("full"), headers={"X-Hippy-Refusal": told})
        receipt = Receipt(
            ticket_id=ticket_id,
            root=proof.ticket.root,
            piece_length=proof.ticket.piece_length,
            miner=hotkey,
            time=now,
        )
        return message_response(receipt.signed(self.identity, NETWORK))


@dataclass(frozen=True, slots=True)
class Client:
    """An account's way to the validator and the miners."""

    http: Http
    validator: Peer
    identity: Identity

    async def post(self, path: str, message: Message) -> bytes:
        """Post a message and return the answer's bytes; errors are raised as the validator names them."""
        return await self.send(path, message.encode())

    async def send(self, path: str, body: bytes) -> bytes:
        """Post any bytes."""
        return await self.http.bytes(self.validator, Call("POST", path, body, answer_bytes_max=ANSWER_BYTES))

    async def status(self) -> AccountStatus:
        """Return our account."""
        return await self.http.message(self.validator, Call("GET", "/v1/account"), AccountStatus)

    async def directory(self) -> Directory:
        """Return the signed directory."""
        call = Call("GET", "/v1/miners", answer_bytes_max=2**20)
        directory = await self.http.message(self.validator, call, Directory)
        directory.check_signature(VALIDATOR.public_key, NETWORK)
        return directory

    async def wait_until_live(self, miners: int) -> None:
        """Return once the directory names this many live miners."""
        async with asyncio.timeout(WAIT_SECONDS):
            while await self._live() != miners:  # noqa: ASYNC110 - real miners on a real clock
                await asyncio.sleep(0.01)

    async def _live(self) -> int:
        return sum(entry.state == "live" for entry in (await self.directory()).miners)

    async def allocate(self, request: AllocateRequest) -> list[TicketProof]:
        """Return the tickets of new segments."""
        answer = TicketList.parse(await self.post("/v1/allocate", request), limit=ANSWER_BYTES)
        return prove_tickets(answer.tickets, answer.grant, NETWORK)

    async def put(self, proof: TicketProof) -> Answer:
        """Offer a piece to the ticket's miner."""
        ticket = proof.ticket
        call = Call(
            "PUT",
            f"/v1/pieces/{ticket.root.hex()}",
            bytes(ticket.piece_length),
            headers={"X-Hippy-Ticket": proof.encode().decode()},
            body_signed=False,
        )
        return await self.http.request(Peer(ticket.endpoint, ticket.miner), call)

    async def holding(self, proof: TicketProof) -> Holding:
        """Store a piece and return what a commit says of it."""
        receipt = Receipt.parse((await self.put(proof)).body)
        return Holding(
            index=proof.ticket.index,
            ticket_id=receipt.ticket_id,
            miner=receipt.miner,
            time=receipt.time,
            signature=receipt.signature,
        )

    async def commit_of(self, proofs: Iterable[TicketProof]) -> SegmentCommit:
        """Store the pieces of one segment and return its commit."""
        proofs = list(proofs)
        holdings = await asyncio.gather(*map(self.holding, proofs))
        return SegmentCommit(
            segment_id=proofs[0].ticket.segment_id,
            holdings=tuple(holdings),
            envelopes=(await self.envelope(proofs[0].ticket),),
        )

    async def envelope(self, ticket: Ticket) -> SealEnvelope:
        """Return a seal key sealed to the key in the validator's handshake."""
        hello = await shake_hands(self.http, self.validator, "validator", NETWORK, local=True, clock=CLOCK)
        key = hello.encryption_key
        assert key is not None
        key.check_signature(VALIDATOR.public_key, NETWORK)
        account, segment_id = self.identity.public_key, ticket.segment_id
        info = envelope_info(NETWORK, NETUID, account, segment_id, VALIDATOR.public_key, key.key_id)
        return SealEnvelope(
            validator=VALIDATOR.public_key, key_id=key.key_id, ciphertext=seal_envelope(b"k" * 32, key.key, info)
        )


@dataclass(frozen=True, slots=True)
class LocalNetwork:
    """Chain and miners; the validator is started by :meth:`validator`."""

    directory: Path
    miners: list[FakeMiner]

    def settings(self, **change: object) -> ValidatorSettings:
        """Return settings under which the validator runs here."""
        values: dict[str, object] = {
            "network": f"local:{self.directory}",
            "hotkey_file": self.directory / "validator.key",
            "data_dir": self.directory / "validator",
            "accounts": (AccountSettings(account=ACCOUNT.ss58, quota_bytes=100_000),),
            "probe_seconds": 0.1,
            "probe_stale_seconds": 5.0,
        }
        return ValidatorSettings.model_validate({**values, **change})

    @asynccontextmanager
    async def validator(self, identity: Identity = ACCOUNT, **change: object) -> AsyncIterator[Client]:
        """Run the validator for the duration of the block; yields a client of ``identity``."""
        started: asyncio.Future[Endpoint] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(run_validator(self.settings(**change), clock=CLOCK, ready=started.set_result))
        try:
            task.add_done_callback(lambda _: started.cancel())
            with suppress(asyncio.CancelledError):
                await asyncio.wait_for(started, WAIT_SECONDS)
            if task.done():
                await task
            async with open_http(identity, CLOCK) as http:
                yield Client(http, Peer(started.result(), VALIDATOR.public_key), identity)
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def by_hotkey(self, hotkey: bytes) -> FakeMiner:
        """Return the miner of a ticket."""
        return next(miner for miner in self.miners if miner.identity.public_key == hotkey)


@asynccontextmanager
async def local_network(directory: Path, *, miners: int) -> AsyncIterator[LocalNetwork]:
    """Make a chain with one validator and this many serving miners."""
    LocalChain.create(directory / CHAIN_FILE, clock=CLOCK, network=NETWORK, genesis_secret=b"s" * 32)
    save_keyfile(VALIDATOR, directory / "validator.key")
    network = LocalNetwork(directory, [FakeMiner(number) for number in range(miners)])
    async with open_local_chain(directory / CHAIN_FILE, hotkey=None, clock=CLOCK) as chain:
        await chain.register(VALIDATOR.public_key, STRANGER.public_key, validator_permit=True, stake_rao=10**12)
        for miner in network.miners:
            hotkey = miner.identity.public_key
            await chain.register(hotkey, STRANGER.public_key, validator_permit=False, stake_rao=0)
    async with AsyncExitStack() as stack:
        for miner in network.miners:
            stack.push_async_callback(miner.life.aclose)
            await miner.start(directory)
        yield network


_NUMBERS = count()


def new_request(*, account: Identity = ACCOUNT, segments: int = 1) -> AllocateRequest:
    """Return an allocation of new 2/4 segments of 1,000 bytes."""
    numbers = [next(_NUMBERS).to_bytes(16, "little") for _ in range(segments)]
    return AllocateRequest(
        request_id=numbers[0],
        account=account.public_key,
        segments=tuple(
            SegmentSpec(
                nonce=number,
                roots=tuple(Root(digest(number + bytes([index]))) for index in range(4)),
                data_length=1000,
                piece_length=500,
                k=2,
                n=4,
            )
            for number in numbers
        ),
        upload_by=int(CLOCK.now()) + 3600,
    )
