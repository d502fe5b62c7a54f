"""Seeded mutations of valid bytes: as a stranger would get things wrong, or a program that tries everything.

A :class:`Mutator` takes samples of one format and returns bytes that are near one of them: flipped, cut, repeated,
spliced, with lengths set to extremes; JSON also by its structure: a key doubled, missing or new, a value of another
kind, another sample's value, a list repeated, a nest a thousand deep, a second spelling. The same seed, the same bytes.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from typing import Any, Final

EXTREMES: Final = (
    0,
    1,
    2,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0xFFFF,
    0x7FFFFFFF,
    0xFFFFFFFF,
    2**53 - 1,
    2**53,
    2**63,
    2**64 - 1,
)
ODD_VALUES: Final[tuple[Any, ...]] = (
    *(None, True, False, -1, 0, 1.5, 2**53 - 1, 2**53, 2**64, 10**30, "", "0", "A" * 300, "\x00", "é", "\ud800"),
    *("00" * 32, "ff" * 32, "f", [], {}, [[]], [{}], {"": ""}, "put", "127.0.0.1:1", "[::1]:1", "256.0.0.1:0"),
)
LONG: Final = 2_000
"""How often something is repeated at most."""


class Mutator:
    """Endless bad relatives of good bytes."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def choose(self, samples: Sequence[bytes]) -> bytes:
        """Return one of the samples."""
        return self._random.choice(samples)

    def mutate(self, samples: Sequence[bytes]) -> bytes:
        """Return a mutation of one of the samples, now and then several on top of each other."""
        found = self.choose(samples)
        for _ in range(1 + (self._random.random() < 0.3)):
            by_structure = found[:1] == b"{" and self._random.random() < 0.7
            found = self._json(found, samples) if by_structure else self._bytes(found, samples)
        return found

    def _bytes(self, sample: bytes, samples: Sequence[bytes]) -> bytes:
        mutations: tuple[Callable[[bytearray, Sequence[bytes]], bytes], ...] = (
            *(self._flip, self._flip, self._cut, self._insert, self._repeat),
            *(self._splice, self._extreme, self._extreme, self._noise),
        )
        return self._random.choice(mutations)(bytearray(sample), samples)

    def _place(self, data: bytes | bytearray) -> int:
        """Return a place in the data; often near its beginning, where lengths and magic words are."""
        most = min(len(data), 64) if self._random.random() < 0.5 else len(data)
        return self._random.randrange(most + 1)

    def _flip(self, data: bytearray, _: Sequence[bytes]) -> bytes:
        for _time in range(self._random.choice((1, 1, 2, 8))):
            if data:
                data[min(self._place(data), len(data) - 1)] ^= 1 << self._random.randrange(8)
        return bytes(data)

    def _cut(self, data: bytearray, _: Sequence[bytes]) -> bytes:
        start = self._place(data)
        end = len(data) if self._random.random() < 0.5 else min(len(data), start + self._random.randrange(40))
        return bytes(data[:start] + data[end:])

    def _insert(self, data: bytearray, _: Sequence[bytes]) -> bytes:
        place = self._place(data)
        return bytes(data[:place] + self._random.randbytes(self._random.choice((1, 2, 4, 32, 100))) + data[place:])

    def _repeat(self, data: bytearray, _: Sequence[bytes]) -> bytes:
        start = self._place(data)
        part = data[start : start + self._random.choice((1, 4, 33, 200))]
        return bytes(data[:start] + part * self._random.choice((2, 3, 20)) + data[start:])

    def _splice(self, data: bytearray, samples: Sequence[bytes]) -> bytes:
        other = self.choose(samples)
        return bytes(data[: self._place(data)]) + other[self._place(other) :]

    def _extreme(self, data: bytearray, _: Sequence[bytes]) -> bytes:
        width = self._random.choice((1, 2, 4, 8))
        value = self._random.choice(EXTREMES) % 2 ** (8 * width)
        start = self._place(data)
        data[start : start + width] = value.to_bytes(width, self._random.choice(("little", "big")))
        return bytes(data)

    def _noise(self, data: bytearray, _: Sequence[bytes]) -> bytes:
        return self._random.randbytes(self._random.choice((0, 1, 5, len(data))))

    def _json(self, sample: bytes, samples: Sequence[bytes]) -> bytes:
        try:
            value, other = json.loads(sample), json.loads(self.choose(samples))
        except (ValueError, RecursionError):
            return self._bytes(sample, samples)
        if self._random.random() < 0.25:
            return self._respell(value)
        holder, key = self._somewhere(value)
        if holder is None:
            return self._bytes(sample, samples)
        self._change(holder, key, other)
        return _spell(value)

    def _change(self, holder: Any, key: Any, other: Any) -> None:
        choice = self._random.randrange(8)
        if choice == 0:
            del holder[key]
        elif choice == 1 and isinstance(holder, dict):
            holder[self._random.choice(("x", "signature", "", "network", "é"))] = self._random.choice(ODD_VALUES)
        elif choice == 2:
            elsewhere, place = self._somewhere(other)
            holder[key] = None if elsewhere is None else elsewhere[place]
        elif choice == 3:
            holder[key] = [holder[key]] * self._random.choice((0, 1, 2, 65, 257, LONG))
        elif choice == 4 and isinstance(holder[key], list):
            holder[key] = holder[key] * self._random.choice((2, 3, 65))
            self._random.shuffle(holder[key])
        elif choice == 5 and isinstance(holder[key], str):
            holder[key] = self._random.choice(
                (holder[key].upper(), holder[key][:-1], holder[key] * 2, "0" + holder[key])
            )
        elif choice == 6 and isinstance(holder[key], int):
            holder[key] += self._random.choice((-1, 1, 2**31, 2**53, -(2**53)))
        else:
            holder[key] = self._random.choice(ODD_VALUES)

    def _somewhere(self, value: Any) -> tuple[Any, Any]:
        """Return a container within a value and a key of it; (None, None) where there is none."""
        found: tuple[Any, Any] = (None, None)
        while isinstance(value, dict | list) and value:
            key = self._random.choice(list(value)) if isinstance(value, dict) else self._random.randrange(len(value))
            found, value = (value, key), value[key]
            if self._random.random() < 0.35:
                break
        return found

    def _respell(self, value: Any) -> bytes:
        """Return the same value, or nearly, in another spelling."""
        canonical = _spell(value)
        choice = self._random.randrange(7)
        if choice == 0:
            return json.dumps(value, sort_keys=True, indent=self._random.choice((0, 1))).encode()
        if choice == 1:
            return canonical + self._random.choice((b"\n", b" ", b"\x00", b"{}", b"]"))
        if choice == 2:  # the first key twice
            inner = canonical[1:-1]
            return b"{" + inner.split(b",", 1)[0] + b"," + inner + b"}"
        if choice == 3:
            return canonical.replace(b"0", b"\\u0030", 1)
        if choice == 4:
            nest = self._random.choice((b"[", b'{"a":')) * self._random.choice((50, 900, LONG))
            return canonical[:-1] + b',"x":' + nest + b"}"
        if choice == 5:
            return canonical.replace(b":1", self._random.choice((b":1.0", b":01", b":+1", b":1e0", b":NaN")), 1)
        return canonical[:1] + b'"' + b"k" * self._random.choice((10, 70_000)) + b'":0,' + canonical[1:]


def _spell(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
