"""Any k of n pieces give back all the others, in exactly zfec's code.

Three oracles: the property itself, a slow reference that interpolates polynomials over GF(2^8), and shares
that zfec made elsewhere (tests/vectors/outside.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from hippy.erasure.codec import Codec
from hippy.erasure.zfec_engine import STRIP_BYTES
from hippy.errors import TemporaryError, UsageError
from tests.vectors.outside import read_vectors

quick = settings(derandomize=True, deadline=None, max_examples=40)


def filler(length: int, seed: int = 0) -> bytes:
    """Return repeatable bytes without structure."""
    return blake3(seed.to_bytes(8, "little")).digest(length)


def encoded(k: int, n: int, data: Sequence[bytes]) -> list[bytes]:
    """Return all n pieces."""
    parity = [bytearray(len(data[0])) for _ in range(n - k)]
    Codec(k, n).encode(data, [memoryview(each) for each in parity])
    return [*data, *map(bytes, parity)]


def pieces_of(k: int, n: int, length: int, seed: int = 0) -> list[bytes]:
    return encoded(k, n, [filler(length, seed * 1000 + i) for i in range(k)])


def rebuilt(k: int, n: int, pieces: Sequence[bytes], have: Iterable[int], want: Iterable[int]) -> list[bytes]:
    outputs = {index: bytearray(len(pieces[0])) for index in want}
    views = {index: memoryview(output) for index, output in outputs.items()}
    Codec(k, n).reconstruct({index: pieces[index] for index in have}, views)
    return [bytes(output) for output in outputs.values()]


# The reference: bytes of the data pieces are values of a polynomial of degree < k at the points 0, 1, a, a², …
# of GF(2^8) with a = 2 and x^8 + x^4 + x^3 + x^2 + 1 (0x11d); the parity pieces are its values at the points after.


def times(a: int, b: int) -> int:
    product = 0
    while b:
        product ^= a if b & 1 else 0
        a = a << 1 ^ (0x11D if a & 0x80 else 0)
        b >>= 1
    return product


INVERSE = {a: b for a in range(1, 256) for b in range(1, 256) if times(a, b) == 1}


def point(index: int) -> int:
    value = 0 if index == 0 else 1
    for _ in range(index - 1):
        value = times(value, 2)
    return value


def interpolate(values: dict[int, int], x: int) -> int:
    total = 0
    for at, value in values.items():
        for other in values:
            if other != at:
                value = times(value, times(x ^ other, INVERSE[at ^ other]))
        total ^= value
    return total


@pytest.mark.parametrize(("k", "n"), [(1, 3), (2, 3), (4, 8), (10, 24), (3, 255)])
def test_parity_is_the_polynomial_through_the_data(k: int, n: int) -> None:
    pieces = pieces_of(k, n, 2)
    for position in range(2):
        values = {point(i): pieces[i][position] for i in range(k)}
        for index in sorted({k, (k + n) // 2, n - 1}):
            assert pieces[index][position] == interpolate(values, point(index))


def zfec_cases() -> Iterator[tuple[int, int, bytes, bytes]]:
    fields: dict[str, str] = {}
    for line in read_vectors("zfec.vec").splitlines():
        name, equals, value = line.partition(" = ")
        if equals:
            fields[name] = value
        if name == "Code":
            data, code = bytes.fromhex(fields["Data"]), bytes.fromhex(fields["Code"])
            yield int(fields["K"]), int(fields["N"]), data, code


def test_shares_made_by_zfec_come_out_the_same() -> None:
    """Outside vectors: randombit/botan src/tests/data/zfec.vec."""
    seen = 0
    for k, n, data, code in zfec_cases():
        length = len(data) // k
        shares = b"".join(encoded(k, n, [data[i * length : (i + 1) * length] for i in range(k)]))
        assert code in (shares, shares[k * length :]), f"{k}/{n}"
        seen += 1
    assert seen > 50


def test_every_erasure_pattern_of_small_codes_is_repaired() -> None:
    for n in range(1, 7):
        for k in range(1, n + 1):
            pieces = pieces_of(k, n, 5)
            for have in combinations(range(n), k):
                missing = [index for index in range(n) if index not in have]
                assert rebuilt(k, n, pieces, have, missing) == [pieces[index] for index in missing]


@st.composite
def losses(draw: st.DrawFn) -> tuple[int, int, int, list[int]]:
    """k, n, a piece length, and the numbers of all pieces in the order in which they get lost."""
    n = draw(st.one_of(st.integers(1, 40), st.integers(1, 255)))
    k = draw(st.integers(1, n))
    length = draw(st.one_of(st.integers(1, 70), st.sampled_from([4095, 4097])))
    return k, n, length, draw(st.permutations(range(n)))


@quick
@given(losses())
def test_any_k_of_n_pieces_rebuild_the_others(case: tuple[int, int, int, list[int]]) -> None:
    k, n, length, order = case
    pieces = pieces_of(k, n, length, seed=n)
    have, missing = order[:k], order[k:][:20]
    assert rebuilt(k, n, pieces, have, missing) == [pieces[index] for index in missing]


def test_pieces_longer_than_a_strip_are_whole() -> None:
    pieces = pieces_of(2, 4, STRIP_BYTES + 7)
    assert rebuilt(2, 4, pieces, [1, 3], [0, 2]) == [pieces[0], pieces[2]]


def test_the_largest_code_works() -> None:
    pieces = pieces_of(200, 255, 3)
    assert rebuilt(200, 255, pieces, range(55, 255), [0, 54]) == [pieces[0], pieces[54]]


def test_without_parity_encoding_has_nothing_to_do() -> None:
    Codec(3, 3).encode([b"ab", b"cd", b"ef"], [])


def test_of_more_than_enough_pieces_the_lowest_numbers_are_used() -> None:
    pieces = pieces_of(2, 4, 3)
    spoiled = [pieces[0], pieces[1], pieces[2], b"bad"]
    assert rebuilt(2, 4, spoiled, [3, 2, 0], [1]) == [pieces[1]]


def test_nothing_wanted_is_nothing_done() -> None:
    Codec(2, 3).reconstruct({0: b"a", 2: b"b"}, {})


def test_buffers_of_any_kind_are_taken_and_left_as_they_were() -> None:
    data = bytearray(filler(8))
    parity = bytearray(12)
    outputs = [memoryview(parity)[i * 4 : i * 4 + 4] for i in range(3)]
    Codec(2, 5).encode([memoryview(data)[:4], data[4:]], outputs)
    assert data == filler(8)
    assert encoded(2, 5, [filler(8)[:4], filler(8)[4:]])[2:] == [bytes(each) for each in outputs]


def test_too_few_pieces_say_how_many_are_missing() -> None:
    with pytest.raises(TemporaryError, match="2 of the 4 pieces it takes are at hand, 2 more are missing"):
        Codec(4, 8).reconstruct({0: b"a", 7: b"b"}, {1: memoryview(bytearray(1))})


@pytest.mark.parametrize(("k", "n"), [(0, 1), (-1, 4), (2, 1), (1, 256), (256, 256)])
def test_impossible_codes_are_refused(k: int, n: int) -> None:
    with pytest.raises(UsageError):
        Codec(k, n)


@pytest.mark.parametrize(
    ("data", "parity_lengths"),
    [
        ([b"ab"], [2]),
        ([b"ab", b"cd", b"ef"], [2]),
        ([b"ab", b"cd"], []),
        ([b"ab", b"cd"], [2, 2]),
        ([b"ab", b"c"], [2]),
        ([b"ab", b"cd"], [3]),
        ([b"", b""], [0]),
        ([memoryview(b"abcd")[::2], b"cd"], [2]),
        ([memoryview(bytes(8)).cast("I"), b"cd"], [2]),
    ],
)
def test_encoding_refuses_wrong_counts_and_lengths(data: list[bytes | memoryview], parity_lengths: list[int]) -> None:
    with pytest.raises(UsageError):
        Codec(2, 3).encode(data, [memoryview(bytearray(length)) for length in parity_lengths])


@pytest.mark.parametrize(
    ("have", "want"),
    [
        ({0: b"ab", 1: b"cd"}, {3: 2}),
        ({0: b"ab", 1: b"cd"}, {-1: 2}),
        ({0: b"ab", 3: b"cd"}, {1: 2}),
        ({0: b"ab", 1: b"cd"}, {1: 2}),
        ({0: b"ab", 1: b"c"}, {2: 2}),
        ({0: b"ab", 1: b"cd"}, {2: 1}),
        ({0: b"", 1: b""}, {2: 0}),
    ],
)
def test_reconstruction_refuses_wrong_numbers_and_lengths(have: dict[int, bytes], want: dict[int, int]) -> None:
    with pytest.raises(UsageError):
        Codec(2, 3).reconstruct(have, {i: memoryview(bytearray(length)) for i, length in want.items()})


def test_a_buffer_that_cannot_be_written_is_refused() -> None:
    with pytest.raises(UsageError, match="writable"):
        Codec(1, 2).encode([b"a"], [memoryview(b"b")])
    with pytest.raises(UsageError, match="writable"):
        Codec(1, 2).reconstruct({0: b"a"}, {1: memoryview(b"b")})
