"""Deadlines, sizes and rates of HTTP between nodes, both halves.

The table in docs/PROTOCOL.md §9 lists them for other languages; tests/transport/test_limits.py holds it to what is
here. What a server grants its peers is one value, :class:`ServerLimits`, so that a test or an operator can run one
with others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

CONNECT_SECONDS: Final = 5.0
STALL_SECONDS: Final = 20.0
"""A peer that sends nothing for this long is given up."""

BASE_DEADLINE_SECONDS: Final = 20.0
SLOWEST_BYTES_PER_SECOND: Final = 128 * 1024
"""A transfer may be this slow before its deadline ends it: 4 MiB get 52 s."""

EXPECT_BYTES_MIN: Final = 64 * 1024
"""Longer bodies ask first (Expect: 100-continue): a refusal then costs a round trip, not the body."""

CHUNK_BYTES: Final = 256 * 1024
"""Bodies are handed to the socket in pieces of this size, so that one never holds up the loop."""

CONNECTIONS_MAX: Final = 256
CONNECTIONS_PER_PEER_MAX: Final = 8
ERROR_BYTES_MAX: Final = 64 * 1024
KEEPALIVE_SECONDS: Final = 30.0
SHUTDOWN_SECONDS: Final = 3.0
ERROR_TEXT_MAX: Final = 500

HEADER_BYTES_MAX: Final = 8190
"""Of the request line, and of every header: a ticket with its path has up to 7,168 (PROTOCOL §3.2)."""

HEADERS_MAX: Final = 64
"""Headers of a request; ours have a dozen."""

BACKLOG: Final = 512
"""Connections that the kernel keeps until we accept them."""

CONNECTIONS_PER_FILE: Final = 0.5
"""The share of the process's file descriptors that connections may take; the database, pieces and our own calls need
the rest."""

LINGER_BYTES_MAX: Final = EXPECT_BYTES_MIN
"""What is still taken of a body that was refused, and thrown away, so that the sender gets to read its refusal: what an
honest one sends without asking."""

ADDRESSES_MAX: Final = 16_384
"""Addresses whose budgets are remembered, the latest; some 6 MB."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A token bucket: ``burst`` at once, then ``per_second``."""

    per_second: float
    burst: int


CONNECTIONS_SERVED_MAX: Final = 1024
"""Idle ones cost some 10 KiB; what an answer or a body costs is bounded by the node's budget of such bytes."""


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """What a server grants its peers.

    An address is an IPv4 address or the /64 of an IPv6 address. Loopback has half of all connections and no budgets:
    whoever is there runs the machine, or came through a proxy of its operator, behind which all look alike. A local
    network has all its nodes and clients on it.
    """

    connections_max: int = CONNECTIONS_SERVED_MAX
    """In all, and never more than CONNECTIONS_PER_FILE of the file descriptors."""

    connections_per_address_max: int = 64
    """Eight clients (CONNECTIONS_PER_PEER_MAX each) behind one address."""

    silent_seconds: float = 10.0
    """From being accepted to the first byte."""

    head_seconds: float = 10.0
    """From a head's first byte to its last."""

    linger_seconds: float = 1.0
    """How long the rest of a refused body is taken and thrown away, up to LINGER_BYTES_MAX."""

    idle_seconds: float = 2.0
    """A connection that is not being answered for so long gives way to another address when no place is free."""

    look_seconds: float = 1.0
    """Between two looks at who is past a deadline: so much later they may end."""

    requests: Rate = Rate(per_second=1000, burst=5000)
    """All requests of an address. A client of 8 connections at 10 ms makes 800 a second."""

    anonymous: Rate = Rate(per_second=500, burst=5000)
    """Those without a signature: reads of pieces, handshakes, the public record. 500 pieces a second are more than
    1 Gbit/s from pieces of 256 KiB on, and as short answers a twentieth of a core."""

    failures: Rate = Rate(per_second=5, burst=100)
    """Answers that say the peer's fault (400, 401, 404 for a path that is none, 405, 408, 413, 422 to what it sent) and
    connections that never made a request. Each may have cost a signature, some 200 µs. The burst is an honest client
    with a wrong clock that puts many pieces."""

    loopback_has_budgets: bool = False


def deadline_seconds(body_bytes: int) -> float:
    """Return how long a request that moves ``body_bytes`` may take in all."""
    return BASE_DEADLINE_SECONDS + body_bytes / SLOWEST_BYTES_PER_SECOND


REPAIR_BASE_SECONDS: Final = 60.0
"""For the handshakes with all sources, the disk and the answer."""


def repair_seconds(read_bytes: int) -> float:
    """Return how long a miner may take for an order to repair that has it read ``read_bytes``, all sources together.

    Whoever waits for the answer lets the miner be silent for as long (hippy.transport.client.Call.stall_seconds).
    """
    return REPAIR_BASE_SECONDS + read_bytes / SLOWEST_BYTES_PER_SECOND
