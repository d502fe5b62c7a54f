"""A validator as far as releases go: it answers handshakes and inventories, honestly or not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from hippy.errors import TemporaryError
from hippy.identity import Identity
from hippy.ids import MessageId, Root
from hippy.miner.inventory import Inventory
from hippy.miner.issuers import Issuers
from hippy.miner.store import PieceStore
from hippy.transport.client import open_http
from hippy.transport.hello import HelloDesk
from hippy.transport.server import Guard, Route, build_app, message_response, read_body, serving
from hippy.wire.btauth import NonceWindow
from hippy.wire.object import Drop
from hippy.wire.pace import DAY, USUAL_EPOCH_SECONDS
from hippy.wire.release import (
    INVENTORY_BYTES_MAX,
    InventoryAnswer,
    InventoryRequest,
    OwedTicket,
    Release,
    TicketState,
)
from hippy.wire.ticket import Receipt, Ticket
from tests.miner.telling import publish
from tests.miner.world import ACCOUNT, MINER, NETUID, NETWORK, VALIDATOR, World


def drop_of(ticket: Ticket, time: int, *, signer: Identity = ACCOUNT, **changes: Any) -> Drop:
    values: dict[str, Any] = {"account": ticket.account, "segment_id": ticket.segment_id, "time": time, **changes}
    return Drop(**values).signed(signer, NETWORK)


def moved_to(ticket: Ticket, mover: Identity, time: int, **changes: Any) -> Receipt:
    """The word of the miner that has a ticket's piece now."""
    values = {
        "ticket_id": MessageId(b"m" * 32),
        "root": ticket.root,
        "piece_length": ticket.piece_length,
        "miner": mover.public_key,
        "time": time,
        **changes,
    }
    return Receipt(**values).signed(mover, NETWORK)


def release_of(ticket: Ticket, time: int, *, signer: Identity = VALIDATOR, **changes: Any) -> Release:
    """The end of a ticket's obligation; unless told, as deleted, a day after the account dropped the segment."""
    values: dict[str, Any] = {
        "validator": ticket.validator,
        "miner": ticket.miner,
        "ticket_id": ticket.id(NETWORK),
        "segment_id": ticket.segment_id,
        "index": ticket.index,
        "root": ticket.root,
        "reason": "deleted",
        "seq": 7,
        "time": time,
        **changes,
    }
    if values["reason"] == "deleted" and "drop" not in values:
        values["drop"] = drop_of(ticket, time - DAY)
    return Release(**values).signed(signer, NETWORK)


@dataclass
class Issuer:
    """What it says of tickets: a state for each it was told to answer, live for the others."""

    who: Identity
    world: World
    states: dict[MessageId, TicketState] = field(default_factory=dict)
    pages: list[tuple[OwedTicket, ...]] = field(default_factory=list)
    is_failing: bool = False
    alter: Callable[[InventoryAnswer], InventoryAnswer] = lambda answer: answer

    def release(self, ticket: Ticket, release: Release | None = None) -> Release:
        """From now on this ticket is answered with a release."""
        told = release or release_of(ticket, int(self.world.clock.now()), signer=self.who)
        self.states[ticket.id(NETWORK)] = TicketState(state="released", release=told)
        return told

    @property
    def asked(self) -> list[Root]:
        return [Root(ticket.root) for page in self.pages for ticket in page]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await read_body(request, INVENTORY_BYTES_MAX)
        assert Guard(self.who.public_key, self.world.clock, NonceWindow()).sender(request, body) == MINER.public_key
        asked = InventoryRequest.parse(body, limit=INVENTORY_BYTES_MAX)
        assert asked.miner == MINER.public_key
        self.pages.append(asked.tickets)
        if self.is_failing:
            raise TemporaryError("not now")
        live = TicketState(state="live")
        states = tuple(self.states.get(MessageId(ticket.ticket_id), live) for ticket in asked.tickets)
        return message_response(self.alter(InventoryAnswer(states=states)))


@asynccontextmanager
async def issuing(
    world: World, who: Identity = VALIDATOR, *, signs_as: Identity | None = None
) -> AsyncIterator[Issuer]:
    """Serve an issuer and publish its endpoint; ``signs_as``: somebody else answers its handshakes."""
    issuer = Issuer(who, world)
    desk = HelloDesk(signs_as or who, "validator", NETWORK, NETUID, world.clock)
    app = build_app([desk.route(), Route("POST", "/v1/inventory", issuer.answer)])
    async with serving(app, "127.0.0.1", 0) as endpoint:
        await publish(world, who, endpoint)
        yield issuer


@asynccontextmanager
async def asking(
    world: World, store: PieceStore, epoch_seconds: float = USUAL_EPOCH_SECONDS
) -> AsyncIterator[Inventory]:
    """Make what asks about a store's tickets; nothing is asked unless the test says so."""
    async with open_http(MINER, world.clock) as http:
        issuers = Issuers(world.chain, http, world.clock)
        yield Inventory(store, issuers, http, MINER, world.clock, NETWORK, epoch_seconds)


async def settled(condition: Callable[[], bool]) -> None:
    """Wait until real sockets and threads have come so far."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the index and the sockets are real
            await asyncio.sleep(0.001)
