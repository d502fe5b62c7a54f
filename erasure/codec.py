"""The Reed-Solomon code of a segment: n pieces, any k of which give back all the others.

Owns the rules of a call: which pieces are enough, that lengths agree, and which k of several are used. Leaves
the arithmetic to an Engine, the lengths of pieces to hippy.erasure.geometry, and the question whether a piece
is the right one to hippy.proofs: wrong bytes in are wrong bytes out, so check roots first.

Invariants: pieces 0 … k-1 are the data unchanged (systematic); every engine gives the same bytes; of more
than k pieces the k lowest numbers are used, which are the data pieces first. Calls are synchronous and take
milliseconds per megabyte: the shell runs them in a thread.

Pieces are coded byte by byte: the same bytes of all pieces, any range of them, are a code of their own, which is
what ranged reads live on. And the code is linear, which is what repair lives on (hippy.erasure.repair).

Example::

    codec = Codec(4, 8)
    codec.encode(data, [memoryview(parity)[i * length : (i + 1) * length] for i in range(4)])
    codec.reconstruct({1: one, 2: two, 3: three, 6: six}, {0: memoryview(lost)})
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hippy.erasure.engine import Engine
from hippy.erasure.engines import default_engine
from hippy.erasure.geometry import check_code
from hippy.errors import TemporaryError, UsageError

if TYPE_CHECKING:
    from typing_extensions import Buffer


@dataclass(frozen=True, slots=True)
class Codec:
    """Systematic Reed-Solomon k of n, exactly zfec's.

    Raises UsageError unless 1 <= k <= n <= 255.
    """

    k: int
    n: int
    engine: Engine = field(default_factory=default_engine)

    def __post_init__(self) -> None:
        check_code(self.k, self.n)

    def encode(self, data: Sequence[Buffer], parity: Sequence[memoryview]) -> None:
        """Fill ``parity``, pieces k … n-1 in order, from ``data``, pieces 0 … k-1, all of one length.

        Outputs must not overlap anything else. Raises UsageError for wrong counts or lengths.
        """
        if len(data) != self.k or len(parity) != self.n - self.k:
            raise UsageError(
                f"a {self.k}/{self.n} code has {self.k} data and {self.n - self.k} parity pieces, "
                f"not {len(data)} and {len(parity)}"
            )
        pieces, outputs = [bytes_view(piece) for piece in data], [_output_view(piece) for piece in parity]
        _check_lengths([*pieces, *outputs])
        if outputs:
            self.engine.encode(self.k, self.n, pieces, range(self.k, self.n), outputs)

    def reconstruct(self, have: Mapping[int, Buffer], want: Mapping[int, memoryview]) -> None:
        """Fill the pieces that ``want`` names, data or parity, from any k or more in ``have``, by number.

        Outputs must not overlap anything else. Raises TemporaryError if fewer than k pieces are there, and
        UsageError for wrong numbers or lengths.
        """
        self._check_numbers(have, want)
        self._check_enough(have)
        pieces = {index: bytes_view(have[index]) for index in sorted(have)}
        outputs = {index: _output_view(want[index]) for index in sorted(want)}  # one order, so one plan per pattern
        _check_lengths([*pieces.values(), *outputs.values()])
        if outputs:
            chosen = {index: pieces[index] for index in list(pieces)[: self.k]}
            self.engine.decode(self.k, self.n, chosen, outputs)

    def _check_numbers(self, have: Mapping[int, Buffer], want: Mapping[int, memoryview]) -> None:
        unknown = sorted(index for index in {*have, *want} if not 0 <= index < self.n)
        if unknown:
            raise UsageError(f"a {self.k}/{self.n} code has no piece {unknown[0]}")
        both = sorted(have.keys() & want.keys())
        if both:
            raise UsageError(f"piece {both[0]} is both at hand and wanted")

    def _check_enough(self, have: Mapping[int, Buffer]) -> None:
        missing = self.k - len(have)
        if missing > 0:
            raise TemporaryError(
                f"{len(have)} of the {self.k} pieces it takes are at hand, {missing} more are missing",
                hint="try again when more miners answer",
            )


def bytes_view(buffer: Buffer) -> memoryview:
    """Return a buffer as bytes.

    Raises UsageError unless it is one contiguous run of them.
    """
    view = memoryview(buffer)
    if view.ndim != 1 or view.itemsize != 1 or not view.contiguous:
        raise UsageError("a piece has to be one contiguous run of bytes")
    return view.cast("B")


def _output_view(output: memoryview) -> memoryview:
    view = bytes_view(output)
    if view.readonly:
        raise UsageError("a piece can only be written to a writable buffer")
    return view


def _check_lengths(pieces: Sequence[memoryview]) -> None:
    lengths = {piece.nbytes for piece in pieces}
    if len(lengths) != 1:
        raise UsageError(f"pieces of one segment have one length, not {sorted(lengths)}")
    if 0 in lengths:
        raise UsageError("a piece has at least one byte")
