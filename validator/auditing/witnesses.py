"""Asks other validators whether a miner is silent to them too, where our word alone takes no pieces (PROTOCOL §5.5).

Owns the asking: who, how many at once, how long. What counts and what is enough is hippy.validator.audit.attesting's.

Invariants: only validators with a permit are asked, each behind a handshake and with a deadline, and none twice within
KEPT_SECONDS however many batches fail; what comes of it are attestations that are enough, or none.

Example::

    attestations = await witnesses.against(miner)
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Final

from hippy.chain.protocol import Neuron
from hippy.clock import Clock
from hippy.errors import HippyError
from hippy.ids import PublicKey
from hippy.transport.client import Call, Http, Peer
from hippy.transport.hello import shake_hands
from hippy.validator.audit.attesting import Rule, is_enough, permitted_stakes
from hippy.validator.directory import MinerDirectory
from hippy.validator.log import Home
from hippy.wire.attestation import ATTESTATIONS_BYTES_MAX, ATTESTERS_MAX, Attestation, Attestations

log = logging.getLogger("hippy.validator")

ASKED_AT_ONCE: Final = 8
ANSWER_SECONDS: Final = 5.0
"""For an answer of 512 KiB; the handshake before it has as long."""

WAIT_SECONDS: Final = 20.0
"""For all of them: who has not answered then is not counted."""

KEPT_SECONDS: Final = 60.0
"""How long answers are used: a miner that is gone fails four batches or more an epoch."""


class Witnesses:
    """The other validators, as far as they are asked for attestations."""

    def __init__(
        self,
        http: Http,
        directory: MinerDirectory,
        home: Home,
        clock: Clock,
        *,
        is_local: bool,
        silent_seconds: float,
    ) -> None:
        """``silent_seconds`` is for how long a miner must have been silent to a witness."""
        self._http = http
        self._directory = directory
        self._home = home
        self._clock = clock
        self._is_local = is_local
        self._silent_seconds = silent_seconds
        self._slots = asyncio.Semaphore(ASKED_AT_ONCE)
        self._lock = asyncio.Lock()
        self._asked_time = float("-inf")
        self._told: list[Attestation] = []

    async def against(self, miner: PublicKey) -> tuple[Attestation, ...]:
        """Return what other validators attest of a miner's silence, as much as it takes; none where that is not enough.

        Those with the largest stakes come first.
        """
        stakes = permitted_stakes(self._directory.metagraph)
        if self._home.hotkey not in stakes:
            return ()
        told = await self._ask_all(stakes)
        home = self._home
        rule = Rule(home.network, home.netuid, home.hotkey, miner, self._silent_seconds)
        about = [each for each in told if each.miner == miner]
        counted = await asyncio.to_thread(rule.counted, about, stakes, self._clock.now())
        chosen: list[PublicKey] = []
        for validator in sorted(counted, key=lambda each: (-stakes[each], each)):
            chosen.append(validator)
            if is_enough([home.hotkey, *chosen], stakes):
                return tuple(counted[each] for each in chosen)
        return ()

    async def _ask_all(self, stakes: Mapping[PublicKey, int]) -> list[Attestation]:
        """Return what all say, as they said it within KEPT_SECONDS."""
        async with self._lock:
            if self._clock.now() < self._asked_time + KEPT_SECONDS:
                return self._told
            neurons = [neuron for neuron in self._directory.metagraph.neurons if neuron.hotkey in stakes]
            others = [neuron for neuron in neurons if neuron.hotkey != self._home.hotkey]
            others.sort(key=lambda neuron: (-neuron.stake_rao, neuron.hotkey))
            told: list[Attestation] = []
            try:
                async with asyncio.timeout(WAIT_SECONDS), asyncio.TaskGroup() as tasks:
                    for neuron in others[:ATTESTERS_MAX]:
                        tasks.create_task(self._ask(neuron, told))
            except TimeoutError:
                log.info("some validators did not say in time which miners are silent to them")
            self._asked_time, self._told = self._clock.now(), told
            return told

    async def _ask(self, neuron: Neuron, told: list[Attestation]) -> None:
        """Add what one validator attests, of itself alone; nothing where it cannot be had."""
        if neuron.endpoint is None:
            return
        peer = Peer(neuron.endpoint, neuron.hotkey)
        call = Call("GET", "/v1/attestations", answer_bytes_max=ATTESTATIONS_BYTES_MAX, deadline_seconds=ANSWER_SECONDS)
        try:
            async with self._slots:
                await shake_hands(
                    self._http, peer, "validator", self._home.network, local=self._is_local, clock=self._clock
                )
                body = await self._http.bytes(peer, call)
            found = await asyncio.to_thread(Attestations.parse, body, limit=ATTESTATIONS_BYTES_MAX)
        except HippyError as error:
            log.info("no attestations from %s: %s", peer, error)
            return
        # One about each miner: a signature is checked for every one that is kept.
        told += {each.miner: each for each in found.attestations if each.validator == neuron.hotkey}.values()
