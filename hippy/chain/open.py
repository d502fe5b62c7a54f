"""Which chain a ``--network`` names, opened.

Bittensor's SDK is heavy (0.7 s, 57 MB) and an extra of the package, so it is imported only for its networks.
``HIPPY_CHAIN_SUBSTRATE=module:factory`` replaces the SDK's way to a chain: the factory gets the endpoint and returns
a ``bittensor.Substrate``. It is for runtimes that the SDK does not fit and for tests, and refused for every chain that
is not on this machine, where whoever can set it could show a node any chain.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hippy.chain.cached import open_cached
from hippy.chain.local import open_local_chain
from hippy.chain.network import BittensorNetwork, LocalNetwork, PrivateNetwork, parse_network
from hippy.chain.protocol import Chain
from hippy.clock import Clock
from hippy.errors import ConfigError
from hippy.identity import Identity

if TYPE_CHECKING:
    from hippy.chain.subtensor import MakeSubstrate

CHAIN_FILE = "chain.sqlite"
"""Name of a local network's chain inside its directory."""

SUBSTRATE_VARIABLE: Final = "HIPPY_CHAIN_SUBSTRATE"


def open_chain(
    network: str,
    netuid: int,
    *,
    identity: Identity | None,
    clock: Clock,
    fallback_endpoints: Sequence[str] | None = None,
    environment: Mapping[str, str] = os.environ,
) -> AbstractAsyncContextManager[Chain]:
    """Open the chain that ``network`` names, as ``identity`` (None: as a reader).

    ``fallback_endpoints`` None takes the SDK's for its public networks. Raises ConfigError for a network or subnet that
    is not there, TemporaryError when no endpoint answers.
    """
    named = parse_network(network)
    if isinstance(named, LocalNetwork):
        path = Path(named.directory) / CHAIN_FILE
        return open_local_chain(path, hotkey=None if identity is None else identity.public_key, clock=clock)
    if isinstance(named, PrivateNetwork):
        return _open_private(named, identity, clock)
    make_substrate = substrate_factory(named, environment)
    return _open_bittensor(named, netuid, identity, clock, fallback_endpoints, make_substrate)


@asynccontextmanager
async def _open_private(network: PrivateNetwork, identity: Identity | None, clock: Clock) -> AsyncIterator[Chain]:
    from hippy.chain.served import open_served_chain

    async with (
        open_served_chain(network, identity=identity, clock=clock) as chain,
        open_cached(chain, clock) as cached,
    ):
        yield cached


@asynccontextmanager
async def _open_bittensor(
    network: BittensorNetwork,
    netuid: int,
    identity: Identity | None,
    clock: Clock,
    fallback_endpoints: Sequence[str] | None,
    make_substrate: MakeSubstrate | None,
) -> AsyncIterator[Chain]:
    try:
        from hippy.chain.subtensor_chain import open_subtensor_chain
    except ImportError as error:
        raise sdk_is_missing(error) from error
    async with (
        open_subtensor_chain(
            network,
            netuid,
            signer=identity,
            clock=clock,
            fallback_endpoints=fallback_endpoints,
            make_substrate=make_substrate,
        ) as chain,
        open_cached(chain, clock) as cached,
    ):
        yield cached


def sdk_is_missing(error: ImportError) -> ConfigError:
    """Return what to say when the chain's SDK cannot be imported."""
    return ConfigError(
        f"Bittensor networks need the chain's SDK, and {error.name} is not installed",
        hint="pip install 'hippy-net[miner]' or 'hippy-net[validator]'",
    )


def substrate_factory(network: BittensorNetwork, environment: Mapping[str, str] = os.environ) -> MakeSubstrate | None:
    """Return what makes connections, if the environment names it.

    Raises ConfigError where that is refused, or nothing of the name can be imported.
    """
    name = environment.get(SUBSTRATE_VARIABLE)
    if not name:
        return None
    if not network.loopback:
        raise ConfigError(
            f"{SUBSTRATE_VARIABLE} is for chains on this machine and refused for others",
            hint=f"unset {SUBSTRATE_VARIABLE}",
        )
    module, _, factory = name.partition(":")
    try:
        return partial(getattr(importlib.import_module(module), factory), network.endpoint)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"{SUBSTRATE_VARIABLE}={name} names nothing: {error}", hint="use module:factory") from error
