"""A codec's rules: which pieces are enough, which are used, what is refused. The arithmetic is test_engines.py's."""

from __future__ import annotations

import pytest

from hippy.erasure.codec import Codec
from hippy.errors import TemporaryError, UsageError
from tests.erasure.cases import encoded, filler, pieces_of, rebuilt


def test_without_parity_encoding_has_nothing_to_do() -> None:
    Codec(3, 3).encode([b"ab", b"cd", b"ef"], [])


def test_of_more_than_enough_pieces_the_lowest_numbers_are_used() -> None:
    pieces = pieces_of(2, 4, 3)
    spoiled = [pieces[0], pieces[1], pieces[2], b"bad"]
    assert rebuilt(Codec(2, 4).engine, 2, spoiled, [3, 2, 0], [1]) == [pieces[1]]


def test_nothing_wanted_is_nothing_done() -> None:
    Codec(2, 3).reconstruct({0: b"a", 2: b"b"}, {})


def test_buffers_of_any_kind_are_taken_and_left_as_they_were() -> None:
    data = bytearray(filler(8))
    parity = bytearray(12)
    outputs = [memoryview(parity)[i * 4 : i * 4 + 4] for i in range(3)]
    Codec(2, 5).encode([memoryview(data)[:4], data[4:]], outputs)
    assert data == filler(8)
    assert encoded(Codec(2, 5).engine, 5, [filler(8)[:4], filler(8)[4:]])[2:] == [bytes(each) for each in outputs]


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
