"""Arithmetic of GF(2^8), a row of a matrix at a time.

The field of zfec and ISA-L: bytes are polynomials over GF(2), multiplied modulo x^8 + x^4 + x^3 + x^2 + 1
(0x11d), in which 2 generates every element but zero. Adding is XOR. Rows of k elements are ``bytes`` of
length k, so that one C call handles a row; piece data never comes here, that is an Engine's.

Example::

    added(scaled(row, 7), other)      # 7 · row + other
"""

from __future__ import annotations

from functools import cache
from typing import Final

POLYNOMIAL: Final = 0x11D
"""x^8 + x^4 + x^3 + x^2 + 1: zfec's fec.c (Pp = "101110001") and ISA-L's gf_mul agree on it."""


def _powers_of_two() -> bytes:
    powers, value = bytearray(), 1
    for _ in range(255):
        powers.append(value)
        value = value << 1 ^ (POLYNOMIAL if value & 0x80 else 0)
    return bytes(powers)


_POWERS: Final = _powers_of_two()
"""2^0 … 2^254: every element but zero, once."""


@cache
def _multiples(factor: int) -> bytes:
    """The table that maps every element to ``factor`` times it; at most 256 of 256 bytes are kept."""
    if factor == 0:
        return bytes(256)
    power = _POWERS.index(factor)  # factor is 2^power, so it takes 2^i to 2^(i + power)
    return bytes.maketrans(_POWERS, _POWERS[power:] + _POWERS[:power])


def product(a: int, b: int) -> int:
    """Return a · b."""
    return _multiples(a)[b]


def inverse(a: int) -> int:
    """Return the element that times ``a`` is one; ``a`` must not be zero."""
    return _POWERS[-_POWERS.index(a) % 255]


def scaled(row: bytes, factor: int) -> bytes:
    """Return ``factor`` times every element of a row."""
    return row.translate(_multiples(factor))


def added(row: bytes, other: bytes) -> bytes:
    """Return the sum of two rows of one length."""
    return (int.from_bytes(row, "little") ^ int.from_bytes(other, "little")).to_bytes(len(row), "little")
