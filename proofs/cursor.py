"""Reads a binary body from front to back and never past its end.

Owns bounds: whatever the bytes are, a read either gives what was asked for or raises ProtocolError, and work
and memory follow the body's own length, not a number written in it. Which fields there are, and what they may
hold, is the parser's. Integers are little-endian (PROTOCOL §0).

Example::

    cursor = Cursor(body, "audit request")
    cursor.expect(b"HPA1")
    epoch, batch = cursor.read(Struct("<QI"))
    token = cursor.take(32)
    cursor.finish()
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Any

from hippy.errors import ProtocolError

if TYPE_CHECKING:
    from typing_extensions import Buffer


class Cursor:
    """A place in a body; ``name`` says in errors what the body is. Every read raises ProtocolError at the end."""

    __slots__ = ("_at", "_length", "_name", "_view")

    def __init__(self, body: Buffer, name: str) -> None:
        self._view = memoryview(body)
        self._length = len(self._view)
        self._at = 0
        self._name = name

    def byte(self) -> int:
        """Return the next byte as a number."""
        return self._view[self._pass(1)]

    def read(self, layout: Struct) -> tuple[Any, ...]:
        """Return the next fields, as ``layout`` spells them."""
        return layout.unpack_from(self._view, self._pass(layout.size))

    def view(self, length: int) -> memoryview:
        """Return a view of the next ``length`` bytes."""
        start = self._pass(length)
        return self._view[start : start + length]

    def take(self, length: int) -> bytes:
        """Return a copy of the next ``length`` bytes."""
        start = self._pass(length)
        return self._view[start : start + length].tobytes()

    def expect(self, magic: bytes) -> None:
        """Pass the bytes that a body of this kind starts with.

        Raises ProtocolError where others are there.
        """
        found = self.take(len(magic))
        if found != magic:
            raise ProtocolError(f"the {self._name} starts with {found!r}, not {magic!r}")

    @property
    def done(self) -> bool:
        """Whether everything was read."""
        return self._at == self._length

    def finish(self) -> None:
        """Say that nothing should follow.

        Raises ProtocolError if something does.
        """
        if not self.done:
            raise ProtocolError(f"{self._length - self._at} bytes follow the {self._name}")

    def _pass(self, length: int) -> int:
        """Go ``length`` bytes on and return where they start."""
        start = self._at
        self._at = end = start + length
        if end > self._length:
            raise ProtocolError(f"the {self._name} of {self._length} bytes ends in the middle of a field")
        return start
