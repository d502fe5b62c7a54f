"""One message of every type of hippy.wire.chain, with every optional field present."""

from __future__ import annotations

from typing import Final

from hippy.endpoint import Endpoint
from hippy.identity import Identity
from hippy.ids import NetworkId, PublicKey
from hippy.wire.canonical import Message
from hippy.wire.chain import (
    BILLION,
    ChainDone,
    ChainState,
    EndpointRequest,
    ServedBeacon,
    ServedNeuron,
    ServedWeights,
    WeightShare,
    WeightsRequest,
)

KEEPER: Final = Identity.from_seed(b"v" * 32)
NETWORK: Final = NetworkId(b"N" * 32)
NEURON: Final = ServedNeuron(
    uid=1,
    hotkey=PublicKey(b"h" * 32),
    coldkey=PublicKey(b"c" * 32),
    endpoint=Endpoint("127.0.0.1", 80),
    validator_permit=1,
    stake_rao="18446744073709551615",
    registered_block=7,
    incentive_ppb=BILLION,
)
SHARE: Final = WeightShare(uid=1, share_ppb=BILLION)

CHAIN_MESSAGES: Final[list[Message]] = [
    NEURON,
    ChainState(
        nonce=b"n" * 32,
        network=NETWORK,
        netuid=7,
        time=1_800_000_000,
        block=9,
        block_microseconds=12_000_000,
        tempo_blocks=360,
        epoch=2,
        beacon_round=9,
        rounds_per_epoch=360,
        neurons=(NEURON,),
    ).signed(KEEPER, NETWORK),
    ServedBeacon(nonce=b"n" * 32, round=9, beacon=b"b" * 32).signed(KEEPER, NETWORK),
    SHARE,
    ServedWeights(nonce=b"n" * 32, uid=1, shares=(SHARE,)).signed(KEEPER, NETWORK),
    EndpointRequest(endpoint=Endpoint("127.0.0.1", 80)),
    WeightsRequest(shares=(SHARE,)),
    ChainDone(body_hash=b"d" * 32).signed(KEEPER, NETWORK),
]
