"""Whether an engine writes zfec's bytes, and nothing else, before any segment depends on it.

:func:`difference` has it encode, decode and add, and compares with zfec. Cases have one to seven and fourteen rows,
because vector code has a kernel for each number of rows up to six and repeats them; pieces end on both sides of
every register's width; one code is wide, one piece is long. All pieces of a case lie in one region with guard bytes
between them, at odd addresses; regions are compared whole, so a byte written into an input or beside an output
counts. It takes about 20 ms, once a process.

A case shows that the library there is the one it should be; that it is right for every input, the tests show.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hippy.erasure.engine import Engine
from hippy.erasure.zfec_engine import ZfecEngine
from hippy.hashing import dk, xof

_GUARD: Final = b"\xee" * 67
"""Between pieces: longer than any vector register, and odd."""


@dataclass(frozen=True, slots=True)
class Case:
    """A code and the bytes of its pieces."""

    k: int
    n: int
    length: int

    def __str__(self) -> str:
        return f"a {self.k}/{self.n} code over {self.length:,} bytes"


CASES: Final = (
    Case(1, 2, 1),
    Case(3, 5, 15),
    Case(10, 13, 31),
    Case(4, 8, 65),
    Case(7, 12, 127),
    Case(5, 11, 255),
    Case(2, 9, 257),
    *(Case(10, 10 + rows, 193) for rows in (*range(1, 8), 14)),
    Case(16, 24, 4_097),
    Case(120, 122, 100),
    Case(10, 24, 20_011),
)
"""1 to 7 rows twice, 8 and 14, on both sides of 16, 32, 64, 128, 256 and 4,096 bytes."""


def difference(engine: Engine) -> str | None:
    """Return the first thing in which an engine's bytes are not zfec's, or None."""
    zfec = ZfecEngine()
    for case in CASES:
        coded = _encoded(zfec, case)
        if _encoded(engine, case) != coded:
            return f"the parity of {case}"
        if _decoded(engine, case, coded) != _decoded(zfec, case, coded):
            return f"the decoding of {case}"
        if _added(engine, case, coded) != _added(zfec, case, coded):
            return f"the sum of two pieces of {case.length:,} bytes"
    return None


def _encoded(engine: Engine, case: Case) -> bytes:
    """Return the region of all n pieces after the data were encoded."""
    region = _region(case, case.n)
    pieces = _pieces(region, case, case.n)
    content = xof(dk("engine-case"), case.k * case.length)
    for index in range(case.k):
        pieces[index][:] = content[index * case.length : (index + 1) * case.length]
    engine.encode(case.k, case.n, pieces[: case.k], range(case.k, case.n), pieces[case.k :])
    return bytes(region)


def _decoded(engine: Engine, case: Case, coded: bytes) -> bytes:
    """Return the region of all n pieces after the first were made of the last k."""
    region, missing = _region(case, case.n), case.n - case.k
    pieces, right = _pieces(region, case, case.n), _pieces(bytearray(coded), case, case.n)
    for index in range(missing, case.n):
        pieces[index][:] = right[index]
    have = {index: pieces[index] for index in range(missing, case.n)}
    engine.decode(case.k, case.n, have, {index: pieces[index] for index in range(missing)})
    return bytes(region)


def _added(engine: Engine, case: Case, coded: bytes) -> bytes:
    """Return the region of two pieces after the second was added to the first."""
    region = bytearray(coded)
    first, second, *_ = _pieces(region, case, case.n)
    engine.add(first, second)
    return bytes(region)


def _region(case: Case, count: int) -> bytearray:
    return bytearray(_GUARD + (bytes(case.length) + _GUARD) * count)


def _pieces(region: bytearray, case: Case, count: int) -> list[memoryview]:
    view, step = memoryview(region), case.length + len(_GUARD)
    starts = range(len(_GUARD), len(_GUARD) + count * step, step)
    return [view[start : start + case.length] for start in starts]
