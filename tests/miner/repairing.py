"""Orders to repair: a sealed stripe, miners that hold its pieces, honest or not, and a validator that gives orders."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from blake3 import blake3

from hippy.endpoint import Endpoint
from hippy.erasure.codec import Codec
from hippy.erasure.repair import repair_mask
from hippy.identity import Identity
from hippy.miner.server import build_miner
from hippy.miner.store import open_store
from hippy.proofs.ranges import RangeProof, covering_leaves, encode_range, prove
from hippy.proofs.tree import LEAF_BYTES, leaf_hashes, root_of
from hippy.transport.client import Answer, Call, Http
from hippy.transport.hello import HelloDesk
from hippy.transport.server import Handler, Route, build_app, serving
from hippy.wire.parts import encode_parts
from hippy.wire.repair import REPAIR_ANSWER_BYTES_MAX, RepairAnswer, RepairOrder, RepairSource
from tests.miner.world import NETUID, NETWORK, SMALL, VALIDATOR, Miner, World, identity, obligation, ticket

K, N = 2, 4
LOST = 3
"""The piece that is repaired in most tests."""


class Stripe:
    """A segment's sealed pieces, and what only who has its seal key knows: the streams."""

    def __init__(self, length: int = SMALL, k: int = K, n: int = N) -> None:
        self.k, self.n, self.length = k, n, length
        self.codec = Codec(k, n)
        coded = [bytearray(blake3(b"data%d" % index).digest(length)) for index in range(k)]
        coded += [bytearray(length) for _ in range(n - k)]
        self.codec.encode(coded[:k], [memoryview(piece) for piece in coded[k:]])
        self.streams = [blake3(b"stream%d" % index).digest(length) for index in range(n)]
        for piece, stream in zip(coded, self.streams, strict=True):
            self.codec.engine.add(memoryview(piece), memoryview(stream))
        self.pieces = [bytes(piece) for piece in coded]
        self.roots = [root_of(piece) for piece in self.pieces]

    def mask(self, sources: Collection[int], index: int) -> bytes:
        """The mask of piece ``index`` for these sources."""
        mask = bytearray(self.length)
        repair_mask(
            self.codec, {each: self.streams[each] for each in sources}, index, self.streams[index], memoryview(mask)
        )
        return bytes(mask)


def source_identity(index: int) -> Identity:
    """Who holds piece ``index``."""
    return identity(f"source{index}")


@dataclass
class Orders:
    """A validator that orders a miner to repair pieces of one stripe."""

    world: World
    stripe: Stripe
    endpoints: Mapping[int, Endpoint]
    """Where the sources are, by index."""

    def order(self, index: int = LOST, *, signer: Identity = VALIDATOR, **changes: Any) -> RepairOrder:
        """An order for a piece made of the first k sources; the ticket's fields may be changed by ``ticket``."""
        told = dict(changes)
        granted = ticket(self.stripe.pieces[index], self.world.clock, index=index, **told.pop("ticket", {}))
        indices = sorted(self.endpoints)[: self.stripe.k]
        if "mask_root" not in told:
            told["mask_root"] = root_of(self.stripe.mask(indices, index))
        values = {
            "ticket": granted,
            "k": self.stripe.k,
            "n": self.stripe.n,
            "sources": tuple(self.source(each) for each in indices),
            **told,
        }
        return RepairOrder(**values).signed(signer, NETWORK)

    def copy(self, index: int, **changes: Any) -> RepairOrder:
        """An order to copy a piece from the miner that holds it."""
        return self.order(index, sources=(self.source(index),), mask_root=None, **changes)

    def source(self, index: int, **changes: Any) -> RepairSource:
        values = {
            "index": index,
            "root": self.stripe.roots[index],
            "miner": source_identity(index).public_key,
            "endpoint": self.endpoints[index],
            **changes,
        }
        return RepairSource(**values)

    def mask(self, order: RepairOrder) -> bytes:
        """The mask of an order."""
        return self.stripe.mask([source.index for source in order.sources], order.ticket.index)


async def send(miner: Miner, order: RepairOrder, mask: bytes | None, *, http: Http | None = None) -> Answer:
    """Send an order, as it is, with its mask."""
    body = encode_parts(order, [] if mask is None else [mask])
    call = Call("POST", "/v1/repair", body=body, answer_bytes_max=REPAIR_ANSWER_BYTES_MAX)
    return await (http or miner.asker).request(miner.peer, call)


def answer_of(answer: Answer) -> RepairAnswer:
    """What an order came to."""
    error = answer.error()
    if error is not None:
        raise error
    told = RepairAnswer.parse(answer.body, limit=REPAIR_ANSWER_BYTES_MAX)
    told.check_shape()
    return told


@asynccontextmanager
async def holding(
    world: World, stripe: Stripe, indices: Collection[int], *, liars: Mapping[int, Handler] | None = None
) -> AsyncIterator[Orders]:
    """Serve a miner for each of these pieces: a real one, or one that answers reads of pieces as ``liars`` says."""
    async with AsyncExitStack() as stack:
        endpoints: dict[int, Endpoint] = {}
        for index in indices:
            liar = (liars or {}).get(index)
            app = await _app(stack, world, stripe, index) if liar is None else _liar(world, index, liar)
            endpoints[index] = await stack.enter_async_context(serving(app, "127.0.0.1", 0))
        yield Orders(world, stripe, endpoints)


async def _app(stack: AsyncExitStack, world: World, stripe: Stripe, index: int) -> web.Application:
    who, data = source_identity(index), stripe.pieces[index]
    folder = world.data_dir.parent / f"source{index}"
    store = await stack.enter_async_context(
        open_store(folder, capacity_bytes=2**40, disk_reserve_bytes=0, clock=world.clock)
    )
    held = obligation(ticket(data, world.clock, index=index, miner=who.public_key))
    await store.add(held, data, leaf_hashes(data))
    return build_miner(who, world.chain, store, world.clock, body_bytes_in_flight_max=2**26)


def _liar(world: World, index: int, answer: Handler) -> web.Application:
    desk = HelloDesk(source_identity(index), "miner", NETWORK, NETUID, world.clock)
    return build_app([desk.route(), Route("GET", "/v1/pieces/{root}", answer)])


def ranges_of(data: bytes) -> Handler:
    """Answer ranged reads of these bytes, whatever root is asked for, with their proof."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(body=range_body(data, int(request.query["offset"]), int(request.query["length"])))

    return answer


def range_body(data: bytes, offset: int, length: int) -> bytes:
    """The body of a ranged read."""
    first, count = covering_leaves(offset, length, len(data))
    shown = data[first * LEAF_BYTES : (first + count) * LEAF_BYTES]
    proof = RangeProof(len(data), first, shown, tuple(prove(leaf_hashes(data), first, count)))
    return b"".join(map(bytes, encode_range(proof)))
