"""Probes: is a miner there, does it serve what it holds, and how fast (PROTOCOL §5.5).

Liveness checks and reads come at times of a Poisson process, so that nobody can be there just for them. A read is
what any client does: a handshake and a whole piece, by an HTTP client that signs nothing and may leave from an
address of its own. Miners that share a coldkey or an address group are read at the same moment: one pipe sold twice
shows.

Owns the times and the tallies of the current epoch; what they are worth is hippy.validator.scoring's.

Invariants: while the validator doubts itself, failures are not counted; a tally is handed out once
(:meth:`Prober.take`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, Protocol

from hippy.chain.protocol import Neuron
from hippy.clock import Clock
from hippy.errors import HippyError
from hippy.identity import ss58_encode
from hippy.ids import NetworkId, PublicKey, Root
from hippy.proofs.tree import leaf_hashes, piece_root
from hippy.transport import limits
from hippy.transport.client import Call, Http, Peer
from hippy.transport.hello import shake_hands
from hippy.validator.audit.engine import AuditEngine
from hippy.validator.audit.rules import AuditRules
from hippy.validator.directory import MinerDirectory
from hippy.validator.scoring import Tally

log = logging.getLogger("hippy.validator")

MEASURED_BYTES_MIN: Final = 2**20
"""Shorter pieces tell more of the round trip than of the pipe."""

TRIES: Final = 2
"""Handshakes of one liveness check."""

AT_ONCE_MAX: Final = 64
"""Checks and reads under way; a piece is up to 4 MiB."""

PAUSE_SECONDS: Final = 1.0
"""How often it is looked whether a probe is due, at most."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece that a miner should have."""

    root: Root
    length: int


class Holdings(Protocol):
    """What a prober may read."""

    def audited(self) -> Sequence[PublicKey]:
        """Return the miners that hold anything, in order."""

    async def draw_piece(self, miner: PublicKey, rng: Random) -> Piece | None:
        """Return a piece that a miner holds now, drawn by bytes; None where it holds nothing."""


class Prober:
    """Probes every miner that holds anything."""

    def __init__(
        self,
        http: Http,
        directory: MinerDirectory,
        holdings: Holdings,
        clock: Clock,
        rng: Random,
        rules: AuditRules,
        *,
        network: NetworkId,
        is_local: bool,
        epoch_seconds: float,
        engine: AuditEngine,
    ) -> None:
        """``http`` signs nothing; the engine is told who was there, and knows whether the validator doubts itself."""
        self._http = http
        self._directory = directory
        self._holdings = holdings
        self._clock = clock
        self._rng = rng
        self._network = network
        self._is_local = is_local
        self._live_rate = rules.live_checks / epoch_seconds
        self._read_rate = rules.reads / epoch_seconds
        self._pause_seconds = min(PAUSE_SECONDS, epoch_seconds / 100)
        self._engine = engine
        self._tallies: dict[PublicKey, Tally] = {}
        self._live_times: dict[PublicKey, float] = {}
        self._read_times: dict[PublicKey, float] = {}
        self._slots = asyncio.Semaphore(AT_ONCE_MAX)

    def take(self) -> dict[PublicKey, Tally]:
        """Return the tallies since the last call and begin new ones."""
        taken, self._tallies = self._tallies, {}
        return taken

    async def run(self) -> None:
        """Probe until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                now, miners = self._clock.now(), self._holdings.audited()
                for miner in self._due(self._live_times, miners, self._live_rate, now):
                    tasks.create_task(self._guarded(miner, self.check))
                groups = {members[0]: members for members in self.groups(miners)}
                for leader in self._due(self._read_times, sorted(groups), self._read_rate, now):
                    for miner in groups[leader]:
                        tasks.create_task(self._guarded(miner, self.read))
                await self._clock.sleep(self._pause_seconds)

    def groups(self, miners: Sequence[PublicKey]) -> list[list[PublicKey]]:
        """Return the miners in groups that share a coldkey or an address group, each sorted."""
        return together([neuron for neuron in self._directory.metagraph.neurons if neuron.hotkey in set(miners)])

    async def check(self, miner: PublicKey) -> None:
        """Check once whether a miner is there, in two tries."""
        peer = self._directory.peer(miner)
        there = peer is not None and (await self._directory.greet(peer) or await self._directory.greet(peer))
        self._engine.contact(miner, there=there, now=self._clock.now())
        if there or not self._engine.doubts:
            self._count(miner, Tally(live_ok=int(there), live_total=1))

    async def read(self, miner: PublicKey) -> None:
        """Read one whole piece as a client does, and check it."""
        piece = await self._holdings.draw_piece(miner, self._rng)
        if piece is None:
            return
        peer = self._directory.peer(miner)
        measured = None if peer is None else await self._read(peer, piece)
        if measured is not None:
            self._count(miner, measured)
        elif not self._engine.doubts:
            self._count(miner, Tally(reads_total=1))

    async def _read(self, peer: Peer, piece: Piece) -> Tally | None:
        """Return what a read measured, None where it failed."""
        call = Call(
            "GET",
            f"/v1/pieces/{piece.root.hex()}",
            answer_bytes_max=piece.length,
            deadline_seconds=limits.deadline_seconds(piece.length),
        )
        began = self._clock.now()
        try:
            await shake_hands(self._http, peer, "miner", self._network, local=self._is_local, clock=self._clock)
            greeted = self._clock.now()
            body = await self._http.bytes(peer, call)
        except HippyError as error:
            log.info("piece %s cannot be read from %s: %s", piece.root.hex(), peer, error)
            return None
        seconds = self._clock.now() - greeted
        if not await asyncio.to_thread(_is_piece, body, piece):
            log.warning("%s served other bytes for piece %s", peer, piece.root.hex())
            return None
        return measured_read(piece.length, seconds, round_trip_seconds=greeted - began)

    def _due(
        self, times: dict[PublicKey, float], keys: Sequence[PublicKey], rate_per_second: float, now: float
    ) -> list[PublicKey]:
        """Return for which keys a probe is due, each at most once, and draw their next times."""
        for gone in times.keys() - set(keys):
            del times[gone]
        due = []
        for key in keys:
            at = times.setdefault(key, now + self._rng.expovariate(rate_per_second))
            if at <= now:
                due.append(key)
                times[key] = now + self._rng.expovariate(rate_per_second)
        return due

    def _count(self, miner: PublicKey, tally: Tally) -> None:
        self._tallies[miner] = self._tallies.get(miner, Tally()) + tally

    async def _guarded(self, miner: PublicKey, probe: Callable[[PublicKey], Awaitable[None]]) -> None:
        try:
            async with self._slots:
                await probe(miner)
        except Exception:  # the top of a supervised task: one miner's odd answer must not end the others' probes
            log.exception("unexpected error while probing %s", ss58_encode(miner))


def together(neurons: Iterable[Neuron]) -> list[list[PublicKey]]:
    """Return neurons in groups that share a coldkey or an address group, directly or through others; all sorted."""
    group_of: dict[bytes | str, list[PublicKey]] = {}
    for neuron in neurons:
        marks: list[bytes | str] = [neuron.coldkey]
        marks += [neuron.endpoint.group] if neuron.endpoint is not None else []
        joined = {id(group): group for mark in marks if (group := group_of.get(mark)) is not None}
        merged = [neuron.hotkey, *(member for group in joined.values() for member in group)]
        for mark in [mark for mark, group in group_of.items() if id(group) in joined] + marks:
            group_of[mark] = merged
    return sorted(sorted(group) for group in {id(group): group for group in group_of.values()}.values())


def measured_read(length: int, seconds: float, *, round_trip_seconds: float) -> Tally:
    """Return what a successful read counts: short ones measure no throughput, the handshake's time is taken off."""
    if length < MEASURED_BYTES_MIN:
        return Tally(reads_ok=1, reads_total=1)
    net_seconds = max(seconds - round_trip_seconds, seconds / 2)
    return Tally(reads_ok=1, reads_total=1, read_bytes=length, read_microseconds=max(1, round(net_seconds * 1e6)))


def _is_piece(body: bytes, piece: Piece) -> bool:
    return len(body) == piece.length and piece_root(leaf_hashes(body), piece.length) == piece.root
