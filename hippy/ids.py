"""The kinds of 32-byte values hippy passes around, as distinct types, and their printed form.

Inside they are raw bytes; in JSON and URLs lower-case hex; SS58 is for people only (hippy.identity).
"""

from __future__ import annotations

from typing import Final, NewType

from hippy.errors import ProtocolError

PublicKey = NewType("PublicKey", bytes)
"""A raw sr25519 public key: an account, a hotkey or a coldkey. Never all zero."""

Root = NewType("Root", bytes)
"""A piece's Merkle root, which is its id (PROTOCOL §2)."""

SegmentId = NewType("SegmentId", bytes)
NetworkId = NewType("NetworkId", bytes)
"""The genesis hash of the chain; on a local network its random id."""

MessageId = NewType("MessageId", bytes)
"""The hash that a message's signature covers (PROTOCOL §1)."""

ID_BYTES: Final = 32
ZERO_ID: Final = bytes(ID_BYTES)


def id_from_hex(text: str) -> bytes:
    """Parse 64 lower-case hex digits.

    Raises ProtocolError for anything else.
    """
    if len(text) != 2 * ID_BYTES or any(c not in "0123456789abcdef" for c in text):
        raise ProtocolError(f"expected {2 * ID_BYTES} lower-case hex digits, got {text[:80]!r}")
    return bytes.fromhex(text)
