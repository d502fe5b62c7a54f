"""A message followed by binary blobs, so that manifests never travel as hex in JSON.

Layout: ``u32 message length ‖ canonical message ‖ blob ‖ blob …``. The message says how long each blob is
(``blob_lengths()``); nothing may be missing or left over.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Protocol, Self, TypeVar

from hippy.errors import ProtocolError
from hippy.hashing import u32

M = TypeVar("M", bound="Announcing")

LENGTH_BYTES: Final = 4
CONTENT_TYPE: Final = "application/x-hippy-parts"


class Announcing(Protocol):
    """A message that announces blobs."""

    @classmethod
    def parse(cls, raw: bytes, *, limit: int) -> Self:
        """Parse canonical bytes."""

    def encode(self) -> bytes:
        """Return canonical bytes."""

    def blob_lengths(self) -> Sequence[int]:
        """Return the announced lengths."""


def encode_parts(message: Announcing, blobs: Iterable[bytes]) -> bytes:
    """Return message and blobs as one body; the blobs must have the announced lengths."""
    head = message.encode()
    parts = list(blobs)
    assert [len(part) for part in parts] == list(message.blob_lengths())
    return b"".join([u32(len(head)), head, *parts])


def parse_parts(kind: type[M], body: bytes) -> tuple[M, list[bytes]]:
    """Return the message and its blobs. The caller has bounded ``body``.

    Raises ProtocolError when lengths do not add up or the message is bad.
    """
    head_end = LENGTH_BYTES + int.from_bytes(body[:LENGTH_BYTES], "little")
    if len(body) < LENGTH_BYTES or head_end > len(body):
        raise ProtocolError("parts: the message is cut short")
    message = kind.parse(body[LENGTH_BYTES:head_end], limit=len(body))
    blobs, start = [], head_end
    for length in message.blob_lengths():
        blobs.append(body[start : start + length])
        start += length
    if start != len(body):
        raise ProtocolError("parts: the blobs do not have the announced lengths")
    return message, blobs
