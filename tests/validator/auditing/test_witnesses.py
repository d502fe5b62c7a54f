"""Other validators are asked about a silent miner: real servers on loopback, some of which lie, stall or are away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from aiohttp import web

from hippy.chain.protocol import Metagraph, Neuron
from hippy.endpoint import Endpoint
from hippy.identity import Identity
from hippy.ids import PublicKey
from hippy.testing.clock import VirtualClock
from hippy.transport.client import open_http
from hippy.transport.hello import HelloDesk
from hippy.transport.server import Route, build_app, serving
from hippy.validator.auditing import witnesses as module
from hippy.validator.auditing.witnesses import KEPT_SECONDS, Witnesses
from hippy.validator.directory import MinerDirectory
from hippy.wire.attestation import Attestation, Attestations
from hippy.wire.node import Role
from tests.validator.world import HOME, MINERS, NETWORK

DAY = 86_400
COLDKEY = PublicKey(b"c" * 32)
GONE, OTHER = (miner.public_key for miner in MINERS[:2])
VALIDATORS = [Identity.from_seed(bytes([200 + number]) * 32) for number in range(4)]


@dataclass
class Witness:
    """Another validator: what it attests, and how it behaves."""

    identity: Identity
    clock: VirtualClock
    stake: int = 10
    permit: bool = True
    miners: Iterable[PublicKey] = (GONE,)
    seconds_ago: int = 0
    signer: Identity | None = None
    role: Role = "validator"
    raw: bytes | None = None
    gate: asyncio.Event | None = None
    """Nothing is answered before this is set."""

    asked: int = 0
    endpoint: Endpoint | None = None

    def attestation(self, miner: PublicKey) -> Attestation:
        now = int(self.clock.now()) - self.seconds_ago
        unsigned = Attestation(
            network=NETWORK,
            netuid=HOME.netuid,
            validator=self.identity.public_key,
            miner=miner,
            since=now - DAY,
            time=now,
        )
        return unsigned.signed(self.signer or self.identity, NETWORK)

    async def answer(self, _: web.Request) -> web.StreamResponse:
        self.asked += 1
        if self.gate is not None:
            await self.gate.wait()
        told = Attestations(attestations=tuple(map(self.attestation, self.miners)))
        return web.Response(body=self.raw or told.encode(), content_type="application/json")


@dataclass
class Directory:
    """What of the directory witnesses are found by."""

    metagraph: Metagraph = field(default_factory=lambda: Metagraph(0, 1, ()))


class Bench:
    """A home with a tenth of its own, and its witnesses."""

    def __init__(self, witnesses: Witnesses, directory: Directory, clock: VirtualClock, stack: AsyncExitStack) -> None:
        self.witnesses = witnesses
        self.directory = directory
        self.clock = clock
        self._stack = stack
        self.others: list[Witness] = []
        self.own_stake = 10

    async def join(self, **behaviour: Any) -> Witness:
        """Have another validator join the subnet."""
        witness = Witness(VALIDATORS[len(self.others)], self.clock, **behaviour)
        desk = HelloDesk(witness.identity, witness.role, NETWORK, HOME.netuid, self.clock)
        app = build_app([desk.route(), Route("GET", "/v1/attestations", witness.answer)])
        witness.endpoint = await self._stack.enter_async_context(serving(app, "127.0.0.1", 0))
        self.others.append(witness)
        self.register()
        return witness

    def register(self) -> None:
        """Have the metagraph show all of them."""
        neurons = [Neuron(0, HOME.hotkey, COLDKEY, None, True, self.own_stake, 0, 0.0)]
        for uid, each in enumerate(self.others, 1):
            key = each.identity.public_key
            neurons.append(Neuron(uid, key, COLDKEY, each.endpoint, each.permit, each.stake, 0, 0.0))
        self.directory.metagraph = Metagraph(1, 1, tuple(neurons))

    async def against(self, miner: PublicKey = GONE) -> list[PublicKey]:
        """Whose attestations are shown."""
        return [each.validator for each in await self.witnesses.against(miner)]


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with opened_bench() as bench:
        yield bench


@asynccontextmanager
async def opened_bench() -> AsyncIterator[Bench]:
    clock, directory = VirtualClock(), Directory()
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(open_http(None, clock))
        known = cast(MinerDirectory, directory)
        witnesses = Witnesses(http, known, HOME, clock, is_local=True, silent_seconds=DAY)
        yield Bench(witnesses, directory, clock, stack)


async def test_as_many_as_it_takes_are_shown_the_largest_stakes_first(bench: Bench) -> None:
    first, second, large = [await bench.join(stake=stake) for stake in (10, 10, 70)]
    assert await bench.against() == [large.identity.public_key]
    first.stake = second.stake = 15
    large.miners = ()
    bench.register()
    await bench.clock.advance(KEPT_SECONDS)
    assert await bench.against() == sorted(each.identity.public_key for each in (first, second))
    first.stake = 14
    bench.register()
    assert await bench.against() == [each.identity.public_key for each in (second, first)]


async def test_validators_that_still_reach_the_miner_leave_too_little(bench: Bench) -> None:
    await bench.join(stake=10)
    await bench.join(stake=80, miners=(OTHER,))
    assert await bench.against() == []
    assert await bench.against(OTHER) == [VALIDATORS[1].public_key]


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param({"seconds_ago": 400}, id="whose word is old"),
        pytest.param({"miners": (OTHER,)}, id="that speaks of another miner"),
        pytest.param({"signer": HOME.identity}, id="that does not sign"),
        pytest.param({"role": "miner"}, id="that is none"),
        pytest.param({"raw": b"{}"}, id="that answers something else"),
        pytest.param({"raw": b"x" * 600_000}, id="that answers too much"),
        pytest.param({"permit": False}, id="without a permit"),
    ],
)
async def test_a_validator_counts_for_nothing(bench: Bench, behaviour: dict[str, Any]) -> None:
    await bench.join(stake=1, miners=())
    await bench.join(stake=60, **behaviour)
    await bench.join(stake=30, miners=())
    assert await bench.against() == []


async def test_a_validator_that_shows_its_attestation_twice_counts_once(bench: Bench) -> None:
    await bench.join(stake=20, miners=(GONE, GONE))
    await bench.join(stake=70, miners=())
    assert await bench.against() == []


async def test_a_validator_cannot_speak_for_another(bench: Bench) -> None:
    liar = await bench.join(stake=1, miners=())
    victim = await bench.join(stake=80, miners=())
    liar.raw = Attestations(attestations=(victim.attestation(GONE),)).encode()
    assert await bench.against() == []


async def test_a_home_without_a_permit_asks_nobody(bench: Bench) -> None:
    other = await bench.join(stake=60)
    neurons = [neuron for neuron in bench.directory.metagraph.neurons if neuron.hotkey != HOME.hotkey]
    bench.directory.metagraph = Metagraph(1, 1, tuple(neurons))
    assert await bench.against() == []
    assert other.asked == 0


async def test_many_failures_ask_each_validator_once_in_a_while(bench: Bench) -> None:
    other = await bench.join(stake=60, miners=(GONE, OTHER))
    found = await asyncio.gather(*(bench.against(miner) for miner in (GONE, OTHER) * 8))
    assert found == [[other.identity.public_key]] * 16
    assert other.asked == 1
    await bench.clock.advance(KEPT_SECONDS)
    await bench.against()
    assert other.asked == 2


async def test_a_validator_that_stalls_keeps_nobody_waiting(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAIT_SECONDS", 0.3)
    slow = await bench.join(stake=50, gate=asyncio.Event())
    quick = await bench.join(stake=60)
    assert await bench.against() == [quick.identity.public_key]
    assert slow.asked == 1
    assert slow.gate is not None
    slow.gate.set()


async def test_a_validator_that_listens_nowhere_is_left_out(bench: Bench) -> None:
    (await bench.join(stake=60)).endpoint = None
    bench.register()
    assert await bench.against() == []
