"""Everything a client holds while it is open: keys, connections, its validator, the miners.

``open_session`` shakes hands with the home validator before anything is sent to it, and takes from its hello the
key that seal envelopes are made for.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from hippy.client.home import Credentials
from hippy.client.keys import AccountKeys
from hippy.client.miners import Miners
from hippy.client.prepare import Entropy
from hippy.client.seen import SeenRows
from hippy.client.validator_api import ValidatorApi
from hippy.clock import Clock
from hippy.errors import ProtocolError
from hippy.ids import NetworkId, SegmentId
from hippy.seal import envelope_info, seal_envelope
from hippy.transport.client import Http, Peer, open_http
from hippy.transport.hello import shake_hands
from hippy.wire.node import EncryptionKey, Hello
from hippy.wire.segment import SealEnvelope


@dataclass(frozen=True, slots=True)
class Session:
    """What the parts of a client share. Made by :func:`open_session`."""

    keys: AccountKeys
    network: NetworkId
    netuid: int
    local: bool
    http: Http
    api: ValidatorApi
    miners: Miners
    seen: SeenRows
    envelope_key: EncryptionKey
    clock: Clock
    entropy: Entropy = field(default=secrets.token_bytes)

    def seal_envelope(self, segment_id: SegmentId, seal_key: bytes) -> SealEnvelope:
        """Return a segment's seal key as only our validator can read it (PROTOCOL §3.3)."""
        key = self.envelope_key
        info = envelope_info(self.network, self.netuid, self.keys.account, segment_id, key.validator, key.key_id)
        return SealEnvelope(
            validator=key.validator, key_id=key.key_id, ciphertext=seal_envelope(seal_key, key.key, info)
        )


@asynccontextmanager
async def open_session(
    credentials: Credentials, clock: Clock, rng: random.Random, seen: SeenRows
) -> AsyncIterator[Session]:
    """Open connections and meet the home validator.

    Raises TemporaryError when it is away, ProtocolError or AuthError when somebody else answers for it.
    """
    keys = AccountKeys.of_seed(credentials.seed)
    peer = Peer(credentials.validator_endpoint, credentials.validator_hotkey)
    network = credentials.network
    async with open_http(keys.identity, clock) as http:
        hello = await shake_hands(http, peer, "validator", network, local=credentials.local, clock=clock)
        api = ValidatorApi(http, peer, keys.account, network, clock, rng)
        miners = Miners(http, api, network, clock, local=credentials.local)
        try:
            yield Session(
                keys=keys,
                network=network,
                netuid=credentials.netuid,
                local=credentials.local,
                http=http,
                api=api,
                miners=miners,
                seen=seen,
                envelope_key=_envelope_key(hello, credentials, clock.now()),
                clock=clock,
            )
        finally:
            await miners.close()


def _envelope_key(hello: Hello, credentials: Credentials, now: float) -> EncryptionKey:
    key = hello.encryption_key
    if hello.netuid != credentials.netuid:
        raise ProtocolError(f"the validator serves subnet {hello.netuid}, the account is on {credentials.netuid}")
    if key is None or key.validator != credentials.validator_hotkey or not key.not_before <= now < key.not_after:
        raise ProtocolError("the validator offers no encryption key that is valid now")
    key.check_signature(credentials.validator_hotkey, credentials.network)
    return key
