"""Which miners are there: a handshake with each, again and again, and what follows from it.

Who is a miner, the handshake says: a permit says nothing, for chains give permits to miners that earn. Every
neuron with an endpoint is greeted every ``probe_seconds``, many at once and each with its own deadline, so that a
stalled one delays nobody. From the last good handshakes follow the signed directory that clients read and the
candidates that placement draws from; a neuron without a permit that never answered is listed as a silent miner.

Invariants: a handshake counts only for the endpoint it was made with; a miner counts as live while its last good
handshake is fresh and no demanded check (:meth:`is_there`) has failed since.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from hippy.chain.protocol import Chain, Metagraph, Neuron
from hippy.clock import Clock
from hippy.endpoint import Endpoint
from hippy.errors import HippyError, ProtocolError
from hippy.identity import ss58_encode
from hippy.ids import PublicKey
from hippy.transport.client import Http, Peer
from hippy.transport.hello import shake_hands
from hippy.validator.log import Home
from hippy.wire.log import Candidate
from hippy.wire.node import MINERS_MAX, Directory, Hello, MinerEntry

log = logging.getLogger("hippy.validator")

PROBES_MAX: Final = 32
"""Handshakes under way at once."""

SEEN_MAX: Final = 16_384
"""Miners whose last handshake is remembered, also of those that left: registering costs more than forgetting."""

MinerState = Literal["live", "silent", "unpublished", "unregistered"]

CHECKS: Final = 2
"""Handshakes that must fail before a piece may be given to another miner (PROTOCOL §3.1)."""

GIB: Final = 2**30
WEIGHT_MAX: Final = 10_000


@dataclass(frozen=True, slots=True)
class Sighting:
    """A miner's last good handshake."""

    endpoint: Endpoint
    capacity_bytes: int
    used_bytes: int
    seen_time: int
    round_trip_seconds: float


@dataclass(frozen=True, slots=True)
class Offer:
    """A candidate for placement and where it listens."""

    candidate: Candidate
    endpoint: Endpoint


class MinerDirectory:
    """The miners of the subnet as this validator sees them."""

    def __init__(
        self,
        http: Http,
        chain: Chain,
        home: Home,
        clock: Clock,
        *,
        probe_seconds: float,
        stale_seconds: float,
    ) -> None:
        self._http = http
        self._chain = chain
        self._home = home
        self._clock = clock
        self._probe_seconds = probe_seconds
        self._stale_seconds = stale_seconds
        self._metagraph = Metagraph(block=0, tempo_blocks=1, neurons=())
        self._sightings: dict[PublicKey, Sighting] = {}
        self._seen_times: dict[PublicKey, int] = {}
        """Of everybody who ever answered, also where it is no more; the latest last."""

        self._silent: set[PublicKey] = set()
        self._probing: set[PublicKey] = set()
        self._slots = asyncio.Semaphore(PROBES_MAX)
        self._signed = (0, b"")
        self.draining: frozenset[PublicKey] = frozenset()
        """Miners that want to leave: they are offered nothing (hippy.validator.repair.drains)."""

    @property
    def metagraph(self) -> Metagraph:
        """The metagraph as it was last read."""
        return self._metagraph

    async def refresh(self) -> None:
        """Read the metagraph and forget who is no longer in it.

        Raises TemporaryError when the chain cannot be read.
        """
        self._metagraph = await self._chain.metagraph()
        known = {neuron.hotkey for neuron in self._metagraph.neurons}
        self._sightings = {hotkey: seen for hotkey, seen in self._sightings.items() if hotkey in known}
        self._silent &= known

    async def run(self) -> None:
        """Greet all miners every ``probe_seconds``, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                for peer in self._due():
                    self._probing.add(peer.hotkey)
                    tasks.create_task(self._probe(peer))
                await self._clock.sleep(self._probe_seconds)
                try:
                    await self.refresh()
                except HippyError as error:
                    log.warning("the metagraph stays as it was: %s", error)

    def state(self, hotkey: PublicKey) -> MinerState:
        """Return what is known of a miner now."""
        neuron = self._metagraph.by_hotkey(hotkey)
        return "unregistered" if neuron is None else self._entry(neuron).state

    def entries(self) -> tuple[MinerEntry, ...]:
        """Return all miners, in uid order."""
        return tuple(self._entry(neuron) for neuron in self._miners()[:MINERS_MAX])

    def signed(self) -> bytes:
        """Return the signed directory, encoded; made again after a second or a handshake, however often it is asked."""
        now = int(self._clock.now())
        if self._signed[0] != now:
            directory = Directory(
                validator=self._home.hotkey, netuid=self._home.netuid, time=now, miners=self.entries()
            )
            self._signed = now, directory.signed(self._home.identity, self._home.network).encode()
        return self._signed[1]

    def offers(self, piece_length: int) -> list[Offer]:
        """Return the live miners with room for a piece that do not want to leave, sorted by hotkey."""
        fitting = [
            entry
            for entry in self.entries()
            if entry.state == "live"
            and entry.capacity_bytes - entry.used_bytes >= piece_length
            and entry.hotkey not in self.draining
        ]
        return [_offer(entry) for entry in sorted(fitting, key=lambda entry: entry.hotkey) if entry.endpoint]

    def holders(self, hotkeys: Sequence[bytes]) -> list[Candidate]:
        """Return registered miners as candidates, whether they are live or not; for the diversity rules."""
        wanted = set(hotkeys)
        return [
            _offer(entry).candidate for entry in self.entries() if entry.hotkey in wanted and entry.endpoint is not None
        ]

    def is_miner(self, hotkey: PublicKey) -> bool:
        """Return whether somebody registered has shaken hands as a miner."""
        return hotkey in self._sightings

    def peer(self, hotkey: PublicKey) -> Peer | None:
        """Return where a registered miner says it listens, None where it says nothing."""
        neuron = self._metagraph.by_hotkey(hotkey)
        return None if neuron is None or neuron.endpoint is None else Peer(neuron.endpoint, hotkey)

    def seen_time(self, peer: Peer) -> int | None:
        """Return when a handshake at this endpoint last succeeded, in Unix seconds."""
        sighting = self._sightings.get(peer.hotkey)
        return None if sighting is None or sighting.endpoint != peer.endpoint else sighting.seen_time

    def seen(self) -> frozenset[PublicKey]:
        """Return the registered miners with which a handshake ever succeeded."""
        return frozenset(self._sightings)

    def last_seen_time(self, hotkey: PublicKey) -> int | None:
        """Return when a handshake with a miner last succeeded, wherever that was, in Unix seconds."""
        return self._seen_times.get(hotkey)

    def round_trip_seconds(self, peer: Peer) -> float:
        """Return how long the last good handshake at this endpoint took, 0 where there was none."""
        sighting = self._sightings.get(peer.hotkey)
        return 0.0 if sighting is None or sighting.endpoint != peer.endpoint else sighting.round_trip_seconds

    async def is_there(self, peer: Peer) -> bool:
        """Return whether a registered miner answers one of two handshakes; one that does not is silent from now."""
        if self._metagraph.by_hotkey(peer.hotkey) is None:
            return False
        for _ in range(CHECKS):
            if await self.greet(peer):
                return True
        if self._is_current(peer):
            self._silent.add(peer.hotkey)
        return False

    async def greet(self, peer: Peer) -> bool:
        """Shake hands once, remember a good answer, and return whether it was one."""
        local, network, began = self._chain.is_local, self._home.network, self._clock.now()
        try:
            hello = await shake_hands(self._http, peer, "miner", network, local=local, clock=self._clock)
            sighting = self._sighting(peer, hello, began)
        except HippyError as error:
            log.info("no handshake with %s: %s", peer, error)
            return False
        self._seen_times.pop(peer.hotkey, None)
        self._seen_times[peer.hotkey] = sighting.seen_time
        while len(self._seen_times) > SEEN_MAX:
            del self._seen_times[next(iter(self._seen_times))]
        if self._is_current(peer):
            self._sightings[peer.hotkey] = sighting
            self._silent.discard(peer.hotkey)
            self._signed = 0, b""
        return True

    def _miners(self) -> list[Neuron]:
        return [
            neuron
            for neuron in self._metagraph.neurons
            if neuron.hotkey in self._sightings or not (neuron.validator_permit or neuron.hotkey == self._home.hotkey)
        ]

    def _due(self) -> list[Peer]:
        """Return whom to greet: published neurons, but us, without a handshake still under way."""
        return [
            Peer(neuron.endpoint, neuron.hotkey)
            for neuron in self._metagraph.neurons
            if neuron.endpoint is not None and neuron.hotkey not in {*self._probing, self._home.hotkey}
        ]

    async def _probe(self, peer: Peer) -> None:
        try:
            async with self._slots:
                await self.greet(peer)
        except Exception:  # the top of a supervised task: one miner's odd answer must not end the others' probes
            log.exception("unexpected error while greeting %s", peer)
        finally:
            self._probing.discard(peer.hotkey)

    def _is_current(self, peer: Peer) -> bool:
        """Whether this is where the miner says it is now; a ticket may name an older endpoint."""
        neuron = self._metagraph.by_hotkey(peer.hotkey)
        return neuron is not None and neuron.endpoint == peer.endpoint

    def _sighting(self, peer: Peer, hello: Hello, began: float) -> Sighting:
        if hello.capacity_bytes is None or hello.used_bytes is None or hello.netuid != self._home.netuid:
            raise ProtocolError(f"{peer} says neither its space nor the right subnet")
        now = self._clock.now()
        return Sighting(peer.endpoint, hello.capacity_bytes, hello.used_bytes, int(now), max(0.0, now - began))

    def _entry(self, neuron: Neuron) -> MinerEntry:
        sighting = self._sightings.get(neuron.hotkey)
        if sighting is None or sighting.endpoint != neuron.endpoint:
            sighting = None
        return MinerEntry(
            uid=neuron.uid,
            hotkey=neuron.hotkey,
            coldkey=neuron.coldkey,
            endpoint=neuron.endpoint,
            state=self._state(neuron, sighting),
            capacity_bytes=sighting.capacity_bytes if sighting else 0,
            used_bytes=sighting.used_bytes if sighting else 0,
            seen_time=sighting.seen_time if sighting else 0,
        )

    def _state(self, neuron: Neuron, sighting: Sighting | None) -> Literal["live", "silent", "unpublished"]:
        if neuron.endpoint is None:
            return "unpublished"
        if sighting is None or neuron.hotkey in self._silent:
            return "silent"
        age = self._clock.now() - sighting.seen_time
        return "live" if age <= self._stale_seconds else "silent"


def weight_of(capacity_bytes: int) -> int:
    """Return a miner's weight in placement: GiB of capacity, from 1 to 10,000 (PROTOCOL §3.1)."""
    return min(max(1, capacity_bytes // GIB), WEIGHT_MAX)


def _offer(entry: MinerEntry) -> Offer:
    assert entry.endpoint is not None, f"{ss58_encode(entry.hotkey)} has no endpoint"
    candidate = Candidate(
        hotkey=entry.hotkey,
        coldkey=entry.coldkey,
        group=entry.endpoint.group,
        weight=weight_of(entry.capacity_bytes),
    )
    return Offer(candidate, entry.endpoint)
