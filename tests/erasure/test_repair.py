"""A lost sealed piece comes back from k sealed pieces and one mask: the same bytes, so the same root."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from hippy.erasure.codec import Codec
from hippy.erasure.engine import Engine
from hippy.erasure.repair import coefficients, repair_mask, repaired_piece
from hippy.erasure.zfec_engine import ZfecEngine
from hippy.errors import UsageError
from hippy.proofs.tree import root_of
from hippy.seal import xor_seal
from tests.erasure.cases import fast_engine, pieces_of

KEY = bytes(range(32))

FROZEN: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "vectors" / "erasure.json").read_text())[
    "repairs"
]


@pytest.fixture(params=["zfec", "isa-l"])
def engine(request: pytest.FixtureRequest) -> Engine:
    return ZfecEngine() if request.param == "zfec" else fast_engine()


def stream(index: int, length: int) -> bytes:
    buffer = bytearray(length)
    xor_seal(KEY, index, buffer)
    return bytes(buffer)


def sealed_pieces(k: int, n: int, length: int) -> list[bytes]:
    sealed = [bytearray(piece) for piece in pieces_of(k, n, length)]
    for index, piece in enumerate(sealed):
        xor_seal(KEY, index, piece)
    return [bytes(piece) for piece in sealed]


def mask_of(codec: Codec, sources: tuple[int, ...], index: int, length: int) -> bytes:
    mask = bytearray(length)
    streams = {source: stream(source, length) for source in sources}
    repair_mask(codec, streams, index, stream(index, length), memoryview(mask))
    return bytes(mask)


def restored(codec: Codec, sealed: list[bytes], sources: tuple[int, ...], index: int) -> bytes:
    length = len(sealed[0])
    piece = bytearray(length)
    mask = mask_of(codec, sources, index, length)
    repaired_piece(codec, {source: sealed[source] for source in sources}, index, mask, memoryview(piece))
    return bytes(piece)


def test_repair_restores_the_same_root_from_every_k_subset(engine: Engine) -> None:
    """PROTOCOL §8, 6."""
    sealed = sealed_pieces(3, 6, 100)
    for index in range(6):
        others = [each for each in range(6) if each != index]
        for sources in combinations(others, 3):
            assert root_of(restored(Codec(3, 6, engine), sealed, sources, index)) == root_of(sealed[index])


def test_repair_restores_a_piece_of_the_standard_profile(engine: Engine) -> None:
    sealed = sealed_pieces(10, 24, 5000)
    for index, sources in ((0, tuple(range(14, 24))), (23, tuple(range(10))), (11, tuple(range(0, 20, 2)))):
        assert restored(Codec(10, 24, engine), sealed, sources, index) == sealed[index]


@pytest.mark.parametrize("case", FROZEN, ids=lambda case: case["name"])
def test_the_frozen_repairs_come_out_the_same(engine: Engine, case: dict[str, Any]) -> None:
    codec, index = Codec(case["k"], case["n"], engine), case["index"]
    sources = tuple(case["sources"])
    length = len(case["piece"]) // 2
    assert coefficients(case["k"], case["n"], sources, index).hex() == case["coefficients"]
    mask, piece = memoryview(bytearray(length)), memoryview(bytearray(length))
    streams = dict(zip(sources, map(bytes.fromhex, case["source_streams"]), strict=True))
    repair_mask(codec, streams, index, bytes.fromhex(case["stream"]), mask)
    assert mask.hex() == case["mask"]
    sealed = dict(zip(sources, map(bytes.fromhex, case["source_pieces"]), strict=True))
    repaired_piece(codec, sealed, index, mask, piece)
    assert piece.hex() == case["piece"]


def test_without_the_mask_the_piece_does_not_come_back() -> None:
    sealed = sealed_pieces(4, 8, 64)
    codec = Codec(4, 8)
    piece = bytearray(64)
    repaired_piece(codec, {i: sealed[i] for i in (1, 2, 3, 4)}, 0, bytes(64), memoryview(piece))
    assert piece != sealed[0]


@pytest.mark.parametrize(
    ("sources", "index"),
    [((1, 2), 0), ((1, 2, 3, 4), 0), ((1, 2, 0), 0), ((1, 2, 2), 0), ((1, 2, 6), 0), ((1, 2, 3), 6)],
)
def test_coefficients_need_k_other_pieces(sources: tuple[int, ...], index: int) -> None:
    with pytest.raises(UsageError):
        coefficients(3, 6, sources, index)


def test_more_than_k_sources_are_refused_because_the_mask_would_be_another() -> None:
    with pytest.raises(UsageError, match="3 sources, not 4"):
        repair_mask(Codec(3, 6), dict.fromkeys(range(1, 5), b"ab"), 0, b"ab", memoryview(bytearray(2)))


def test_a_mask_of_another_length_is_refused() -> None:
    with pytest.raises(UsageError, match="3 bytes to add to a piece of 2 bytes"):
        repaired_piece(Codec(2, 3), {0: b"ab", 1: b"cd"}, 2, b"abc", memoryview(bytearray(2)))
