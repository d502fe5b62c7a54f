"""The fast engine: Intel's ISA-L, fed with zfec's generator matrix.

ISA-L multiplies by any matrix over the same field with the widest vector instructions the processor has
(SSE to AVX-512 with GFNI; NEON and SVE on arm64). Fed with zfec's coefficients it writes zfec's bytes, 10 to 50 times
as fast. It works in place, whole pieces at a time (measured faster than strips), and cffi releases the
GIL during every call. docs/adr/0006 says where the library comes from and why it is bound this way.

A plan is the table that ISA-L expands a matrix into, 32 bytes per coefficient; plans are kept per code and
pattern of losses, because a download decodes many segments with the same miners missing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from importlib.util import find_spec
from typing import Any, Final

from cffi import FFI

from hippy.erasure.matrix import Matrix, generator, recovery_rows

_DECLARATIONS: Final = """
    void ec_init_tables(int k, int rows, unsigned char *coefficients, unsigned char *tables);
    void ec_encode_data(int len, int k, int rows, unsigned char *tables, unsigned char **data, unsigned char **coding);
    void ec_encode_data_update(int len, int k, int rows, int vec_i, unsigned char *tables, unsigned char *data,
                               unsigned char **coding);
"""
"""From ISA-L's include/erasure_code.h, version 2."""

_TABLE_BYTES: Final = 32
"""What ec_init_tables writes for one coefficient."""

_PLANS_MAX: Final = 32
"""Plans kept for encoding, and as many for decoding: 4 KiB each at 10/24, at the worst 520 KiB (128/255), so 33 MiB
in all."""

_CALL_BYTES_MAX: Final = 1 << 30
"""Bytes of each piece in one call; ISA-L counts them in a C int."""


def library_candidates() -> Iterator[str]:
    """Yield what may be ISA-L on this machine, best first: pyeclib's own copy, then the system's."""
    package = find_spec("pyeclib")
    if package is not None and package.origin is not None:
        folder = os.path.join(os.path.dirname(os.path.dirname(package.origin)), "pyeclib.libs")
        if os.path.isdir(folder):
            yield from (os.path.join(folder, name) for name in sorted(os.listdir(folder)) if "libisal" in name)
    yield "libisal.so.2"  # Debian and Ubuntu: libisal2; Fedora: libisa-l


class IsalEngine:
    """An Engine (hippy.erasure.engine) that computes with the ISA-L at a path.

    Raises OSError if there is no such library, AttributeError if it is not ISA-L.
    """

    def __init__(self, library_path: str) -> None:
        self._ffi = FFI()
        self._ffi.cdef(_DECLARATIONS)
        self._library: Any = self._ffi.dlopen(library_path)
        self._encode_data = self._library.ec_encode_data
        self._update_data = self._library.ec_encode_data_update
        self._init_tables = self._library.ec_init_tables
        self._encoding = lru_cache(_PLANS_MAX)(self._make_encoding)
        self._decoding = lru_cache(_PLANS_MAX)(self._make_decoding)
        self._one = self._tables((b"\x01",))

    def encode(
        self,
        k: int,
        n: int,
        data: Sequence[memoryview],
        indices: Sequence[int],
        outputs: Sequence[memoryview],
    ) -> None:
        """Write parity row ``indices[j]`` of the k ``data`` pieces to ``outputs[j]``."""
        self._multiply(self._encoding(k, n, tuple(indices)), data, outputs)

    def decode(self, k: int, n: int, have: Mapping[int, memoryview], want: Mapping[int, memoryview]) -> None:
        """Write the rows that ``want`` names from exactly k other rows in ``have``."""
        plan = self._decoding(k, n, tuple(have), tuple(want))
        self._multiply(plan, tuple(have.values()), tuple(want.values()))

    def add(self, target: memoryview, other: memoryview) -> None:
        """XOR ``other`` into ``target``."""
        for start in range(0, len(target), _CALL_BYTES_MAX):
            end = start + _CALL_BYTES_MAX
            source, outputs = self._address(other[start:end]), [self._address(target[start:end])]
            coding = self._ffi.new("unsigned char *[]", outputs)
            self._update_data(len(source), 1, 1, 0, self._one, source, coding)

    def _make_encoding(self, k: int, n: int, indices: tuple[int, ...]) -> Any:
        rows = generator(k, n)
        return self._tables(tuple(rows[index] for index in indices))

    def _make_decoding(self, k: int, n: int, have: tuple[int, ...], want: tuple[int, ...]) -> Any:
        return self._tables(recovery_rows(k, n, have, want))

    def _tables(self, matrix: Matrix) -> Any:
        k, rows = len(matrix[0]), len(matrix)
        tables = self._ffi.new("unsigned char[]", _TABLE_BYTES * k * rows)
        self._init_tables(k, rows, self._address(memoryview(b"".join(matrix))), tables)
        return tables

    def _multiply(self, tables: Any, inputs: Sequence[memoryview], outputs: Sequence[memoryview]) -> None:
        for start in range(0, len(inputs[0]), _CALL_BYTES_MAX):
            end = start + _CALL_BYTES_MAX
            # The views that own the addresses have to live until the call is over.
            sources = [self._address(piece[start:end]) for piece in inputs]
            targets = [self._address(piece[start:end]) for piece in outputs]
            data, coding = (self._ffi.new("unsigned char *[]", each) for each in (sources, targets))
            self._encode_data(len(sources[0]), len(sources), len(targets), tables, data, coding)

    def _address(self, view: memoryview) -> Any:
        """Where a run of bytes lies; as long as the result lives, so does the run."""
        return self._ffi.from_buffer("unsigned char[]", view)
