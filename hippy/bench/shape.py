"""The shape of what is measured: a code and the length of its pieces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hippy.erasure.geometry import PIECE_LENGTH_MAX, check_code
from hippy.errors import UsageError

KIB: Final = 1024
MIB: Final = 1024 * 1024

SEGMENT_BYTES_MAX: Final = 512 * MIB
"""Of the pieces of one segment; a bench holds about three times as much."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Segments of k · piece_bytes of user data in n pieces.

    Raises UsageError when there is no parity, for then nothing is computed, and for pieces that no network stores.
    """

    k: int
    n: int
    piece_bytes: int

    def __post_init__(self) -> None:
        check_code(self.k, self.n)
        if self.k == self.n:
            raise UsageError(f"a {self.k}/{self.n} code computes nothing", hint="use k/n with k < n, such as 10/24")
        if not 1 <= self.piece_bytes <= PIECE_LENGTH_MAX:
            raise UsageError(
                f"no piece has {self.piece_bytes:,} bytes", hint=f"pieces have 1 byte to {size_title(PIECE_LENGTH_MAX)}"
            )
        if self.n * self.piece_bytes > SEGMENT_BYTES_MAX:
            raise UsageError(
                f"{self.n} pieces of {size_title(self.piece_bytes)} take more memory than a bench may",
                hint=f"their product is at most {size_title(SEGMENT_BYTES_MAX)}",
            )

    @property
    def user_bytes(self) -> int:
        """Bytes of data in a segment."""
        return self.k * self.piece_bytes

    @property
    def title(self) -> str:
        """What people read: ``10/24 of 64 KiB``."""
        return f"{self.k}/{self.n} of {size_title(self.piece_bytes)}"

    @property
    def facts(self) -> dict[str, int]:
        """The parameters by name, for JSON."""
        return {"k": self.k, "n": self.n, "piece_bytes": self.piece_bytes}


def size_title(count: int) -> str:
    """Return ``4 MiB``, ``64 KiB`` or ``1,000 bytes``: the largest unit that leaves nothing over."""
    for unit, name in ((MIB, "MiB"), (KIB, "KiB")):
        if count % unit == 0:
            return f"{count // unit:,} {name}"
    return "1 byte" if count == 1 else f"{count:,} bytes"
