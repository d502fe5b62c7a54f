"""The one spelling of a message, and signatures over it (docs/PROTOCOL.md §1).

A :class:`Message` is a frozen value. :meth:`Message.encode` prints the canonical bytes: JSON with sorted
keys, no white space, absent fields omitted. :meth:`Message.parse` builds the strict model, prints it again
and compares, so every second spelling (duplicate keys, ``1.0``, escapes, extra fields) is refused with one
rule. A :class:`SignedMessage` carries a signature over its id; who may sign what is decided by the caller.

>>> class Ping(Message):
...     TYPE = "ping"
...     count: Count
>>> Ping.parse(b'{"count":1}').count
1
"""

from __future__ import annotations

import json
from typing import Any, ClassVar, Final, NoReturn, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from hippy.errors import AuthError, ProtocolError, TooLargeError
from hippy.hashing import dk, keyed
from hippy.identity import Identity, ss58_encode, verify
from hippy.ids import MessageId, PublicKey
from hippy.wire.fields import INTEGER_MAX, Signature

MESSAGE_BYTES_MAX: Final = 64 * 1024
"""Limit of a message where docs/PROTOCOL.md §9 states no other."""

VALUES_FREE: Final = 1000
VALUE_BYTES_MIN: Final = 12
"""A message has at most 1,000 values and one more for every 12 bytes; the densest of ours, a sheet of miners that earn
nothing, has one for 16."""

CLOCK_TOLERANCE_SECONDS: Final = 120
"""How far the time in a message may lie from ours (PROTOCOL §0)."""


_ENCODER: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True)


class Message(BaseModel):
    """A frozen wire message. Subclasses set ``TYPE``, which names the domain of its id."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        arbitrary_types_allowed=True,
        defer_build=True,  # a command uses few of the messages; building all costs it 80 ms
    )
    TYPE: ClassVar[str]

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return _spell(self.model_dump(mode="json", exclude_none=True))

    def id(self, network: bytes) -> MessageId:
        """Return H(dk(msg/<type>); network ‖ canonical bytes without the top-level signature)."""
        body = _spell(self.model_dump(mode="json", exclude_none=True, exclude={"signature"}))
        return MessageId(keyed(dk("msg/" + self.TYPE), network, body))

    @classmethod
    def parse(cls, raw: bytes, *, limit: int = MESSAGE_BYTES_MAX) -> Self:
        """Return the message that ``raw`` spells.

        Raises TooLargeError above ``limit`` bytes, ProtocolError for anything but the canonical spelling.
        """
        if len(raw) > limit:
            raise TooLargeError(f"a {cls.TYPE} message has at most {limit} bytes, this one {len(raw)}")
        try:
            message = cls.model_validate_json_values(_load(raw))
        except ValidationError as error:
            raise ProtocolError(f"bad {cls.TYPE} message: {_first_fault(error)}") from None
        except RecursionError:
            raise ProtocolError(f"bad {cls.TYPE} message: nested too deep") from None
        if message.encode() != raw:
            raise ProtocolError(f"bad {cls.TYPE} message: not in canonical spelling")
        return message

    @classmethod
    def model_validate_json_values(cls, values: object) -> Self:
        """Validate decoded JSON; lists become tuples, which strict models would refuse."""
        return cls.model_validate(_tuples(values))


class SignedMessage(Message):
    """A message with a signature over its id."""

    signature: Signature = bytes(64)

    def signed(self, identity: Identity, network: bytes) -> Self:
        """Return this message with the signature of ``identity``."""
        return self.model_copy(update={"signature": identity.sign(self.id(network))})

    def check_signature(self, signer: PublicKey, network: bytes) -> None:
        """Raises AuthError unless ``signer`` signed this message for ``network``."""
        if not verify(signer, self.id(network), self.signature):
            raise AuthError(f"the {self.TYPE} message is not signed by {ss58_encode(signer)}")


def check_time(seconds: int, now: float) -> None:
    """Raises ProtocolError when a message's time lies too far from ``now``."""
    if abs(seconds - now) > CLOCK_TOLERANCE_SECONDS:
        raise ProtocolError(
            f"the message's time is {seconds - now:+.0f} s off ours",
            hint="check both clocks (NTP)",
        )


def _spell(values: dict[str, Any]) -> bytes:
    return _ENCODER.encode(values).encode("ascii")


def _check_density(raw: bytes) -> None:
    """Refuse JSON of many tiny values before it is parsed: ``{},{},…`` takes sixty times its length in memory."""
    values = raw.count(b",") + raw.count(b"{") + raw.count(b"[")
    if values > VALUES_FREE + len(raw) // VALUE_BYTES_MIN:
        raise ProtocolError("not JSON of the accepted kind: too many values for its length")


def _load(raw: bytes) -> object:
    _check_density(raw)
    try:
        text = raw.decode("ascii")
        return json.loads(text, parse_float=_refuse, parse_constant=_refuse, parse_int=_integer)
    except (ValueError, RecursionError):
        raise ProtocolError("not JSON of the accepted kind") from None


def _refuse(text: str) -> NoReturn:
    raise ValueError(text[:16])


def _integer(text: str) -> int:
    if len(text) > len(str(INTEGER_MAX)):
        raise ValueError("integer too large")
    return int(text)


def _tuples(value: object) -> object:
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    if isinstance(value, list):
        return tuple(_tuples(item) for item in value)
    return value


def _first_fault(error: ValidationError) -> str:
    fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part) for part in fault["loc"]) or "message"
    return f"{place[:120]}: {fault['msg'][:160]}"
