"""Engines for the tests of benches, and a clock that ticks whenever it is looked at."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from hippy.bench.measure import Timer
from hippy.erasure.engines import EngineChoice
from hippy.erasure.zfec_engine import ZfecEngine


class WatchedEngine(ZfecEngine):
    """zfec under another name, which remembers what was asked of it.

    ``wrong`` spoils one byte of every encoding or decoding, or leaves out the repair of a single piece.
    """

    def __init__(self, wrong: str = "") -> None:
        self.decoded: list[list[int]] = []
        self._wrong = wrong

    def encode(
        self, k: int, n: int, data: Sequence[memoryview], indices: Sequence[int], outputs: Sequence[memoryview]
    ) -> None:
        super().encode(k, n, data, indices, outputs)
        if self._wrong == "encode":
            outputs[-1][-1] ^= 1

    def decode(self, k: int, n: int, have: Mapping[int, memoryview], want: Mapping[int, memoryview]) -> None:
        if self._wrong == "repair" and len(want) == 1:
            return
        super().decode(k, n, have, want)
        self.decoded.append(sorted(want))
        if self._wrong == "decode":
            want[max(want)][-1] ^= 1


def watched(wrong: str = "") -> EngineChoice:
    return EngineChoice(WatchedEngine(wrong), "watched", "libwatched.so", None)


ZFEC = EngineChoice(ZfecEngine(), "zfec", None, "no ISA-L library was found")


def ticking() -> Timer:
    """A clock on which every sample takes a second."""
    return itertools.count().__next__
