"""When miners are probed, who is read together, and what is counted: virtual time, a directory that does as told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from random import Random
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hippy.chain.protocol import Metagraph, Neuron
from hippy.endpoint import Endpoint
from hippy.ids import PublicKey, Root
from hippy.testing.clock import START_SECONDS
from hippy.transport.client import Peer
from hippy.validator.audit.engine import AuditEngine
from hippy.validator.audit.rules import AuditRules
from hippy.validator.auditing.probing import AT_ONCE_MAX, Prober, together
from hippy.validator.auditing.reading import Piece, PieceReader
from hippy.validator.directory import MinerDirectory
from hippy.validator.scoring import Tally

RULES = AuditRules()
EPOCH_SECONDS = 400.0
MINERS = [PublicKey(bytes([number]) * 32) for number in range(1, 9)]
ANN, BEN, CLEO = MINERS[:3]


def neuron(number: int, coldkey: int, group: int | None) -> Neuron:
    """A miner by its place in MINERS; those of one group share the first three bytes of their address."""
    endpoint = None if group is None else Endpoint(f"20.{group}.7.{number + 1}", 4000)
    owner = PublicKey(bytes([100 + coldkey]) * 32)
    return Neuron(number, MINERS[number], owner, endpoint, False, 0, 0, 0.0)


class QuickClock:
    """Time that passes as soon as the prober sleeps, up to where a test has it stop."""

    def __init__(self) -> None:
        self._now = START_SECONDS
        self.end = START_SECONDS
        self.ended = asyncio.Event()

    def now(self) -> float:
        return self._now

    def skip(self, seconds: float) -> None:
        """Time passes without the prober."""
        self._now += seconds
        self.end += seconds

    async def sleep(self, seconds: float) -> None:
        for _ in range(3):  # for probes to begin at the time at which they are due
            await asyncio.sleep(0)
        while self._now + seconds > self.end:
            self.ended.set()
            await asyncio.sleep(0)
        self._now += seconds

    async def advance(self, seconds: float) -> None:
        """Return when so much time has passed."""
        self.end += seconds
        self.ended.clear()
        await self.ended.wait()


class Subnet:
    """Directory, reader and holdings as a prober sees them; who is not in ``there`` answers nothing."""

    def __init__(self, neurons: Sequence[Neuron]) -> None:
        self.clock = QuickClock()
        self.metagraph = Metagraph(0, 360, tuple(neurons))
        self.miners = tuple(sorted(neuron.hotkey for neuron in neurons))
        self.there = set(self.miners)
        self.pieces = 1
        self.reads_ok: int | None = None
        """How many pieces of a read come; None: all, of a miner that is there."""

        self.greeted: list[tuple[PublicKey, float]] = []
        self.read_at: list[tuple[PublicKey, float]] = []
        self.under_way = 0
        self.most_under_way = 0
        self.gate = asyncio.Event()
        """Reads end once this is set."""

        self.gate.set()
        self.reached: list[PublicKey] = []
        self.faults = 0
        self.engine = AuditEngine(RULES)
        self.engine.begin_epoch([], self.miners)

    def prober(self, seed: int = 1) -> Prober:
        return Prober(
            cast(PieceReader, Reader(self)),
            cast(MinerDirectory, self),
            self,
            self.clock,
            Random(seed),
            RULES,
            epoch_seconds=EPOCH_SECONDS,
            engine=self.engine,
            reached=self.reached.append,
        )

    def peer(self, hotkey: PublicKey) -> Peer | None:
        found = self.metagraph.by_hotkey(hotkey)
        return None if found is None or found.endpoint is None else Peer(found.endpoint, hotkey)

    async def greet(self, peer: Peer) -> bool:
        self.greeted.append((peer.hotkey, self.clock.now()))
        return peer.hotkey in self.there

    def audited(self) -> Sequence[PublicKey]:
        return self.miners

    async def draw_pieces(self, miner: PublicKey, rng: Random) -> Sequence[Piece]:
        if self.faults:
            self.faults -= 1
            raise ZeroDivisionError
        return [Piece(Root(miner), 100)] * self.pieces


class Reader:
    """Notes who is read when."""

    def __init__(self, subnet: Subnet) -> None:
        self._subnet = subnet

    async def read(self, peer: Peer, pieces: Sequence[Piece]) -> Tally:
        subnet = self._subnet
        subnet.read_at.append((peer.hotkey, subnet.clock.now()))
        subnet.under_way += 1
        subnet.most_under_way = max(subnet.most_under_way, subnet.under_way)
        await subnet.gate.wait()
        subnet.under_way -= 1
        come = subnet.reads_ok
        if come is None:
            come = len(pieces) if peer.hotkey in subnet.there else 0
        return Tally(reads_ok=come, reads_total=len(pieces))


def alone(count: int = 3) -> Subnet:
    return Subnet([neuron(number, number, number) for number in range(count)])


@asynccontextmanager
async def running(prober: Prober) -> AsyncIterator[None]:
    task = asyncio.create_task(prober.run())
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


class TestTimes:
    async def test_over_many_epochs_there_are_as_many_probes_as_the_rules_say(self) -> None:
        subnet, epochs = alone(2), 50
        prober = subnet.prober()
        async with running(prober):
            await subnet.clock.advance(epochs * EPOCH_SECONDS)
        for miner, tally in prober.take().items():
            assert miner in (ANN, BEN)
            assert tally.live_ok == tally.live_total
            assert tally.reads_ok == tally.reads_total
            assert tally.live_total == pytest.approx(12 * epochs, rel=0.1)
            assert tally.reads_total == pytest.approx(8 * epochs, rel=0.1)

    async def test_times_are_not_evenly_spaced_and_forget_the_past(self) -> None:
        """The pauses of a Poisson process are as long on average as they spread."""
        subnet = alone(1)
        async with running(subnet.prober()):
            await subnet.clock.advance(60 * EPOCH_SECONDS)
        times = [time for _, time in subnet.greeted]
        pauses = [later - time for time, later in pairwise(times)]
        mean = sum(pauses) / len(pauses)
        spread = (sum((pause - mean) ** 2 for pause in pauses) / len(pauses)) ** 0.5
        assert spread == pytest.approx(mean, rel=0.15)

    async def test_another_seed_has_other_times(self) -> None:
        seen = []
        for seed in (1, 1, 2):
            subnet = alone(1)
            async with running(subnet.prober(seed)):
                await subnet.clock.advance(EPOCH_SECONDS)
            seen.append([time for _, time in subnet.greeted])
        assert seen[0] == seen[1] != seen[2]

    async def test_a_pause_of_the_machine_is_not_made_up_for(self) -> None:
        subnet = alone(1)
        prober = subnet.prober()
        async with running(prober):
            await subnet.clock.advance(1)
            subnet.clock.skip(100 * EPOCH_SECONDS)
            await subnet.clock.advance(2)
        assert prober.take()[ANN].live_total <= 1

    async def test_who_holds_nothing_any_more_is_not_probed(self) -> None:
        subnet = alone(2)
        async with running(subnet.prober()):
            await subnet.clock.advance(EPOCH_SECONDS)
            subnet.miners = (BEN,)
            subnet.greeted.clear()
            subnet.read_at.clear()
            await subnet.clock.advance(2 * EPOCH_SECONDS)
        assert {miner for miner, _ in subnet.greeted + subnet.read_at} == {BEN}


class TestTogether:
    async def test_miners_that_share_owner_or_address_group_are_read_at_the_same_moment(self) -> None:
        subnet = Subnet([neuron(0, 0, 0), neuron(1, 0, 1), neuron(2, 2, 1), neuron(3, 3, 3)])
        async with running(subnet.prober()):
            await subnet.clock.advance(5 * EPOCH_SECONDS)
        times = {miner: [time for each, time in subnet.read_at if each == miner] for miner in MINERS[:4]}
        assert times[MINERS[0]] == times[MINERS[1]] == times[MINERS[2]] != []
        assert times[MINERS[3]] != times[MINERS[0]]

    async def test_only_those_that_hold_something_are_in_a_group(self) -> None:
        subnet = Subnet([neuron(0, 0, 0), neuron(1, 0, 1), neuron(2, 2, 1)])
        subnet.miners = (ANN, CLEO)  # what joined them is not read
        assert subnet.prober().groups(subnet.miners) == [[ANN], [CLEO]]

    def test_sharing_reaches_through_others(self) -> None:
        chain = [neuron(0, 0, 0), neuron(1, 1, 0), neuron(2, 1, 2), neuron(3, 3, 2), neuron(4, 4, 4)]
        for order in (chain, chain[::-1], chain[::2] + chain[1::2]):
            assert together(order) == [MINERS[:4], MINERS[4:5]]

    def test_miners_without_an_address_share_only_owners(self) -> None:
        assert together([neuron(0, 0, None), neuron(1, 1, None), neuron(2, 0, None)]) == [[ANN, CLEO], [BEN]]

    @settings(derandomize=True, deadline=None, max_examples=100)
    @given(st.lists(st.tuples(st.integers(0, 4), st.none() | st.integers(0, 4)), max_size=8), st.randoms())
    def test_groups_are_the_smallest_in_which_nobody_shares_with_an_outsider(
        self, marks: list[tuple[int, int | None]], order: Random
    ) -> None:
        neurons = [neuron(number, *each) for number, each in enumerate(marks)]
        group_of = list(range(len(marks)))  # the slow way
        for _ in marks:
            for first, (coldkey, group) in enumerate(marks):
                for second, (other_coldkey, other_group) in enumerate(marks):
                    if coldkey == other_coldkey or (group is not None and group == other_group):
                        group_of[first] = group_of[second] = min(group_of[first], group_of[second])
        expected = [
            [MINERS[number] for number, found in enumerate(group_of) if found == group] for group in set(group_of)
        ]
        order.shuffle(neurons)
        assert together(neurons) == sorted(expected)


class TestCounting:
    async def test_a_check_has_two_tries(self) -> None:
        subnet = alone()
        prober = subnet.prober()
        subnet.there.discard(ANN)
        await prober.check(ANN)
        await prober.check(BEN)
        assert [miner for miner, _ in subnet.greeted] == [ANN, ANN, BEN]
        assert prober.take() == {ANN: Tally(live_total=1), BEN: Tally(live_ok=1, live_total=1)}

    async def test_a_miner_that_is_there_and_serves_nothing_refuses(self) -> None:
        subnet = alone()
        subnet.reads_ok, subnet.pieces = 0, 3
        prober = subnet.prober()
        await prober.read(ANN)
        assert prober.take() == {ANN: Tally(reads_total=3)}

    async def test_a_miner_that_is_gone_is_absent_and_refuses_nothing(self) -> None:
        subnet = alone()
        subnet.there.discard(ANN)
        prober = subnet.prober()
        await prober.read(ANN)
        assert prober.take() == {ANN: Tally(live_total=1)}

    async def test_one_that_says_nowhere_where_it_listens_is_absent(self) -> None:
        subnet = Subnet([neuron(0, 0, None), neuron(1, 1, 1)])
        prober = subnet.prober()
        await prober.read(ANN)
        await prober.check(ANN)
        assert prober.take() == {ANN: Tally(live_total=2)}
        assert subnet.read_at == []

    async def test_one_that_serves_a_part_was_there(self) -> None:
        subnet = alone()
        subnet.there.clear()
        subnet.reads_ok, subnet.pieces = 1, 3
        prober = subnet.prober()
        await prober.read(ANN)
        assert prober.take() == {ANN: Tally(reads_ok=1, reads_total=3)}
        assert subnet.greeted == []

    async def test_only_reads_in_which_anything_came_are_told_as_contacts(self) -> None:
        subnet = alone()
        prober = subnet.prober()
        subnet.pieces, subnet.reads_ok = 2, 0
        await prober.read(ANN)
        assert subnet.reached == []
        subnet.reads_ok = 1
        await prober.read(ANN)
        assert subnet.reached == [ANN]

    async def test_who_holds_nothing_now_is_not_read(self) -> None:
        subnet = alone()
        subnet.pieces = 0
        prober = subnet.prober()
        await prober.read(ANN)
        assert prober.take() == {}
        assert subnet.read_at == []

    async def test_while_the_validator_doubts_itself_only_successes_count(self) -> None:
        subnet = alone()
        for miner in (ANN, BEN):
            subnet.engine.contact(miner, there=False, now=0)
        assert subnet.engine.doubts
        subnet.there.discard(ANN)
        prober = subnet.prober()
        await prober.check(ANN)
        await prober.read(ANN)
        assert prober.take() == {}
        await prober.read(CLEO)
        await prober.check(CLEO)
        assert prober.take() == {CLEO: Tally(live_ok=1, live_total=1, reads_ok=1, reads_total=1)}

    async def test_checks_tell_the_engine_who_is_there(self) -> None:
        subnet = alone()
        subnet.there = {CLEO}
        prober = subnet.prober()
        doubts = []
        for miner in (ANN, BEN):
            await prober.check(miner)
            doubts.append(subnet.engine.doubts)
        subnet.there.add(BEN)
        await prober.check(BEN)
        assert [*doubts, subnet.engine.doubts] == [False, True, False]

    async def test_a_tally_is_handed_out_once(self) -> None:
        prober = alone().prober()
        await prober.check(ANN)
        await prober.check(ANN)
        assert prober.take() == {ANN: Tally(live_ok=2, live_total=2)}
        await prober.check(ANN)
        assert prober.take() == {ANN: Tally(live_ok=1, live_total=1)}
        assert prober.take() == {}


async def test_at_most_so_many_probes_are_under_way() -> None:
    everybody = [
        Neuron(each, PublicKey(bytes([each]) * 32), ANN, Endpoint("20.0.7.1", 4000 + each), False, 0, 0, 0.0)
        for each in range(1, AT_ONCE_MAX + 40)
    ]
    subnet = Subnet(everybody)
    subnet.gate.clear()
    async with running(subnet.prober()):
        await subnet.clock.advance(EPOCH_SECONDS)
    assert subnet.most_under_way == AT_ONCE_MAX


async def test_a_fault_of_one_probe_ends_no_other(caplog: pytest.LogCaptureFixture) -> None:
    subnet = alone()
    subnet.faults = 2
    prober = subnet.prober()
    async with running(prober):
        await subnet.clock.advance(2 * EPOCH_SECONDS)
    assert subnet.faults == 0
    assert all(tally.reads_ok for tally in prober.take().values())
    assert "unexpected error while probing" in caplog.text
