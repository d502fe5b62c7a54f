"""hippy: a decentralized storage network for AI data. docs/ARCHITECTURE.md is the map.

Programs need ``AsyncClient`` or ``Client`` and the errors; they load on first use::

    import hippy

    with hippy.Client() as client:
        client.put(b"weights", "hippy://models/tiny.bin")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hippy.version import __version__

if TYPE_CHECKING:
    from hippy.client import AsyncClient, Client
    from hippy.errors import HippyError

__all__ = ["AsyncClient", "Client", "HippyError", "__version__"]


def __getattr__(name: str) -> object:
    from importlib import import_module

    homes = {"AsyncClient": "hippy.client", "Client": "hippy.client", "HippyError": "hippy.errors"}
    if name not in homes:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(homes[name]), name)
