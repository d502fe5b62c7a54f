"""Which engine computes here: ISA-L if it is there and proves itself, else zfec.

A library that is found by its name has to show that it writes zfec's bytes before any segment depends on it:
:func:`difference` has it encode, decode and add cases drawn from a BLAKE3 XOF, in lengths on both sides of every
vector width and at odd addresses, and compares. That takes a few milliseconds once a process. A wrong or
crippled library costs speed and never data; ``hippy doctor`` prints the reason.

Example::

    choice = chosen_engine()
    print(choice.name, choice.library, choice.reason)     # isa-l /…/libisal-pyeclib.so.2 None
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from hippy.erasure.engine import Engine
from hippy.erasure.zfec_engine import ZfecEngine
from hippy.hashing import dk, keyed, u16, xof

_LENGTHS: Final = (1, 15, 16, 31, 33, 63, 65, 127, 129, 255, 257, 4097)
"""Bytes of a piece in each case: around the 16, 32 and 64 bytes of a vector register, and above a page."""

_K_MAX: Final = 20
_PARITY_MAX: Final = 20


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """The engine in use. ``library`` is where ISA-L was loaded from, ``reason`` why zfec serves instead."""

    engine: Engine
    name: str
    library: str | None
    reason: str | None


@lru_cache(1)
def chosen_engine() -> EngineChoice:
    """Return the engine that this process uses; found and proved at the first call."""
    from hippy.erasure.isal_engine import library_candidates  # 40 ms that only coding needs

    return choose(library_candidates())


def default_engine() -> Engine:
    """Return the engine of :func:`chosen_engine`."""
    return chosen_engine().engine


def choose(library_paths: Iterable[str]) -> EngineChoice:
    """Return the first of these libraries that loads and proves itself, else zfec with every reason why not."""
    from hippy.erasure.isal_engine import IsalEngine

    reasons = []
    for path in library_paths:
        try:
            engine = IsalEngine(path)
        except (OSError, AttributeError) as error:
            reasons.append(f"{path} does not load: {error}")
            continue
        wrong = difference(engine)
        if wrong is None:
            return EngineChoice(engine, "isa-l", path, None)
        reasons.append(f"{path} computes {wrong} other than zfec does")
    return _zfec_because("; ".join(reasons) or "no ISA-L library was found")


def _zfec_because(reason: str) -> EngineChoice:
    return EngineChoice(ZfecEngine(), "zfec", None, reason)


def difference(engine: Engine) -> str | None:
    """Return the first case in which an engine's bytes are not zfec's, or None."""
    zfec = ZfecEngine()
    for case in _cases():
        expected = case.results(zfec)
        for what, made in case.results(engine).items():
            if made != expected[what]:
                return f"the {what} of a {case.k}/{case.n} code over {case.length} bytes"
    return None


@dataclass(frozen=True, slots=True)
class _Case:
    k: int
    n: int
    length: int

    def results(self, engine: Engine) -> dict[str, list[bytes]]:
        """Every parity piece, the first pieces back from the last k, and a sum."""
        data, parity = self._data(), self._outputs(self.n - self.k)
        engine.encode(self.k, self.n, data, range(self.k, self.n), parity)
        pieces = dict(enumerate([*data, *parity]))
        have = {index: pieces[index] for index in range(self.n - self.k, self.n)}
        want = dict(enumerate(self._outputs(self.n - self.k)))
        engine.decode(self.k, self.n, have, want)
        total = self._outputs(1)[0]
        total[:] = parity[0]
        engine.add(total, data[-1])
        made = {"parity": parity, "decoding": list(want.values()), "sum": [total]}
        return {what: [bytes(piece) for piece in pieces] for what, pieces in made.items()}

    def _data(self) -> list[memoryview]:
        step = self.length + 1  # so that pieces begin at odd addresses too
        content = memoryview(xof(keyed(dk("engine-case-data"), u16(self.length)), self.k * step))
        return [content[index * step : index * step + self.length] for index in range(self.k)]

    def _outputs(self, count: int) -> list[memoryview]:
        return [memoryview(bytearray(self.length + 1))[1:] for _ in range(count)]


def _cases() -> Iterator[_Case]:
    drawn = xof(dk("engine-cases"), 2 * len(_LENGTHS))
    for number, length in enumerate(_LENGTHS):
        k = 1 + drawn[2 * number] % _K_MAX
        yield _Case(k, k + 1 + drawn[2 * number + 1] % _PARITY_MAX, length)
