"""What a function on ordered key-value state works with: readers, transactions, and writes laid over a reader.

The lowest part of the seam that hippy.kv describes; its implementations share it. Keys and values are bytes, keys sort
bytewise.

>>> class Nothing:
...     def get(self, key: bytes) -> bytes | None:
...         return None
...     def scan(self, prefix: bytes, after: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
...         return iter(())
>>> state = Overlay(Nothing())
>>> state.put(b"key", b"value")
>>> state.get(b"key"), list(state.scan(b""))
(b'value', [(b'key', b'value')])
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import merge
from typing import Protocol


class Reader(Protocol):
    """A view of the state."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value of ``key``, or None."""

    def scan(self, prefix: bytes, after: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        """Yield keys and values below ``prefix`` in order, beginning behind the key ``after``."""


class Transaction(Reader, Protocol):
    """A view that includes this transaction's own writes, and takes more."""

    def put(self, key: bytes, value: bytes) -> None:
        """Set a key."""

    def delete(self, key: bytes) -> None:
        """Remove a key, if it is there."""


class Overlay:
    """A transaction's writes over a reader: sees both, changes only itself. None marks a deletion."""

    def __init__(self, below: Reader) -> None:
        self._below = below
        self.changes: dict[bytes, bytes | None] = {}

    def get(self, key: bytes) -> bytes | None:
        """See Reader."""
        return self.changes[key] if key in self.changes else self._below.get(key)

    def scan(self, prefix: bytes, after: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        """See Reader. What is written while it runs, it does not show."""
        own = {
            key: value
            for key, value in self.changes.items()
            if key.startswith(prefix) and (after is None or key > after)
        }
        kept = ((key, value) for key, value in self._below.scan(prefix, after) if key not in own)
        written = sorted((key, value) for key, value in own.items() if value is not None)
        return merge(kept, written)

    def put(self, key: bytes, value: bytes) -> None:
        """See Transaction."""
        self.changes[key] = value

    def delete(self, key: bytes) -> None:
        """See Transaction."""
        self.changes[key] = None


def following(prefix: bytes) -> bytes | None:
    """Return the first key behind everything below ``prefix``; None where nothing can be behind that.

    >>> following(b"a"), following(b"a\\xff"), following(b"\\xff")
    (b'b', b'b', None)
    """
    rest = prefix.rstrip(b"\xff")
    return rest[:-1] + bytes([rest[-1] + 1]) if rest else None
