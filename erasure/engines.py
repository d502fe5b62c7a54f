"""Which engine computes here: ISA-L if it is there and proves itself, else zfec.

A library that is found by its name has to show that it writes zfec's bytes (hippy.erasure.engine_proof) before any
segment depends on it. One that is absent, broken or wrong costs speed and never data; ``hippy doctor`` prints the
reason.

Example::

    choice = chosen_engine()
    print(choice.name, choice.library, choice.reason)     # isa-l /…/libisal-pyeclib.so.2 None
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from hippy.erasure.engine import Engine
from hippy.erasure.engine_proof import difference
from hippy.erasure.zfec_engine import ZfecEngine


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """The engine in use. ``library`` is where ISA-L was loaded from, ``reason`` why zfec serves instead."""

    engine: Engine
    name: str
    library: str | None
    reason: str | None


@lru_cache(1)
def chosen_engine() -> EngineChoice:
    """Return the engine that this process uses; found and proved at the first call, which takes some 60 ms."""
    try:
        from hippy.erasure.isal_engine import library_candidates  # 40 ms that only coding needs

        return choose(library_candidates())
    except (ImportError, OSError) as error:  # no cffi, or a site-packages that cannot be listed
        return _zfec_because(f"ISA-L cannot be looked for: {error}")


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
            wrong = difference(engine)
        except Exception as error:  # noqa: BLE001 - whatever a strange library raises, zfec can serve
            reasons.append(f"{path} does not work: {_first_sentence(error)}")
            continue
        if wrong is None:
            return EngineChoice(engine, "isa-l", path, None)
        reasons.append(f"{path} computes {wrong} other than zfec does")
    return _zfec_because("; ".join(reasons) or "no ISA-L library was found")


def _first_sentence(error: Exception) -> str:
    """Return what an error says first; cffi goes on about where else it looked."""
    return (str(error) or type(error).__name__).split(".  ")[0]


def _zfec_because(reason: str) -> EngineChoice:
    return EngineChoice(ZfecEngine(), "zfec", None, reason)
