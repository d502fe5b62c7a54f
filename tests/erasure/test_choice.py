"""ISA-L serves only after it has written zfec's bytes; whatever else is found, zfec does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hippy.erasure import isal_engine
from hippy.erasure.codec import Codec
from hippy.erasure.engine import Engine
from hippy.erasure.engines import choose, chosen_engine, difference
from hippy.erasure.isal_engine import library_candidates
from hippy.erasure.zfec_engine import ZfecEngine
from tests.erasure.cases import fast_engine

Spoil = Callable[[memoryview], None]


@dataclass
class SpoiledEngine(ZfecEngine):
    """zfec, but for what ``spoil`` does to one output of one call."""

    call: str
    spoil: Spoil

    def encode(self, k: int, n: int, data: Sequence[memoryview], indices: Sequence[int], outputs: Any) -> None:
        super().encode(k, n, data, indices, outputs)
        self._spoil("encode", outputs[-1])

    def decode(self, k: int, n: int, have: Mapping[int, memoryview], want: Mapping[int, memoryview]) -> None:
        super().decode(k, n, have, want)
        self._spoil("decode", want[max(want)])

    def add(self, target: memoryview, other: memoryview) -> None:
        super().add(target, other)
        self._spoil("add", target)

    def _spoil(self, call: str, output: memoryview) -> None:
        if call == self.call:
            self.spoil(output)


def last_bit(output: memoryview) -> None:
    output[-1] ^= 1


def sixtieth_byte(output: memoryview) -> None:
    if len(output) > 60:
        output[60] ^= 0x80


def test_zfec_does_not_differ_from_itself() -> None:
    assert difference(ZfecEngine()) is None


@pytest.mark.parametrize(("call", "what"), [("encode", "parity"), ("decode", "decoding"), ("add", "sum")])
@pytest.mark.parametrize("spoil", [last_bit, sixtieth_byte])
def test_an_engine_with_one_wrong_bit_is_found_out(call: str, what: str, spoil: Spoil) -> None:
    assert what in str(difference(SpoiledEngine(call, spoil)))


def test_a_library_that_is_no_isa_l_is_passed_over(tmp_path: Path) -> None:
    text = tmp_path / "libisal.so.2"
    text.write_text("not a library")
    choice = choose([str(tmp_path / "absent.so"), str(text)])
    assert (choice.name, choice.library) == ("zfec", None)
    assert choice.reason is not None
    assert "absent.so does not load" in choice.reason
    assert "libisal.so.2 does not load" in choice.reason


def test_a_library_without_the_functions_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    fast_engine()
    stranger = next(path for path in library_candidates()).replace("libisal", "libnullcode").replace(".so.2", ".so.1")
    assert "does not load" in str(choose([stranger]).reason)


def test_a_library_that_computes_something_else_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isal_engine, "IsalEngine", lambda _path: SpoiledEngine("encode", last_bit))
    choice = choose(["libisal.so.2"])
    assert isinstance(choice.engine, ZfecEngine)
    assert choice.reason is not None
    assert choice.reason.startswith("libisal.so.2 computes the parity of a ")


def test_the_first_library_that_proves_itself_serves() -> None:
    fast_engine()
    path = next(library_candidates())
    choice = choose(["absent.so", path])
    assert (choice.name, choice.library, choice.reason) == ("isa-l", path, None)


def test_without_a_library_zfec_says_so() -> None:
    assert choose([]).reason == "no ISA-L library was found"


def test_a_codec_uses_the_chosen_engine() -> None:
    engine: Engine = Codec(2, 3).engine
    assert engine is chosen_engine().engine
