"""Bytes as the chain's SDK decodes them from SCALE: sometimes bytes, sometimes numbers, sometimes hex. Pure.

>>> raw_bytes("0x00ff") == raw_bytes([0, 255]) == bytes([0, 255])
True
"""

from __future__ import annotations

from typing import Any

from hippy.errors import ProtocolError


def raw_bytes(value: Any) -> bytes:
    """Return the bytes that a decoded value means.

    Raises ProtocolError for what means none.
    """
    try:
        if isinstance(value, str):
            return bytes.fromhex(value.removeprefix("0x"))
        if isinstance(value, int):
            raise TypeError("a number is no run of bytes")
        return bytes(value)
    except (TypeError, ValueError) as error:
        raise ProtocolError(f"the chain answered {type(value).__name__} where bytes belong") from error
