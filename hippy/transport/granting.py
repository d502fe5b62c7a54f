"""What a server grants its peers, with what its operator changed of it.

>>> granted(connections_max=100).connections_max
100
"""

from __future__ import annotations

from dataclasses import replace

from hippy.transport.limits import ServerLimits


def granted(*, connections_max: int | None = None, connections_per_address_max: int | None = None) -> ServerLimits:
    """Return the usual limits with those that are given in place of theirs; None leaves one as it is."""
    limits = ServerLimits()
    return replace(
        limits,
        connections_max=limits.connections_max if connections_max is None else connections_max,
        connections_per_address_max=(
            limits.connections_per_address_max if connections_per_address_max is None else connections_per_address_max
        ),
    )
