"""Pieces to test with, and the engines to test."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest
from blake3 import blake3

from hippy.erasure.codec import Codec
from hippy.erasure.engine import Engine
from hippy.erasure.engines import chosen_engine
from hippy.erasure.zfec_engine import ZfecEngine


def fast_engine() -> Engine:
    """ISA-L, or the test is skipped with the reason why it is not here."""
    choice = chosen_engine()
    if choice.reason is not None:
        pytest.skip(choice.reason)
    return choice.engine


def filler(length: int, seed: int = 0) -> bytes:
    """Return repeatable bytes without structure."""
    return blake3(seed.to_bytes(8, "little")).digest(length)


def encoded(engine: Engine, n: int, data: Sequence[bytes]) -> list[bytes]:
    """Return all n pieces."""
    parity = [bytearray(len(data[0])) for _ in range(n - len(data))]
    Codec(len(data), n, engine).encode(data, [memoryview(each) for each in parity])
    return [*data, *map(bytes, parity)]


def pieces_of(k: int, n: int, length: int, seed: int = 0) -> list[bytes]:
    """Return all n pieces of k data pieces without structure, by zfec."""
    return encoded(ZfecEngine(), n, [filler(length, seed * 1000 + i) for i in range(k)])


def rebuilt(engine: Engine, k: int, pieces: Sequence[bytes], have: Iterable[int], want: Iterable[int]) -> list[bytes]:
    """Return the pieces ``want``, made of those in ``have``."""
    outputs = {index: bytearray(len(pieces[0])) for index in want}
    views = {index: memoryview(output) for index, output in outputs.items()}
    Codec(k, len(pieces), engine).reconstruct({index: pieces[index] for index in have}, views)
    return [bytes(output) for output in outputs.values()]
