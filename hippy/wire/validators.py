"""The validators of a subnet as one of them sees them: ``GET /v1/validators`` (docs/PROTOCOL.md §3.6)."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from hippy.wire.canonical import Message, SignedMessage
from hippy.wire.fields import U16, Address, Count, Key, Seconds
from hippy.wire.node import EncryptionKey

VALIDATORS_MAX: Final = 64
"""A subnet has at most 64 validators with a permit today."""

VALIDATORS_BYTES_MAX: Final = 128 * 1024


class ValidatorEntry(Message):
    """One validator as another sees it; its own signed encryption key, where a handshake showed one.

    ``followed_seq`` is the newest record of its log that the one who tells has.
    """

    TYPE = "validator-entry"
    uid: U16
    hotkey: Key
    endpoint: Address | None = None
    state: Literal["live", "silent", "unpublished"]
    seen_time: Seconds
    followed_seq: Count
    encryption_key: EncryptionKey | None = None


class Validators(SignedMessage):
    """The validators of the subnet that have a permit, in uid order, signed by one of them."""

    TYPE = "validators"
    validator: Key
    netuid: U16
    time: Seconds
    validators: Annotated[tuple[ValidatorEntry, ...], Field(max_length=VALIDATORS_MAX)]
