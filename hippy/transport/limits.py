"""Deadlines and sizes of HTTP between nodes. The table in docs/PROTOCOL.md §9 lists them for other languages."""

from __future__ import annotations

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


def deadline_seconds(body_bytes: int) -> float:
    """Return how long a request that moves ``body_bytes`` may take in all."""
    return BASE_DEADLINE_SECONDS + body_bytes / SLOWEST_BYTES_PER_SECOND
