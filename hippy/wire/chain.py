"""A private network's chain as its keeper tells it to other machines (docs/PROTOCOL.md §10).

Every answer is signed by the keeper and names the nonce it was asked with, so nobody between can make one up or show
an old one. Shares of weights and incentives are integers, in parts per billion.
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from hippy.wire.canonical import Message, SignedMessage
from hippy.wire.fields import INTEGER_MAX, U16, Address, Bytes32, Count, Key, Network, Seconds
from hippy.wire.node import MINERS_MAX

BILLION: Final = 10**9
NO_NETWORK: Final = bytes(32)
"""Answers are signed as for no network: a stranger learns the network's id from the first of them."""

CHAIN_BYTES_MAX: Final = 1024 * 1024
"""1,024 neurons of some 400 bytes each."""

Positive = Annotated[int, Field(ge=1, le=INTEGER_MAX)]


class ServedNeuron(Message):
    """One neuron; hippy.chain.protocol.Neuron says what the fields mean. ``validator_permit`` is 0 or 1."""

    TYPE = "neuron"
    uid: U16
    hotkey: Key
    coldkey: Key
    endpoint: Address | None = None
    validator_permit: Annotated[int, Field(ge=0, le=1)]
    stake_rao: Annotated[str, Field(pattern=r"^(0|[1-9][0-9]{0,19})$")]
    """Decimal: amounts in rao are larger than the integers of canonical JSON."""

    registered_block: Count
    incentive_ppb: Annotated[int, Field(ge=0, le=BILLION)]


class ChainState(SignedMessage):
    """``GET /v1/chain?nonce=``: everything that changes with time, at one moment."""

    TYPE = "chain-state"
    nonce: Bytes32
    network: Network
    netuid: U16
    time: Seconds
    block: Count
    block_microseconds: Positive
    tempo_blocks: Positive
    epoch: Count
    beacon_round: Count
    rounds_per_epoch: Positive
    neurons: Annotated[tuple[ServedNeuron, ...], Field(max_length=MINERS_MAX)]


class ServedBeacon(SignedMessage):
    """``GET /v1/chain/beacon/{round}``; the beacon is absent while the round lies in the future."""

    TYPE = "beacon"
    nonce: Bytes32
    round: Count
    beacon: Bytes32 | None = None


class WeightShare(Message):
    """One entry of a validator's weights."""

    TYPE = "weight-share"
    uid: U16
    share_ppb: Annotated[int, Field(ge=0, le=BILLION)]


class ServedWeights(SignedMessage):
    """``GET /v1/chain/weights/{uid}``: the weights that a validator has set, by uid."""

    TYPE = "weights"
    nonce: Bytes32
    uid: U16
    shares: Annotated[tuple[WeightShare, ...], Field(max_length=MINERS_MAX)]


class EndpointRequest(Message):
    """``POST /v1/chain/endpoint``, signed by the hotkey (btauth/1): where it is reached."""

    TYPE = "publish-endpoint"
    endpoint: Address


class WeightsRequest(Message):
    """``POST /v1/chain/weights``, signed by the hotkey of a validator (btauth/1)."""

    TYPE = "set-weights"
    shares: Annotated[tuple[WeightShare, ...], Field(min_length=1, max_length=MINERS_MAX)]


class ChainDone(SignedMessage):
    """A write was taken; ``body_hash`` is the SHA-256 of the request's body."""

    TYPE = "chain-done"
    body_hash: Bytes32
