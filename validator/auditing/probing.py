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
from random import Random
from typing import Final, Protocol

from hippy.chain.protocol import Neuron
from hippy.clock import Clock
from hippy.identity import ss58_encode
from hippy.ids import PublicKey
from hippy.validator.audit.engine import AuditEngine
from hippy.validator.audit.rules import AuditRules
from hippy.validator.auditing.reading import Piece, PieceReader
from hippy.validator.directory import MinerDirectory
from hippy.validator.scoring import Tally

log = logging.getLogger("hippy.validator")

AT_ONCE_MAX: Final = 64
"""Checks and reads under way; a piece is up to 4 MiB."""

PAUSE_SECONDS: Final = 1.0
"""How often it is looked whether a probe is due, at most."""


class Holdings(Protocol):
    """What a prober may read."""

    def audited(self) -> Sequence[PublicKey]:
        """Return the miners that hold anything, in order."""

    async def draw_pieces(self, miner: PublicKey, rng: Random) -> Sequence[Piece]:
        """Return pieces that a miner holds now, drawn by bytes, to be read at once; none where it holds nothing."""


class Prober:
    """Probes every miner that holds anything."""

    def __init__(
        self,
        reader: PieceReader,
        directory: MinerDirectory,
        holdings: Holdings,
        clock: Clock,
        rng: Random,
        rules: AuditRules,
        *,
        epoch_seconds: float,
        engine: AuditEngine,
        reached: Callable[[PublicKey], None] = lambda _: None,
    ) -> None:
        """The engine is told who was there, and knows whether the validator doubts itself; ``reached`` is told of whom
        anything could be read.
        """
        self._reader = reader
        self._directory = directory
        self._holdings = holdings
        self._clock = clock
        self._rng = rng
        self._live_rate = rules.live_checks / epoch_seconds
        self._read_rate = rules.reads / epoch_seconds
        self._pause_seconds = min(PAUSE_SECONDS, epoch_seconds / 100)
        self._engine = engine
        self._reached = reached
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
        wanted = set(miners)
        return together(neuron for neuron in self._directory.metagraph.neurons if neuron.hotkey in wanted)

    async def check(self, miner: PublicKey) -> None:
        """Check once whether a miner is there, in two tries."""
        if await self._is_there(miner):
            self._count(miner, Tally(live_ok=1, live_total=1))
        else:
            self._count_failed(miner, Tally(live_total=1))

    async def read(self, miner: PublicKey) -> None:
        """Read pieces of a miner; where none comes and it is not there, that is absence and no refusal."""
        pieces = await self._holdings.draw_pieces(miner, self._rng)
        if not pieces:
            return
        peer = self._directory.peer(miner)
        found = Tally(reads_total=len(pieces)) if peer is None else await self._reader.read(peer, pieces)
        if found.reads_ok:
            self._reached(miner)
        if found.reads_ok == found.reads_total:
            self._count(miner, found)
        elif found.reads_ok or await self._is_there(miner):
            self._count_failed(miner, found)
        else:
            self._count_failed(miner, Tally(live_total=1))

    async def _is_there(self, miner: PublicKey) -> bool:
        peer = self._directory.peer(miner)
        there = peer is not None and (await self._directory.greet(peer) or await self._directory.greet(peer))
        self._engine.contact(miner, there=there, now=self._clock.now())
        return there

    def _count_failed(self, miner: PublicKey, tally: Tally) -> None:
        """Count a failure, unless the validator doubts itself."""
        if not self._engine.doubts:
            self._count(miner, tally)

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
    all_neurons = list(neurons)
    sharing: dict[bytes | str, list[Neuron]] = {}
    for neuron in all_neurons:
        for mark in _marks(neuron):
            sharing.setdefault(mark, []).append(neuron)
    groups, seen = list[list[PublicKey]](), set[PublicKey]()
    for first in all_neurons:
        group, reached = list[PublicKey](), [first]
        while reached:
            neuron = reached.pop()
            if neuron.hotkey in seen:
                continue
            seen.add(neuron.hotkey)
            group.append(neuron.hotkey)
            for mark in _marks(neuron):
                reached += sharing.pop(mark, ())  # each once: whoever shares it is reached now
        if group:
            groups.append(sorted(group))
    return sorted(groups)


def _marks(neuron: Neuron) -> list[bytes | str]:
    """Return what a neuron may share with others."""
    return [neuron.coldkey] if neuron.endpoint is None else [neuron.coldkey, neuron.endpoint.group]
