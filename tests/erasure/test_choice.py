"""ISA-L serves only after it has written zfec's bytes; whatever else is found, zfec does."""

from __future__ import annotations

import ctypes
import ctypes.util
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hippy.erasure import isal_engine
from hippy.erasure.codec import Codec
from hippy.erasure.engine import Engine
from hippy.erasure.engine_proof import difference
from hippy.erasure.engines import choose, chosen_engine
from hippy.erasure.isal_engine import library_candidates
from hippy.erasure.zfec_engine import ZfecEngine
from tests.erasure.cases import fast_engine

Spoil = Callable[[memoryview], None]


@dataclass
class SpoiledEngine(ZfecEngine):
    """zfec, but for what ``spoil`` does to one output of one call."""

    call: str
    spoil: Spoil
    only_rows: frozenset[int] = frozenset(range(256))
    """Numbers of outputs at which it goes wrong."""

    def encode(self, k: int, n: int, data: Sequence[memoryview], indices: Sequence[int], outputs: Any) -> None:
        super().encode(k, n, data, indices, outputs)
        if len(outputs) % 6 in self.only_rows:
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
    assert "absent.so does not work" in choice.reason
    assert "libisal.so.2 does not work" in choice.reason


def test_a_library_without_the_functions_is_passed_over() -> None:
    libc = ctypes.util.find_library("c")
    if libc is None:
        pytest.skip("no C library is found by its name here")
    assert re.search("does not work: .*ec_", str(choose([libc]).reason))


@pytest.mark.parametrize("rows", range(6))
def test_an_engine_that_is_wrong_for_some_numbers_of_rows_is_found_out(rows: int) -> None:
    """Vector code has a kernel for each number of rows up to six."""
    assert "parity" in str(difference(SpoiledEngine("encode", last_bit, frozenset({rows}))))


@dataclass
class ScribblingEngine(ZfecEngine):
    """zfec that also writes one byte beside its first output, where a piece of somebody else may lie."""

    before: bool

    def encode(self, k: int, n: int, data: Sequence[memoryview], indices: Sequence[int], outputs: Any) -> None:
        super().encode(k, n, data, indices, outputs)
        region = memoryview(outputs[0].obj)
        start = next(at for at in range(len(region)) if address(region[at:]) == address(outputs[0]))
        region[start - 1 if self.before else start + len(outputs[0])] ^= 1


def address(view: memoryview) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(view))


@pytest.mark.parametrize("before", [True, False])
def test_a_byte_written_beside_an_output_is_noticed(before: bool) -> None:
    assert "parity" in str(difference(ScribblingEngine(before)))


class MeddlingEngine(ZfecEngine):
    """zfec that changes its input."""

    def add(self, target: memoryview, other: memoryview) -> None:
        super().add(target, other)
        other[0] ^= 1


def test_a_changed_input_is_noticed() -> None:
    assert "sum" in str(difference(MeddlingEngine()))


def test_an_engine_that_raises_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_path: str) -> Engine:
        raise ValueError("not today")

    monkeypatch.setattr(isal_engine, "IsalEngine", broken)
    assert choose(["libisal.so.2"]).reason == "libisal.so.2 does not work: not today"


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
