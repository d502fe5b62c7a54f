"""ServedChain: the chain of a private network, kept on one machine and asked by the others over HTTP.

A private network is for people who trust one machine to keep the time, the beacon and who is registered: its
*keeper* (hippy.net.keeper), which serves a LocalChain. Nodes name it as ``private:HOST:PORT/SS58``, the SS58 address
being the keeper's key. Every answer is checked against that key and a fresh nonce, so the way there need not be
trusted; what nodes write is signed by their hotkeys.

Epochs are waited for by asking once a block. Wrap it in hippy.chain.cached, as hippy.chain.open does, so that the
keeper is not asked for every ticket.

Example::

    async with open_served_chain(named, identity=identity, clock=clock) as chain:
        await chain.publish_endpoint(Endpoint("192.168.1.20", 4100))
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final, TypeVar

import aiohttp
from yarl import URL

from hippy.chain.network import PrivateNetwork
from hippy.chain.protocol import BeaconNotYet, Metagraph, Neuron
from hippy.chain.weights import UID_MAX, check_weights, normalised
from hippy.clock import Clock
from hippy.endpoint import Endpoint
from hippy.errors import AuthError, HippyError, ProtocolError, TemporaryError, UnreachableError, UsageError, from_wire
from hippy.identity import Identity
from hippy.ids import NetworkId
from hippy.wire.btauth import SignedRequest, sign_request
from hippy.wire.canonical import Message, SignedMessage
from hippy.wire.chain import (
    BILLION,
    CHAIN_BYTES_MAX,
    NO_NETWORK,
    ChainDone,
    ChainState,
    EndpointRequest,
    ServedBeacon,
    ServedNeuron,
    ServedWeights,
    WeightShare,
    WeightsRequest,
)
from hippy.wire.fields import INTEGER_MAX

ANSWER_SECONDS: Final = 10.0
"""The keeper answers from memory and one small file."""

ERROR_TEXT_MAX: Final = 500

SKEW_SECONDS_MAX: Final = 2.0
"""How far a node's clock may be off the keeper's: signatures from further in the future are refused (btauth/1), by the
keeper and by every other node."""

TOLD_SECONDS: Final = 1.0
"""The keeper tells whole seconds."""

MICROSECONDS: Final = 1_000_000

S = TypeVar("S", bound=SignedMessage)


class ServedChain:
    """A hippy.chain.protocol.Chain behind its keeper's port; made by :func:`open_served_chain`."""

    def __init__(
        self, session: aiohttp.ClientSession, named: PrivateNetwork, identity: Identity | None, clock: Clock
    ) -> None:
        self._session = session
        self._named = named
        self._identity = identity
        self._clock = clock
        self._last_nonce_ns = 0
        self._network: NetworkId | None = None
        self._netuid = 0

    async def meet(self) -> None:
        """Ask for the first time.

        Raises UnreachableError when nobody answers, AuthError when somebody else does, TemporaryError when this
        machine's clock is not the keeper's: nothing it signs would be taken, and a clock may be set while it starts.
        """
        asked = self._clock.now()
        state = await self._state()
        early = state.time + TOLD_SECONDS + SKEW_SECONDS_MAX < asked
        if early or state.time - SKEW_SECONDS_MAX > self._clock.now():
            off_seconds = self._clock.now() - state.time
            raise TemporaryError(
                f"this machine's clock is {off_seconds:+.0f} s off the keeper's", hint="set both clocks (NTP)"
            )
        self._network, self._netuid = state.network, state.netuid

    @property
    def network(self) -> NetworkId:
        """The private network's random id."""
        assert self._network is not None, "a served chain is met before it is used"
        return self._network

    @property
    def netuid(self) -> int:
        """The subnet's number."""
        return self._netuid

    @property
    def is_local(self) -> bool:
        """True: the network's machines may have private addresses, and its operator owns them all."""
        return True

    async def metagraph(self) -> Metagraph:
        """See Chain."""
        state = await self._state()
        neurons = tuple(_neuron(each) for each in state.neurons)
        return Metagraph(block=state.block, tempo_blocks=state.tempo_blocks, neurons=neurons)

    async def current_block(self) -> int:
        """See Chain."""
        return (await self._state()).block

    async def current_epoch(self) -> int:
        """See Chain."""
        return (await self._state()).epoch

    async def epoch_seconds(self) -> float:
        """See Chain."""
        state = await self._state()
        return state.tempo_blocks * state.block_microseconds / MICROSECONDS

    async def beacon(self, round_number: int) -> bytes:
        """See Chain."""
        if round_number < 0:
            raise UsageError(f"beacon rounds count from 0, there is no round {round_number}")
        if round_number > INTEGER_MAX:
            raise BeaconNotYet(f"beacon round {round_number} lies in the future")
        nonce = secrets.token_bytes(32)
        served = await self._get(f"/v1/chain/beacon/{round_number}?nonce={nonce.hex()}", ServedBeacon)
        if (served.nonce, served.round) != (nonce, round_number):
            raise ProtocolError("the keeper answered another question")
        if served.beacon is None:
            raise BeaconNotYet(f"beacon round {round_number} lies in the future")
        return served.beacon

    async def beacon_round(self) -> int:
        """See Chain."""
        return (await self._state()).beacon_round

    async def rounds_per_epoch(self) -> int:
        """See Chain."""
        return (await self._state()).rounds_per_epoch

    async def publish_endpoint(self, endpoint: Endpoint) -> None:
        """See Chain."""
        await self._post("/v1/chain/endpoint", EndpointRequest(endpoint=endpoint))

    async def set_weights(self, weights: Mapping[int, float]) -> None:
        """See Chain."""
        check_weights(weights)
        for uid in weights:
            if not 0 <= uid <= UID_MAX:
                raise UsageError(f"nobody is registered as uid {uid}")
        largest = max(weights.values())
        shares = [
            WeightShare(uid=uid, share_ppb=max(1, round(weight / largest * BILLION)) if weight > 0 else 0)
            for uid, weight in sorted(weights.items())
        ]
        await self._post("/v1/chain/weights", WeightsRequest(shares=tuple(shares)))

    async def weights_of(self, uid: int) -> dict[int, float]:
        """See Chain."""
        if not 0 <= uid <= UID_MAX:
            return {}
        nonce = secrets.token_bytes(32)
        served = await self._get(f"/v1/chain/weights/{uid}?nonce={nonce.hex()}", ServedWeights)
        if (served.nonce, served.uid) != (nonce, uid):
            raise ProtocolError("the keeper answered another question")
        return normalised({share.uid: float(share.share_ppb) for share in served.shares})

    async def wait_for_epoch(self) -> int:
        """See Chain."""
        state = await self._state()
        began = state.epoch
        while state.epoch <= began:
            await self._clock.sleep(state.block_microseconds / MICROSECONDS)
            state = await self._state()
        return state.epoch

    async def close(self) -> None:
        """See Chain."""
        await self._session.close()

    async def _state(self) -> ChainState:
        nonce = secrets.token_bytes(32)
        state = await self._get(f"/v1/chain?nonce={nonce.hex()}", ChainState)
        if state.nonce != nonce:
            raise ProtocolError("the keeper answered another question")
        if self._network is not None and (state.network, state.netuid) != (self._network, self._netuid):
            raise ProtocolError("the keeper serves another network than before", hint="restart this node")
        return state

    async def _get(self, target: str, kind: type[S]) -> S:
        return self._checked(await self._exchange("GET", target, b"", {}), kind)

    async def _post(self, target: str, message: Message) -> None:
        if self._identity is None:
            raise AuthError("this chain was opened by a reader, who has no hotkey")
        body = message.encode()
        self._last_nonce_ns = max(int(self._clock.now() * 1e9), self._last_nonce_ns + 1)
        signed = SignedRequest("POST", target, body)
        headers = sign_request(self._identity, signed, receiver=self._named.keeper, now_ns=self._last_nonce_ns)
        done = self._checked(await self._exchange("POST", target, body, headers), ChainDone)
        if done.body_hash != hashlib.sha256(body).digest():
            raise ProtocolError("the keeper answered another request")

    def _checked(self, raw: bytes, kind: type[S]) -> S:
        answer = kind.parse(raw, limit=CHAIN_BYTES_MAX)
        answer.check_signature(self._named.keeper, NO_NETWORK)
        return answer

    async def _exchange(self, method: str, target: str, body: bytes, headers: Mapping[str, str]) -> bytes:
        url = URL(self._named.endpoint.url + target, encoded=True)
        try:
            async with (
                asyncio.timeout(ANSWER_SECONDS),
                self._session.request(
                    method, url, data=body or None, headers=headers, allow_redirects=False
                ) as response,
            ):
                raw = await response.content.read(CHAIN_BYTES_MAX + 1)
                while chunk := await response.content.read(CHAIN_BYTES_MAX + 1 - len(raw)):
                    raw += chunk
        except TimeoutError:
            raise TemporaryError(f"the keeper at {self._named.endpoint} did not answer in time") from None
        except (aiohttp.ClientError, OSError) as error:
            raise UnreachableError(
                f"no answer from the keeper at {self._named.endpoint}: {type(error).__name__}",
                hint="is `hippy chain serve` running there?",
            ) from None
        if response.status != 200:
            raise _refusal(response.status, raw)
        return raw


@asynccontextmanager
async def open_served_chain(
    named: PrivateNetwork, *, identity: Identity | None, clock: Clock
) -> AsyncIterator[ServedChain]:
    """Open a private network's chain as ``identity`` (None: a reader).

    Raises UnreachableError when the keeper does not answer, AuthError when somebody else answers for it.
    """
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=4), cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
    ) as session:
        chain = ServedChain(session, named, identity, clock)
        await chain.meet()
        yield chain


def _neuron(served: ServedNeuron) -> Neuron:
    return Neuron(
        uid=served.uid,
        hotkey=served.hotkey,
        coldkey=served.coldkey,
        endpoint=served.endpoint,
        validator_permit=bool(served.validator_permit),
        stake_rao=int(served.stake_rao),
        registered_block=served.registered_block,
        incentive=served.incentive_ppb / BILLION,
    )


def _refusal(status: int, raw: bytes) -> HippyError:
    """Return the error in an answer; its words are a stranger's, so they are cut and made printable."""
    try:
        told = json.loads(raw)["error"]
        code, words = str(told["code"])[:32], str(told["message"])[:ERROR_TEXT_MAX]
        return from_wire(code, "".join(each if each.isprintable() else "?" for each in words))
    except (ValueError, KeyError, TypeError, RecursionError):
        return ProtocolError(f"the keeper answered with status {status}")
