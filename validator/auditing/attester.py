"""What this validator attests: the miners that have been silent to it for a day (PROTOCOL §5.5).

Owns ``GET /v1/attestations``. Anybody may ask, often, so an answer is kept for a while.

Invariants: nothing is attested of a miner that was reached since; a validator that did not reach most of its miners may
be the one that is cut off, and attests nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Final

from hippy.clock import Clock
from hippy.ids import PublicKey
from hippy.validator.auditing.contacts import Contacts
from hippy.validator.log import Home
from hippy.wire.attestation import Attestation, Attestations
from hippy.wire.node import MINERS_MAX

KEPT_SECONDS: Final = 10.0
"""How long an answer is given again: a thousand signatures take some 0.2 s."""


class Attester:
    """Signs attestations about the miners that this validator knows."""

    def __init__(
        self,
        home: Home,
        contacts: Contacts,
        clock: Clock,
        *,
        known: Callable[[], Collection[PublicKey]],
        doubts: Callable[[], bool],
        silent_seconds: float,
    ) -> None:
        """``known`` are the miners that hold anything or were ever reached; ``doubts``: silence means nothing now."""
        self._home = home
        self._contacts = contacts
        self._clock = clock
        self._known = known
        self._doubts = doubts
        self._silent_seconds = silent_seconds
        self._lock = asyncio.Lock()
        self._kept: tuple[float, bytes] | None = None

    async def encoded(self) -> bytes:
        """Return the attestations of now, or of some seconds ago, as they are answered."""
        async with self._lock:
            now = self._clock.now()
            if self._kept is None or now >= self._kept[0] + KEPT_SECONDS:
                silent = self.silent(int(now))
                self._kept = now, await asyncio.to_thread(self._signed, silent, int(now))
            return self._kept[1]

    def silent(self, now: int) -> list[tuple[PublicKey, int]]:
        """Return the miners that were not reached for a day, and since when, by hotkey; none when in doubt."""
        miners = self._known()
        since = [(miner, self._contacts.silent_since(miner)) for miner in sorted(miners)]
        silent = [(miner, time) for miner, time in since if now - time >= self._silent_seconds]
        return [] if self._doubts() or 2 * len(silent) > len(miners) else silent[:MINERS_MAX]

    def _signed(self, silent: Sequence[tuple[PublicKey, int]], now: int) -> bytes:
        home = self._home
        attestations = (
            Attestation(
                network=home.network, netuid=home.netuid, validator=home.hotkey, miner=miner, since=since, time=now
            ).signed(home.identity, home.network)
            for miner, since in silent
        )
        return Attestations(attestations=tuple(attestations)).encode()
