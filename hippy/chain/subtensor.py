"""A subtensor node as hippy asks it things: the one place that imports the chain's SDK, ``bittensor``.

It owns the connection, made again after it broke, and the translation of the SDK's values and errors into ours. What
the answers mean for one subnet is hippy.chain.subtensor_chain's.

Invariants: every question has a deadline; a broken or silent connection is a TemporaryError, and the next question
connects anew; what the chain refuses comes as the error of hippy.chain.refusals. A transaction is composed and
checked (:meth:`Subtensor.prepare`) before it is sent (:meth:`Subtensor.send`), because only sending leaves a doubt
about what happened.

Example::

    async with open_subtensor(parse_network("finney")) as subtensor:
        await subtensor.query("SubtensorModule", "Tempo", [64])
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol, TypeVar

import bittensor as bt
from bittensor import BittensorError, ChainError, ExtrinsicResult, RpcConnectionError
from bittensor.settings import (
    FINNEY_GENESIS_HASH,
    default_archive_endpoints,
    default_fallback_endpoints,
    resolve_endpoint,
)

from hippy.chain.network import BittensorNetwork
from hippy.chain.protocol import Metagraph, Neuron
from hippy.chain.refusals import is_final, refusal
from hippy.chain.scale import raw_bytes
from hippy.endpoint import Endpoint
from hippy.errors import HippyError, ProtocolError, TemporaryError
from hippy.identity import ss58_decode, ss58_encode
from hippy.ids import PublicKey

__all__ = ["ChainError", "ExtrinsicResult", "RpcConnectionError", "Subtensor", "open_subtensor"]

log = logging.getLogger("hippy.chain")

CALL_SECONDS: Final = 30.0
"""For one question; a metagraph of 256 neurons takes the SDK 0.2 s, a slow endpoint some seconds."""

WRITE_SECONDS: Final = 120.0
"""From sending a transaction to its finalized block: four blocks of 12 s, and patience."""

ERA_BLOCKS: Final = 16
"""Blocks for which a transaction of ours can be included, a power of two; after these its fate is certain."""

PORT_PROTOCOL: Final = 4
"""What the chain keeps beside an endpoint as its protocol: TCP, by the SDK's custom."""

FINNEY_GENESIS: Final = raw_bytes(FINNEY_GENESIS_HASH)
"""The network id of Bittensor's mainnet."""

_LINK_ERRORS: Final = (RpcConnectionError, bt.ConnectionNotReady, OSError, TimeoutError)

_T = TypeVar("_T")


class Signer(Protocol):
    """A hotkey that can sign; hippy.identity.Identity is one."""

    @property
    def public_key(self) -> PublicKey:
        """The raw 32-byte sr25519 key."""

    def sign(self, message: bytes) -> bytes:
        """Return a 64-byte signature."""


@dataclass(frozen=True, slots=True)
class SdkSigner:
    """A Signer in the shape that the SDK takes (``bittensor.Signer``)."""

    signer: Signer
    crypto_type: int = 1
    """sr25519."""

    @property
    def ss58_address(self) -> str:
        """The key as people write it."""
        return ss58_encode(self.signer.public_key)

    @property
    def public_key(self) -> bytes:
        """The raw key."""
        return self.signer.public_key

    def sign(self, payload: bytes) -> bytes:
        """Return the signature of a transaction's payload."""
        return self.signer.sign(payload)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A transaction that is composed, checked and not sent yet."""

    call: Any
    signer: SdkSigner


MakeSubstrate = Callable[[], Any]
"""Returns a new ``bittensor.Substrate`` that is not connected yet."""


@asynccontextmanager
async def open_subtensor(
    network: BittensorNetwork,
    *,
    fallback_endpoints: Sequence[str] | None = None,
    make_substrate: MakeSubstrate | None = None,
) -> AsyncIterator[Subtensor]:
    """Open a connection that is made when it is first needed, and close it at the end.

    ``fallback_endpoints`` None takes the SDK's own for its public networks; ``make_substrate`` replaces the SDK's way
    to the chain.
    """
    fallbacks = None if fallback_endpoints is None else list(fallback_endpoints)
    subtensor = Subtensor(network.endpoint, make_substrate or partial(sdk_substrate, network.endpoint, fallbacks))
    try:
        yield subtensor
    finally:
        await subtensor.close()


def sdk_substrate(network: str, fallback_endpoints: list[str] | None) -> Any:
    """Return the SDK's own way to a network or endpoint, not connected yet."""
    name, endpoint = resolve_endpoint(network)
    fallbacks = default_fallback_endpoints(name) if fallback_endpoints is None else fallback_endpoints
    return bt.RpcSubstrate(
        endpoint,
        fallback_endpoints=[url for url in fallbacks if url != endpoint],
        archive_endpoints=default_archive_endpoints(name),
    )


class Subtensor:
    """One connection to a chain; see :func:`open_subtensor`."""

    def __init__(self, endpoint: str, make_substrate: MakeSubstrate) -> None:
        self._endpoint = endpoint
        self._make_substrate = make_substrate
        self._link: _Link | None = None
        self._connecting = asyncio.Lock()
        self._ending: set[asyncio.Task[None]] = set()

    async def block_hash(self, block: int) -> bytes:
        """Return the 32-byte hash of a block."""
        return raw_bytes(await self._ask(f"the hash of block {block}", lambda link: link.substrate.block_hash(block)))

    async def block_number(self) -> int:
        """Return the number of the newest block."""
        return int(await self._ask("its newest block", lambda link: link.substrate.block_number()))

    async def finalized_block_number(self) -> int:
        """Return the number of the newest block that cannot be taken back."""
        return int(await self._ask("its finalized block", lambda link: link.substrate.finalized_block_number()))

    async def block_seconds(self) -> float:
        """Return the time between two blocks."""
        return float(await self._ask("its block time", lambda link: link.substrate.block_time()))

    async def query(self, pallet: str, item: str, params: Sequence[Any] = (), *, block: int | None = None) -> Any:
        """Return a storage item's decoded value, now or as it was at a block.

        Raises NotImplementedError when the chain's runtime has no such item.
        """

        async def read(link: _Link) -> Any:
            at = None if block is None else await link.substrate.block_hash(block)
            return await link.substrate.query(pallet, item, list(params), block_hash=at)

        try:
            return await self._ask(f"{pallet}.{item}", read)
        except ValueError as error:
            if str(error).startswith("storage function"):  # the SDK's StorageFunctionNotFound has no public name
                raise NotImplementedError(f"this chain's runtime has no {pallet}.{item}") from error
            raise ProtocolError(f"the chain's {pallet}.{item} cannot be read: {error}") from error

    async def metagraph(self, netuid: int) -> Metagraph | None:
        """Return a subnet's neurons as they are now, in one runtime call; None when there is no such subnet."""
        found = await self._ask("its metagraph", lambda link: link.client.subnets.metagraph(netuid, commitments=False))
        if found is None:
            return None
        neurons = (_neuron(each) for each in found.neurons)
        return Metagraph(found.block, found.tempo, tuple(neuron for neuron in neurons if neuron is not None))

    async def blocks(self, stall_seconds: float) -> AsyncIterator[int]:
        """Yield the numbers of new blocks.

        Raises TemporaryError when they end, or when none comes for ``stall_seconds``.
        """
        link = await self._connected()
        headers: Any = link.client.blocks()  # a generator, whatever its annotation says
        try:
            while True:
                async with asyncio.timeout(stall_seconds):
                    header = await anext(headers, None)
                if header is None:
                    raise TemporaryError("the chain's node ended the stream of blocks")
                yield header.number
        except _LINK_ERRORS as error:
            await self._drop(link)
            raise _unreachable("new blocks", error) from error
        except ChainError as error:
            raise refusal(error.code.value, error.message) from error
        finally:
            with suppress(*_LINK_ERRORS, ChainError):
                await headers.aclose()

    async def prepare_endpoint(self, netuid: int, endpoint: Endpoint, signer: Signer) -> Prepared:
        """Compose the publication of a hotkey's endpoint (ServeAxon)."""
        intent = bt.ServeAxon(netuid=netuid, ip=endpoint.host, port=endpoint.port, protocol=PORT_PROTOCOL)
        return await self._prepare("publishing the endpoint", intent, signer)

    async def prepare_weights(self, netuid: int, weights: Mapping[int, float], signer: Signer) -> Prepared:
        """Compose a validator's weights (SetWeights): in the clear, or timelocked where the subnet asks for it."""
        return await self._prepare("setting weights", bt.SetWeights(netuid=netuid, weights=dict(weights)), signer)

    async def send(self, prepared: Prepared) -> None:
        """Sign and send a transaction, and return once it is in a finalized block and did what it should.

        Raises the chain's refusal when it is certain that nothing was done, DoubtError when it is not.
        """
        await self._send(lambda link: link.substrate.submit(prepared.call, prepared.signer, period=ERA_BLOCKS))

    async def send_registration(self, netuid: int, hotkey: PublicKey, coldkey: Signer) -> None:
        """Register a hotkey, paid and signed by its coldkey.

        Hidden until it is included where the chain offers that (the SDK insists), in the clear on chains without.
        Raises like :meth:`send`.
        """
        payer, address = SdkSigner(coldkey), ss58_encode(hotkey)
        if await self._hides():
            intent = bt.BurnedRegister(netuid=netuid, hotkey_ss58=address)
            await self._send(lambda link: link.client.execute(intent, payer))
        else:
            call = bt.calls.SubtensorModule.burned_register(netuid=netuid, hotkey=address)
            await self._send(lambda link: link.client.submit_call(call, payer, period=ERA_BLOCKS))

    async def _hides(self) -> bool:
        """Whether transactions can be hidden from others until they are included (MevShield).

        Raises TemporaryError while a chain that can has no key for it: then nothing goes out in the clear instead.
        """
        try:
            key = await self.query("MevShield", "NextKey")
        except NotImplementedError:
            return False
        if not key:
            raise TemporaryError("the chain has no key to hide a transaction with just now", hint="try again")
        return True

    async def _send(self, submit: Callable[[_Link], Awaitable[ExtrinsicResult]]) -> None:
        link = await self._connected()
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                result = await submit(link)
        except ChainError as error:
            raise _refused(error, is_included=False) from error
        except _LINK_ERRORS as error:
            await self._drop(link)
            raise DoubtError(f"the connection broke while a transaction was under way: {_words(error)}") from error
        if not result.success:
            reason = result.error or ChainError(result.message or "no reason was given")
            raise _refused(reason, is_included=result.block_hash is not None)

    async def close(self) -> None:
        """Let go of the connection; the next question would make a new one."""
        if self._link is not None:
            await self._drop(self._link)
        for task in self._ending:
            task.cancel()
        await asyncio.gather(*self._ending, return_exceptions=True)

    async def _prepare(self, what: str, intent: Any, signer: Signer) -> Prepared:
        sdk_signer = SdkSigner(signer)
        plan = await self._ask(what, lambda link: link.client.plan(intent, sdk_signer))
        if plan.violations:
            raise TemporaryError(f"{what} is not possible now: {'; '.join(plan.violations)}")
        return Prepared(plan.call, sdk_signer)

    async def _ask(self, what: str, question: Callable[[_Link], Awaitable[_T]]) -> _T:
        """Return the answer; the errors of connection and chain become ours."""
        link = await self._connected()
        try:
            async with asyncio.timeout(CALL_SECONDS):
                return await question(link)
        except ChainError as error:
            raise refusal(error.code.value, f"{what}: {error.message}") from error
        except _LINK_ERRORS as error:
            await self._drop(link)
            raise _unreachable(what, error) from error
        except BittensorError as error:  # the SDK's own checks, before it asks anybody
            raise refusal("invalid_argument", f"{what}: {error}") from error

    async def _connected(self) -> _Link:
        async with self._connecting:
            if self._link is None:
                self._link = await self._connect()
            return self._link

    async def _connect(self) -> _Link:
        substrate = self._make_substrate()
        link = _Link(bt.Client(self._endpoint, substrate=substrate), substrate)
        connecting = asyncio.ensure_future(substrate.connect())  # not the client's, which loads what displays need
        try:
            async with asyncio.timeout(CALL_SECONDS):
                await asyncio.shield(connecting)
        except BaseException as error:
            if not connecting.done():  # cancelled in its middle, the SDK would leave a socket open
                ending = asyncio.create_task(_close_after(connecting, substrate))
                self._ending.add(ending)
                ending.add_done_callback(self._ending.discard)
            if isinstance(error, (*_LINK_ERRORS, ChainError)):
                raise _unreachable("a connection", error) from error
            raise
        return link

    async def _drop(self, link: _Link) -> None:
        """Close a connection that somebody found broken, unless a newer one is in its place."""
        if self._link is link:
            self._link = None
            await _close(link.substrate)


@dataclass(frozen=True, slots=True, eq=False)
class _Link:
    """A connection: what the SDK does over it, and the thing itself. A question keeps to one, whoever drops it."""

    client: bt.Client
    substrate: Any


async def _close(substrate: Any) -> None:
    with suppress(*_LINK_ERRORS, ChainError):
        async with asyncio.timeout(CALL_SECONDS):
            await substrate.close()


async def _close_after(connecting: asyncio.Future[Any], substrate: Any) -> None:
    """Close a connection that nobody waits for any more, once it is made or has failed."""
    with suppress(*_LINK_ERRORS, ChainError):
        await connecting
    await _close(substrate)


class DoubtError(Exception):
    """A transaction was sent and nobody can say yet whether it was done."""


def _refused(error: ChainError, *, is_included: bool) -> HippyError | DoubtError:
    """Return the refusal of a transaction, or the doubt that it leaves."""
    if is_final(error.code.value, error.name, is_included=is_included):
        return refusal(error.code.value, error.message)
    return DoubtError(error.message)


def _unreachable(what: str, error: BaseException) -> TemporaryError:
    return TemporaryError(f"the chain does not answer ({what}): {_words(error)}", hint="is its endpoint right and up?")


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _neuron(found: Any) -> Neuron | None:
    """Return a neuron as we know it; None for one with a key that nobody can hold."""
    try:
        hotkey, coldkey = ss58_decode(found.hotkey), ss58_decode(found.coldkey)
    except ProtocolError as error:
        log.debug("uid %d is left out: %s", found.uid, error)  # the owner's uid of some subnets; not ours to mend
        return None
    return Neuron(
        uid=found.uid,
        hotkey=hotkey,
        coldkey=coldkey,
        endpoint=_endpoint(found.axon),
        validator_permit=found.validator_permit,
        stake_rao=found.total_stake.rao,
        registered_block=found.block_at_registration,
        incentive=found.incentive,
    )


def _endpoint(axon: str | None) -> Endpoint | None:
    """Return where a neuron says it listens; None where it says nothing, or nothing that can be meant."""
    if axon is None:
        return None
    try:
        return Endpoint.parse(axon)
    except ProtocolError:
        return None
