"""Who there is and what was placed where, once, before the first epoch.

Operators have equal disks and pipes; one with many identities splits its own. Every segment is placed by
hippy.validator.placement; its roots are made up. Invariants: the same settings and strategies give the same world.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from hippy.chain.protocol import Metagraph, Neuron
from hippy.errors import UsageError
from hippy.hashing import digest, dk, keyed, u16, u32, xof
from hippy.ids import ID_BYTES, PublicKey, Root, SegmentId
from hippy.sim.faults import draw_outages
from hippy.sim.miner import SimMiner
from hippy.sim.network import Link
from hippy.sim.settings import Settings
from hippy.sim.shelf import Shelf
from hippy.sim.strategies import HONEST, STRATEGIES, Operation
from hippy.sim.wash import account_name, wash_placement
from hippy.validator.placement import Draw, epoch_secret, place
from hippy.wire.log import Candidate

CUSTOMERS = ("customer-a", "customer-b", "customer-c")


@dataclass(frozen=True, slots=True)
class Holdings:
    """Bytes that accounts stored, and where they went: by (account, operator, coldkey)."""

    by_account: Counter[str] = field(default_factory=Counter)
    by_coldkey: Counter[tuple[str, str, PublicKey]] = field(default_factory=Counter)
    weights: Counter[tuple[str, PublicKey]] = field(default_factory=Counter)
    """Placement weight by operator and coldkey."""


@dataclass(frozen=True, slots=True)
class World:
    """Everything that a run begins with; ``secrets`` are the validators'."""

    settings: Settings
    operations: Mapping[str, Operation]
    validators: tuple[PublicKey, ...]
    secrets: tuple[bytes, ...]
    metagraph: Metagraph
    miners: tuple[SimMiner, ...]
    holdings: Holdings


@dataclass(slots=True)
class _Identity:
    hotkey: PublicKey
    coldkey: PublicKey
    group: str
    operator: str
    number: int
    pipe: int


def make_world(settings: Settings, operations: Mapping[str, Operation]) -> World:
    """Return a world in which every operation has one operator and all other miners are honest.

    Raises UsageError when fewer than half of the miners are honest: audits assume that most are.
    """
    validators = tuple(_key(settings, "validator", number) for number in range(settings.validators))
    secrets = tuple(bytes(_key(settings, "secret", number)) for number in range(settings.validators))
    identities = _identities(settings, operations)
    placer = _Placer(settings, operations, identities, secrets[0])
    placer.place_customers()
    placer.place_wash()
    rng = random.Random(f"{settings.seed} machines")  # noqa: S311 - a replayable run, no secret
    miners = _miners(settings, operations, identities, placer, rng)
    neurons = [_neuron(uid, key, key, permit=True) for uid, key in enumerate(validators)]
    neurons += [_neuron(miner.uid, miner.hotkey, miner.coldkey, permit=False) for miner in miners]
    return World(settings, operations, validators, secrets, Metagraph(0, 360, tuple(neurons)), miners, placer.holdings)


def _identities(settings: Settings, operations: Mapping[str, Operation]) -> list[_Identity]:
    cheats = sum(operation.identities for operation in operations.values())
    if 2 * cheats > settings.miners:
        raise UsageError(
            f"{cheats} of {settings.miners} miners would not be honest, more than half",
            hint=f"use {2 * cheats} miners or more, or fewer strategies",
        )
    plans = [(name, operation) for name, operation in operations.items()]
    plans += [(HONEST, STRATEGIES[HONEST])] * (settings.miners - cheats)
    found = []
    for pipe, (name, operation) in enumerate(plans):
        for number in range(operation.identities):
            key = f"{pipe}/{number if operation.own_keys else 0}"
            coldkey = _key(settings, f"coldkey {key}", 0)
            hotkey = _key(settings, f"hotkey {pipe}", number)
            found.append(_Identity(hotkey, coldkey, f"net-{key}", name, number, pipe))
    return found


def _miners(
    settings: Settings,
    operations: Mapping[str, Operation],
    identities: list[_Identity],
    placer: _Placer,
    rng: random.Random,
) -> tuple[SimMiner, ...]:
    miners = []
    trips: dict[int, float] = {}
    for uid, who in enumerate(identities, settings.validators):
        strategy = operations.get(who.operator, STRATEGIES[HONEST]).make(who.number)
        trip = trips.setdefault(who.pipe, rng.uniform(*settings.round_trips_seconds))
        outages = draw_outages(
            rng, share=settings.downtime, length_seconds=settings.outage_seconds, until_seconds=settings.seconds
        )
        link = Link(trip, min(settings.pipe_bps, strategy.bps or settings.pipe_bps), settings.loss)
        shelf = Shelf(placer.pieces[who.hotkey], placer.free[who.hotkey])
        miners.append(SimMiner(uid, who.hotkey, who.coldkey, who.group, who.operator, strategy, link, outages, shelf))
    return tuple(miners)


class _Placer:
    """Draws segment after segment and hands their pieces out."""

    def __init__(
        self, settings: Settings, operations: Mapping[str, Operation], identities: list[_Identity], secret: bytes
    ) -> None:
        self._settings = settings
        self._operations = operations
        self._by_hotkey = {who.hotkey: who for who in identities}
        self._candidates = [
            Candidate(hotkey=who.hotkey, coldkey=who.coldkey, group=who.group, weight=self._weight(who))
            for who in identities
        ]
        self._secret = epoch_secret(secret, 0)
        self._beacon = keyed(dk("sim-beacon"), u32(settings.seed))
        self._drawn = 0
        self.pieces: defaultdict[PublicKey, dict[Root, int]] = defaultdict(dict)
        self.free: defaultdict[PublicKey, set[Root]] = defaultdict(set)
        self.holdings = Holdings()
        for who, candidate in zip(identities, self._candidates, strict=True):
            self.holdings.weights[who.operator, who.coldkey] += candidate.weight

    def place_customers(self) -> None:
        """Place what honest accounts store."""
        for lot in range(self._settings.lots):
            account = CUSTOMERS[lot % len(CUSTOMERS)]
            for length in self._settings.lengths_bytes:
                draw = self._next_draw()
                placed = place(range(self._settings.n), self._candidates, draw, spread=True)
                self._hand_out(account, draw, placed, length)

    def place_wash(self) -> None:
        """Place what colluding accounts store; it costs their friends no disk."""
        for name, operation in self._operations.items():
            if operation.wash is None:
                continue
            friends = {who.hotkey for who in self._by_hotkey.values() if who.operator == name}
            for _ in range(self._settings.wash_lots):
                draw, placed = wash_placement(
                    operation.wash, friends, self._settings.n, self._candidates, self._next_draw
                )
                self._hand_out(account_name(name), draw, placed, max(self._settings.lengths_bytes), friends)

    def _hand_out(
        self,
        account: str,
        draw: Draw,
        placed: tuple[Candidate, ...],
        length: int,
        friends: Collection[PublicKey] = (),
    ) -> None:
        for index, candidate in enumerate(placed):
            who = self._by_hotkey[candidate.hotkey]
            roots = _roots(draw.segment_id, index, self._settings.bundle)
            self.pieces[who.hotkey].update(dict.fromkeys(roots, length))
            if who.hotkey in friends:
                self.free[who.hotkey].update(roots)
            self.holdings.by_coldkey[account, who.operator, who.coldkey] += length * len(roots)
            self.holdings.by_account[account] += length * len(roots)

    def _next_draw(self) -> Draw:
        self._drawn += 1
        return Draw(self._secret, self._beacon, SegmentId(digest(self._beacon + u32(self._drawn))))

    def _weight(self, who: _Identity) -> int:
        operation = self._operations.get(who.operator, STRATEGIES[HONEST])
        return max(1, self._settings.capacity_gib // operation.identities)


def _key(settings: Settings, what: str, number: int) -> PublicKey:
    return PublicKey(digest(f"{settings.seed} {what} {number}".encode()))


def _roots(segment_id: SegmentId, index: int, count: int) -> list[Root]:
    """Return roots of as many pieces of one index."""
    stream = xof(keyed(segment_id, u16(index)), count * ID_BYTES)
    return [Root(stream[at : at + ID_BYTES]) for at in range(0, len(stream), ID_BYTES)]


def _neuron(uid: int, hotkey: PublicKey, coldkey: PublicKey, *, permit: bool) -> Neuron:
    return Neuron(uid, hotkey, coldkey, None, permit, 1_000 * 10**9 if permit else 0, 0, 0.0)
