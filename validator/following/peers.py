"""The other validators of the subnet: who they are, whether they are there, and under which keys to seal for them.

A validator is a neuron with a permit, an endpoint and the stake that miners ask of one who issues tickets
(PROTOCOL §3.2). Chains give permits to miners that earn, too: who shook hands as a miner is none. What is here is what
the metagraph and handshakes say; :meth:`Validators.signed` tells it to clients.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from hippy.chain.protocol import Chain, Neuron
from hippy.clock import Clock
from hippy.endpoint import Endpoint
from hippy.errors import ProtocolError
from hippy.ids import PublicKey
from hippy.transport.client import Http, Peer
from hippy.transport.hello import shake_hands
from hippy.validator.directory import MinerDirectory
from hippy.validator.log import Home
from hippy.wire.node import EncryptionKey
from hippy.wire.validators import VALIDATORS_MAX, ValidatorEntry
from hippy.wire.validators import Validators as ValidatorsMessage

STAKE_MIN_RAO: Final = 1_000 * 10**9
"""What miners ask of a validator by default (PROTOCOL §3.2)."""

LIVE_SECONDS: Final = 60
"""A validator counts as live for so long after it answered us."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """When a validator answered last, in Unix seconds, and where."""

    endpoint: Endpoint
    time: int
    encryption_key: EncryptionKey | None


class Validators:
    """The validators of the subnet as this one sees them."""

    def __init__(
        self, http: Http, chain: Chain, directory: MinerDirectory, home: Home, clock: Clock, own: EncryptionKey | None
    ) -> None:
        self._http = http
        self._chain = chain
        self._directory = directory
        self._home = home
        self._clock = clock
        self._own_key = own
        self._stake_min_rao = 1 if chain.is_local else STAKE_MIN_RAO
        self._sightings: dict[PublicKey, Sighting] = {}
        self._signed = (0, b"")

    def is_validator(self, hotkey: PublicKey) -> bool:
        """Return whether the metagraph shows this key with a permit and enough stake, and it is no miner here."""
        neuron = self._directory.metagraph.by_hotkey(hotkey)
        return neuron is not None and self._is_permitted(neuron) and not self._directory.is_miner(hotkey)

    def others(self) -> list[Peer]:
        """Return the other validators that have an endpoint, in uid order; miners with a permit are none."""
        return [
            Peer(neuron.endpoint, neuron.hotkey)
            for neuron in self._permitted()
            if neuron.endpoint is not None and neuron.hotkey != self._home.hotkey
        ]

    def peer(self, hotkey: PublicKey) -> Peer | None:
        """Return where another validator says it listens."""
        return next((peer for peer in self.others() if peer.hotkey == hotkey), None)

    def is_live(self, hotkey: PublicKey) -> bool:
        """Return whether a validator answered a moment ago."""
        seen = self._sightings.get(hotkey)
        return seen is not None and self._clock.now() - seen.time <= LIVE_SECONDS

    def encryption_key(self, hotkey: PublicKey) -> EncryptionKey | None:
        """Return the key under which a validator wants seal keys, as its last handshake showed it."""
        seen = self._sightings.get(hotkey)
        return None if seen is None else seen.encryption_key

    async def greet(self, peer: Peer) -> None:
        """Have somebody prove to be a validator at this endpoint.

        Raises ProtocolError or AuthError when it is somebody else, TemporaryError when nobody answers.
        """
        network, local = self._home.network, self._chain.is_local
        hello = await shake_hands(self._http, peer, "validator", network, local=local, clock=self._clock)
        if hello.netuid != self._home.netuid:
            raise ProtocolError(f"{peer} serves another subnet")
        key = hello.encryption_key
        if key is not None:
            if key.validator != peer.hotkey:
                raise ProtocolError(f"{peer} shows another validator's encryption key")
            key.check_signature(peer.hotkey, network)
        self._sightings[peer.hotkey] = Sighting(peer.endpoint, int(self._clock.now()), key)

    def saw(self, peer: Peer) -> None:
        """Note that a validator that was greeted answered again."""
        seen = self._sightings.get(peer.hotkey)
        if seen is not None and seen.endpoint == peer.endpoint:
            self._sightings[peer.hotkey] = Sighting(seen.endpoint, int(self._clock.now()), seen.encryption_key)

    def signed(self, followed_seq: Callable[[PublicKey], int]) -> bytes:
        """Return the signed list that clients read, encoded; made again after a second, however often it is asked."""
        now = int(self._clock.now())
        if self._signed[0] != now:
            message = ValidatorsMessage(
                validator=self._home.hotkey,
                netuid=self._home.netuid,
                time=now,
                validators=tuple(self._entry(neuron, followed_seq, now) for neuron in self._permitted()),
            )
            self._signed = now, message.signed(self._home.identity, self._home.network).encode()
        return self._signed[1]

    def _entry(self, neuron: Neuron, followed_seq: Callable[[PublicKey], int], now: int) -> ValidatorEntry:
        seen = self._sightings.get(neuron.hotkey)
        is_us = neuron.hotkey == self._home.hotkey
        if is_us and neuron.endpoint is not None:
            seen = Sighting(neuron.endpoint, now, self._own_key)
        here = seen if seen is not None and seen.endpoint == neuron.endpoint else None
        return ValidatorEntry(
            uid=neuron.uid,
            hotkey=neuron.hotkey,
            endpoint=neuron.endpoint,
            state=self._state(neuron, here),
            seen_time=0 if here is None else here.time,
            followed_seq=followed_seq(neuron.hotkey),
            encryption_key=self._own_key if is_us else None if seen is None else seen.encryption_key,
        )

    def _state(self, neuron: Neuron, seen: Sighting | None) -> Literal["live", "silent", "unpublished"]:
        if neuron.endpoint is None:
            return "unpublished"
        return "live" if seen is not None and self._clock.now() - seen.time <= LIVE_SECONDS else "silent"

    def _permitted(self) -> list[Neuron]:
        return [
            neuron
            for neuron in self._directory.metagraph.neurons
            if self._is_permitted(neuron) and not self._directory.is_miner(neuron.hotkey)
        ][:VALIDATORS_MAX]

    def _is_permitted(self, neuron: Neuron) -> bool:
        return neuron.validator_permit and neuron.stake_rao >= self._stake_min_rao
