"""How fast the erasure code is: encoding, the worst decoding, and rebuilding one piece.

The engine in use and zfec are timed in turns over the same pieces, so their ratio holds on a busy machine too.
Speeds are in bytes of user data, k pieces, whatever an operation reads and writes. The worst decoding is that of a
segment which lost as many data pieces as its parity can replace; a repair rebuilds data piece 0.

Tables that depend on the pattern of losses are made before anything is timed, as in a download of many segments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from hippy.bench.measure import Case, Measurement, Pace, RoundTeller, Timer, measure, speed_ratio
from hippy.bench.report import Group, Ratio
from hippy.bench.shape import KIB, MIB, Shape
from hippy.erasure.codec import Codec
from hippy.erasure.engines import EngineChoice
from hippy.erasure.zfec_engine import ZfecEngine
from hippy.hashing import digest, dk, xof

CODES: Final = ((4, 8), (10, 24), (16, 24))
"""The local, the standard and the compact profile."""

SHARDS_BYTES: Final = (64 * KIB, 256 * KIB, 4 * MIB)
"""A segment of small files, one that no longer fits a processor's inner caches, and the longest pieces there are."""

ZFEC: Final = "zfec"
OPERATIONS: Final = ("encode", "decode", "repair")


def measure_codec(
    shape: Shape, choice: EngineChoice, pace: Pace, *, timer: Timer, telling: RoundTeller | None = None
) -> Group:
    """Time the engine in use, and zfec if it is another, over one shape.

    Raises IntegrityError when an engine computes other bytes than zfec does.
    """
    pieces = _pieces(shape)
    engines = {choice.name: choice.engine} if choice.name == ZFEC else {choice.name: choice.engine, ZFEC: ZfecEngine()}
    cases: list[Case] = []
    for name, engine in engines.items():
        cases += _cases(name, Codec(shape.k, shape.n, engine), shape, pieces)
    measured = {each.name: each for each in measure(cases, pace, timer=timer, telling=telling)}
    ratios = () if choice.name == ZFEC else _ratios(measured, choice.name)
    return Group(shape.title, shape.facts, tuple(measured.values()), tuple(ratios))


def _ratios(measured: Mapping[str, Measurement], engine: str) -> Iterator[Ratio]:
    for operation in OPERATIONS:
        case = f"{operation}, {engine}"
        yield Ratio(case, ZFEC, speed_ratio(measured[case], measured[f"{operation}, {ZFEC}"]))


def _pieces(shape: Shape) -> list[memoryview]:
    """Return the n pieces of a segment, as zfec makes them."""
    length = shape.piece_bytes
    whole = memoryview(bytearray(shape.n * length))
    whole[: shape.user_bytes] = xof(dk("bench-data"), shape.user_bytes)
    pieces = [whole[index * length : (index + 1) * length] for index in range(shape.n)]
    Codec(shape.k, shape.n, ZfecEngine()).encode(pieces[: shape.k], pieces[shape.k :])
    return [piece.toreadonly() for piece in pieces]


def _cases(engine: str, codec: Codec, shape: Shape, pieces: list[memoryview]) -> Iterator[Case]:
    """Yield the three operations; they share their outputs, which are wiped after each check."""
    k, n = shape.k, shape.n
    parity = [memoryview(bytearray(shape.piece_bytes)) for _ in range(n - k)]
    lost = range(min(k, n - k))

    def case(operation: str, run: Callable[[], object], made: Iterable[int]) -> Case:
        expected = [digest(pieces[index]) for index in made]

        def is_right(_: object) -> bool:
            found = [digest(output) for output in parity[: len(expected)]]
            for output in parity:
                output[:] = bytes(len(output))  # or the next operation could pass by doing nothing
            return found == expected

        return Case(f"{operation}, {engine}", run, shape.user_bytes, is_right)

    def rebuilding(missing: range) -> Callable[[], object]:
        have = {index: pieces[index] for index in range(missing.stop, missing.stop + k)}
        want = {index: parity[index] for index in missing}
        return lambda: codec.reconstruct(have, want)

    encode, decode, repair = OPERATIONS
    yield case(encode, lambda: codec.encode(pieces[:k], parity), range(k, n))
    yield case(decode, rebuilding(lost), lost)
    yield case(repair, rebuilding(range(1)), range(1))
