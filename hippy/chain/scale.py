"""Values as the chain's SDK decodes them from SCALE, made ours. Pure.

Bytes come sometimes as bytes, sometimes as numbers, sometimes as hex; pairs as tuples or lists.

>>> raw_bytes("0x00ff") == raw_bytes([0, 255]) == bytes([0, 255])
True
>>> int_pairs([(3, 65535), [4, 0]])
{3: 65535, 4: 0}
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


def int_pairs(value: Any) -> dict[int, int]:
    """Return a run of pairs of integers as first → second; none for None.

    Raises ProtocolError for what is no such run.
    """
    try:
        return {int(first): int(second) for first, second in (() if value is None else value)}
    except (TypeError, ValueError) as error:
        raise ProtocolError(f"the chain answered {type(value).__name__} where pairs of integers belong") from error
