"""Reaching the validators that issued our tickets: through the metagraph, and only after a handshake (PROTOCOL §1).

Example::

    peer = await issuers.reach(validator)
    answer = await http.message(peer, Call("POST", "/v1/lost", body=report.encode()), LostAnswer)
"""

from __future__ import annotations

import asyncio
from typing import Final

from hippy.chain.protocol import Chain, Neuron
from hippy.clock import Clock
from hippy.errors import TemporaryError, UnreachableError
from hippy.identity import ss58_encode
from hippy.ids import PublicKey
from hippy.transport.client import Http, Peer
from hippy.transport.hello import shake_hands

CHAIN_SECONDS: Final = 10.0
"""As long as permits wait for a metagraph (hippy.miner.permits)."""


class Issuers:
    """The validators of one subnet, as a miner reaches them."""

    def __init__(self, chain: Chain, http: Http, clock: Clock) -> None:
        self._chain = chain
        self._http = http
        self._clock = clock

    async def reach(self, validator: PublicKey) -> Peer:
        """Return where a validator is, having shaken hands with it.

        Raises TemporaryError when it is away, or the chain is, ProtocolError and AuthError when somebody else answers.
        """
        neuron = await self._neuron(validator)
        if neuron is None or neuron.endpoint is None:
            raise UnreachableError(f"{ss58_encode(validator)} has no endpoint on this subnet now")
        peer = Peer(neuron.endpoint, validator)
        chain = self._chain
        await shake_hands(self._http, peer, "validator", chain.network, local=chain.is_local, clock=self._clock)
        return peer

    async def is_registered(self, hotkey: PublicKey) -> bool:
        """Return whether the metagraph shows a hotkey. Raises TemporaryError when the chain does not answer."""
        return await self._neuron(hotkey) is not None

    async def _neuron(self, hotkey: PublicKey) -> Neuron | None:
        try:
            async with asyncio.timeout(CHAIN_SECONDS):
                return (await self._chain.metagraph()).by_hotkey(hotkey)
        except TimeoutError:
            raise TemporaryError("the chain does not answer") from None
