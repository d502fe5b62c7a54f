"""Probes of simulated miners, as hippy.validator.auditing.probing has them: who is there, what is served, how fast.

What a read counts is the validator's own :func:`hippy.validator.auditing.reading.measured`, how many pieces it takes
the validator's own constants; this module makes up when the bytes arrive. Invariants: whoever shares a coldkey or an
address group is read at the same moment, through one pipe; while the engine doubts, failures are not counted.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence

from hippy.ids import PublicKey, Root
from hippy.sim.dossier import Dossier
from hippy.sim.miner import SimMiner
from hippy.sim.network import Stream, half_seconds
from hippy.transport.hello import HELLO_SECONDS
from hippy.transport.limits import deadline_seconds
from hippy.validator.audit.engine import AuditEngine
from hippy.validator.auditing.inventories import pieces_at_once
from hippy.validator.auditing.reading import measured
from hippy.wire.score import ScoreRules


class SimProber:
    """Probes miners and notes what comes of it in their dossiers."""

    def __init__(
        self,
        miners: Sequence[SimMiner],
        dossiers: Mapping[PublicKey, Dossier],
        engine: AuditEngine,
        rules: ScoreRules,
        rng: random.Random,
    ) -> None:
        """The engine is told who was there, and knows whether the validator doubts itself."""
        self.groups = _groups(miners)
        self._dossiers = dossiers
        self._engine = engine
        self._rules = rules
        self._rng = rng
        self._wanted: dict[int, int] = {}
        """Leaves of an inventory → pieces of a read."""

    def shakes_hands(self, miner: SimMiner, now: float) -> bool:
        """Whether a handshake succeeds."""
        return miner.is_there(now) and miner.link.hello_seconds(self._rng) <= HELLO_SECONDS

    def check(self, miner: SimMiner, now: float) -> None:
        """Check liveness, in two tries."""
        dossier = self._dossiers[miner.hotkey]
        if self._is_there(miner, now):
            dossier.live_ok += 1
            dossier.live_total += 1
        elif not self._engine.doubts:
            dossier.live_total += 1

    def read(self, group: Sequence[SimMiner], now: float) -> None:
        """Read pieces of every miner of a group at the same moment."""
        asked, all_lengths = [], []
        for miner in group:
            pieces = self._draw_pieces(miner)
            if pieces:
                miner.asked_bytes += sum([length for _, length in pieces])
                shaken = self.shakes_hands(miner, now)
                serves, shelf = miner.strategy.serves, miner.shelf
                lengths = [length for root, length in pieces if serves(shelf, root, length)] if shaken else []
                asked.append((miner, len(pieces), lengths, now if shaken else now + HELLO_SECONDS))
                all_lengths += lengths
        course = group[0].link.course(all_lengths)
        for miner, wanted, lengths, ended in asked:
            late = miner.strategy.late_seconds
            streams = [miner.link.stream(length, course, self._rng, late_seconds=late) for length in lengths]
            self._note_read(miner, wanted, streams, ended)

    def _note_read(self, miner: SimMiner, wanted: int, streams: Sequence[Stream], ended: float) -> None:
        """Count a read as the validator does; where none came and the miner is not there, that is absence."""
        dossier = self._dossiers[miner.hotkey]
        came = [stream for stream in streams if stream.end_seconds <= deadline_seconds(stream.length)]
        miner.served_bytes += sum([stream.length for stream in came])
        if len(came) == wanted:
            dossier.reads_ok += wanted
            dossier.reads_total += wanted
            self._measure(dossier, came)
        elif came or self._is_there(miner, ended):
            if not self._engine.doubts:
                dossier.reads_ok += len(came)
                dossier.reads_total += wanted
        elif not self._engine.doubts:
            dossier.live_total += 1

    def _measure(self, dossier: Dossier, streams: Sequence[Stream]) -> None:
        total = sum([stream.length for stream in streams])
        whole_seconds = max([stream.end_seconds for stream in streams])
        found = measured(total, total // 2, whole_seconds - half_seconds(streams), whole_seconds)
        dossier.read_bytes += found.read_bytes
        dossier.read_microseconds += found.read_microseconds

    def _draw_pieces(self, miner: SimMiner) -> list[tuple[Root, int]]:
        """Return what a read asks for, as hippy.validator.auditing.inventories draws it."""
        leaves = miner.shelf.inventory.total_leaves
        if not leaves:
            return []
        wanted = self._wanted.get(leaves)
        if wanted is None:
            wanted = self._wanted[leaves] = pieces_at_once(leaves, self._rules)
        return miner.shelf.draw_pieces(wanted, self._rng)

    def _is_there(self, miner: SimMiner, now: float) -> bool:
        there = self.shakes_hands(miner, now) or self.shakes_hands(miner, now + HELLO_SECONDS)
        if there:
            miner.seen_time = max(miner.seen_time, now)
        self._engine.contact(miner.hotkey, there=there, now=now)
        return there


def _groups(miners: Sequence[SimMiner]) -> list[list[SimMiner]]:
    """Return the miners by what they share, a coldkey or an address group; strangers are groups of one."""
    groups: dict[tuple[PublicKey, str], list[SimMiner]] = defaultdict(list)
    for miner in miners:
        groups[miner.coldkey, miner.group].append(miner)  # in this world whoever shares one shares both
    return list(groups.values())
