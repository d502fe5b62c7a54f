"""What nodes say of themselves and of each other: hello, the encryption key, the directory.

A hello answers a caller's nonce and so proves that the hotkey's owner sits at the endpoint. The directory is
a validator's signed view of all miners; clients choose from it whom to read from.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from hippy.wire.canonical import Message, SignedMessage
from hippy.wire.fields import U16, U32, Address, Bytes32, Count, Key, Network, Seconds, Text
from hippy.wire.home import HomeChange
from hippy.wire.ticket import PayClass

PROTOCOL_VERSION: Final = 1
MINERS_MAX: Final = 1024
"""A subnet has at most 256 uids today."""

DIRECTORY_BYTES_MAX: Final = 1024 * 1024

Role = Literal["miner", "validator"]


class EncryptionKey(SignedMessage):
    """The X25519 key to which clients seal envelopes for one validator (PROTOCOL §3.3)."""

    TYPE = "encryption-key"
    validator: Key
    key_id: U32
    key: Bytes32
    not_before: Seconds
    not_after: Seconds


class Hello(SignedMessage):
    """A node's signed answer to ``GET /v1/hello?nonce=…``; space is stated by miners only."""

    TYPE = "hello"
    role: Role
    hotkey: Key
    network: Network
    netuid: U16
    nonce: Bytes32
    time: Seconds
    protocol: U16
    software: Text
    capacity_bytes: Count | None = None
    used_bytes: Count | None = None
    encryption_key: EncryptionKey | None = None


class MinerEntry(Message):
    """One miner as a validator sees it. ``seen_time`` is the last good handshake, 0 for never."""

    TYPE = "miner-entry"
    uid: U16
    hotkey: Key
    coldkey: Key
    endpoint: Address | None = None
    state: Literal["live", "silent", "unpublished"]
    capacity_bytes: Count
    used_bytes: Count
    seen_time: Seconds


class Directory(SignedMessage):
    """The miners of the subnet, in uid order, signed by the validator that asked them."""

    TYPE = "directory"
    validator: Key
    netuid: U16
    time: Seconds
    miners: Annotated[tuple[MinerEntry, ...], Field(max_length=MINERS_MAX)]


class AccountStatus(Message):
    """The caller's account as its home keeps it, and which validator that is.

    ``term`` counts the account's homes from 1; ``change`` is its word by which it came to this one, absent at its
    first. A validator that follows the home tells what it has of it.
    """

    TYPE = "account-status"
    account: Key
    pay_class: PayClass
    quota_bytes: Count
    used_bytes: Count
    home: Key
    term: U32
    change: HomeChange | None = None
