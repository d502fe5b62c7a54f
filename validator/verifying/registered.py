"""The miners that the chain shows registered, and since when (PROTOCOL §5.1, §6). Pure.

Example::

    registrations = registrations_of(await chain.metagraph(), moment, await chain.epoch_seconds())
"""

from __future__ import annotations

from typing import Final

from hippy.chain.protocol import Metagraph
from hippy.ids import PublicKey
from hippy.validator.departures import CERTAIN_BLOCKS
from hippy.validator.sheets import age_epochs
from hippy.validator.verifying.sheet import Registration
from hippy.validator.verifying.timing import DRIFT, EPOCHS_OFF, SLACK_SECONDS, Moment

KNOWN_SECONDS: Final = 120.0
"""How old a validator's metagraph may be when it notices that a miner came back."""


def registrations_of(metagraph: Metagraph, moment: Moment, epoch_seconds: float) -> dict[PublicKey, Registration]:
    """Return the registration of every neuron; blocks tell the time of one as headers' times are told."""
    block_seconds = epoch_seconds / max(1, metagraph.tempo_blocks)

    def certain_time(registered_block: int) -> float:
        age_seconds = (metagraph.block - registered_block) * block_seconds
        known_seconds = CERTAIN_BLOCKS * block_seconds + min(KNOWN_SECONDS, EPOCHS_OFF * epoch_seconds)
        return moment.time - (1 - DRIFT) * age_seconds + known_seconds + SLACK_SECONDS

    return {
        neuron.hotkey: Registration(
            uid=neuron.uid,
            since_epoch=moment.epoch - age_epochs(neuron, metagraph) + 1,
            coldkey=neuron.coldkey,
            certain_time=certain_time(neuron.registered_block),
        )
        for neuron in metagraph.neurons
    }
