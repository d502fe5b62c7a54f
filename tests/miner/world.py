"""A real miner on loopback with a real local chain: what the tests of hippy.miner stand on.

Keys, network and data come from fixed seeds; only the temporary directory differs between runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blake3 import blake3

from hippy.chain.local import LocalChain, open_local_chain
from hippy.chain.protocol import Chain
from hippy.clock import Clock
from hippy.endpoint import Endpoint
from hippy.identity import Identity
from hippy.ids import NetworkId, Root, SegmentId
from hippy.miner.files import PieceFiles
from hippy.miner.obligations import Obligation
from hippy.miner.server import build_miner
from hippy.miner.store import PieceStore, open_store
from hippy.proofs.tree import leaf_hashes, root_of
from hippy.testing.clock import VirtualClock
from hippy.transport.client import Answer, Call, Http, Peer, open_http
from hippy.transport.server import serving
from hippy.wire.btauth import SignedRequest, sign_request
from hippy.wire.ticket import (
    REFUSAL_HEADER,
    TICKET_HEADER,
    Receipt,
    Refusal,
    Ticket,
    TicketGrant,
    TicketProof,
    prove_tickets,
    tickets_root,
)

NETWORK = NetworkId(b"n" * 32)
NETUID = 7
MIB = 1024 * 1024
SMALL = 40_000
"""Three leaves, and short enough to be sent without asking."""

LARGE = 100_000
"""Long enough to ask first."""


def identity(name: str) -> Identity:
    return Identity.from_seed(blake3(name.encode()).digest())


MINER, VALIDATOR, ACCOUNT, OTHER = map(identity, ("miner", "validator", "account", "other"))


def piece(name: str, length: int = SMALL) -> bytes:
    return blake3(name.encode()).digest(length)


def ticket(data: bytes, clock: Clock, **changes: Any) -> Ticket:
    values = {
        "serial": 1,
        "network": NETWORK,
        "netuid": NETUID,
        "validator": VALIDATOR.public_key,
        "term": 1,
        "account": ACCOUNT.public_key,
        "segment_id": SegmentId(b"s" * 32),
        "index": 3,
        "root": root_of(data),
        "piece_length": len(data),
        "miner": MINER.public_key,
        "endpoint": Endpoint("127.0.0.1", 4000),
        "pay_class": "paid",
        "upload_by": int(clock.now()) + 3600,
    }
    return Ticket(**{**values, **changes})


def grant(one: Ticket, clock: VirtualClock, signer: Identity = VALIDATOR) -> TicketProof:
    """The ticket with its path, as the second of three in one allocation."""
    tickets = [one.model_copy(update={"serial": one.serial + 100}), one, one.model_copy(update={"index": 9})]
    signed = TicketGrant(
        validator=one.validator,
        tickets_root=tickets_root(tickets, NETWORK),
        ticket_count=len(tickets),
        time=int(clock.now()),
    ).signed(signer, NETWORK)
    return prove_tickets(tickets, signed, NETWORK)[1]


def obligation(one: Ticket, time: int = 1) -> Obligation:
    receipt = Receipt(
        ticket_id=one.id(NETWORK), root=one.root, piece_length=one.piece_length, miner=one.miner, time=time
    )
    return Obligation(ticket=one, receipt=receipt.signed(MINER, NETWORK))


async def add(store: PieceStore, data: bytes, one: Ticket) -> Receipt:
    return await store.add(obligation(one), data, leaf_hashes(data))


def refusal_of(answer: Answer) -> Refusal:
    """The refusal an answer carries, its signature checked."""
    refusal = Refusal.parse(answer.headers[REFUSAL_HEADER].encode())
    refusal.check_signature(MINER.public_key, NETWORK)
    return refusal


async def put(http: Http, peer: Peer, proof: TicketProof, data: bytes, root: Root | None = None) -> Answer:
    """Store a piece under the ticket's root, or another in the path."""
    target = f"/v1/pieces/{(root or proof.ticket.root).hex()}"
    headers = {TICKET_HEADER: proof.encode().decode()}
    return await http.request(peer, Call("PUT", target, body=data, headers=headers, body_signed=False))


def piece_files(data_dir: Path) -> list[str]:
    return sorted(path.name for path in (data_dir / "pieces").rglob("*") if path.is_file())


@dataclass
class World:
    """A chain with one validator and one miner, and where the miner keeps its data."""

    clock: VirtualClock
    chain: LocalChain
    data_dir: Path

    def files(self) -> PieceFiles:
        return PieceFiles(self.data_dir)

    def store(self, capacity_bytes: int = 64 * MIB) -> AbstractAsyncContextManager[PieceStore]:
        return open_store(self.data_dir, capacity_bytes=capacity_bytes, disk_reserve_bytes=0, clock=self.clock)

    @asynccontextmanager
    async def serving(
        self, capacity_bytes: int = 64 * MIB, *, in_flight_max: int = 64 * MIB, chain: Chain | None = None
    ) -> AsyncIterator[Miner]:
        """Serve a miner and open the HTTP clients of two accounts and of the validator."""
        async with self.store(capacity_bytes) as store, open_http(MINER, self.clock) as own:
            app = build_miner(
                MINER, chain or self.chain, store, self.clock, body_bytes_in_flight_max=in_flight_max, http=own
            )
            async with (
                serving(app, "127.0.0.1", 0) as endpoint,
                open_http(ACCOUNT, self.clock) as http,
                open_http(OTHER, self.clock) as other,
                open_http(VALIDATOR, self.clock) as asker,
            ):
                yield Miner(self, store, Peer(endpoint, MINER.public_key), http, other, asker)


@dataclass
class Miner:
    """A served miner and its clients."""

    world: World
    store: PieceStore
    peer: Peer
    http: Http
    other: Http
    asker: Http

    def proof(self, data: bytes, **changes: Any) -> TicketProof:
        return grant(ticket(data, self.world.clock, **changes), self.world.clock)

    async def put(
        self, proof: TicketProof, data: bytes, *, http: Http | None = None, root: Root | None = None
    ) -> Answer:
        return await put(http or self.http, self.peer, proof, data, root)

    async def stored(self, data: bytes, **changes: Any) -> Receipt:
        """Store a piece and return its receipt."""
        answer = await self.put(self.proof(data, **changes), data)
        assert answer.error() is None
        return Receipt.parse(answer.body)

    async def get(self, root: Root, query: str = "") -> Answer:
        call = Call("GET", f"/v1/pieces/{root.hex()}{query}", answer_bytes_max=5 * MIB)
        return await self.http.request(self.peer, call)

    async def raw_put(
        self, proof: TicketProof, extra: dict[str, str], body: bytes = b"", *, hang_up_after: bytes | None = None
    ) -> bytes:
        """Send exactly this head and body on a connection of its own and return all that comes back.

        With ``hang_up_after`` the connection ends once that was received (empty: at once).
        """
        target = f"/v1/pieces/{proof.ticket.root.hex()}"
        signed = sign_request(
            ACCOUNT,
            SignedRequest("PUT", target, b""),
            receiver=MINER.public_key,
            now_ns=int(self.world.clock.now() * 1e9) + 1_000_000,
        )
        told = {TICKET_HEADER: proof.encode().decode(), "Connection": "close"}
        headers = {"Host": "miner", **told, **signed, **extra}
        head = f"PUT {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        reader, writer = await asyncio.open_connection(self.peer.endpoint.host, self.peer.endpoint.port)
        writer.write(head.encode() + b"\r\n" + body)
        try:
            async with asyncio.timeout(10):
                if hang_up_after is None:
                    return await reader.read()
                received = await reader.readuntil(hang_up_after) if hang_up_after else b""
                writer.write_eof()
                return received + await reader.read()
        finally:
            writer.close()
            await writer.wait_closed()


@asynccontextmanager
async def make_world(folder: Path) -> AsyncIterator[World]:
    clock = VirtualClock()
    path = folder / "chain.sqlite"
    LocalChain.create(path, clock=clock, network=NETWORK, genesis_secret=b"g" * 32, netuid=NETUID)
    async with open_local_chain(path, hotkey=MINER.public_key, clock=clock) as chain:
        await chain.register(MINER.public_key, identity("owner").public_key, validator_permit=False, stake_rao=0)
        await chain.register(VALIDATOR.public_key, identity("owner").public_key, validator_permit=True, stake_rao=9)
        yield World(clock, chain, folder / "miner")
