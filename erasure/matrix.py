"""The code as a matrix: which sums of pieces give which other pieces.

A segment's n pieces are the generator matrix, n rows of k coefficients, times its k data pieces; rows 0 … k-1
are the identity (systematic). zfec defines the matrix, so it is read off zfec rather than derived again: the
pieces of k data pieces that are the identity matrix are the rows themselves. A piece is then a sum of any k
others whose coefficients :func:`recovery_rows` gives: the arithmetic of every decode, and of repair
(PROTOCOL §7). Matrices are tuples of rows, rows ``bytes`` of coefficients in GF(2^8).

Example::

    generator(4, 8)[6]                           # what makes parity piece 6 of the four data pieces
    recovery_rows(4, 8, (1, 2, 3, 6), (0,))[0]   # what makes piece 0 of pieces 1, 2, 3 and 6
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from hippy.erasure.field import added, inverse, scaled
from hippy.erasure.geometry import check_code
from hippy.erasure.zfec_engine import ZfecEngine

Matrix = tuple[bytes, ...]

_GENERATORS_MAX: Final = 32
"""Codes whose matrix is kept; one takes at most 64 KiB and a network uses a handful."""


@lru_cache(_GENERATORS_MAX)
def generator(k: int, n: int) -> Matrix:
    """Return zfec's generator matrix: n rows of k coefficients, the first k of them the identity.

    Raises UsageError unless 1 <= k <= n <= 255.
    """
    check_code(k, n)
    identity = [bytes(column == row for column in range(k)) for row in range(k)]
    parity = [bytearray(k) for _ in range(n - k)]
    if parity:
        data = [memoryview(row) for row in identity]
        ZfecEngine().encode(k, n, data, range(k, n), [memoryview(row) for row in parity])
    return (*identity, *map(bytes, parity))


def recovery_rows(k: int, n: int, have: Sequence[int], want: Sequence[int]) -> Matrix:
    """Return, for every piece in ``want``, the k coefficients that make it of the k pieces ``have``, in order.

    Exactly k distinct pieces determine the others. Takes milliseconds for k below 100 and 30 ms at 255, once
    per pattern of losses. Raises UsageError unless 1 <= k <= n <= 255.
    """
    rows = generator(k, n)
    assert len(have) == len(set(have)) == k
    decoding = inverted([rows[index] for index in have])
    return tuple(decoding[index] if index < k else _times(rows[index], decoding) for index in want)


def inverted(matrix: Sequence[bytes]) -> Matrix:
    """Return the inverse of a square matrix, by Gauss-Jordan elimination.

    Any k rows of a generator matrix are independent (it is a Vandermonde matrix), so that there always is
    one; ArithmeticError would say that the matrix is none of ours.
    """
    size = len(matrix)
    rows = [row + bytes(column == at for column in range(size)) for at, row in enumerate(matrix)]
    for column in range(size):
        pivot = next((at for at in range(column, size) if rows[at][column]), None)
        if pivot is None:
            raise ArithmeticError("the rows of this matrix are not independent")
        rows[column], rows[pivot] = rows[pivot], rows[column]
        rows[column] = scaled(rows[column], inverse(rows[column][column]))
        for at, row in enumerate(rows):
            if at != column and row[column]:
                rows[at] = added(row, scaled(rows[column], row[column]))
    return tuple(row[size:] for row in rows)


def _times(row: bytes, matrix: Matrix) -> bytes:
    """Return a row times a square matrix."""
    result = bytes(len(row))
    for factor, other in zip(row, matrix, strict=True):
        if factor:
            result = added(result, scaled(other, factor))
    return result
