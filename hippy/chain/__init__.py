"""The chain seam: ``Chain`` and its values. Implementations are imported by name from their modules."""

from hippy.chain.protocol import BeaconNotYet, Chain, Metagraph, Neuron

__all__ = ["BeaconNotYet", "Chain", "Metagraph", "Neuron"]
