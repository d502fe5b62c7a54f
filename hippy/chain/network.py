"""What ``--network`` names: a local network's directory, or a Bittensor chain and where it is reached.

``local:DIR`` is a network on one machine (hippy.chain.local), ``private:HOST:PORT/SS58`` one on several, whose chain is
kept at that address by who has that key (hippy.chain.served). ``finney`` and ``test`` are Bittensor's, reached where
its SDK says; ``ws://…`` and ``wss://…`` name a chain by its endpoint. A chain whose endpoint is a loopback address is
somebody's own, unless it turns out to be a node of mainnet: there, and on local networks, nodes may publish private
addresses.

Example::

    parse_network("finney")                     # BittensorNetwork("finney", loopback=False)
    parse_network("ws://127.0.0.1:9944")        # BittensorNetwork("ws://127.0.0.1:9944", loopback=True)
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from hippy.endpoint import Endpoint
from hippy.errors import ConfigError, ProtocolError
from hippy.identity import ss58_decode
from hippy.ids import PublicKey

PUBLIC_NETWORKS: Final = ("finney", "test")
"""Bittensor's networks by the names that its users know."""

_HINT: Final = "name one of: local:DIR, private:HOST:PORT/SS58, finney, test, ws://HOST:PORT, wss://HOST:PORT"


@dataclass(frozen=True, slots=True)
class LocalNetwork:
    """A network on this machine, in a directory."""

    directory: str


@dataclass(frozen=True, slots=True)
class PrivateNetwork:
    """A network on several machines, whose chain one of them keeps."""

    endpoint: Endpoint
    keeper: PublicKey


@dataclass(frozen=True, slots=True)
class BittensorNetwork:
    """A chain, by the name or the endpoint that its SDK takes; ``loopback``: its endpoint is this machine."""

    endpoint: str
    loopback: bool

    @property
    def is_public(self) -> bool:
        """Whether this is one of Bittensor's own networks."""
        return self.endpoint in PUBLIC_NETWORKS


def parse_network(text: str) -> LocalNetwork | PrivateNetwork | BittensorNetwork:
    """Return what a network setting names.

    Raises ConfigError, naming what there is, for anything else.
    """
    kind, _, directory = text.partition(":")
    if kind == "local" and directory:
        return LocalNetwork(directory)
    if kind == "private":
        return _private(directory)
    if text in PUBLIC_NETWORKS:
        return BittensorNetwork(text, loopback=False)
    if kind in ("ws", "wss"):
        return BittensorNetwork(text, loopback=_is_loopback(_host(text)))
    raise ConfigError(f"unknown network {text!r}", hint=_HINT)


def _private(text: str) -> PrivateNetwork:
    address, _, keeper = text.partition("/")
    try:
        return PrivateNetwork(Endpoint.parse(address), ss58_decode(keeper))
    except ProtocolError as error:
        raise ConfigError(
            f"private:{text[:120]} is no private network: {error.message}",
            hint="`hippy chain serve` prints the name to use, like private:192.168.1.10:4000/5F…",
        ) from None


def _host(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.username is not None or parts.password is not None:
        raise ConfigError("this network is not the endpoint of a chain", hint=_HINT)  # it may hold a provider's key
    return host


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
