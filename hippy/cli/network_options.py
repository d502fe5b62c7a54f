"""Options that name a network and a wallet, spelled as Bittensor's users know them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

NETUID_MAX: Final = 65_535
"""The chain numbers subnets with 16 bits."""

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def network_options(*, required: bool) -> Decorator:
    """Return a decorator that adds ``--network`` and ``--netuid``."""
    network = click.option(
        "--network",
        required=required,
        metavar="NETWORK",
        help="local:DIR, private:HOST:PORT/SS58, finney, test, ws://HOST:PORT or wss://HOST:PORT.",
    )
    netuid = click.option(
        "--netuid", type=click.IntRange(0, NETUID_MAX), required=required, metavar="N", help="The subnet's number."
    )
    return lambda command: network(netuid(command))


def wallet_options(*, required: bool) -> Decorator:
    """Return a decorator that adds ``--wallet.name``, ``--wallet.hotkey`` and ``--wallet.path``."""
    name = click.option(
        "--wallet.name", "wallet_name", required=required, metavar="NAME", help="The wallet, as btcli calls it."
    )
    hotkey = click.option("--wallet.hotkey", "wallet_hotkey", metavar="NAME", help="Its hotkey (default: default).")
    path = click.option(
        "--wallet.path",
        "wallet_path",
        type=click.Path(file_okay=False, path_type=Path),
        help="Where wallets are (default: ~/.bittensor/wallets).",
    )
    return lambda command: name(hotkey(path(command)))
