"""Field types of wire messages: what a JSON value may be (docs/PROTOCOL.md §1).

Each type parses the one accepted spelling and prints it again: byte strings are lower-case hex of a fixed or
bounded length, integers 0 … 2^53-1, strings printable ASCII with a limit.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Final, TypeVar

from pydantic import BeforeValidator, Field, PlainSerializer, StringConstraints

from hippy.endpoint import Endpoint
from hippy.errors import ProtocolError
from hippy.ids import ZERO_ID, MessageId, NetworkId, PublicKey, Root, SegmentId

INTEGER_MAX: Final = 2**53 - 1
"""The largest integer that every JSON implementation keeps exact."""

INDEX_MAX: Final = 254
"""n is at most 255, so the last piece index is 254."""

_HEX: Final = re.compile(r"(?:[0-9a-f]{2})*")
T = TypeVar("T")


def _bytes_between(least: int, most: int) -> Callable[[object], bytes]:
    def parse(value: object) -> bytes:
        if isinstance(value, str):
            if len(value) > 2 * most or not _HEX.fullmatch(value):
                raise ValueError("not lower-case hex of the right length")
            value = bytes.fromhex(value)
        if not isinstance(value, bytes) or not least <= len(value) <= most:
            raise ValueError(f"must have {least} to {most} bytes")
        return value

    return parse


def _nonzero_key(value: object) -> bytes:
    key = _bytes_between(32, 32)(value)
    if key == ZERO_ID:
        raise ValueError("the all-zero key is no key")
    return key


def _endpoint(value: object) -> Endpoint:
    if isinstance(value, Endpoint):
        return value
    if not isinstance(value, str) or not value.isascii() or "%" in value:
        raise ValueError("an endpoint is a numeric address and a port")  # an IPv6 zone means nothing elsewhere
    try:
        return Endpoint.parse(value)
    except ProtocolError as error:
        raise ValueError(error.message) from None


_hex = PlainSerializer(lambda value: value.hex(), return_type=str)
_bytes32 = BeforeValidator(_bytes_between(32, 32))

Bytes16 = Annotated[bytes, BeforeValidator(_bytes_between(16, 16)), _hex]
Bytes32 = Annotated[bytes, _bytes32, _hex]
Signature = Annotated[bytes, BeforeValidator(_bytes_between(64, 64)), _hex]
EnvelopeBytes = Annotated[bytes, BeforeValidator(_bytes_between(80, 80)), _hex]
HeadBytes = Annotated[bytes, BeforeValidator(_bytes_between(48, 1024)), _hex]
"""An encrypted object head: 32 bytes of salt and an AES-GCM ciphertext."""

ComponentBytes = Annotated[bytes, BeforeValidator(_bytes_between(32, 256)), _hex]
"""An encrypted name component: 16 bytes of SIV tag and 16 … 240 bytes of padded name (PROTOCOL §3)."""

Key = Annotated[PublicKey, BeforeValidator(_nonzero_key), _hex]
RootId = Annotated[Root, _bytes32, _hex]
Segment = Annotated[SegmentId, _bytes32, _hex]
Network = Annotated[NetworkId, _bytes32, _hex]
Message32 = Annotated[MessageId, _bytes32, _hex]
Address = Annotated[Endpoint, BeforeValidator(_endpoint), PlainSerializer(str, return_type=str)]

Count = Annotated[int, Field(ge=0, le=INTEGER_MAX)]
Seconds = Annotated[int, Field(ge=0, le=INTEGER_MAX)]
Index = Annotated[int, Field(ge=0, le=INDEX_MAX)]
U16 = Annotated[int, Field(ge=0, le=2**16 - 1)]
U32 = Annotated[int, Field(ge=0, le=2**32 - 1)]
Text = Annotated[str, StringConstraints(max_length=256, pattern=r"^[ -~]*$")]
"""A short printable-ASCII string."""

Name = Annotated[tuple[ComponentBytes, ...], Field(min_length=1, max_length=64)]
"""An object's encrypted path below its bucket."""

Prefix = Annotated[tuple[ComponentBytes, ...], Field(max_length=64)]
