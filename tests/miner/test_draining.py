"""Leaving, in virtual time: who is told, when, how often, and what is left after any restart."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from itertools import pairwise
from typing import Any, TypeVar

import pytest
from aiohttp import web

from hippy.endpoint import Endpoint
from hippy.errors import TemporaryError
from hippy.identity import Identity
from hippy.ids import NetworkId, PublicKey
from hippy.kv import Transaction
from hippy.miner import draining
from hippy.miner.background import background
from hippy.miner.draining import Draining, State
from hippy.miner.issuers import Issuers
from hippy.miner.releases import key_of
from hippy.miner.store import PieceStore
from hippy.testing.loop import SimulatedLoop, run_simulated
from hippy.transport.client import open_http
from hippy.transport.hello import HelloDesk
from hippy.transport.server import Guard, Route, build_app, message_response, read_body, serving
from hippy.wire.btauth import NonceWindow
from hippy.wire.pace import DAY, USUAL_EPOCH_SECONDS
from hippy.wire.repair import Drain, DrainAnswer
from tests.histories.chain import StillChain, neuron
from tests.miner.simulated import CLOCK, SimulatedMiner
from tests.miner.world import MINER, NETUID, NETWORK, VALIDATOR, add, identity, piece, ticket

SECOND = identity("second validator")
IDLE = identity("a validator that is owed nothing")
T = TypeVar("T")


class Validator:
    """A validator as far as leaving goes."""

    def __init__(self, who: Identity, port: int) -> None:
        self.who = who
        self.port = port
        self.heard: list[tuple[float, str]] = []
        """Seconds since the start, and action."""

        self.left = DrainAnswer(pieces=2, bytes=100)
        self.is_away = False
        self.on_drain: Callable[[], None] = lambda: None

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await read_body(request, 64 * 1024)
        assert Guard(self.who.public_key, CLOCK, NonceWindow()).sender(request, body) == MINER.public_key
        told = Drain.parse(body)
        told.check_signature(MINER.public_key, NetworkId(NETWORK))
        assert (told.miner, told.validator) == (MINER.public_key, self.who.public_key)
        assert told.time == int(CLOCK.now())
        self.heard.append((round(asyncio.get_running_loop().time()), told.action))
        self.on_drain()
        if self.is_away:
            raise TemporaryError("not now")
        return message_response(self.left)

    @property
    def actions(self) -> list[str]:
        """What it was told, one after the other."""
        return [action for _, action in self.heard]


class Net:
    """A miner that owes pieces to two validators, and a third."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self.loop = loop
        self.first, self.second, self.idle = (
            Validator(who, 4001 + at) for at, who in enumerate((VALIDATOR, SECOND, IDLE))
        )
        self.validators: tuple[Validator, ...] = (self.first, self.second, self.idle)
        self.miner = SimulatedMiner(loop)
        self.draining: Draining | None = None

    def chain(self) -> StillChain:
        validators = [
            neuron(1 + at, each.who.public_key, Endpoint("127.0.0.1", each.port), permit=True)
            for at, each in enumerate(self.validators)
        ]
        return StillChain([neuron(0, MINER.public_key, None), *validators], CLOCK)

    async def start(self) -> None:
        """Start the miner, and what tells its wish, in its process."""
        await self.miner.start()
        ready: asyncio.Future[None] = self.loop.create_future()
        self.loop.start(self.miner.process, self._drain(ready))
        await ready

    async def _drain(self, ready: asyncio.Future[None]) -> None:
        async with open_http(MINER, CLOCK) as http:
            chain = self.chain()
            issuers = Issuers(chain, http, CLOCK)
            self.draining = Draining(self.store, issuers, http, MINER, CLOCK, NetworkId(NETWORK), USUAL_EPOCH_SECONDS)
            async with background(self.draining.run()):
                ready.set_result(None)
                await asyncio.Event().wait()

    async def restart(self) -> None:
        """Kill the miner and start it again."""
        self.miner.kill()
        await asyncio.sleep(1)
        await self.start()

    @property
    def store(self) -> PieceStore:
        assert self.miner.store is not None
        return self.miner.store

    async def wish(self, action: Any) -> None:
        assert self.draining is not None
        await self.draining.wish(action)

    async def state(self) -> State:
        assert self.draining is not None
        return await self.draining.state()


def leaving(story: Callable[[Net], Coroutine[Any, Any, T]]) -> T:
    """Run a story of a miner that owes three pieces to the first validator and one to the second."""

    async def play() -> T:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimulatedLoop)
        net = Net(loop)
        async with (
            serving(app_of(net.first), "127.0.0.1", net.first.port),
            serving(app_of(net.second), "127.0.0.1", net.second.port),
            serving(app_of(net.idle), "127.0.0.1", net.idle.port),
        ):
            await net.start()
            for number, who in enumerate((VALIDATOR, VALIDATOR, VALIDATOR, SECOND)):
                data = piece(f"piece {number}", 50)
                await add(net.store, data, ticket(data, CLOCK, serial=number, validator=who.public_key))
            result = await story(net)
        assert loop.errors == []
        return result

    return run_simulated(play(), seed=1)


def delete(key: bytes, state: Transaction) -> None:
    state.delete(key)


def app_of(validator: Validator) -> web.Application:
    desk = HelloDesk(validator.who, "validator", NetworkId(NETWORK), NETUID, CLOCK)
    return build_app([desk.route(), Route("POST", "/v1/drain", validator.answer)])


def test_a_miner_that_does_not_leave_tells_nobody() -> None:
    async def story(net: Net) -> None:
        await asyncio.sleep(3 * DAY)
        await net.wish("stop")
        await asyncio.sleep(3 * DAY)
        assert not (await net.state()).is_done
        assert [each.heard for each in net.validators] == [[], [], []]
        assert not net.store.figures.is_draining

    leaving(story)


def test_whoever_issued_a_ticket_is_told_at_once_and_once_a_day() -> None:
    async def story(net: Net) -> None:
        await net.wish("start")
        await asyncio.sleep(2.5 * DAY)
        for validator in (net.first, net.second):
            assert validator.heard == [(0, "start"), (DAY, "start"), (2 * DAY, "start")]
        assert net.idle.heard == []

    leaving(story)


def test_all_tickets_are_looked_through_whatever_fits_a_portion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draining, "PORTION", 2)

    async def story(net: Net) -> State:
        await net.wish("start")
        await asyncio.sleep(5)
        return await net.state()

    state = leaving(story)
    owed = {issuer.validator: (issuer.owed_pieces, issuer.owed_bytes) for issuer in state.issuers}
    assert owed == {VALIDATOR.public_key: (3, 150), SECOND.public_key: (1, 50)}


def test_the_state_is_what_validators_say_and_it_is_done_when_nothing_is_left_at_any() -> None:
    async def story(net: Net) -> None:
        assert (await net.state()).issuers == ()
        await net.wish("start")
        at_once = await net.state()
        assert not at_once.is_complete
        assert not at_once.is_done
        await asyncio.sleep(5)
        state = await net.state()
        assert state.wish.action == "start"
        assert state.is_complete
        assert not state.is_done
        assert [issuer.left for issuer in state.issuers] == [DrainAnswer(pieces=2, bytes=100)] * 2
        figures = net.store.figures
        assert (figures.is_draining, figures.drain_pieces, figures.drain_bytes) == (True, 4, 200)
        net.first.left = DrainAnswer(pieces=0, bytes=0)
        await asyncio.sleep(31)
        assert not (await net.state()).is_done
        net.second.left = DrainAnswer(pieces=0, bytes=0)
        await asyncio.sleep(31)
        assert (await net.state()).is_done
        assert net.store.figures.drain_pieces == 0

    leaving(story)


def test_nothing_is_done_while_a_validator_does_not_answer() -> None:
    async def story(net: Net) -> None:
        net.first.left = DrainAnswer(pieces=0, bytes=0)
        net.second.is_away = True
        await net.wish("start")
        await asyncio.sleep(5)
        state = await net.state()
        assert not state.is_done
        away = next(issuer for issuer in state.issuers if issuer.validator == SECOND.public_key)
        assert (away.left, away.error, away.owed_pieces) == (None, "not now", 1)
        assert net.store.figures.drain_pieces is None

    leaving(story)


def test_a_miner_that_owes_nothing_has_nothing_left() -> None:
    async def story(net: Net) -> None:
        for obligation in await net.store.releases.page(None, 100):
            await net.miner.database.transact(partial(delete, key_of(obligation)))
        await net.wish("start")
        await asyncio.sleep(1)
        assert (await net.state()).is_done

    leaving(story)


def test_validators_are_asked_twice_a_minute_while_somebody_looks() -> None:
    async def story(net: Net) -> None:
        await net.wish("start")
        for _ in range(300):
            await asyncio.sleep(1)
            await net.state()
        assert [time for time, _ in net.first.heard] == [*range(0, 300, 30)]
        before = len(net.first.heard)
        await asyncio.sleep(DAY / 2)  # nobody looks any more
        assert len(net.first.heard) <= before + 3

    leaving(story)


def test_a_validator_that_is_away_is_tried_again_with_growing_pauses_and_holds_up_no_other() -> None:
    async def story(net: Net) -> None:
        net.second.is_away = True
        await net.wish("start")
        await asyncio.sleep(3_000)
        times = [time for time, _ in net.second.heard]
        pauses = [after - before for before, after in pairwise(times)]
        assert pauses == [5, 10, 20, 40, 80, 160, 320, 600, 600, 600]
        assert net.first.heard == [(0, "start")]
        net.second.is_away = False
        await asyncio.sleep(600)
        heard = len(net.second.heard)
        await asyncio.sleep(DAY / 2)
        assert len(net.second.heard) == heard

    leaving(story)


def test_a_wish_survives_restarts_and_is_told_again_at_each() -> None:
    async def story(net: Net) -> None:
        await net.wish("start")
        await asyncio.sleep(10)
        since = (await net.state()).wish.time
        for _ in range(2):
            await net.restart()
            assert net.store.drains.is_on
            await asyncio.sleep(10)
        assert net.first.actions == ["start"] * 3
        assert (await net.state()).wish.time == since
        assert net.store.figures.is_draining

    leaving(story)


def test_a_wish_that_is_wished_again_changes_nothing() -> None:
    async def story(net: Net) -> None:
        await net.wish("start")
        await asyncio.sleep(10)
        before = await net.state()
        await net.wish("start")
        await asyncio.sleep(10)
        after = await net.state()
        assert (after.wish, after.is_complete) == (before.wish, True)
        assert net.first.actions == ["start"]

    leaving(story)


def test_a_wish_that_is_taken_back_is_told_to_all_that_heard_it_until_each_has_answered() -> None:
    async def story(net: Net) -> None:
        await net.wish("start")
        await asyncio.sleep(10)
        net.second.is_away = True
        await net.wish("stop")
        assert not net.store.drains.is_on
        await asyncio.sleep(10)
        assert net.first.actions == ["start", "stop"]
        assert not net.store.figures.is_draining
        await net.restart()
        net.second.is_away = False
        await asyncio.sleep(10)
        assert net.first.actions == ["start", "stop"]
        assert net.second.actions[-1] == "stop"
        heard = len(net.second.heard)
        assert await net.store.drains.validators() == []
        await net.restart()
        await asyncio.sleep(DAY)
        assert len(net.second.heard) == heard

    leaving(story)


def test_a_validator_that_was_told_before_the_miner_died_is_told_that_it_stays() -> None:
    """It heard that the miner leaves; that it did, the miner never learned."""

    async def story(net: Net) -> None:
        net.first.on_drain = net.miner.kill
        await net.wish("start")
        await asyncio.sleep(1)
        assert net.first.actions == ["start"]
        net.first.on_drain = lambda: None
        net.first.is_away = True
        await net.start()
        await net.wish("stop")
        await asyncio.sleep(1)
        net.first.is_away = False
        await asyncio.sleep(60)
        assert net.first.actions[-1] == "stop"
        assert not net.store.drains.is_on

    leaving(story)


def test_the_last_wish_is_the_one_that_all_end_up_with() -> None:
    async def story(net: Net) -> None:
        for action in ("start", "stop", "start"):
            await net.wish(action)
        await asyncio.sleep(10)
        assert {net.first.actions[-1], net.second.actions[-1]} == {"start"}
        for action in ("stop", "start", "stop"):
            await net.wish(action)
        await asyncio.sleep(10)
        assert {net.first.actions[-1], net.second.actions[-1]} == {"stop"}
        assert await net.store.drains.validators() == []

    leaving(story)


def test_a_miner_that_leaves_says_that_it_has_no_room() -> None:
    async def story(net: Net) -> None:
        assert net.store.space() == (2**40, 200)
        await net.wish("start")
        assert net.store.space() == (200, 200)
        await net.wish("stop")
        assert net.store.space() == (2**40, 200)

    leaving(story)


def test_a_validator_that_is_not_registered_any_more_is_said_to_be_away() -> None:
    async def story(net: Net) -> State:
        net.validators = (net.first,)
        await net.restart()
        await net.wish("start")
        await asyncio.sleep(10)
        return await net.state()

    state = leaving(story)
    errors = {PublicKey(issuer.validator): issuer.error for issuer in state.issuers}
    assert errors[VALIDATOR.public_key] is None
    assert "no endpoint" in (errors[SECOND.public_key] or "")
