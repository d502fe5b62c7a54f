"""The matrix is zfec's, its arithmetic that of GF(2^8)."""

from __future__ import annotations

from itertools import combinations

import pytest

from hippy.erasure.field import added, inverse, product, scaled
from hippy.erasure.matrix import generator, inverted, recovery_rows
from hippy.errors import UsageError
from tests.reference import reed_solomon


def test_products_are_those_of_the_polynomials() -> None:
    for a in range(256):
        assert [product(a, b) for b in range(256)] == [reed_solomon.times(a, b) for b in range(256)]


def test_every_element_but_zero_has_an_inverse() -> None:
    assert all(reed_solomon.times(a, inverse(a)) == 1 for a in range(1, 256))


def test_rows_are_scaled_and_added_element_by_element() -> None:
    assert scaled(bytes([0, 1, 2, 255]), 3) == bytes(reed_solomon.times(3, each) for each in (0, 1, 2, 255))
    assert added(b"\x01\x02\x00", b"\x01\x00\xff") == b"\x00\x02\xff"


@pytest.mark.parametrize(("k", "n"), [(1, 1), (1, 255), (2, 3), (4, 8), (10, 24)])
def test_the_generator_has_the_coefficients_of_the_polynomial(k: int, n: int) -> None:
    sources = tuple(range(k))
    for index, row in enumerate(generator(k, n)):
        assert list(row) == [reed_solomon.coefficient(sources, source, index) for source in sources]


def test_impossible_codes_have_no_matrix() -> None:
    with pytest.raises(UsageError):
        generator(3, 256)


def test_recovery_rows_are_lagranges_coefficients() -> None:
    for have in combinations(range(6), 3):
        want = [index for index in range(6) if index not in have]
        for index, row in zip(want, recovery_rows(3, 6, have, want), strict=True):
            assert list(row) == [reed_solomon.coefficient(have, source, index) for source in have]


def test_the_order_of_sources_is_the_order_of_coefficients() -> None:
    forward, backward = recovery_rows(4, 8, (1, 2, 5, 7), (0,)), recovery_rows(4, 8, (7, 5, 2, 1), (0,))
    assert forward[0] == backward[0][::-1]


def test_a_matrix_times_its_inverse_is_the_identity() -> None:
    matrix = [bytes([0, 1, 2]), bytes([1, 0, 3]), bytes([4, 5, 0])]  # its first pivot is zero
    for row, unit in zip(inverted(inverted(matrix)), matrix, strict=True):
        assert row == unit


def test_dependent_rows_have_no_inverse() -> None:
    with pytest.raises(ArithmeticError):
        inverted([bytes([1, 2]), bytes([2, 4])])
