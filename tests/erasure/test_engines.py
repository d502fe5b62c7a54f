"""Every engine computes zfec's code: the contract of hippy.erasure.engine.

Three oracles: any k of n pieces give back the others; a slow reference that interpolates polynomials; shares that
zfec made elsewhere and frozen vectors of our own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hippy.erasure.codec import Codec
from hippy.erasure.engine import Engine
from hippy.erasure.zfec_engine import STRIP_BYTES, ZfecEngine
from tests.erasure.cases import encoded, fast_engine, filler, pieces_of, rebuilt
from tests.reference import reed_solomon
from tests.vectors.outside import read_vectors

MIB = 1024 * 1024

FROZEN: dict[str, list[dict[str, Any]]] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "erasure.json").read_text()
)


@pytest.fixture(params=["zfec", "isa-l"])
def engine(request: pytest.FixtureRequest) -> Engine:
    return ZfecEngine() if request.param == "zfec" else fast_engine()


def zfec_cases() -> Iterator[tuple[int, int, bytes, bytes]]:
    fields: dict[str, str] = {}
    for line in read_vectors("zfec.vec").splitlines():
        name, equals, value = line.partition(" = ")
        if equals:
            fields[name] = value
        if name == "Code":
            data, code = bytes.fromhex(fields["Data"]), bytes.fromhex(fields["Code"])
            yield int(fields["K"]), int(fields["N"]), data, code


def test_shares_made_by_zfec_come_out_the_same_and_lead_back(engine: Engine) -> None:
    """Outside vectors: randombit/botan src/tests/data/zfec.vec."""
    seen = 0
    for k, n, data, code in zfec_cases():
        length = len(data) // k
        pieces = encoded(engine, n, [data[i * length : (i + 1) * length] for i in range(k)])
        shares = b"".join(pieces)
        assert code in (shares, shares[k * length :]), f"{k}/{n}"
        assert rebuilt(engine, k, pieces, range(n - k, n), range(n - k)) == pieces[: n - k], f"{k}/{n}"
        seen += 1
    assert seen > 50


@pytest.mark.parametrize("case", FROZEN["codes"], ids=lambda case: f"{case['k']}/{case['n']}")
def test_the_frozen_codes_come_out_the_same(engine: Engine, case: dict[str, Any]) -> None:
    pieces = [bytes.fromhex(piece) for piece in case["pieces"]]
    assert len(pieces) == case["n"]
    assert encoded(engine, case["n"], pieces[: case["k"]]) == pieces


@pytest.mark.parametrize(("k", "n"), [(1, 3), (2, 3), (4, 8), (10, 24), (3, 255)])
def test_parity_is_the_polynomial_through_the_data(engine: Engine, k: int, n: int) -> None:
    data = [filler(2, seed) for seed in range(k)]
    assert encoded(engine, n, data) == reed_solomon.pieces(data, n)


def test_every_erasure_pattern_of_small_codes_is_repaired(engine: Engine) -> None:
    for n in range(1, 8):
        for k in range(1, n + 1):
            pieces = pieces_of(k, n, 5)
            for have in combinations(range(n), k):
                missing = [index for index in range(n) if index not in have]
                assert rebuilt(engine, k, pieces, have, missing) == [pieces[index] for index in missing]


@st.composite
def losses(draw: st.DrawFn) -> tuple[int, int, int, list[int]]:
    """k, n, a piece length, and the numbers of all pieces in the order in which they get lost."""
    n = draw(st.one_of(st.integers(1, 40), st.integers(1, 255)))
    k = draw(st.integers(1, n))
    length = draw(st.one_of(st.integers(1, 70), st.sampled_from([4095, 4097])))
    return k, n, length, draw(st.permutations(range(n)))


@pytest.mark.parametrize("name", ["zfec", "isa-l"])
def test_any_k_of_n_pieces_rebuild_the_others(name: str) -> None:
    engine = ZfecEngine() if name == "zfec" else fast_engine()

    @settings(derandomize=True, deadline=None, max_examples=40)
    @given(losses())
    def check(case: tuple[int, int, int, list[int]]) -> None:
        k, n, length, order = case
        pieces = pieces_of(k, n, length, seed=n)
        have, missing = order[:k], order[k:][:20]
        assert rebuilt(engine, k, pieces, have, missing) == [pieces[index] for index in missing]

    check()


@st.composite
def codes_and_lengths(draw: st.DrawFn) -> tuple[int, int, int]:
    n = draw(st.one_of(st.integers(2, 40), st.integers(2, 255)))
    k = draw(st.integers(1, n - 1))
    length = draw(st.one_of(st.integers(1, 300), st.integers(1, 20_000)))
    return k, n, length


@settings(derandomize=True, deadline=None, max_examples=60)
@given(codes_and_lengths())
def test_both_engines_encode_the_same_bytes(case: tuple[int, int, int]) -> None:
    k, n, length = case
    data = [filler(length, seed) for seed in range(k)]
    assert encoded(fast_engine(), n, data) == encoded(ZfecEngine(), n, data)


@pytest.mark.parametrize("length", [MIB - 1, MIB + 1, 3 * MIB + 12_345, 4 * MIB])
def test_both_engines_agree_on_pieces_of_megabytes(length: int) -> None:
    pieces = pieces_of(2, 4, length)
    assert encoded(fast_engine(), 4, pieces[:2]) == pieces
    assert rebuilt(fast_engine(), 2, pieces, [1, 3], [0, 2]) == [pieces[0], pieces[2]]


def test_every_length_of_a_vector_register_and_its_tail_is_computed(engine: Engine) -> None:
    for length in range(1, 200):
        pieces = pieces_of(3, 5, length)
        assert rebuilt(engine, 3, pieces, [1, 3, 4], [0, 2]) == [pieces[0], pieces[2]]


def test_pieces_longer_than_a_strip_are_whole() -> None:
    pieces = pieces_of(2, 4, STRIP_BYTES + 7)
    assert rebuilt(ZfecEngine(), 2, pieces, [1, 3], [0, 2]) == [pieces[0], pieces[2]]


def test_the_largest_codes_work(engine: Engine) -> None:
    for k in (1, 128, 200, 254):
        pieces = pieces_of(k, 255, 3)
        assert encoded(engine, 255, pieces[:k]) == pieces
        assert rebuilt(engine, k, pieces, range(255 - k, 255), {0, 254 - k}) == [
            pieces[i] for i in sorted({0, 254 - k})
        ]


def test_nothing_outside_the_outputs_is_written(engine: Engine) -> None:
    data = [filler(37, seed) for seed in range(4)]
    region = bytearray(b"\xee" * (16 + 4 * 37 + 16))
    outputs = [memoryview(region)[16 + i * 37 : 16 + (i + 1) * 37] for i in range(4)]
    Codec(4, 8, engine).encode(data, outputs)
    assert region[:16] == region[-16:] == b"\xee" * 16
    assert bytes(region[16:-16]) == b"".join(reed_solomon.pieces(data, 8)[4:])


def test_any_byte_range_decodes_on_its_own(engine: Engine) -> None:
    pieces = pieces_of(4, 8, 1000)
    for first, last in ((0, 1), (17, 18), (999, 1000), (100, 933)):
        cut = [piece[first:last] for piece in pieces]
        assert rebuilt(engine, 4, cut, [1, 3, 5, 7], [2, 6]) == [cut[2], cut[6]]


def test_only_the_wanted_pieces_are_computed() -> None:
    """What is not wanted need not even have room."""
    pieces = pieces_of(10, 24, 64)
    assert rebuilt(fast_engine(), 10, pieces, range(14, 24), [3]) == [pieces[3]]


def test_adding_is_xor(engine: Engine) -> None:
    for length in (*range(1, 140), STRIP_BYTES + 5):
        one, other = filler(length, 1), filler(length, 2)
        target = bytearray(one)
        engine.add(memoryview(target), memoryview(other))
        assert target == bytes(a ^ b for a, b in zip(one, other, strict=True))


def test_inputs_that_cannot_be_written_are_taken(engine: Engine) -> None:
    output = bytearray(4)
    Codec(2, 3, engine).encode([memoryview(b"abcd").toreadonly(), b"efgh"], [memoryview(output)])
    assert output == reed_solomon.pieces([b"abcd", b"efgh"], 3)[2]


def test_threads_share_an_engine(engine: Engine) -> None:
    expected = {n: pieces_of(4, n, 5000) for n in (6, 8, 11)}

    def right_times(n: int) -> int:
        return sum(encoded(engine, n, expected[n][:4]) == expected[n] for _ in range(30))

    with ThreadPoolExecutor(len(expected)) as threads:
        assert list(threads.map(right_times, expected)) == [30, 30, 30]
