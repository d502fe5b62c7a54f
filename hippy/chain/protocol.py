"""The chain seam: what hippy asks of a Bittensor chain, and the values it answers with.

Every role is given a :class:`Chain` and knows nothing else of chains. Implementations pass one contract suite
(hippy.testing.chain_contract): ``LocalChain``, a SQLite file shared by the processes of a local network, and
``SubtensorChain``, a subnet of Bittensor.

Registration is no part of the seam: it spends money and is done by a person, once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from hippy.endpoint import Endpoint
from hippy.ids import NetworkId, PublicKey


@dataclass(frozen=True, slots=True)
class Neuron:
    """One registered identity of the subnet. ``stake_rao`` is the chain's stake weight in rao (10^-9)."""

    uid: int
    hotkey: PublicKey
    coldkey: PublicKey
    endpoint: Endpoint | None
    validator_permit: bool
    stake_rao: int
    registered_block: int
    incentive: float


@dataclass(frozen=True, slots=True)
class Metagraph:
    """All neurons of one subnet at one block, in uid order."""

    block: int
    tempo_blocks: int
    neurons: tuple[Neuron, ...]

    def by_hotkey(self, hotkey: PublicKey) -> Neuron | None:
        """Return the neuron registered under ``hotkey``, or None."""
        return next((neuron for neuron in self.neurons if neuron.hotkey == hotkey), None)


class BeaconNotYet(Exception):  # noqa: N818 - an answer, not an error: the round lies in the future
    """The beacon of this round is not known yet; nobody may know it early (PROTOCOL §3.1)."""


class Chain(Protocol):
    """One subnet on one chain, seen by one hotkey (or by nobody, for readers)."""

    @property
    def network(self) -> NetworkId:
        """The chain's genesis hash, or the local network's random id."""

    @property
    def netuid(self) -> int:
        """The subnet's number."""

    @property
    def is_local(self) -> bool:
        """Whether private and loopback endpoints are allowed and diversity rules relaxed."""

    async def metagraph(self) -> Metagraph:
        """Return the current metagraph.

        Raises TemporaryError when the chain cannot be reached and nothing fresh enough is cached.
        """

    async def current_block(self) -> int:
        """Return the newest block number."""

    async def current_epoch(self) -> int:
        """Return the number of the epoch that the newest block is in."""

    async def epoch_seconds(self) -> float:
        """Return how long an epoch takes, about: its blocks times the time between two."""

    async def beacon(self, round_number: int) -> bytes:
        """Return the 32 random bytes of a beacon round.

        Raises BeaconNotYet while the round lies in the future, UsageError for a negative one.
        """

    async def beacon_round(self) -> int:
        """Return the newest round whose beacon is known."""

    async def rounds_per_epoch(self) -> int:
        """Return how many beacon rounds an epoch has, about, and at least 1 (PROTOCOL §3.5).

        An estimate is enough: audit batches of the last rounds that come after the epoch's end are given up.
        """

    async def publish_endpoint(self, endpoint: Endpoint) -> None:
        """Make ``endpoint`` the address of our hotkey.

        Raises AuthError when the hotkey is not registered, TemporaryError when the chain does not take it now.
        """

    async def set_weights(self, weights: Mapping[int, float]) -> None:
        """Set our weights, uid → non-negative weight.

        Raises AuthError without a validator permit, UsageError for no positive entry or a negative or
        foreign one, TemporaryError when the chain does not take them now.
        """

    async def weights_of(self, uid: int) -> dict[int, float]:
        """Return the weights that a validator has on chain now, uid → share of 1; empty when it has none.

        Of timelocked ones those that were revealed last. Zeros are left out, and a weight ends when its uid passes to
        another neuron. A uid that is not registered has none. Raises TemporaryError when the chain does not answer.
        """

    async def wait_for_epoch(self) -> int:
        """Return the number of the next epoch (or a later one, after a pause) once its first block is there."""

    async def close(self) -> None:
        """Let go of connections and files; a second time does nothing."""
