"""Which chain a ``--network`` names."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path

from hippy.chain.local import open_local_chain
from hippy.chain.protocol import Chain
from hippy.clock import Clock
from hippy.errors import ConfigError
from hippy.ids import PublicKey

CHAIN_FILE = "chain.sqlite"
"""Name of a local network's chain inside its directory."""


def open_chain(network: str, hotkey: PublicKey | None, clock: Clock) -> AbstractAsyncContextManager[Chain]:
    """Open the chain that ``network`` names, as ``hotkey`` (None: as a reader).

    Raises ConfigError for a network this version cannot join.
    """
    kind, _, directory = network.partition(":")
    if kind != "local" or not directory:
        raise ConfigError(f"unknown network {network!r}", hint="this version joins local networks: local:DIR")
    return open_local_chain(Path(directory) / CHAIN_FILE, hotkey=hotkey, clock=clock)
