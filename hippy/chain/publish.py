"""Making a node's address known: which addresses may be published, and publishing until the chain takes it.

Strangers connect to what is published, so it must be reachable from anywhere; clients and validators ignore private
addresses (docs/PROTOCOL.md §1). The chain limits how often an endpoint may change, and may be away: a node that has
everything else goes on trying rather than ending.

Example::

    check_publishable(settings.host, local=False)
    async with serving(app, settings.host, settings.port) as endpoint:
        await publish(chain, endpoint, clock)
"""

from __future__ import annotations

import logging
from ipaddress import ip_address
from typing import Final

from hippy.chain.protocol import Chain
from hippy.clock import Clock
from hippy.endpoint import Endpoint
from hippy.errors import ConfigError, TemporaryError

log = logging.getLogger("hippy.chain")

PAUSE_SECONDS_MIN: Final = 12.0
"""One block of mainnet: nothing can have changed before."""

PAUSE_SECONDS_MAX: Final = 120.0
"""Limits on serving are tens of blocks long; ten more blocks offline is what waiting too long may cost."""


def check_publishable(host: str, *, local: bool) -> None:
    """Look whether a node may publish this numeric address; ``local``: all its peers are on this machine or network.

    Raises ConfigError for an address that means no machine, and for one that its peers would not connect to.
    """
    if ip_address(host).is_unspecified:
        raise ConfigError(
            f"{host} is every address of this machine, and none that others can connect to",
            hint="set publish_host to the address that others reach this machine at",
        )
    place = Endpoint(host, 1)
    if local and not (place.is_public or place.is_inside):
        raise ConfigError(
            f"{host} is no address that other machines would connect to",
            hint="set host, or publish_host, to an address of this machine like 192.168.1.21",
        )
    if not local and not place.is_public:
        raise ConfigError(
            f"{host} is not a public address, so nobody on this network could reach the node",
            hint="set host to a public address of this machine, or publish_host to the one it is reached at",
        )


async def publish(chain: Chain, endpoint: Endpoint, clock: Clock) -> None:
    """Make ``endpoint`` the address of our hotkey, trying until the chain takes it.

    Raises AuthError when the hotkey is not registered, UsageError when the chain would never take this address.
    """
    pause_seconds = PAUSE_SECONDS_MIN
    while True:
        try:
            return await chain.publish_endpoint(endpoint)
        except TemporaryError as error:
            log.warning("%s is not published yet, next try in %.0f s: %s", endpoint, pause_seconds, error)
        await clock.sleep(pause_seconds)
        pause_seconds = min(2 * pause_seconds, PAUSE_SECONDS_MAX)
