"""Reading pieces as any client does, and measuring how fast they come (PROTOCOL §5.5).

Throughput is taken from the second half of what comes: one stream starts slowly, and by all of its time a distant
miner looks slower than it is. So that nobody sits on the first half, what a whole read takes beyond
:data:`START_SECONDS` counts too.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from hippy.clock import Clock
from hippy.errors import HippyError
from hippy.ids import NetworkId, Root
from hippy.proofs.tree import leaf_hashes, piece_root
from hippy.transport import limits
from hippy.transport.client import Call, Http, Peer
from hippy.transport.hello import shake_hands
from hippy.validator.scoring import Tally

log = logging.getLogger("hippy.validator")

MEASURED_BYTES_MIN: Final = 2**20
"""Shorter reads tell more of the round trip than of the pipe."""

START_SECONDS: Final = 2.0
"""What connecting, finding the piece and slow start may take before it counts."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece that a miner should have."""

    root: Root
    length: int


class _Arrivals:
    """When half of the bytes of a read had come, and how many came after that."""

    def __init__(self, total: int, clock: Clock) -> None:
        self._total = total
        self._clock = clock
        self._arrived = 0
        self.half_time: float | None = None
        self.rest_bytes = 0

    def count(self, size: int) -> None:
        """Note that so many bytes came."""
        self._arrived += size
        if self.half_time is None and 2 * self._arrived >= self._total:
            self.half_time, self.rest_bytes = self._clock.now(), self._total - self._arrived


class PieceReader:
    """Reads for a prober, anonymously."""

    def __init__(self, http: Http, network: NetworkId, clock: Clock, *, is_local: bool) -> None:
        """``http`` signs nothing."""
        self._http = http
        self._network = network
        self._clock = clock
        self._is_local = is_local

    async def read(self, peer: Peer, pieces: Sequence[Piece]) -> Tally:
        """Read pieces at the same time, each whole, and return how many came, and how fast if all did."""
        total = sum(piece.length for piece in pieces)
        arrivals = _Arrivals(total, self._clock)
        try:
            await shake_hands(self._http, peer, "miner", self._network, local=self._is_local, clock=self._clock)
        except HippyError as error:
            log.info("no handshake before a read from %s: %s", peer, error)
            return Tally(reads_total=len(pieces))
        began = self._clock.now()
        came = await asyncio.gather(*(self._read(peer, piece, arrivals) for piece in pieces))
        ended, succeeded = self._clock.now(), sum(came)
        counted = Tally(reads_ok=succeeded, reads_total=len(pieces))
        if succeeded < len(pieces) or arrivals.half_time is None:
            return counted
        return counted + measured(total, arrivals.rest_bytes, ended - arrivals.half_time, ended - began)

    async def _read(self, peer: Peer, piece: Piece, arrivals: _Arrivals) -> bool:
        call = Call(
            "GET",
            f"/v1/pieces/{piece.root.hex()}",
            answer_bytes_max=piece.length,
            deadline_seconds=limits.deadline_seconds(piece.length),
            arrived=arrivals.count,
        )
        try:
            body = await self._http.bytes(peer, call)
        except HippyError as error:
            log.info("piece %s cannot be read from %s: %s", piece.root.hex(), peer, error)
            return False
        is_right = await asyncio.to_thread(_is_piece, body, piece)
        if not is_right:
            log.warning("%s served other bytes for piece %s", peer, piece.root.hex())
        return is_right


def measured(total_bytes: int, rest_bytes: int, rest_seconds: float, whole_seconds: float) -> Tally:
    """Return what a read that succeeded says of throughput: ``rest_bytes`` came in ``rest_seconds``, at its end.

    A whole read that took longer than its second half explains counts with what it took beyond START_SECONDS. Short
    reads say nothing.
    """
    if total_bytes < MEASURED_BYTES_MIN:
        return Tally()
    if rest_bytes == 0:  # it came in one go
        rest_bytes, rest_seconds = total_bytes, whole_seconds
    late_seconds = (whole_seconds - START_SECONDS) * rest_bytes / total_bytes
    return Tally(read_bytes=rest_bytes, read_microseconds=max(1, round(max(rest_seconds, late_seconds) * 1e6)))


def _is_piece(body: bytes, piece: Piece) -> bool:
    return len(body) == piece.length and piece_root(leaf_hashes(body), piece.length) == piece.root
