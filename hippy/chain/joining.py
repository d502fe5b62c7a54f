"""How a node joins its network: the hotkey it is, the checks before it starts, and the chain opened as that hotkey.

All of it is what any node does whatever its role; what a role asks of its neuron (a permit) the role checks. Nothing
connects before the checks passed; a chain on this machine that turns out to be mainnet is checked for again.

On Bittensor's chains a node refuses to start beside an unencrypted coldkey, with a coldkey in the hotkey's place, and
with an address that nobody could reach. On local networks, and on a development chain on this machine, all that is
fine: nothing there is worth stealing.

Example::

    async with joined_chain(settings, clock) as node:
        await node.chain.metagraph()
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hippy.chain.network import BittensorNetwork, parse_network
from hippy.chain.open import open_chain
from hippy.chain.protocol import Chain
from hippy.chain.publish import check_publishable
from hippy.chain.wallet import Wallet, check_coldkey_away, check_not_coldkey
from hippy.clock import Clock
from hippy.errors import ConfigError
from hippy.identity import Identity, load_keyfile


class JoiningSettings(Protocol):
    """What a node's settings (hippy.settings.NodeSettings) say about its place on a network."""

    @property
    def network(self) -> str:
        """What hippy.chain.network.parse_network takes."""

    @property
    def netuid(self) -> int:
        """The subnet's number."""

    @property
    def published_host(self) -> str:
        """The numeric address to publish."""

    @property
    def fallback_endpoints(self) -> Sequence[str] | None:
        """Where else the chain is reached; None: where the SDK says."""

    @property
    def hotkey_file(self) -> Path | None:
        """The hotkey, or None: a wallet is named."""

    @property
    def wallet_name(self) -> str | None:
        """The wallet, or None: a file is named."""

    @property
    def wallet_hotkey(self) -> str | None:
        """The hotkey in the wallet; None: the usual one."""

    @property
    def wallet_path(self) -> Path | None:
        """Where the wallet is; None: where wallets are."""


@dataclass(frozen=True, slots=True)
class Joined:
    """A node's key, and the chain as its hotkey sees it."""

    identity: Identity
    chain: Chain


@asynccontextmanager
async def joined_chain(settings: JoiningSettings, clock: Clock) -> AsyncIterator[Joined]:
    """Load the hotkey, make the checks, and open the chain for the duration of the block.

    Raises ConfigError for whatever is wrong with key, address, network or subnet, TemporaryError when the chain does
    not answer.
    """
    network = parse_network(settings.network)
    hotkey_file = _hotkey_file(settings)
    local = not isinstance(network, BittensorNetwork) or network.loopback
    identity = await asyncio.to_thread(_checked_identity, settings.published_host, hotkey_file, local=local)
    async with open_chain(
        settings.network,
        settings.netuid,
        identity=identity,
        clock=clock,
        fallback_endpoints=settings.fallback_endpoints,
    ) as chain:
        if chain.netuid != settings.netuid:
            raise ConfigError(
                f"{settings.network} has subnet {chain.netuid}, the settings say subnet {settings.netuid}"
            )
        await asyncio.to_thread(_checked_identity, settings.published_host, hotkey_file, local=chain.is_local)
        yield Joined(identity, chain)


def _checked_identity(host: str, hotkey_file: Path, *, local: bool) -> Identity:
    """Return the hotkey; reads files.

    Raises ConfigError where there is none, and where a node would show the world too little or too much.
    """
    check_publishable(host, local=local)
    if local:
        return load_keyfile(hotkey_file)
    check_coldkey_away(hotkey_file)
    identity = load_keyfile(hotkey_file)
    check_not_coldkey(hotkey_file, identity.public_key)
    return identity


def _hotkey_file(settings: JoiningSettings) -> Path:
    if settings.hotkey_file is not None:
        return settings.hotkey_file
    if settings.wallet_name is None:
        raise ConfigError("the settings name no hotkey", hint="set wallet_name, or hotkey_file")
    return Wallet.named(settings.wallet_name, settings.wallet_hotkey, settings.wallet_path).hotkey_file
