"""How many pieces there are, how long they are, and when losing some of them matters.

Owns the limits of a code, the named profiles and the arithmetic between a segment's data and its
pieces. Leaves the computing of pieces to hippy.erasure.codec and the choice of a default profile (it depends
on how many miners are alive) to the client.

Invariants: 1 <= k <= repair_threshold <= commit_min <= n <= 255. A segment record holds only k and n, so the
threshold is a function of these two (:func:`profile_of`): every validator repairs at the same moment.

Example::

    profile = parse_profile("10/24")
    profile.repair_threshold, profile.commit_min     # (18, 19)
    piece_length(41, profile.k)                      # 5
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from hippy.errors import UsageError

PIECES_MAX: Final = 255
"""Pieces of one segment: k and n travel as one byte each (PROTOCOL §2) and zfec's field has 256 elements."""

PIECE_LENGTH_MAX: Final = 4 * 1024 * 1024
"""Bytes of one piece: a segment is k pieces of at most this (PROTOCOL §0)."""

_SPELLING: Final = re.compile(r"([1-9][0-9]{0,2})/([1-9][0-9]{0,2})")


def check_code(k: int, n: int) -> None:
    """Accept the codes this network knows, 1 <= k <= n <= 255.

    Raises UsageError for any other.
    """
    if not 1 <= k <= n <= PIECES_MAX:
        raise UsageError(f"no code {k}/{n}: it takes 1 <= k <= n <= {PIECES_MAX}")


def piece_length(data_length: int, k: int) -> int:
    """Return the bytes of each piece of a segment of ``data_length`` bytes, padded to a multiple of k.

    Raises UsageError if there is no data or no such k.
    """
    check_code(k, PIECES_MAX)
    if data_length < 1:
        raise UsageError(f"a segment of {data_length} bytes: it takes at least one")
    return -(-data_length // k)


@dataclass(frozen=True, slots=True)
class Profile:
    """A code and when to act: any ``k`` of ``n`` pieces suffice, ``repair_threshold`` or fewer are too few.

    Raises UsageError unless 1 <= k <= repair_threshold <= n <= 255.
    """

    k: int
    n: int
    repair_threshold: int

    def __post_init__(self) -> None:
        check_code(self.k, self.n)
        if not self.k <= self.repair_threshold <= self.n:
            raise UsageError(f"repair threshold {self.repair_threshold} of {self} is not between k and n")

    def __str__(self) -> str:
        return f"{self.k}/{self.n}"

    @property
    def commit_min(self) -> int:
        """Receipts a commit needs: one more than would be repaired at once (PROTOCOL §3.3)."""
        return min(self.repair_threshold + 1, self.n)


STANDARD: Final = Profile(10, 24, 18)
CAREFUL: Final = Profile(10, 30, 20)
COMPACT: Final = Profile(16, 24, 21)
LOCAL: Final = Profile(4, 8, 6)

PROFILES: Final[dict[str, Profile]] = {
    "standard": STANDARD,
    "careful": CAREFUL,
    "compact": COMPACT,
    "local": LOCAL,
}
"""The named profiles. 10/24: data that must not be lost; 10/30: while churn is high; 16/24: data that can be made
again; 4/8: a local network."""

_BY_CODE: Final = {(profile.k, profile.n): profile for profile in PROFILES.values()}


def general_threshold(k: int, n: int) -> int:
    """Return the repair threshold where no profile names one (PROTOCOL §2)."""
    return min(k + -(-(n - k) // 2) + 1, max(k, n - 2))


def profile_of(k: int, n: int) -> Profile:
    """Return the named profile with this code, else the code with the general repair threshold.

    Raises UsageError unless 1 <= k <= n <= 255.
    """
    return _BY_CODE.get((k, n)) or Profile(k, n, general_threshold(k, n))


def parse_profile(text: str) -> Profile:
    """Parse a profile's name, or ``k/n`` in decimal digits without leading zeros.

    Raises UsageError for anything else.
    """
    if text in PROFILES:
        return PROFILES[text]
    match = _SPELLING.fullmatch(text)
    if match is None:
        raise UsageError(f"no profile {text[:80]!r}", hint=f"use k/n, such as 10/24, or {', '.join(PROFILES)}")
    return profile_of(int(match[1]), int(match[2]))
