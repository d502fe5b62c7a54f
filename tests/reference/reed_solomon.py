"""The code as a mathematician would write it: slow, readable, and sharing nothing with hippy.erasure.

The data pieces' bytes at one position are the values of a polynomial of degree < k over GF(2^8) at the points
0, 1, 2, 2², 2³, …; the parity pieces are its values at the points after. (Reed and Solomon 1960; that zfec's
matrix is this one is what the tests show.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache


def times(a: int, b: int) -> int:
    """a · b modulo x^8 + x^4 + x^3 + x^2 + 1, bit by bit."""
    product = 0
    while b:
        product ^= a if b & 1 else 0
        a = a << 1 ^ (0x11D if a & 0x80 else 0)
        b >>= 1
    return product


@cache
def inverse(a: int) -> int:
    return next(b for b in range(1, 256) if times(a, b) == 1)


@cache
def point(index: int) -> int:
    """Where piece ``index`` is a value of the polynomial."""
    return index if index < 2 else times(point(index - 1), 2)


@cache
def coefficient(sources: tuple[int, ...], source: int, index: int) -> int:
    """Lagrange: what piece ``source`` counts in piece ``index`` when ``sources`` are known."""
    factor = 1
    for other in sources:
        if other != source:
            quotient = inverse(point(source) ^ point(other))
            factor = times(factor, times(point(index) ^ point(other), quotient))
    return factor


def piece_from(have: Mapping[int, bytes], index: int) -> bytes:
    """Piece ``index`` from exactly k others, by number."""
    sources = tuple(have)
    made = bytearray(len(have[sources[0]]))
    for source, piece in have.items():
        factor = coefficient(sources, source, index)
        for position, byte in enumerate(piece):
            made[position] ^= times(factor, byte)
    return bytes(made)


def pieces(data: Sequence[bytes], n: int) -> list[bytes]:
    """All n pieces of k data pieces."""
    have = dict(enumerate(data))
    return [*data, *(piece_from(have, index) for index in range(len(data), n))]
