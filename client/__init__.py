"""The client: puts files into the network and gets them back. Start at hippy.client.sdk.

Both exports load on first use, so that ``import hippy.client.home`` costs a command line nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hippy.client.sdk import AsyncClient
    from hippy.client.sync_client import Client

__all__ = ["AsyncClient", "Client"]


def __getattr__(name: str) -> object:
    from importlib import import_module

    homes = {"AsyncClient": "hippy.client.sdk", "Client": "hippy.client.sync_client"}
    if name not in homes:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(homes[name]), name)
