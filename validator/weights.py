"""From scores to weights on chain. Pure.

A score belongs to a hotkey, a weight to a uid, and uids are given away again: each hotkey is looked up in the
metagraph of the moment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hippy.chain.protocol import Metagraph
from hippy.ids import PublicKey
from hippy.wire.score import MinerScore


def weights_of(scores: Sequence[MinerScore], metagraph: Metagraph, validator: PublicKey) -> dict[int, float]:
    """Return uid → share of all weights, without zeros; empty when nobody earned any.

    Miners that are no longer registered and the validator itself get none.
    """
    by_hotkey = {score.hotkey: score.weight for score in scores if score.weight > 0}
    by_uid = {
        neuron.uid: by_hotkey[neuron.hotkey]
        for neuron in metagraph.neurons
        if neuron.hotkey in by_hotkey and neuron.hotkey != validator
    }
    total = sum(by_uid.values())
    return {uid: weight / total for uid, weight in by_uid.items()}


def differences(expected: Mapping[int, float], found: Mapping[int, float]) -> dict[int, float]:
    """Return uid → found less expected share, over all uids of both."""
    return {uid: found.get(uid, 0.0) - expected.get(uid, 0.0) for uid in sorted(expected.keys() | found.keys())}
