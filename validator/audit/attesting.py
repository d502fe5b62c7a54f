"""Which attestations count, and whether they are enough to take pieces for silence (PROTOCOL §5.5). Pure.

Homes choose by it what they record, and strangers check by it what was recorded; a stranger knows the stakes of now,
and so asks for a little less.

Invariants: nobody counts twice, the home counts by its own transcript and not by an attestation, and whoever has no
permit counts for nothing.

Example::

    rule = Rule(network, netuid, home, miner, silent_seconds=86_400)
    found = rule.counted(attestations, stakes, now)
    is_enough([home, *found], stakes)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from hippy.chain.protocol import Metagraph
from hippy.errors import AuthError
from hippy.ids import NetworkId, PublicKey
from hippy.wire.attestation import ATTESTATION_SECONDS_MAX, Attestation
from hippy.wire.canonical import CLOCK_TOLERANCE_SECONDS

ROUNDING_SECONDS: Final = 1
"""Attestations tell times in whole seconds, and waiting times that are scaled are no whole ones."""

THIRD: Final = Fraction(1, 3)
"""Of the stake of all validators: whoever has more may take pieces for silence."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What an attestation must be to count for ``home`` against ``miner``."""

    network: NetworkId
    netuid: int
    home: PublicKey
    miner: PublicKey
    silent_seconds: float

    def counted(
        self, attestations: Iterable[Attestation], stakes: Mapping[PublicKey, int], now: float
    ) -> dict[PublicKey, Attestation]:
        """Return those that count, by their validators; ``stakes`` are of those with a permit.

        ``now`` is when they are used. What is not signed by its validator counts for nothing.
        """
        found: dict[PublicKey, Attestation] = {}
        for each in attestations:
            if each.validator in stakes and each.validator not in found and self._fits(each, now):
                try:
                    each.check_signature(each.validator, self.network)
                except AuthError:
                    continue
                found[each.validator] = each
        return found

    def _fits(self, each: Attestation, now: float) -> bool:
        """Whether it is another validator's word about this miner, fresh, and of silence for long enough."""
        is_ours = (each.network, each.netuid, each.miner) == (self.network, self.netuid, self.miner)
        is_fresh = now - ATTESTATION_SECONDS_MAX <= each.time <= now + CLOCK_TOLERANCE_SECONDS
        is_long = each.time - each.since >= self.silent_seconds - ROUNDING_SECONDS
        return is_ours and is_fresh and is_long and each.validator != self.home


def permitted_stakes(metagraph: Metagraph) -> dict[PublicKey, int]:
    """Return the stake of every validator with a permit, in rao."""
    return {neuron.hotkey: neuron.stake_rao for neuron in metagraph.neurons if neuron.validator_permit}


def is_enough(validators: Iterable[PublicKey], stakes: Mapping[PublicKey, int], *, more_than: Fraction = THIRD) -> bool:
    """Return whether these validators together hold more than this share of the stake of all."""
    held = sum(stakes.get(validator, 0) for validator in set(validators))
    return held > more_than * sum(stakes.values())
